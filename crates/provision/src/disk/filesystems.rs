//! The two filesystems, made without mounting them.

use std::path::{Path, PathBuf};
use std::process::Command;

use durable::Fs;

use super::layout::Partition;
use crate::{Result, program};

/// Refuses when a program for making filesystems is not installed.
pub(super) fn require() -> Result<()> {
    for (name, package) in [
        ("sfdisk", "fdisk"),
        ("mkfs.ext4", "e2fsprogs"),
        ("mkfs.vfat", "dosfstools"),
        ("mcopy", "mtools"),
    ] {
        program::require(name, package)?;
    }
    Ok(())
}

/// Makes a FAT filesystem in a file in `work`, with the content of `from`.
pub(super) fn esp(fs: &dyn Fs, part: &Partition, from: &Path, work: &Path) -> Result<PathBuf> {
    let image = work.join("esp.img");
    program::run(
        Command::new("mkfs.vfat")
            .args(["-n", "ESP", "-F", "32", "-s", cluster(part.size), "-C"])
            .arg(&image)
            .arg((part.size / 1024).to_string()),
    )?;
    let mut copy = Command::new("mcopy");
    copy.args(["-s", "-i"]).arg(&image);
    for entry in durable::Doing::doing(fs.read_dir(from), "list", from)? {
        copy.arg(from.join(entry.name));
    }
    program::run(copy.arg("::/"))?;
    Ok(image)
}

/// Sectors in a cluster: one, so that the smallest ESP can be FAT32, and more where that
/// would make the table of clusters long.
fn cluster(size: u64) -> &'static str {
    if size < 256 << 20 { "1" } else { "8" }
}

/// Makes the root filesystem on the disk, with the content of `from`.
pub(super) fn root(
    fs: &dyn Fs,
    disk: &Path,
    part: &Partition,
    uuid: &str,
    from: &Path,
) -> Result<()> {
    program::run(
        Command::new("mkfs.ext4")
            .args(["-q", "-F", "-L", "root", "-U", uuid])
            .args(["-O", &features(fs)])
            .arg("-E")
            .arg(format!(
                "offset={},lazy_itable_init=1,lazy_journal_init=1,nodiscard",
                part.start
            ))
            .arg("-d")
            .args([from, disk])
            .arg(format!("{}k", part.size / 1024)),
    )
    .map(drop)
}

/// Switches off the newer features that this machine's `mkfs.ext4` would switch
/// on: GRUB cannot read them.
fn features(fs: &dyn Fs) -> String {
    let defaults = durable::read(fs, Path::new("/etc/mke2fs.conf")).unwrap_or_default();
    let defaults = String::from_utf8_lossy(&defaults);
    let mut off = vec!["^encrypt"];
    for (name, switch) in [
        ("metadata_csum_seed", "^metadata_csum_seed"),
        ("orphan_file", "^orphan_file"),
    ] {
        if defaults.contains(name) {
            off.push(switch);
        }
    }
    off.join(",")
}
