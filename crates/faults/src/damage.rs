//! What is done to a disk between the reboot that begins a trial and the next power-on.

use std::path::Path;

use boot::{ConfigId, StateSector};
use sysroot::Loader;
use testbed::{Toolbox, program};

use crate::disk::Disk;
use crate::error::Doing;
use crate::{Error, Result};

/// The state sector on the EFI system partition.
const STATE: &str = "/backstop/state";
/// Where deployments are.
const DEPLOYMENTS: &str = "/ostree/deploy/debian/deploy";
/// Where units and what pulls them in are, below a deployment.
const UNITS: &str = "usr/lib/systemd/system";

/// A file of the version on trial in `/boot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootFile {
    /// Its kernel.
    Kernel,
    /// Its initramfs.
    Initrd,
}

/// How a file is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// It is gone.
    Missing,
    /// Its second half is gone.
    Cut,
    /// Sixteen bytes are others: where a kernel begins to unpack itself, else in the
    /// middle.
    Flipped,
}

/// What is done to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Nothing.
    None,
    /// No damage, and no other version either: this kernel argument is tried instead.
    Kargs(&'static str),
    /// A file that the boot loader loads.
    BootFile(BootFile, Harm),
    /// The kernel's sixteen bytes, and a boot loader that cannot check digests, as
    /// Debian's signed GRUB.
    FlippedUnseen,
    /// The whole deployment cannot be found: the link that the kernel's argument names.
    Deployment,
    /// The first program ends at once.
    InitEnds,
    /// There is no first program.
    NoInit,
    /// A unit of the version, run before `sysinit.target`: its command.
    EarlyUnit(&'static str),
    /// A unit that the upgrade's settling waits for, too, and the limit until it is
    /// settled set to this.
    StuckUnit(&'static str, &'static str),
    /// A health check of the version: its file.
    Check(&'static str),
    /// The bytes of the state sector.
    Sector(SectorHarm),
    /// The state sector cannot be written: the disk fails there.
    SectorUnwritable,
    /// The state sector's file is gone.
    SectorMissing,
    /// Not a byte is free on the EFI system partition.
    EspFull,
    /// Every version mounts the EFI system partition read-only.
    EspReadOnly,
    /// No version mounts the EFI system partition.
    EspUnmounted,
    /// `boot/loader`, which says which entries count.
    LoaderLink,
}

/// What the state sector holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectorHarm {
    /// Zeros.
    Zeroed,
    /// Noise.
    Random,
    /// Attempts of another configuration.
    Foreign,
    /// A format to come.
    Newer,
}

/// The version on trial and its deployments' disk.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The disk.
    pub disk: &'a Disk,
    /// The commit of the version on trial.
    pub trial: &'a str,
    /// What boots it.
    pub loader: Loader,
    /// The programs that made it.
    pub toolbox: &'a Toolbox,
}

impl Damage {
    /// Does it. Gives what QEMU is to be told instead of the image's path, if that.
    ///
    /// # Errors
    /// The disk is not as it should be.
    pub fn inflict(self, on: Target<'_>) -> Result<Option<String>> {
        let disk = on.disk;
        match self {
            Self::None | Self::Kargs(_) => Ok(()),
            Self::BootFile(file, harm) => boot_file(on, file, harm),
            Self::FlippedUnseen => {
                boot_file(on, BootFile::Kernel, Harm::Flipped)?;
                loader_without_digests(on)
            }
            Self::Deployment => deployment_link(on),
            Self::InitEnds => disk.write(
                &on.inside("usr/lib/systemd/systemd"),
                b"#!/bin/sh\nexit 1\n",
                0o755,
            ),
            Self::NoInit => disk.remove(&on.inside("usr/lib/systemd/systemd")),
            Self::EarlyUnit(command) => early_unit(on, command, "sysinit.target"),
            Self::StuckUnit(command, limit) => {
                early_unit(on, command, "sysinit.target backstop-settle.service")?;
                sooner(on, limit)
            }
            Self::Check(text) => {
                for dir in ["usr/lib/backstop", "usr/lib/backstop/checks.d"] {
                    disk.make_dir(&on.inside(dir))?;
                }
                let path = on.inside("usr/lib/backstop/checks.d/fault.toml");
                disk.write(&path, text.as_bytes(), 0o644)
            }
            Self::Sector(harm) => disk.write_esp(STATE, &sector(disk, harm)?),
            Self::SectorUnwritable => return unwritable(disk).map(Some),
            Self::SectorMissing => disk.remove_esp(STATE),
            Self::EspFull => disk.fill_esp(),
            Self::EspReadOnly => each_fstab(disk, |line| line.replace("umask=", "ro,umask=")),
            Self::EspUnmounted => each_fstab(disk, |_| "# no ESP".to_owned()),
            Self::LoaderLink => disk.remove("/boot/loader"),
        }
        .map(|()| None)
    }
}

