//! GRUB for both firmwares, without `grub-install`: nothing is mounted, and no
//! device is asked what it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use durable::Fs;

use super::layout::{Layout, SECTOR};
use super::raw::RawDisk;
use crate::{Error, Result, program};

/// Where Debian has GRUB's modules.
const MODULES: &str = "/usr/lib/grub";
/// For the disk, its partitions and filesystems.
const DISK_MODULES: &[&str] = &["part_gpt", "fat", "ext2"];
/// Where `boot.img` holds the core image's first sector.
const BOOT_KERNEL_SECTOR: usize = 0x5c;
/// How much of the first sector is code; the partition table follows.
const BOOT_CODE: usize = 440;
/// Where the core image's first sector says where its rest is.
const CORE_BLOCK_LIST: usize = 0x1f4;

/// Refuses when something for making GRUB images is not installed.
pub(super) fn require() -> Result<()> {
    program::require("grub-mkimage", "grub-common")?;
    for (file, package) in [
        ("i386-pc/boot.img", "grub-pc-bin"),
        ("x86_64-efi/linux.mod", "grub-efi-amd64-bin"),
    ] {
        if !Path::new(MODULES).join(file).exists() {
            return Err(Error::MissingProgram {
                program: "grub",
                package,
            });
        }
    }
    Ok(())
}

/// Makes `core.img` for a BIOS in `work`; gives its path. It looks for its
/// configuration on the ESP of the disk it was read from.
pub(super) fn bios_core(work: &Path) -> Result<PathBuf> {
    let core = work.join("core.img");
    image("i386-pc", &core, "(,gpt2)/grub", &["biosdisk"])?;
    Ok(core)
}

/// Makes the program for UEFI at `to`. It looks for its configuration on the
/// filesystem it was read from.
pub(super) fn efi_program(to: &Path) -> Result<()> {
    image("x86_64-efi", to, "/grub", &["efi_gop"])
}

fn image(platform: &str, to: &Path, prefix: &str, more: &[&str]) -> Result<()> {
    let dir = Path::new(MODULES).join(platform);
    let there = |m: &&&str| dir.join(format!("{m}.mod")).exists();
    let modules = more.iter().chain(DISK_MODULES).chain(boot::grub::MODULES);
    program::run(
        Command::new("grub-mkimage")
            .args(["-O", platform, "-p", prefix, "-o"])
            .arg(to)
            .args(modules.filter(there)),
    )
    .map(drop)
}

/// Puts the boot sector and the core image where a BIOS starts them.
pub(super) fn embed(fs: &dyn Fs, disk: &RawDisk, layout: &Layout, core: &Path) -> Result<()> {
    let mut boot = durable::read(fs, &Path::new(MODULES).join("i386-pc/boot.img"))?;
    let mut core = durable::read(fs, core)?;
    let mut sector = vec![0; SECTOR as usize];
    disk.read_at(0, &mut sector)?;
    link(
        &mut boot,
        &mut core,
        layout.bios.start / SECTOR,
        layout.bios.size,
    )?;
    sector[..BOOT_CODE].copy_from_slice(&boot[..BOOT_CODE]);
    disk.write_at(layout.bios.start, &core)?;
    disk.write_at(0, &sector)
}

/// Tells the boot sector where the core image is, and the core image's first
/// sector where its rest is.
fn link(boot: &mut [u8], core: &mut Vec<u8>, first: u64, room: u64) -> Result<()> {
    let sector = SECTOR as usize;
    core.resize(core.len().next_multiple_of(sector), 0);
    let rest = u16::try_from(core.len() / sector - 1).unwrap_or(u16::MAX);
    if core.len() as u64 > room || boot.len() < sector || rest == u16::MAX {
        return Err(Error::Start {
            program: "GRUB's images".into(),
            source: std::io::Error::other(format!(
                "boot.img has {} bytes and core.img {}: they do not fit",
                boot.len(),
                core.len()
            )),
        });
    }
    boot[BOOT_KERNEL_SECTOR..][..8].copy_from_slice(&first.to_le_bytes());
    core[CORE_BLOCK_LIST..][..8].copy_from_slice(&(first + 1).to_le_bytes());
    core[CORE_BLOCK_LIST + 8..][..2].copy_from_slice(&rest.to_le_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_the_sectors_and_refuses_what_does_not_fit() {
        let (mut boot, mut core) = (vec![0; 512], vec![9; 1200]);
        link(&mut boot, &mut core, 2048, 1 << 20).unwrap();
        assert_eq!(core.len(), 1536);
        assert_eq!(boot[0x5c..0x64], 2048_u64.to_le_bytes());
        assert_eq!(core[0x1f4..0x1fc], 2049_u64.to_le_bytes());
        assert_eq!(core[0x1fc..0x1fe], 2_u16.to_le_bytes());
        assert!(link(&mut boot, &mut core, 2048, 1024).is_err());
        assert!(link(&mut [0; 100], &mut core, 2048, 1 << 20).is_err());
    }
}
