//! What the bootloader would do, done here.

use boot::{BootConfig, Choice, FileDigest, StateSector, decide};

use crate::deployment::DeploymentId;
use crate::order::Published;
use crate::planned::Planned;
use crate::publish::boot_config;
use crate::sysroot::Sysroot;
use crate::{Error, Result};

/// One start of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedBoot {
    /// What was started.
    pub deployment: DeploymentId,
    /// The kernel's command line.
    pub cmdline: String,
    /// The attempts left after this one, if this is an attempt of a trial.
    pub attempts_left: Option<u8>,
}

impl Sysroot {
    /// The published configuration, put together again from the boot entries.
    ///
    /// # Errors
    /// That nothing is published, that `ostree` published it, or that the entries
    /// were changed since.
    pub fn boot_config(&self) -> Result<BootConfig> {
        let published = self.published()?;
        let Some(id) = published.config else {
            return Err(Error::Order("backstop has not published one yet"));
        };
        let config = boot_config(&published.order, &self.read_back(&published)?)?;
        if config.id() != id {
            return Err(Error::Order("the boot entries were changed by hand since"));
        }
        Ok(config)
    }

    fn read_back(&self, published: &Published) -> Result<Vec<Planned>> {
        let trial = published.order.trial.as_ref();
        let mut planned = Vec::new();
        for listed in self.entries()? {
            let entry = &listed.entry;
            let title = entry.get("title").unwrap_or_default();
            let title = title.rsplit_once(" (ostree:").map_or(title, |(t, _)| t);
            let digests = match trial {
                Some(t) if t.deployment == listed.deployment => {
                    self.digests(entry.get("linux").unwrap_or_default())?
                }
                _ => Vec::new(),
            };
            planned.push(Planned {
                title: title.to_owned(),
                bootserial: 0,
                linux: entry.get("linux").unwrap_or_default().to_owned(),
                initrds: entry.all("initrd").map(str::to_owned).collect(),
                devicetree: None,
                options: self
                    .parse_kargs(&listed.deployment, entry.get("options").unwrap_or_default())?,
                digests,
                bootcsum: listed.bootcsum,
                id: listed.deployment,
            });
        }
        Ok(planned)
    }

    /// The published digests of the version on trial, whose kernel is `linux`:
    /// files named without a directory are beside it.
    fn digests(&self, linux: &str) -> Result<Vec<FileDigest>> {
        let path = self.layout().loader().join(boot::grub::DIGESTS_NAME);
        let text = durable::read_to_string(self.fs(), &path)?;
        let line = |line: &str| {
            let (sha256, path) = line.split_once("  ")?;
            let dir = match path.contains('/') {
                true => "",
                false => linux.rsplit_once('/').map_or("", |(dir, _)| dir),
            };
            Some(FileDigest {
                path: format!("{dir}/{path}"),
                sha256: sha256.to_owned(),
            })
        };
        let read: Option<Vec<_>> = text.lines().map(line).collect();
        read.ok_or_else(|| Error::Invalid {
            path,
            why: "it is no list of digests".to_owned(),
        })
    }

    /// Decides one start of the machine by the same rule as GRUB and counts the
    /// attempt, for hosts without a bootloader: a directory, a container.
    ///
    /// # Errors
    /// That nothing is published, or the disk's.
    pub fn simulate_boot(&self) -> Result<SimulatedBoot> {
        let published = self.published()?;
        let config = self.boot_config()?;
        let sector = self.state_sector().ok();
        let mut decision = decide(&config, sector.as_ref(), true);
        if decision.counted && !self.try_write(decision.sector_after.as_ref()) {
            decision = decide(&config, sector.as_ref(), false);
        }
        let order = &published.order;
        let deployment = match decision.entry {
            Choice::Trial => order.trial.as_ref().map(|t| &t.deployment),
            Choice::Entry(at) => order.good.iter().chain(&order.bad).nth(at),
        };
        let (Some(deployment), Some(entry)) = (deployment, decision.chosen(&config)) else {
            return Err(Error::Order("it has no entry to boot"));
        };
        Ok(SimulatedBoot {
            deployment: deployment.clone(),
            cmdline: entry.options.to_string(),
            attempts_left: decision
                .sector_after
                .filter(|_| decision.counted)
                .map(|s| s.left),
        })
    }

    fn try_write(&self, sector: Option<&StateSector>) -> bool {
        sector.is_some_and(|s| self.write_sector(s).is_ok())
    }
}