impl Target<'_> {
    /// A path in the deployment on trial.
    fn inside(self, path: &str) -> String {
        format!("{DEPLOYMENTS}/{}.0/{path}", self.trial)
    }

    /// The published script of the boot loader.
    fn published(self) -> Result<String> {
        for version in ["loader.0", "loader.1"] {
            let path = format!("/boot/{version}/{}", boot::grub::PUBLISHED_NAME);
            if let Ok(text) = self.disk.read(&path) {
                let text = String::from_utf8_lossy(&text).into_owned();
                if text.contains("backstop_try") {
                    return Ok(text);
                }
            }
        }
        Err(Error::Disk("no trial is published".into()))
    }
}

/// The files of the trial, from the command that loads them.
fn boot_file(on: Target<'_>, file: BootFile, harm: Harm) -> Result<()> {
    let text = on.published()?;
    let word = match file {
        BootFile::Kernel => "if linux ",
        BootFile::Initrd => "if initrd ",
    };
    let trial = text.split("function backstop_try {").nth(1).unwrap_or("");
    let line = trial.lines().find_map(|l| l.trim().strip_prefix(word));
    let path = line.and_then(|l| l.split('\'').nth(1));
    let path = path.ok_or_else(|| Error::Disk(format!("the trial has no `{word}`")))?;
    if on.loader == Loader::SystemdBoot {
        let path = format!("/{}", boot::systemd_boot::kernel_path(path));
        let content = on.disk.read_esp(&path)?;
        return match harmed(content, harm) {
            Some(content) => on.disk.write_esp(&path, &content),
            None => on.disk.remove_esp(&path),
        };
    }
    let path = format!("/boot{path}");
    match harmed(on.disk.read(&path)?, harm) {
        Some(content) => on.disk.write(&path, &content, 0o644),
        None => on.disk.remove(&path),
    }
}

fn harmed(mut content: Vec<u8>, harm: Harm) -> Option<Vec<u8>> {
    match harm {
        Harm::Missing => return None,
        Harm::Cut => content.truncate(content.len() / 2),
        Harm::Flipped => content = flipped(content),
    }
    Some(content)
}

/// What a kernel packed by LZ4 begins with, after the code that unpacks it. Nothing in it
/// has a checksum: one that is damaged further on may well start, with other data.
const PACKED: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
/// That code is no longer.
const UNPACKING: usize = 1 << 16;

fn flipped(mut content: Vec<u8>) -> Vec<u8> {
    let head = &content[..content.len().min(UNPACKING)];
    let packed = head.windows(4).position(|bytes| bytes == PACKED);
    let from = packed.map_or(content.len() / 2, |at| at + PACKED.len());
    for byte in content.iter_mut().skip(from).take(16) {
        *byte ^= 0xff;
    }
    content
}

/// GRUB for UEFI as backstop installs it, without what checks digests.
fn loader_without_digests(on: Target<'_>) -> Result<()> {
    let to = on.disk.temporary("grubx64.efi");
    let modules = boot::grub::MODULES.iter().copied();
    let modules = modules.filter(|m| !m.contains("hashsum") && !m.contains("sha256"));
    let mut make = on.toolbox.command("grub-mkimage");
    make.args(["-O", "x86_64-efi", "-p", "/grub", "-o"])
        .arg(&to);
    make.args(["part_gpt", "fat", "ext2", "efi_gop"])
        .args(modules);
    program::run(&mut make)?;
    let bytes = std::fs::read(&to).doing("read", &to)?;
    on.disk.write_esp("/EFI/BOOT/BOOTX64.EFI", &bytes)
}

fn deployment_link(on: Target<'_>) -> Result<()> {
    let text = on.published()?;
    let trial = text.split("function backstop_try {").nth(1).unwrap_or("");
    let link = trial
        .split("'ostree=")
        .nth(1)
        .and_then(|l| l.split('\'').next());
    let link = link.ok_or_else(|| Error::Disk("the trial has no ostree=".into()))?;
    // `/ostree/boot.B/…` by way of the symlink `boot.B`.
    on.disk.remove(link)
}

