//! Where a tree has its kernel.
//!
//! Now, that is `usr/lib/modules/VERSION`. It was `usr/lib/ostree-boot` and `boot`, where
//! each file has the digest of all of them at the end of its name.

use std::io;
use std::path::{Path, PathBuf};

use durable::{Doing, FileKind, Fs};

use crate::{Error, Result};

/// Directories of the old kind, the first that has a kernel counts.
const OLD: [&str; 2] = ["usr/lib/ostree-boot", "boot"];
/// Deeper than this, no directory of device trees is looked into.
const MAX_DEPTH: usize = 8;

/// A file in the tree, and its name in `/boot`.
pub(crate) type Place = (PathBuf, String);

/// What a tree boots, before anything of it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub linux: Place,
    pub initrd: Option<Place>,
    pub devicetree: Option<Place>,
    /// The files of a directory of device trees.
    pub dtb: Option<Vec<Place>>,
    pub hmac: Option<Place>,
    /// The digest in the files' names, where they have one.
    pub bootcsum: Option<String>,
}

/// Finds the kernel. One in `usr/lib/modules` counts, unless it lacks an initramfs and
/// there is one of the old kind.
pub(crate) fn locate(fs: &dyn Fs, deployment: &Path) -> Result<Found> {
    let new = in_modules(fs, deployment)?;
    if let Some(found) = new.as_ref().filter(|found| found.initrd.is_some()) {
        return Ok(found.clone());
    }
    let old = in_boot(fs, deployment)?;
    old.or(new).ok_or_else(|| unusable(deployment))
}

fn unusable(deployment: &Path) -> Error {
    Error::NotDeployable {
        path: deployment.to_owned(),
        why: "it needs exactly one kernel, usr/lib/modules/VERSION/vmlinuz",
    }
}

fn entries(fs: &dyn Fs, dir: &Path) -> Result<Vec<durable::DirEntry>> {
    match fs.read_dir(dir) {
        Ok(entries) => Ok(entries),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e).doing("list", dir).map_err(Error::from),
    }
}

/// The kernel in the one directory of `usr/lib/modules` that holds one.
fn in_modules(fs: &dyn Fs, deployment: &Path) -> Result<Option<Found>> {
    let modules = deployment.join("usr/lib/modules");
    let dirs = entries(fs, &modules)?.into_iter();
    let dirs = dirs.filter(|e| e.kind == FileKind::Dir);
    let mut found = dirs.filter(|e| fs.metadata(&modules.join(&e.name).join("vmlinuz")).is_ok());
    let release = match (found.next(), found.next()) {
        (Some(dir), None) => dir.name.into_string(),
        (None, _) => return Ok(None),
        (Some(_), Some(_)) => return Err(unusable(deployment)),
    };
    let release = release.map_err(|_| Error::NotDeployable {
        path: deployment.to_owned(),
        why: "its kernel's version is not text",
    })?;
    let dir = modules.join(&release);
    let file = |name: &str, installed: String| {
        let path = dir.join(name);
        fs.metadata(&path).is_ok().then_some((path, installed))
    };
    let devicetree = file("devicetree", format!("devicetree-{release}"));
    let trees = dir.join("dtb");
    let dtb = match fs.metadata(&trees).is_ok() && devicetree.is_none() && wants_dtb() {
        true => {
            let mut all = Vec::new();
            collect(fs, &trees, "dtb", MAX_DEPTH, &mut all)?;
            Some(all)
        }
        false => None,
    };
    Ok(Some(Found {
        linux: (dir.join("vmlinuz"), format!("vmlinuz-{release}")),
        initrd: file("initramfs.img", format!("initramfs-{release}.img")),
        devicetree,
        dtb,
        hmac: file(".vmlinuz.hmac", format!(".vmlinuz-{release}.hmac")),
        bootcsum: None,
    }))
}

/// Whether directories of device trees count: `ostree` can be told not to look.
fn wants_dtb() -> bool {
    !crate::debug::has("no-dtb")
}

/// All files below a directory, by name.
fn collect(
    fs: &dyn Fs,
    dir: &Path,
    name: &str,
    depth: usize,
    found: &mut Vec<Place>,
) -> Result<()> {
    let mut entries = entries(fs, dir)?;
    entries.sort();
    for entry in entries {
        let Some(text) = entry.name.to_str() else {
            continue;
        };
        let (path, name) = (dir.join(text), format!("{name}/{text}"));
        match entry.kind {
            FileKind::Dir if depth > 0 => collect(fs, &path, &name, depth - 1, found)?,
            FileKind::File => found.push((path, name)),
            _ => {}
        }
    }
    Ok(())
}

