//! The first deployment, on a disk that boots by BIOS and UEFI alike, or in a
//! directory.
//!
//! [`plan`] checks what is there and prints as what would be done;
//! [`InstallPlan::apply`] does it.

mod deploy;
mod filesystems;
mod grub;
mod layout;
mod raw;
mod systemd_boot;
mod target;
mod write;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable::{Doing, Fs};
use monitor::Monitor;
use sysroot::{DeploymentId, Loader};

pub use layout::{Layout, Partition, Role};
pub use target::Target;
pub use write::Identity;

use crate::{Error, Result};
use write::DiskWriter;

/// How long a new image becomes when nobody says.
pub const DEFAULT_IMAGE_SIZE: u64 = 4 << 30;

/// What to install where.
#[derive(Debug, Clone)]
pub struct InstallOptions {
    /// The repository that holds the version.
    pub repo: PathBuf,
    /// The version in it: a ref or a commit.
    pub rev: String,
    /// What the host's upgrades follow, as its origin says: `REMOTE:REF` or
    /// `REF`; `None`: the ref installed from.
    pub origin: Option<String>,
    /// The stateroot to be made.
    pub stateroot: String,
    /// Kernel arguments, besides those that find the root filesystem.
    pub kargs: Vec<String>,
    /// Speed of a serial console for the boot loader.
    pub serial: Option<u32>,
    /// What boots a disk: GRUB, by BIOS and UEFI, or systemd-boot, by UEFI.
    pub loader: Loader,
    /// Where.
    pub target: Target,
}

/// An installation that may be done.
#[derive(Debug, Clone)]
pub struct InstallPlan {
    /// What was asked for.
    pub options: InstallOptions,
    /// What the filesystems will be known by; `None` in a directory.
    pub identity: Option<Identity>,
}

/// Checks that the target may be written and that every program is there.
///
/// # Errors
/// [`Error::Refused`] says why the target is left as it is;
/// [`Error::MissingProgram`] names the Debian package; [`Error::NeedsRoot`].
pub fn plan(fs: &dyn Fs, options: &InstallOptions) -> Result<InstallPlan> {
    let identity = match &options.target {
        Target::Directory(dir) => {
            if fs.read_dir(dir).is_ok_and(|names| !names.is_empty()) {
                return Err(Error::Refused {
                    path: dir.clone(),
                    why: "it is not empty".into(),
                });
            }
            None
        }
        Target::Disk {
            path,
            size,
            overwrite,
        } => {
            if !rustix::process::geteuid().is_root() {
                return Err(Error::NeedsRoot("make a disk with files of all owners"));
            }
            filesystems::require()?;
            match options.loader {
                Loader::SystemdBoot => systemd_boot::require()?,
                Loader::Grub | Loader::None => grub::require()?,
            }
            target::check(fs, path, *size, *overwrite, options.loader)?;
            Some(Identity::new(fs)?)
        }
    };
    Ok(InstallPlan {
        options: options.clone(),
        identity,
    })
}

impl InstallPlan {
    /// Does it; gives the deployment's name.
    ///
    /// # Errors
    /// What failed. A disk is then incomplete and does not boot.
    pub fn apply(&self, fs: &Arc<dyn Fs>, monitor: &dyn Monitor) -> Result<DeploymentId> {
        match (&self.options.target, &self.identity) {
            (Target::Disk { path, size, .. }, Some(identity)) => {
                self.to_disk(fs, path, *size, identity, monitor)
            }
            (Target::Directory(dir), _) | (Target::Disk { path: dir, .. }, None) => {
                deploy::first(fs, dir, self, monitor)
            }
        }
    }

    fn to_disk(
        &self,
        fs: &Arc<dyn Fs>,
        path: &Path,
        size: u64,
        identity: &Identity,
        monitor: &dyn Monitor,
    ) -> Result<DeploymentId> {
        // Beside a repository on the same filesystem files become hard links.
        let near = self.options.repo.parent().unwrap_or(Path::new("/var/tmp"));
        let work = tempfile::Builder::new()
            .prefix(".backstop-install")
            .tempdir_in(near)
            .doing("make a directory in", near)?;
        let sysroot = work.path().join("sysroot");
        let writer = DiskWriter {
            fs: &**fs,
            path,
            size,
            identity,
            serial: self.options.serial,
            loader: self.options.loader,
            work: work.path(),
        };
        let made = self.fill(fs, &writer, &sysroot, monitor);
        // Deployments are immutable: an ordinary removal would leave them.
        let removed = durable::remove_tree(&**fs, &sysroot);
        let deployment = made?;
        removed?;
        Ok(deployment)
    }

    fn fill(
        &self,
        fs: &Arc<dyn Fs>,
        writer: &DiskWriter<'_>,
        sysroot: &Path,
        monitor: &dyn Monitor,
    ) -> Result<DeploymentId> {
        writer.loader_files(sysroot)?;
        let deployment = deploy::first(fs, sysroot, self, monitor)?;
        writer.write(sysroot, monitor)?;
        Ok(deployment)
    }

    /// What the host's upgrades follow; nothing when it was installed from a
    /// commit that no ref names.
    fn refspec(&self) -> Option<&str> {
        let options = &self.options;
        let named = options.rev.parse::<ostree::Checksum>().is_err();
        let rev = Some(options.rev.as_str()).filter(|_| named);
        options.origin.as_deref().or(rev)
    }

    /// The kernel arguments of the first deployment.
    fn kargs(&self) -> Vec<String> {
        let mut kargs = Vec::new();
        if let Some(identity) = &self.identity {
            kargs.push(format!("root=UUID={}", identity.root));
            kargs.push("rw".into());
            // It would mount the ESP over /boot.
            kargs.push("systemd.gpt_auto=0".into());
        }
        kargs.extend(self.options.kargs.iter().cloned());
        kargs
    }
}

impl fmt::Display for InstallPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        let (repo, rev) = (options.repo.display(), &options.rev);
        match &options.target {
            Target::Directory(dir) => {
                writeln!(f, "to install {rev} of {repo} in {}:", dir.display())?
            }
            Target::Disk { path, .. } => {
                writeln!(f, "to install {rev} of {repo} on {}:", path.display())?;
                let esp = layout::esp_size(options.loader) >> 20;
                writeln!(
                    f,
                    "  divide it: BIOS boot 1 MiB, ESP {esp} MiB, root the rest"
                )?;
                match options.loader {
                    Loader::SystemdBoot => writeln!(f, "  put systemd-boot on it, for UEFI")?,
                    Loader::Grub | Loader::None => {
                        writeln!(f, "  put GRUB on it, for BIOS and for UEFI")?;
                    }
                }
            }
        }
        writeln!(f, "  deploy it in the stateroot {}", options.stateroot)?;
        writeln!(f, "  boot it with: {}", self.kargs().join(" "))
    }
}
