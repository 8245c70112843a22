//! Booting a version once: the boot loader's part of a boot trial.
//!
//! The default stays what it is; the loader is told to boot another entry at the
//! next start only. Whatever happens to that boot, the one after it is the default
//! again.
//!
//! | loader | the next boot is named in | taken back by |
//! | --- | --- | --- |
//! | systemd-boot | the EFI variable `LoaderEntryOneShot` | the loader, before it starts the kernel |
//! | GRUB | `next_entry` in `grubenv` | GRUB's `save_env`, before it starts the kernel |

mod grub;
#[cfg(test)]
mod grub_emu;
mod grubenv;
mod menu;
mod systemd_boot;

use std::path::Path;
use std::time::Duration;

use durable::{Doing, Fs};

use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::store::StorePath;

use grub::Grub;
use systemd_boot::SystemdBoot;

/// A boot loader that can boot an entry once.
#[derive(Debug)]
pub(crate) enum Loader<'a> {
    SystemdBoot(SystemdBoot<'a>),
    Grub(Grub<'a>),
}

impl<'a> Loader<'a> {
    /// The host's boot loader.
    ///
    /// # Errors
    /// There is none that can boot an entry once.
    pub fn find(fs: &'a dyn Fs, layout: &'a Layout, limit: Duration) -> Result<Self> {
        if let Some(found) = SystemdBoot::find(layout, limit) {
            return Ok(Self::SystemdBoot(found));
        }
        if let Some(found) = Grub::find(fs, layout)? {
            return Ok(Self::Grub(found));
        }
        let looked = layout.boot();
        Err(Error::NoBootOnce(format!(
            "there is neither systemd-boot nor a GRUB configuration in {}; try it live",
            looked.display()
        )))
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SystemdBoot(_) => "systemd-boot",
            Self::Grub(_) => "GRUB",
        }
    }

    /// Refuses where a version that is booted once could be booted again.
    pub fn can_boot_once(&self) -> Result<()> {
        match self {
            Self::SystemdBoot(_) => Ok(()),
            Self::Grub(loader) => loader.can_boot_once(),
        }
    }

    /// Lets the next start boot a version that the loader has an entry of.
    pub fn boot_once(&self, version: &StorePath) -> Result<()> {
        match self {
            Self::SystemdBoot(loader) => loader.boot_once(version),
            Self::Grub(loader) => loader.boot_once(version),
        }
    }

    /// Takes that back.
    pub fn boot_default(&self) -> Result<()> {
        match self {
            Self::SystemdBoot(loader) => loader.boot_default(),
            Self::Grub(loader) => loader.boot_default(),
        }
    }

    /// Whether the next start boots something else than the default.
    pub fn is_armed(&self) -> Result<bool> {
        match self {
            Self::SystemdBoot(loader) => Ok(loader.is_armed()),
            Self::Grub(loader) => loader.is_armed(),
        }
    }

    /// Makes sure that a version boots by default that the loader was just configured
    /// for.
    pub fn settle_default(&self, version: &StorePath) -> Result<()> {
        match self {
            Self::SystemdBoot(_) => Ok(()),
            Self::Grub(loader) => loader.settle_default(version),
        }
    }

    /// The version that boots by default, if the loader tells.
    pub fn default(&self) -> Result<Option<StorePath>> {
        match self {
            Self::SystemdBoot(loader) => loader.default(),
            Self::Grub(loader) => loader.default(),
        }
    }
}

/// Syncs what a boot loader's installation wrote.
pub(crate) fn sync(fs: &dyn Fs, layout: &Layout) -> Result<()> {
    for dir in ["boot", "boot/efi", "efi"] {
        let dir = layout.root().join(dir);
        if dir.is_dir() {
            fs.sync_filesystem(&dir)
                .doing("sync the filesystem of", &dir)?;
        }
    }
    Ok(())
}

/// The version whose init program a kernel command line names.
pub(crate) fn version_in(layout: &Layout, cmdline: &str) -> Option<StorePath> {
    let init = cmdline
        .split_whitespace()
        .find_map(|word| word.strip_prefix("init="))?;
    let toplevel = Path::new(init).parent()?;
    StorePath::parse(layout, &toplevel.to_string_lossy()).ok()
}
