//! Staging: a version is checked out and gets its `/etc`, but does not boot yet.

use std::io;
use std::path::Path;

use boot::{KernelArgs, kargs};
use durable::Doing;
use monitor::{Monitor, Progress, Unit};
use ostree::{CheckoutOptions, Checksum, RepoMode};

use crate::deployment::DeploymentId;
use crate::etc::{self, EtcReport, EtcTrees, Merge};
use crate::kernel;
use crate::origin::Origin;
use crate::sysroot::Sysroot;
use crate::{Error, Result};

/// The kernel arguments of a new deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StageKargs {
    /// The image's defaults with the local changes of the deployment to merge
    /// from.
    #[default]
    CarryOver,
    /// The image's defaults and then these.
    Local(KernelArgs),
    /// These alone.
    Exactly(KernelArgs),
}

/// What to stage.
#[derive(Debug, Clone)]
pub struct StageRequest {
    /// Which operating system's state it shares.
    pub stateroot: String,
    /// The version.
    pub commit: Checksum,
    /// Whose `/etc` and kernel arguments it continues; none on a new host.
    pub merge_from: Option<DeploymentId>,
    /// Where it comes from.
    pub origin: Origin,
    /// Its kernel arguments.
    pub kargs: StageKargs,
}

/// A staged deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Its name.
    pub deployment: DeploymentId,
    /// What became of local changes in `/etc`.
    pub etc: EtcReport,
}

impl Sysroot {
    /// Checks a version out and merges `/etc`. It is complete and on the disk
    /// when this returns, and in no boot entry. It is put together elsewhere and
    /// gets its name last, so what has a name is complete; when this fails,
    /// nothing is left of it.
    ///
    /// # Errors
    /// A stateroot or deployment that is not there, a tree that cannot boot, or
    /// the disk's.
    pub fn stage(&self, request: &StageRequest, monitor: &dyn Monitor) -> Result<Staged> {
        let _lock = self.lock()?;
        if !self.stateroots()?.contains(&request.stateroot) {
            return Err(Error::NoStateroot(request.stateroot.clone()));
        }
        let id = self.next_id(request)?;
        let tree = self.layout().staging().join(id.dir_name());
        let made = self.build(request, &id, &tree, monitor);
        if made.is_err() {
            self.discard(&id);
        }
        made
    }

    /// Removes what a failed staging left, as far as that goes: the first error is
    /// the one that matters.
    fn discard(&self, id: &DeploymentId) {
        let named = self.fs().metadata(&self.layout().deployment(id)).is_ok();
        if named {
            let _ = self.remove_deployment(id);
        } else {
            let _ = durable::remove_tree(self.fs(), &self.layout().origin(id));
            let _ = self.repo().set_ref(&keeping_ref(id), None);
        }
        let _ = durable::remove_tree(self.fs(), &self.layout().staging());
    }

    /// A name that no deployment has.
    fn next_id(&self, request: &StageRequest) -> Result<DeploymentId> {
        let same =
            |id: &DeploymentId| id.stateroot == request.stateroot && id.checksum == request.commit;
        let used = self.on_disk()?.into_iter().filter(same).map(|id| id.serial);
        Ok(DeploymentId {
            stateroot: request.stateroot.clone(),
            checksum: request.commit,
            serial: used.max().map_or(0, |n| n.saturating_add(1)),
        })
    }

    fn build(
        &self,
        request: &StageRequest,
        id: &DeploymentId,
        tree: &Path,
        monitor: &dyn Monitor,
    ) -> Result<Staged> {
        let (fs, layout) = (self.fs(), self.layout());
        durable::remove_tree(fs, &layout.staging())?;
        durable::create_dir_all(fs, &layout.staging(), 0o700)?;
        let options = CheckoutOptions {
            user_mode: self.repo().mode() != RepoMode::Bare,
            overlay_whiteouts: true,
            ..CheckoutOptions::default()
        };
        self.repo()
            .checkout(&id.checksum, tree, &options, monitor)?;
        kernel::locate(fs, tree)?;
        step(monitor, 0);
        let etc = self.make_etc(request.merge_from.as_ref(), tree)?;
        let mut origin = request.origin.for_another();
        origin.set_kargs(&self.stage_kargs(request, tree)?);
        step(monitor, 1);
        // The ref first: from here on pruning must leave the commit alone.
        self.repo().set_ref(&keeping_ref(id), Some(&id.checksum))?;
        fs.sync_filesystem(tree)
            .doing("sync the filesystem of", tree)?;
        self.write_origin(id, &origin)?;
        let dir = layout.deployment(id);
        durable::rename_and_sync(fs, tree, &dir)?;
        self.protect(&dir)?;
        step(monitor, 2);
        Ok(Staged {
            deployment: id.clone(),
            etc,
        })
    }

