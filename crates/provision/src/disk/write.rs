//! A sysroot directory becomes a disk that boots.

use std::path::{Path, PathBuf};
use std::process::Command;

use boot::grub::{StatePlace, StaticConfig, static_config};
use durable::{Doing, Fs};
use monitor::{Monitor, Progress, Unit};
use sysroot::Loader;

use super::layout::Layout;
use super::raw::RawDisk;
use super::{filesystems, grub, systemd_boot};
use crate::{Error, Result, program};

/// Where the ESP is mounted, below the physical root.
pub(super) const ESP_DIR: &str = "boot/efi";
/// The state sector on the ESP.
pub(super) const STATE_ON_ESP: &str = "/backstop/state";

/// What a disk's filesystems are known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// UUID of the root filesystem.
    pub root: String,
    /// UUID of the ESP's partition.
    pub esp_partition: String,
}

impl Identity {
    /// New ones.
    pub(super) fn new(fs: &dyn Fs) -> Result<Self> {
        Ok(Self {
            root: uuid(fs)?,
            esp_partition: uuid(fs)?,
        })
    }
}

fn uuid(fs: &dyn Fs) -> Result<String> {
    let text = durable::read_to_string(fs, Path::new("/proc/sys/kernel/random/uuid"))?;
    Ok(text.trim().to_owned())
}

/// A disk to be written.
#[derive(Debug)]
pub(super) struct DiskWriter<'a> {
    pub fs: &'a dyn Fs,
    pub path: &'a Path,
    /// The length of a new image.
    pub size: u64,
    pub identity: &'a Identity,
    /// Speed of a serial console.
    pub serial: Option<u32>,
    /// What boots the disk.
    pub loader: Loader,
    /// Where images are made before they are written.
    pub work: &'a Path,
}

impl DiskWriter<'_> {
    /// Puts the boot loader's files below `sysroot`, where the ESP will be
    /// mounted.
    pub(super) fn loader_files(&self, sysroot: &Path) -> Result<()> {
        let esp = sysroot.join(ESP_DIR);
        durable::create_dir_all(self.fs, &esp.join("EFI/BOOT"), 0o755)?;
        if self.loader == Loader::SystemdBoot {
            // Its configuration is published with the first deployment.
            return systemd_boot::program_to(self.fs, &esp.join("EFI/BOOT/BOOTX64.EFI"));
        }
        durable::create_dir_all(self.fs, &esp.join("grub"), 0o755)?;
        grub::efi_program(&esp.join("EFI/BOOT/BOOTX64.EFI"))?;
        let config = static_config(&StaticConfig {
            boot_uuid: self.identity.root.clone(),
            boot_dir: "/boot".into(),
            state: StatePlace::BesideGrubConfig(STATE_ON_ESP.into()),
            serial: self.serial,
            before: None,
        })?;
        let path = esp.join("grub/grub.cfg");
        Ok(durable::publish_file(
            self.fs,
            &path,
            config.as_bytes(),
            0o644,
        )?)
    }

    /// Writes the whole disk from a sysroot that has its loader's files. When
    /// that fails, a new image is removed.
    pub(super) fn write(&self, sysroot: &Path, monitor: &dyn Monitor) -> Result<()> {
        let (disk, new) = self.open()?;
        let written = self.fill(&disk, new, sysroot, monitor);
        if written.is_err() && new {
            // The first error is the one that matters.
            let _ = self.fs.remove_file(self.path);
        }
        written
    }

    fn fill(&self, disk: &RawDisk, new: bool, sysroot: &Path, monitor: &dyn Monitor) -> Result<()> {
        let steps = |done| {
            monitor.progress(Progress {
                step: "writing the disk",
                done,
                total: Some(4),
                unit: Unit::Items,
            });
        };
        steps(0);
        let layout = self.divide(disk)?;
        steps(1);
        let esp = self.take_esp(sysroot, &layout)?;
        disk.write_file(layout.esp.start, &esp, new)?;
        steps(2);
        filesystems::root(
            self.fs,
            self.path,
            &layout.root,
            &self.identity.root,
            sysroot,
        )?;
        steps(3);
        if self.loader != Loader::SystemdBoot {
            grub::embed(self.fs, disk, &layout, &grub::bios_core(self.work)?)?;
        }
        disk.sync()?;
        steps(4);
        Ok(())
    }

    fn open(&self) -> Result<(RawDisk, bool)> {
        match self.fs.metadata(self.path) {
            Ok(_) => Ok((RawDisk::open(self.path)?, false)),
            Err(_) => Ok((RawDisk::create(self.path, self.size)?, true)),
        }
    }

    fn divide(&self, disk: &RawDisk) -> Result<Layout> {
        let layout = Layout::for_size(disk.size()?, self.loader).ok_or_else(|| Error::Refused {
            path: self.path.to_owned(),
            why: "it is too small".into(),
        })?;
        let script = layout.sfdisk_script(&self.identity.esp_partition);
        program::run_with_input(
            Command::new("sfdisk")
                .args(["-q", "--wipe", "always"])
                .arg(self.path),
            &script,
        )?;
        Ok(layout)
    }

    /// Makes the ESP from its directory, which stays behind as a mount point.
    fn take_esp(&self, sysroot: &Path, layout: &Layout) -> Result<PathBuf> {
        let dir = sysroot.join(ESP_DIR);
        let image = filesystems::esp(self.fs, &layout.esp, &dir, self.work)?;
        for entry in self.fs.read_dir(&dir).doing("list", &dir)? {
            durable::remove_tree(self.fs, &dir.join(entry.name))?;
        }
        Ok(image)
    }
}

/// The line that mounts the ESP; a host without it boots all the same.
pub(super) fn fstab_line(identity: &Identity) -> String {
    format!(
        "PARTUUID={} /boot/efi vfat umask=0077,nofail,x-systemd.device-timeout=45s 0 2\n",
        identity.esp_partition
    )
}