fn early_unit(on: Target<'_>, command: &str, before: &str) -> Result<()> {
    let text = format!(
        "[Unit]\nDescription=Keep the boot from going on\nDefaultDependencies=no\n\
         Before={before}\n[Service]\nType=oneshot\nTimeoutStartSec=infinity\n\
         ExecStart={command}\n"
    );
    let units = on.inside(UNITS);
    on.disk
        .write(&format!("{units}/fault.service"), text.as_bytes(), 0o644)?;
    on.disk.symlink(
        &format!("{units}/sysinit.target.wants/fault.service"),
        "../fault.service",
    )
}

/// The limit is ten minutes: nobody waits for that in a test.
fn sooner(on: Target<'_>, limit: &str) -> Result<()> {
    let dir = on.inside(&format!("{UNITS}/backstop-deadline.timer.d"));
    on.disk.make_dir(&dir)?;
    let text = format!("[Timer]\nOnActiveSec=\nOnActiveSec={limit}\n");
    on.disk
        .write(&format!("{dir}/sooner.conf"), text.as_bytes(), 0o644)
}

fn sector(disk: &Disk, harm: SectorHarm) -> Result<Vec<u8>> {
    let now = disk.read_esp(STATE)?;
    let read = StateSector::parse(&now).map_err(|e| Error::Disk(e.to_string()))?;
    // With systemd-boot, too: there it says what was armed.
    if read.left == 0 {
        return Err(Error::Disk("no attempts are left before the trial".into()));
    }
    Ok(match harm {
        SectorHarm::Zeroed => vec![0; boot::sector::SIZE],
        SectorHarm::Random => noise(),
        SectorHarm::Foreign => StateSector::fresh(ConfigId::of(b"another"), 9)
            .encode()
            .to_vec(),
        SectorHarm::Newer => {
            let text = String::from_utf8_lossy(&now);
            text.replace("backstop_version=1", "backstop_version=2")
                .into_bytes()
        }
    })
}

/// The same bytes in every run, and none that mean anything.
fn noise() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..boot::sector::SIZE).map(byte).collect()
}

/// Gives the disk to QEMU such that every write to the state sector fails, and reading it
/// does not.
fn unwritable(disk: &Disk) -> Result<String> {
    let sector = disk.sector_of_esp(&disk.read_esp(STATE)?)?;
    let rules = disk.temporary("rules");
    let text = format!(
        "[inject-error]\nevent = \"none\"\niotype = \"write\"\nerrno = \"5\"\nsector = \"{sector}\"\n"
    );
    std::fs::write(&rules, text).doing("write", &rules)?;
    Ok(format!(
        "blkdebug:{}:{}",
        rules.display(),
        disk.image().display()
    ))
}

/// Changes the line of the EFI system partition in the `fstab` of every deployment.
fn each_fstab(disk: &Disk, change: impl Fn(&str) -> String) -> Result<()> {
    let names = disk.list(DEPLOYMENTS)?;
    let mut changed = 0;
    for name in names.iter().filter(|n| !n.ends_with(".origin")) {
        let path = format!("{DEPLOYMENTS}/{name}/etc/fstab");
        let text = String::from_utf8_lossy(&disk.read(&path)?).into_owned();
        let line = |line: &str| match line.contains(" /boot/efi ") {
            true => change(line),
            false => line.to_owned(),
        };
        let lines: Vec<String> = text.lines().map(line).collect();
        disk.write(&path, (lines.join("\n") + "\n").as_bytes(), 0o644)?;
        changed += 1;
    }
    match changed {
        0 => Err(Error::Disk(format!(
            "{} holds nothing",
            Path::new(DEPLOYMENTS).display()
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_flipped_where_a_kernel_unpacks_itself_or_in_the_middle() {
        let kernel = [vec![7; 50], PACKED.to_vec(), vec![7; 1000]].concat();
        for (content, from) in [(kernel, 54), (vec![7; 1000], 500), (vec![7; 3], 1)] {
            let found = flipped(content.clone());
            let changed = (0..content.len()).filter(|at| found[*at] != content[*at]);
            let expected: Vec<usize> = (from..content.len().min(from + 16)).collect();
            assert_eq!(changed.collect::<Vec<_>>(), expected);
        }
    }
}