/// The kernel in a directory of the old kind.
fn in_boot(fs: &dyn Fs, deployment: &Path) -> Result<Option<Found>> {
    for dir in OLD {
        let dir = deployment.join(dir);
        let entries = entries(fs, &dir)?;
        let names: Vec<_> = entries.iter().filter_map(|e| e.name.to_str()).collect();
        let kernels = names.iter().filter(|n| n.starts_with("vmlinuz-"));
        let Some((kernel, csum)) = kernels.copied().find_map(|n| Some((n, digest_in(n)?))) else {
            continue;
        };
        let file = |start: &str| {
            let fits = |n: &&str| n.starts_with(start) && digest_in(n) == Some(csum);
            let name = names.iter().copied().find(fits)?;
            Some((dir.join(name), without_digest(name).to_owned()))
        };
        return Ok(Some(Found {
            linux: (dir.join(kernel), without_digest(kernel).to_owned()),
            initrd: file("initramfs-"),
            devicetree: file("devicetree-"),
            dtb: None,
            hmac: None,
            bootcsum: Some(csum.to_owned()),
        }));
    }
    Ok(None)
}

/// The digest at the end of a name.
fn digest_in(name: &str) -> Option<&str> {
    let (_, end) = name.rsplit_once('-')?;
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (end.len() == 64 && end.bytes().all(hex)).then_some(end)
}

fn without_digest(name: &str) -> &str {
    name.rsplit_once('-').map_or(name, |(start, _)| start)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        dir
    }

    fn names(files: &[&str]) -> Option<Vec<String>> {
        let tree = tree(files);
        let found = locate(&durable::RealFs, tree.path()).ok()?;
        let mut names = vec![found.linux.1];
        names.extend(found.initrd.map(|f| f.1));
        names.extend(found.devicetree.map(|f| f.1));
        names.extend(found.dtb.unwrap_or_default().into_iter().map(|f| f.1));
        names.extend(found.hmac.map(|f| f.1));
        Some(names)
    }

    #[test]
    fn places() {
        let sum = "0f".repeat(32);
        let old = |dir: &str, name: &str| format!("{dir}/{name}-{sum}");
        let (kernel, initrd) = (old("boot", "vmlinuz-6.1"), old("boot", "initramfs-6.1.img"));
        let m = "usr/lib/modules/1";
        let cases: [(Vec<String>, Option<&[&str]>); 7] = [
            (vec![format!("{m}/vmlinuz")], Some(&["vmlinuz-1"])),
            (
                vec![
                    format!("{m}/vmlinuz"),
                    format!("{m}/initramfs.img"),
                    format!("{m}/.vmlinuz.hmac"),
                    format!("{m}/dtb/b/x.dtbo"),
                    format!("{m}/dtb/a.dtb"),
                    kernel.clone(),
                ],
                Some(&[
                    "vmlinuz-1",
                    "initramfs-1.img",
                    "dtb/a.dtb",
                    "dtb/b/x.dtbo",
                    ".vmlinuz-1.hmac",
                ]),
            ),
            (
                vec![format!("{m}/vmlinuz"), format!("{m}/devicetree")],
                Some(&["vmlinuz-1", "devicetree-1"]),
            ),
            (
                vec![format!("{m}/vmlinuz"), kernel.clone(), initrd.clone()],
                Some(&["vmlinuz-6.1", "initramfs-6.1.img"]),
            ),
            (
                vec![kernel, initrd, old("usr/lib/ostree-boot", "vmlinuz")],
                Some(&["vmlinuz"]),
            ),
            (
                vec![format!("{m}/vmlinuz"), "usr/lib/modules/2/vmlinuz".into()],
                None,
            ),
            (vec!["boot/vmlinuz-6.1".into()], None),
        ];
        for (files, wanted) in cases {
            let files: Vec<_> = files.iter().map(String::as_str).collect();
            let wanted = wanted.map(|w| w.iter().map(ToString::to_string).collect());
            assert_eq!(names(&files), wanted, "{files:?}");
        }
    }
}
