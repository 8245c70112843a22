//! Bootloaders that do not read boot entries, and what is written for them into the
//! `loader` directory that is switched to.
//!
//! Which one there is, `[sysroot] bootloader` in the repository's config says, or else
//! the file at the place where that bootloader looks, which must be a symlink into
//! `boot/loader`: then it is switched with the rest.

mod grub;
mod syslinux;
mod uboot;

use std::path::Path;

use durable::FileKind;

use crate::planned::Planned;
use crate::publish::write_new;
use crate::sysroot::Sysroot;
use crate::{Error, Result};

/// A bootloader with a configuration of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bootloader {
    Syslinux,
    Uboot,
    Grub,
}

impl Sysroot {
    /// The bootloader that wants a configuration, if one does.
    fn bootloader(&self) -> Result<Option<Bootloader>> {
        let setting = self.repo().config_value("sysroot", "bootloader")?;
        Ok(match setting.as_deref() {
            None | Some("auto") => self.detect_bootloader(),
            Some("none") => None,
            Some("syslinux") => Some(Bootloader::Syslinux),
            Some("uboot") => Some(Bootloader::Uboot),
            Some("grub2") => Some(Bootloader::Grub),
            Some(other) => {
                return Err(Error::Invalid {
                    path: self.layout().repo().join("config"),
                    why: format!(
                        "the bootloader {other:?} is not known; auto, none, grub2, syslinux and \
                         uboot are"
                    ),
                });
            }
        })
    }

    /// Whether there is a bootloader that goes by a configuration of its own.
    pub(crate) fn has_bootloader(&self) -> Result<bool> {
        Ok(self.bootloader()?.is_some())
    }

    /// Whether a publication comes with a configuration for GRUB.
    pub(crate) fn generates_grub(&self) -> Result<bool> {
        Ok(self.bootloader()? == Some(Bootloader::Grub))
    }

    fn detect_bootloader(&self) -> Option<Bootloader> {
        let boot = self.layout().boot();
        let linked = |path: &str| {
            let meta = self.fs().metadata(&boot.join(path));
            meta.is_ok_and(|m| m.kind == FileKind::Symlink)
        };
        let there = |path: &str| self.fs().metadata(&boot.join(path)).is_ok();
        match () {
            () if linked("syslinux/syslinux.cfg") => Some(Bootloader::Syslinux),
            () if linked("uEnv.txt") => Some(Bootloader::Uboot),
            () if there("grub2/grub.cfg") || there("grub/grub.cfg") => Some(Bootloader::Grub),
            () => None,
        }
    }

    /// Writes the configuration for these entries into `boot/loader.B`.
    pub(crate) fn write_bootloader(&self, version: u8, planned: &[Planned]) -> Result<()> {
        let dir = self.layout().loader_of(version);
        let old = |name: &str| {
            let path = self.layout().loader().join(name);
            durable::read_to_string(self.fs(), &path).unwrap_or_default()
        };
        match self.bootloader()? {
            None => Ok(()),
            Some(Bootloader::Syslinux) => {
                let text = syslinux::config(&old("syslinux.cfg"), planned, self.boot_prefix()?);
                write_new(self.fs(), &dir.join("syslinux.cfg"), &text)
            }
            Some(Bootloader::Uboot) => {
                let text = uboot::config(planned, &self.own_uboot_lines(planned));
                write_new(self.fs(), &dir.join("uEnv.txt"), &text)
            }
            Some(Bootloader::Grub) => grub::generate(self.path(), version, &dir),
        }
    }

    /// How the bootloader reaches what is in `/boot`: where that is no filesystem of
    /// its own, below `/boot`.
    fn boot_prefix(&self) -> Result<&'static str> {
        let dev = |path: &Path| -> Result<u64> {
            use durable::Doing;
            Ok(self.fs().metadata(path).doing("look at", path)?.dev)
        };
        let own = dev(&self.layout().boot())? != dev(self.path())?;
        Ok(if own { "" } else { "/boot" })
    }

    /// What the default's tree wants U-Boot to read besides.
    fn own_uboot_lines(&self, planned: &[Planned]) -> String {
        let Some(first) = planned.first() else {
            return String::new();
        };
        let tree = self.layout().deployment(&first.id);
        let path = tree.join("usr/lib/ostree-boot/uEnv.txt");
        durable::read_to_string(self.fs(), &path).unwrap_or_default()
    }
}
