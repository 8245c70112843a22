//! The filesystems of a host that GRUB has to find.

use std::path::{Path, PathBuf};
use std::process::Command;

use durable::Fs;

use super::mounts::{self, Place};
use super::refuse;
use crate::{Error, Result, program};

/// The kinds of filesystem on which GRUB can overwrite a file in place.
const WRITABLE: [&str; 4] = ["ext2", "ext3", "ext4", "xfs"];

/// Where GRUB finds `/boot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BootPlace {
    /// The UUID of its filesystem.
    pub uuid: String,
    /// Its path there; empty where it is a filesystem of its own.
    pub dir: String,
    /// What it is on, where that is known.
    found: Option<Place>,
}

impl BootPlace {
    /// As somebody said; in the root filesystem.
    pub fn told(uuid: &str) -> Self {
        Self {
            uuid: uuid.to_owned(),
            dir: "/boot".into(),
            found: None,
        }
    }

    /// As it is mounted.
    pub fn find(fs: &dyn Fs, sysroot: &Path) -> Result<Self> {
        let place = place(fs, &sysroot.join("boot"))?;
        if !is_hosts(&place) {
            return refuse(
                sysroot,
                "it is a directory of another filesystem, not the root of its own: give the UUID \
                 of the filesystem that it will be, with --boot-uuid",
            );
        }
        Ok(Self {
            uuid: uuid(&place)?,
            dir: place.dir.clone(),
            found: Some(place),
        })
    }

    /// Refuses a filesystem on which GRUB cannot count attempts.
    pub fn check_writable(&self, sysroot: &Path) -> Result<()> {
        let Some(place) = &self.found else {
            return Ok(());
        };
        let device = real(&device(place)).unwrap_or_default();
        let name = device.file_name().unwrap_or_default().to_string_lossy();
        let layered = name.starts_with("dm-") || name.starts_with("md");
        if WRITABLE.contains(&&*place.kind) && !layered {
            return Ok(());
        }
        refuse(
            sysroot,
            &format!(
                "GRUB cannot write to {} on {}, where it would count attempts: mount the EFI \
                 system partition at /boot/efi, or make /boot a filesystem of its own",
                place.kind, place.source
            ),
        )
    }
}

/// Whether this is where a host has its `/boot`: in its root filesystem, or as one of its
/// own. A directory of another system is elsewhere, and so is its filesystem.
fn is_hosts(place: &Place) -> bool {
    ["", "/boot"].contains(&&*place.dir)
}

/// The EFI system partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Esp {
    /// The UUID of its filesystem.
    pub uuid: String,
}

impl Esp {
    /// What is mounted at `dir`, if that is FAT.
    pub fn find(fs: &dyn Fs, dir: &Path) -> Result<Option<Self>> {
        if fs.read_dir(dir).is_err() {
            return Ok(None);
        }
        let place = place(fs, dir)?;
        if place.kind != "vfat" || place.mounted_at != real(dir)? {
            return Ok(None);
        }
        Ok(Some(Self {
            uuid: uuid(&place)?,
        }))
    }
}

/// Where a directory is. Looking into it mounts what is mounted on demand.
fn place(fs: &dyn Fs, dir: &Path) -> Result<Place> {
    let path = real(dir)?;
    let mountinfo = durable::read_to_string(fs, Path::new("/proc/self/mountinfo"))?;
    mounts::place(&mountinfo, &path).ok_or_else(|| Error::Refused {
        path: dir.to_owned(),
        why: "/proc/self/mountinfo does not say what it is on".into(),
    })
}

fn real(path: &Path) -> Result<PathBuf> {
    use durable::Doing;
    Ok(path.canonicalize().doing("look at", path)?)
}

/// The device of a mount: some kernels name the root's as nobody else does.
fn device(place: &Place) -> PathBuf {
    match Path::new(&place.source) {
        named if named.starts_with("/dev") && named.exists() => named.to_owned(),
        _ => Path::new("/dev/block").join(&place.number),
    }
}

/// The UUID that GRUB searches for.
fn uuid(place: &Place) -> Result<String> {
    program::require("blkid", "util-linux")?;
    let said = program::run(
        Command::new("blkid")
            .args(["-p", "-o", "value", "-s", "UUID"])
            .arg(device(place)),
    )?;
    Ok(said.trim().to_owned())
}
