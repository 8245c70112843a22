//! The host that a command works on, with its journal.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use durable::{Fs, RealFs};
use engine::{Driver, Host, Journal, Scope};
use image::ImageHost;
use monitor::Monitor;
use nix::NixHost;

use crate::args::{Global, HostKind};
use crate::host::AnyHost;
use crate::timeline::Printer;

/// How long to wait for another process that changes the host.
const PATIENCE: Duration = Duration::from_secs(10);

/// The host that a command works on, with its journal.
#[derive(Debug)]
pub struct Session {
    /// Who does the work.
    pub host: AnyHost,
    /// What is remembered.
    pub journal: Journal,
}

impl Session {
    /// Opens the host at `--sysroot`.
    pub fn open(global: &Global) -> anyhow::Result<Self> {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let root = &global.sysroot;
        let opened = match global.host.unwrap_or_else(|| kind_at(root)) {
            HostKind::Image => ImageHost::open(fs.clone(), root)
                .map(AnyHost::Image)
                .map_err(anyhow::Error::from),
            HostKind::Nix => NixHost::open(fs.clone(), root)
                .map(|nix| AnyHost::Nix(Box::new(nix)))
                .map_err(anyhow::Error::from),
        };
        let host = opened.with_context(|| format!("cannot open the host at {}", root.display()))?;
        let journal = Journal::new(fs, &host.memory(root));
        Ok(Self { host, journal })
    }

    /// A driver for this host.
    pub fn driver<'a>(
        &'a mut self,
        printer: &'a Printer,
        monitor: &'a dyn Monitor,
        scope: Scope,
    ) -> Driver<'a> {
        Driver {
            host: self.host.as_host(),
            journal: &self.journal,
            observer: printer,
            monitor,
            scope,
            patience: PATIENCE,
        }
    }

    /// The policy of the system that runs.
    pub fn policy(&self) -> anyhow::Result<agent::Policy> {
        let usual = self.host.usual_policy();
        Ok(agent::Policy::load_over(usual, &self.host.checks_root()?)?)
    }

    /// The version that is active: the one booted, or one activated live since.
    pub fn running(&mut self) -> anyhow::Result<engine::VersionId> {
        let host: &mut dyn Host = self.host.as_host();
        if let Some(active) = host.active().map_err(as_anyhow)? {
            return Ok(active);
        }
        let now = host.now().map_err(as_anyhow)?;
        let booted = host.running().map_err(as_anyhow)?;
        let memory = self.journal.load()?;
        Ok(memory.active(&now.boot, &booted.version))
    }

    /// The good version to go back to from `running`, if one is kept.
    pub fn version_before(
        &self,
        running: &engine::VersionId,
    ) -> anyhow::Result<Option<engine::VersionId>> {
        let knowledge = self.journal.load()?.knowledge;
        self.host.version_before(running, &knowledge)
    }
}

/// What is there: a repository of images, else a Nix store with a system.
fn kind_at(root: &Path) -> HostKind {
    let images = root.join("ostree/repo").exists();
    if !images && nix::Layout::is_one(root) {
        HostKind::Nix
    } else {
        HostKind::Image
    }
}

/// A host's error as the program's.
pub fn as_anyhow(error: engine::HostError) -> anyhow::Error {
    anyhow::Error::from_boxed(error)
}
