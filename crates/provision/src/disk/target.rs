//! Where an installation goes, and whether it may.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use durable::Fs;
use sysroot::Loader;

use super::layout::Layout;
use super::raw::{self, RawDisk};
use crate::{Error, Result, program};

/// Where the first deployment goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A directory, as the root of a physical filesystem: for containers, and
    /// for who brings a disk and a boot loader of their own.
    Directory(PathBuf),
    /// A disk image or a block device.
    Disk {
        /// Its path.
        path: PathBuf,
        /// How long a new image becomes.
        size: u64,
        /// Overwrite what is on it.
        overwrite: bool,
    },
}

/// Refuses a disk that is in use, or that holds something.
pub(super) fn check(
    fs: &dyn Fs,
    path: &Path,
    size: u64,
    overwrite: bool,
    loader: Loader,
) -> Result<()> {
    let refuse = |why: String| {
        Err(Error::Refused {
            path: path.to_owned(),
            why,
        })
    };
    let there = fs.metadata(path).is_ok();
    if there && let Some(used) = in_use(fs, path) {
        return refuse(used);
    }
    if there && !overwrite && holds_something(path)? {
        return refuse("it holds partitions or a filesystem; `--overwrite` loses them".into());
    }
    let size = if there {
        RawDisk::open(path)?.size()?
    } else {
        size
    };
    if Layout::for_size(size, loader).is_none() {
        let (least, size) = (Layout::least(loader) >> 20, size >> 20);
        return refuse(format!(
            "it has {size} MiB; at least {least} MiB are needed"
        ));
    }
    Ok(())
}

fn holds_something(path: &Path) -> Result<bool> {
    program::require("blkid", "util-linux")?;
    // Probing ends with 2 when nothing is found.
    match program::run(Command::new("blkid").arg("-p").arg(path)) {
        Ok(_) => Ok(true),
        Err(Error::Program { status, .. }) if status == "exit status: 2" => Ok(false),
        Err(e) => Err(e),
    }
}

/// How a block device is in use, if it is.
fn in_use(fs: &dyn Fs, path: &Path) -> Option<String> {
    if !raw::is_block_device(path) {
        return None;
    }
    let name = path.canonicalize().ok()?;
    let sys = Path::new("/sys/class/block").join(name.file_name()?);
    let mut devices = vec![sys.clone()];
    let entries = fs.read_dir(&sys.canonicalize().ok()?).unwrap_or_default();
    devices.extend(entries.into_iter().map(|e| sys.join(e.name)));
    let numbers: BTreeSet<String> = devices
        .iter()
        .filter_map(|d| text(fs, &d.join("dev")))
        .collect();
    if let Some(at) = mounted(&text(fs, Path::new("/proc/self/mountinfo"))?, &numbers) {
        return Some(format!("it is mounted at {at}"));
    }
    let held = |d: &&PathBuf| fs.read_dir(&d.join("holders")).is_ok_and(|h| !h.is_empty());
    devices
        .iter()
        .find(held)
        .map(|d| format!("{} is part of another device", d.display()))
}

fn text(fs: &dyn Fs, path: &Path) -> Option<String> {
    let text = durable::read_to_string(fs, path).ok()?;
    Some(text.trim().to_owned())
}

/// Where a device with one of these numbers is mounted.
fn mounted<'a>(mountinfo: &'a str, numbers: &BTreeSet<String>) -> Option<&'a str> {
    mountinfo.lines().find_map(|line| {
        let fields: Vec<_> = line.split(' ').collect();
        match fields[..] {
            [_, _, number, _, at, ..] if numbers.contains(number) => Some(at),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use durable::RealFs;

    #[test]
    fn finds_a_mounted_partition() {
        let info = "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n23 22 0:5 / /proc rw - proc proc rw\n";
        let numbers = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        assert_eq!(mounted(info, &numbers(&["254:0", "254:1"])), Some("/"));
        assert_eq!(mounted(info, &numbers(&["8:0"])), None);
    }

    #[test]
    fn refuses_a_small_disk_and_takes_a_new_one() {
        let tmp = tempfile::tempdir().unwrap();
        let new = tmp.path().join("new");
        let e = check(&RealFs, &new, 1 << 20, false, Loader::Grub).unwrap_err();
        assert!(e.to_string().contains("at least"), "{e}");
        assert!(check(&RealFs, &new, 1 << 30, false, Loader::Grub).is_ok());
        assert!(!new.exists(), "checking makes nothing");
    }

    #[test]
    fn refuses_to_overwrite_unless_told() {
        let tmp = tempfile::tempdir().unwrap();
        let image = tmp.path().join("image");
        RawDisk::create(&image, 1 << 30).unwrap();
        assert!(
            check(&RealFs, &image, 0, false, Loader::Grub).is_ok(),
            "an empty one"
        );
        if program::find("sfdisk").is_some() {
            let script = Layout::for_size(1 << 30, Loader::Grub).unwrap();
            let script = script.sfdisk_script("0d9a1d5e-5d0d-4c5f-8c44-5c2f2c3a4b5c");
            program::run_with_input(Command::new("sfdisk").arg(&image), &script).unwrap();
            let e = check(&RealFs, &image, 0, false, Loader::Grub).unwrap_err();
            assert!(e.to_string().contains("holds partitions"), "{e}");
        }
        assert!(check(&RealFs, &image, 0, true, Loader::Grub).is_ok());
    }
}
