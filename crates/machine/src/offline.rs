//! A machine that is not running: its disk, looked at from another system.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use durable::Fs;

use crate::{LiveSwitch, Machine, MachineError, Result, facts};

/// A machine that is off, while its disk is mounted in a rescue system. Nothing can be
/// started on it, and nothing waits on it.
#[derive(Debug)]
pub struct Offline {
    fs: Arc<dyn Fs>,
}

impl Offline {
    /// A machine that is off.
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>) -> Self {
        Self { fs }
    }
}

fn off<T>(doing: &str) -> Result<T> {
    Err(MachineError::Program {
        doing: doing.to_owned(),
        why: "the host is not running: its disk is mounted in another system".to_owned(),
    })
}

impl Machine for Offline {
    /// The rescue system's: what is written down now was written in that boot.
    fn boot_id(&self) -> Result<String> {
        facts::boot_id(&*self.fs)
    }

    fn uptime(&self) -> Result<Duration> {
        facts::uptime(&*self.fs)
    }

    fn cmdline(&self) -> Result<String> {
        off("read its kernel's command line")
    }

    fn start(&mut self, _: &str, _: Option<Duration>, _: &[&str]) -> Result<()> {
        off("start a job on it")
    }

    fn cancel(&mut self, _: &str, _: Option<&str>) -> Result<()> {
        // Nothing runs there.
        Ok(())
    }

    fn refuses_live(&self, _: &LiveSwitch<'_>) -> Option<String> {
        Some("the host is not running".to_owned())
    }

    fn switch_live(&mut self, _: &LiveSwitch<'_>) -> Result<()> {
        off("switch it")
    }

    fn revert_live(&mut self, _: &LiveSwitch<'_>) -> Result<()> {
        // What was switched live is gone with the boot.
        Ok(())
    }

    fn reboot(&mut self, _: bool) -> Result<()> {
        off("reboot it")
    }

    fn booted_root(&self) -> Result<PathBuf> {
        off("tell what it runs")
    }

    fn active_root(&self) -> Result<PathBuf> {
        off("tell what it runs")
    }
}
