//! Removing deployments, and what nothing refers to any more.

use std::collections::BTreeSet;
use std::path::Path;

use durable::Doing;
use monitor::Monitor;
use ostree::PruneOptions;

use crate::deployment::{Deployment, DeploymentId, Standing};
use crate::stage::keeping_ref;
use crate::sysroot::{Sysroot, subdirectories};
use crate::{Error, Result};

/// What a cleaning removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CleanupReport {
    /// Deployments.
    pub deployments: Vec<DeploymentId>,
    /// Directories of kernels in `/boot/ostree`.
    pub kernels: Vec<String>,
    /// Bytes of objects that no ref leads to any more.
    pub object_bytes: u64,
}

impl Sysroot {
    /// Removes a deployment that is in no boot entry.
    ///
    /// # Errors
    /// That it must stay: it has a boot entry, runs, or is pinned; or the
    /// disk's.
    pub fn undeploy(&self, id: &DeploymentId) -> Result<()> {
        let _lock = self.lock()?;
        let deployment = self.deployment(id)?;
        if let Some(why) = self.reason_to_stay(&deployment, self.running()?.as_ref()) {
            let id = id.clone();
            return Err(Error::InUse { id, why });
        }
        self.settle_switch()?;
        self.remove_deployment(id)
    }

    /// Removes every deployment that is in no boot entry, save for the running
    /// one, pinned ones, and those in `keep`; then kernels, boot files and refs
    /// that nothing needs, and the objects of commits that no ref leads to.
    /// Deployments that can boot stay, whatever happens: the good ones, the one on
    /// trial, and bad ones until they are published no more.
    ///
    /// # Errors
    /// The disk's, or a boot order that cannot be read: then nothing is removed.
    pub fn cleanup(&self, keep: &[DeploymentId], monitor: &dyn Monitor) -> Result<CleanupReport> {
        let _lock = self.lock()?;
        let Some(version) = self.boot_version()? else {
            return Err(Error::Order(
                "there is none yet, so nothing is known to be old",
            ));
        };
        let mut report = CleanupReport::default();
        let all = self.deployments()?;
        let running = self.running()?;
        self.settle_switch()?;
        self.remove_leftovers()?;
        // First what leads to old deployments, then these.
        self.remove_links(version ^ 1)?;
        self.remove_other_links(version)?;
        durable::remove_tree(self.fs(), &self.layout().loader_of(version ^ 1))?;
        durable::remove_tree(self.fs(), &self.layout().staging())?;
        for deployment in &all {
            let stays = self.reason_to_stay(deployment, running.as_ref()).is_some();
            if stays || keep.contains(&deployment.id) {
                continue;
            }
            monitor.note(&format!("removing the deployment {}", deployment.id));
            self.remove_deployment(&deployment.id)?;
            report.deployments.push(deployment.id.clone());
        }
        report.kernels = self.remove_kernels()?;
        self.drop_refs(&format!("ostree/{}", version ^ 1), 0)?;
        report.object_bytes = self.prune(monitor);
        Ok(report)
    }

    /// Removes what publications and stagings that were cut off left lying. All who
    /// write here hold the lock.
    fn remove_leftovers(&self) -> Result<()> {
        let (fs, layout) = (self.fs(), self.layout());
        let mut dirs = vec![layout.boot(), layout.ostree()];
        for stateroot in self.stateroots()? {
            dirs.push(layout.deployments(&stateroot));
        }
        for dir in dirs {
            durable::remove_leftovers(fs, &dir)?;
        }
        Ok(())
    }

    /// Removes objects as `ostree admin cleanup` does. A damaged repository keeps
    /// them all; that is told, and must not stand in the way of a good version.
    fn prune(&self, monitor: &dyn Monitor) -> u64 {
        let options = PruneOptions {
            refs_only: true,
            depth: Some(0),
            dry_run: false,
            ..PruneOptions::default()
        };
        match self.repo().prune(&options, monitor) {
            Ok(summary) => summary.bytes_removed,
            Err(e) => {
                monitor.note(&format!("old objects stay in the repository: {e}"));
                0
            }
        }
    }

    /// The deployment that is the root of this very system.
    pub(crate) fn running(&self) -> Result<Option<DeploymentId>> {
        self.booted_at(Path::new("/"))
    }

    fn reason_to_stay(
        &self,
        deployment: &Deployment,
        running: Option<&DeploymentId>,
    ) -> Option<&'static str> {
        match deployment.standing {
            Standing::Good(_) | Standing::Bad => Some("it is in the boot order"),
            Standing::Trial => Some("it is on trial"),
            Standing::Unlisted if running == Some(&deployment.id) => Some("it is running"),
            Standing::Unlisted if deployment.origin.is_pinned() => Some("it is pinned"),
            Standing::Unlisted => None,
        }
    }

    /// Its files go first to where nothing takes them for a deployment.
    pub(crate) fn remove_deployment(&self, id: &DeploymentId) -> Result<()> {
        let (fs, layout) = (self.fs(), self.layout());
        let dir = layout.deployment(id);
        let away = layout.staging().join(id.dir_name());
        durable::create_dir_all(fs, &layout.staging(), 0o700)?;
        durable::remove_tree(fs, &away)?;
        fs.set_immutable(&dir, false).doing("make mutable", &dir)?;
        durable::rename_and_sync(fs, &dir, &away)?;
        durable::remove_tree(fs, &layout.origin(id))?;
        self.repo().set_ref(&keeping_ref(id), None)?;
        Ok(durable::remove_tree(fs, &away)?)
    }

    /// Removes the kernels that no entry names.
    fn remove_kernels(&self) -> Result<Vec<String>> {
        let mut needed = BTreeSet::new();
        for entry in self.entries()? {
            let files = entry.entry.all("linux").chain(entry.entry.all("initrd"));
            let dirs = files.filter_map(|f| Path::new(f).parent()?.file_name()?.to_str());
            needed.extend(dirs.map(str::to_owned));
        }
        let kernels = self.layout().kernels();
        let mut removed = Vec::new();
        for name in subdirectories(self.fs(), &kernels)? {
            // Other directories here belong to somebody else.
            let ours = name
                .rsplit_once('-')
                .is_some_and(|(_, sum)| sum.len() == 64);
            if ours && !needed.contains(&name) {
                durable::remove_tree(self.fs(), &kernels.join(&name))?;
                removed.push(name);
            }
        }
        Ok(removed)
    }
}
