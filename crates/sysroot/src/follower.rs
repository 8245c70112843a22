//! The EFI system partition in one publication: it follows `/boot/loader`.
//!
//! Going back must not depend on a partition that cannot be written, or is not mounted.
//! Where it boots the wanted default already it may stay as it is, once: its entries lead
//! by the links that counted until now, and the publication after that would write over
//! them. That one waits until it can be written.

use std::path::PathBuf;

use boot::BootConfig;
use monitor::Monitor;

use crate::Result;
use crate::esp::Esp;
use crate::order::BootOrder;
use crate::publish::write_new;
use crate::sysroot::Sysroot;

/// In a set of boot files that the EFI system partition does not follow.
const STAYS_NAME: &str = "esp-stays";

/// What follows a publication, where systemd-boot boots the host.
pub(crate) struct Follower<'a> {
    sysroot: &'a Sysroot,
    esp: Option<Esp<'a>>,
    /// The configuration that counts until now.
    current: Option<BootConfig>,
    /// Whether it may stay as it is.
    may_stay: bool,
    /// Whether it does.
    stays: bool,
    monitor: &'a dyn Monitor,
}

impl Sysroot {
    /// For the publication of this order; with other kernel arguments, or as it is.
    pub(crate) fn follower<'a>(
        &'a self,
        order: &BootOrder,
        with_kargs: bool,
        monitor: &'a dyn Monitor,
    ) -> Result<Follower<'a>> {
        let mut follower = Follower {
            sysroot: self,
            esp: self.esp(&self.boot_settings()?)?,
            current: self.boot_config().ok(),
            may_stay: false,
            stays: false,
            monitor,
        };
        follower.may_stay = !with_kargs && follower.boots_already(order);
        Ok(follower)
    }

    /// Whether the EFI system partition that systemd-boot goes by does not follow what is
    /// published: it could not be written, and boots the same default.
    #[must_use]
    pub fn esp_stays(&self) -> bool {
        let sign = self.layout().loader().join(STAYS_NAME);
        self.fs().metadata(&sign).is_ok()
    }
}

impl Follower<'_> {
    /// Whether systemd-boot boots this order's default, by the links that count now.
    fn boots_already(&self, order: &BootOrder) -> bool {
        let (Some(esp), Some(config)) = (&self.esp, &self.current) else {
            return false;
        };
        let Ok(now) = self.sysroot.published() else {
            return false;
        };
        let same = order.trial.is_none() && now.order.good.first() == order.good.first();
        let leads_there = !esp.is_mounted() || esp.is_default(config.id());
        same && leads_there && !self.sysroot.esp_stays()
    }

    fn unless_it_may_stay(&mut self, done: Result<()>) -> Result<()> {
        match done {
            Err(e) if self.may_stay => {
                self.stays = true;
                self.monitor.note(&format!(
                    "the EFI system partition stays as it is, and boots the same default: {e}"
                ));
                Ok(())
            }
            done => done,
        }
    }

    /// Before anything is written over: it is as what counts now.
    pub fn settle(&mut self) -> Result<()> {
        let settled = match (&self.esp, &self.current) {
            (Some(esp), Some(config)) => esp.settle(config),
            _ => Ok(()),
        };
        self.unless_it_may_stay(settled)
    }

    /// The same where nothing will be written over.
    pub fn settle_again(&mut self) -> Result<()> {
        self.may_stay |= self.sysroot.esp_stays();
        self.settle()
    }

    /// What a configuration needs; `version` is its set of boot files.
    pub fn write(&mut self, config: &BootConfig, version: u8) -> Result<()> {
        if let Some(esp) = self.esp.as_ref().filter(|_| !self.stays) {
            let written = esp.write(config, self.current.as_ref());
            self.unless_it_may_stay(written)?;
        }
        match self.stays {
            true => write_new(self.sysroot.fs(), &self.sign(version), ""),
            false => Ok(()),
        }
    }

    fn sign(&self, version: u8) -> PathBuf {
        self.sysroot.layout().loader_of(version).join(STAYS_NAME)
    }

    /// The new default, and its trial.
    pub fn switch(&mut self, config: &BootConfig) -> Result<()> {
        let Some(esp) = &self.esp else {
            return Ok(());
        };
        let named = match self.stays {
            true => Ok(()),
            false => esp.set_default(config.id()),
        };
        let trial = match config.trial() {
            Some(_) if named.is_ok() => esp.arm(config.id()),
            Some(_) => Ok(()),
            None => esp.disarm(),
        };
        self.unless_it_may_stay(named)?;
        trial
    }
}
