//! The host that a command works on, with its journal.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use durable::{Fs, RealFs};
use engine::{Driver, Journal, Scope};
use image::ImageHost;
use monitor::Monitor;

use crate::args::Global;
use crate::timeline::Printer;

/// How long to wait for another process that changes the host.
const PATIENCE: Duration = Duration::from_secs(10);

/// The host that a command works on, with its journal.
#[derive(Debug)]
pub struct Session {
    /// The door to the disk.
    pub fs: Arc<dyn Fs>,
    /// Who does the work.
    pub host: ImageHost,
    /// What is remembered.
    pub journal: Journal,
}

impl Session {
    /// Opens the host at `--sysroot`.
    pub fn open(global: &Global) -> anyhow::Result<Self> {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let host = ImageHost::open(fs.clone(), &global.sysroot)
            .with_context(|| format!("cannot open the host at {}", global.sysroot.display()))?;
        let journal = Journal::new(fs.clone(), &memory_dir(&global.sysroot));
        Ok(Self { fs, host, journal })
    }

    /// A driver for this host.
    pub fn driver<'a>(
        &'a mut self,
        printer: &'a Printer,
        monitor: &'a dyn Monitor,
        scope: Scope,
    ) -> Driver<'a> {
        Driver {
            host: &mut self.host,
            journal: &self.journal,
            observer: printer,
            monitor,
            scope,
            patience: PATIENCE,
        }
    }
}

/// Where a host remembers, shared by all its versions.
fn memory_dir(sysroot: &Path) -> std::path::PathBuf {
    sysroot.join("ostree/backstop")
}

/// A host's error as the program's.
pub fn as_anyhow(error: engine::HostError) -> anyhow::Error {
    anyhow::Error::from_boxed(error)
}

impl Session {
    /// The policy of the system that runs.
    pub fn policy(&self) -> anyhow::Result<agent::Policy> {
        Ok(agent::Policy::load(&self.host.checks_root()?)?)
    }

    /// The version that is active: the one booted, or one kept live since.
    pub fn running(&mut self) -> anyhow::Result<engine::VersionId> {
        let now = engine::Host::now(&mut self.host).map_err(as_anyhow)?;
        let booted = engine::Host::running(&mut self.host).map_err(as_anyhow)?;
        let memory = self.journal.load()?;
        Ok(memory.active(&now.boot, &booted.version))
    }
}
