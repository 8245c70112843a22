//! Either kind of host.

use std::path::{Path, PathBuf};

use engine::{Host, Knowledge, TrialKind, VersionId};
use health::{Baseline, Checks, Report, Stage};
use image::ImageHost;
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
        if let Self::Nix(_) = self {
            policy.upgrade.kind = TrialKind::Live;
            policy.upgrade.attempts = 1;
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