    /// A deployment's directory, where only `etc` is to be changed.
    pub(crate) fn protect(&self, dir: &Path) -> Result<()> {
        if crate::debug::has("mutable-deployments") {
            return Ok(());
        }
        let set = self.fs().set_immutable(dir, true);
        Ok(set.doing("make immutable", dir)?)
    }

    /// `etc`: the new default with the local changes on top.
    fn make_etc(&self, merge_from: Option<&DeploymentId>, tree: &Path) -> Result<EtcReport> {
        let fs = self.fs();
        let (new_default, to) = (tree.join("usr/etc"), tree.join("etc"));
        if fs.metadata(&to).is_ok() {
            return Err(Error::NotDeployable {
                path: tree.to_owned(),
                why: "it has /etc; the defaults belong in /usr/etc (see `backstop tree prepare`)",
            });
        }
        if fs.metadata(&new_default).is_err() {
            return Err(Error::NotDeployable {
                path: tree.to_owned(),
                why: "it has no /usr/etc (see `backstop tree prepare`)",
            });
        }
        let Some(from) = merge_from else {
            etc::copy_tree(fs, &new_default, &to)?;
            return Ok(EtcReport::default());
        };
        let from_dir = self.existing(from)?;
        let trees = EtcTrees {
            old_default: &from_dir.join("usr/etc"),
            local: &from_dir.join("etc"),
            new_default: &new_default,
        };
        let merge = Merge::new(fs, trees)?;
        merge.make(fs, &to)?;
        Ok(merge.report)
    }

    fn stage_kargs(&self, request: &StageRequest, tree: &Path) -> Result<KernelArgs> {
        let new_defaults = self.image_kargs(tree)?;
        match (&request.kargs, &request.merge_from) {
            (StageKargs::Exactly(args), _) => Ok(args.clone()),
            (StageKargs::Local(args), _) => {
                let mut all = new_defaults;
                all.extend(args);
                Ok(all)
            }
            (StageKargs::CarryOver, None) => Ok(new_defaults),
            (StageKargs::CarryOver, Some(from)) => {
                let effective = self.deployment(from)?.kargs;
                let old_defaults = self.image_kargs(&self.layout().deployment(from))?;
                Ok(KernelArgs::carry_over(
                    &old_defaults,
                    &effective,
                    &new_defaults,
                ))
            }
        }
    }

    /// The default kernel arguments of the image in a deployment's tree.
    pub(crate) fn image_kargs(&self, tree: &Path) -> Result<KernelArgs> {
        let fs = self.fs();
        let dir = tree.join(kargs::DEFAULTS_DIR);
        let entries = match fs.read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e).doing("list", &dir).map_err(Error::from),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = dir.join(&entry.name);
            if path.extension().is_some_and(|e| e == "toml") {
                let name = entry.name.to_string_lossy().into_owned();
                files.push((name, durable::read_to_string(fs, &path)?));
            }
        }
        kargs::defaults(&files).map_err(|source| Error::Kargs {
            of: dir.display().to_string(),
            source,
        })
    }

    /// What staging this version would do to local changes in `/etc`. The new
    /// defaults are read from a tree that is checked out already, as that of a
    /// staged deployment.
    ///
    /// # Errors
    /// The disk's.
    pub fn preview_etc(&self, from: &DeploymentId, new_tree: &Path) -> Result<EtcReport> {
        let from_dir = self.layout().deployment(from);
        let trees = EtcTrees {
            old_default: &from_dir.join("usr/etc"),
            local: &from_dir.join("etc"),
            new_default: &new_tree.join("usr/etc"),
        };
        Ok(etc::preview(self.fs(), &trees)?)
    }
}

/// The ref that keeps a deployment's commit.
pub(crate) fn keeping_ref(id: &DeploymentId) -> String {
    format!("backstop/deployed/{}/{}", id.stateroot, id.dir_name())
}

fn step(monitor: &dyn Monitor, done: u64) {
    monitor.progress(Progress {
        step: "merging /etc",
        done,
        total: Some(2),
        unit: Unit::Items,
    });
}
