//! Either kind of host.

use std::path::{Path, PathBuf};

use engine::{Host, Knowledge, TrialKind, VersionId};
use health::{Baseline, Checks, Report, Stage};
use image::ImageHost;
use machine::LastWords;
use monitor::Monitor;
use nix::NixHost;

/// Either kind of host.
#[derive(Debug)]
pub enum AnyHost {
    /// Images from a repository.
    Image(ImageHost),
    /// Closures from a Nix store.
    Nix(Box<NixHost>),
}

impl AnyHost {
    /// As the engine sees it.
    pub fn as_host(&mut self) -> &mut dyn Host {
        match self {
            Self::Image(host) => host,
            Self::Nix(host) => &mut **host,
        }
    }

    /// Where it remembers, shared by all its versions.
    pub fn memory(&self, root: &Path) -> PathBuf {
        match self {
            Self::Image(_) => root.join("ostree/backstop"),
            Self::Nix(host) => host.layout().memory(),
        }
    }

    /// The root below which configuration is.
    pub fn checks_root(&self) -> anyhow::Result<PathBuf> {
        Ok(match self {
            Self::Image(host) => host.checks_root()?,
            Self::Nix(host) => host.layout().root().to_owned(),
        })
    }

    /// What upgrades are like without a policy. Whoever has a Nix host expects it to
    /// be switched as it runs; its boot loaders boot a version on trial once.
    pub fn usual_policy(&self) -> agent::Policy {
        let mut policy = agent::Policy::default();
        match self {
            Self::Nix(_) => {
                policy.upgrade.kind = TrialKind::Live;
                policy.upgrade.attempts = 1;
            }
            Self::Image(host) if host.boots_trials_once() => policy.upgrade.attempts = 1,
            Self::Image(_) => {}
        }
        policy
    }

    /// The checks of what runs now.
    pub fn checks(&self) -> anyhow::Result<Checks> {
        Ok(match self {
            Self::Image(host) => host.checks()?,
            Self::Nix(host) => host.checks()?,
        })
    }

    /// Runs a stage's checks on what runs now, judged by a baseline.
    pub fn check(
        &self,
        stage: Stage,
        baseline: &Baseline,
        monitor: &dyn Monitor,
    ) -> anyhow::Result<Report> {
        Ok(match self {
            Self::Image(host) => host.check(stage, baseline, monitor)?,
            Self::Nix(host) => host.check(stage, baseline, monitor)?,
        })
    }

    /// How what runs now is.
    pub fn baseline(&self, monitor: &dyn Monitor) -> anyhow::Result<Baseline> {
        Ok(match self {
            Self::Image(host) => host.baseline(monitor)?,
            Self::Nix(host) => host.baseline(monitor)?,
        })
    }

    /// Starts the process that sees an open transaction through.
    pub fn start_supervisor(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Image(host) => Ok(host.start_supervisor()?),
            Self::Nix(host) => Ok(host.start_supervisor()?),
        }
    }

    /// What the kernel said last in a boot that came to no good end.
    pub fn last_words(&mut self, since: u64, not_of: Option<&str>) -> Option<LastWords> {
        match self {
            Self::Image(host) => host.machine().last_words(since, not_of),
            Self::Nix(_) => None,
        }
    }

    /// The versions that are kept on it, each once.
    pub fn kept(&self) -> anyhow::Result<Vec<VersionId>> {
        let mut kept: Vec<VersionId> = match self {
            Self::Image(host) => {
                let deployments = host.sysroot().deployments()?;
                let version = |d: &sysroot::Deployment| image::source::version(&d.id.checksum);
                deployments.iter().map(version).collect()
            }
            Self::Nix(host) => {
                let generations = host.overview()?.generations;
                generations.into_iter().map(|g| g.version).collect()
            }
        };
        let mut seen = std::collections::BTreeSet::new();
        kept.retain(|version| seen.insert(version.clone()));
        Ok(kept)
    }

    /// The one kept version whose name, as shown, begins so.
    pub fn kept_named(&self, name: &str) -> anyhow::Result<VersionId> {
        let mut kept = self.kept()?;
        kept.retain(|v| v.as_str().starts_with(name) || v.short().starts_with(name));
        match kept.as_slice() {
            [version] => Ok(version.clone()),
            [] => {
                anyhow::bail!("no version on this host begins with `{name}`; see `backstop status`")
            }
            _ => anyhow::bail!("`{name}` is the beginning of several versions on this host"),
        }
    }

    /// The good version to go back to from `running`, if one is kept.
    pub fn version_before(
        &self,
        running: &VersionId,
        knowledge: &Knowledge,
    ) -> anyhow::Result<Option<VersionId>> {
        Ok(match self {
            Self::Image(host) => host.version_before(running)?,
            Self::Nix(host) => host.version_before(running, knowledge)?,
        })
    }
}
