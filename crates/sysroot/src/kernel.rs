//! The kernel and initramfs in a deployment's tree.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use durable::{Batch, Doing, FileKind, Fs};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// A file to copy to `/boot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelFile {
    pub source: PathBuf,
    /// Its name in `/boot`.
    pub name: String,
    pub sha256: String,
}

/// What a deployment's tree boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// The digest that `ostree` names it by: of all the files, one after
    /// another.
    pub bootcsum: String,
    pub linux: KernelFile,
    pub initrd: Option<KernelFile>,
}

/// The kernel in a deployment's tree, with its digests.
pub(crate) fn find(fs: &dyn Fs, deployment: &Path) -> Result<Kernel> {
    let (dir, release) = locate(fs, deployment)?;
    read(fs, &dir, &release)
}

/// Finds the one directory `usr/lib/modules/*` that holds a kernel, and its
/// version.
pub(crate) fn locate(fs: &dyn Fs, deployment: &Path) -> Result<(PathBuf, String)> {
    let modules = deployment.join("usr/lib/modules");
    let unusable = |why| Error::NotDeployable {
        path: deployment.to_owned(),
        why,
    };
    let entries = match fs.read_dir(&modules) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(e).doing("list", &modules).map_err(Error::from),
    };
    let dirs = entries.into_iter().filter(|e| e.kind == FileKind::Dir);
    let mut found = dirs.filter(|e| exists(fs, &modules.join(&e.name).join("vmlinuz")));
    let (Some(dir), None) = (found.next(), found.next()) else {
        return Err(unusable(
            "it needs exactly one kernel, usr/lib/modules/VERSION/vmlinuz",
        ));
    };
    let release = dir
        .name
        .into_string()
        .map_err(|_| unusable("its kernel's version is not text"))?;
    let dir = modules.join(&release);
    if exists(fs, &dir.join("dtb")) || exists(fs, &dir.join("devicetree")) {
        return Err(unusable("device trees are not supported yet"));
    }
    Ok((dir, release))
}

fn exists(fs: &dyn Fs, path: &Path) -> bool {
    fs.metadata(path).is_ok()
}

fn read(fs: &dyn Fs, dir: &Path, release: &str) -> Result<Kernel> {
    let mut whole = Sha256::new();
    let mut file = |name: &str, installed: String| -> Result<KernelFile> {
        let source = dir.join(name);
        let sha256 = digest(fs, &source, Some(&mut whole))?;
        Ok(KernelFile {
            source,
            name: installed,
            sha256,
        })
    };
    let linux = file("vmlinuz", format!("vmlinuz-{release}"))?;
    let initrd = if exists(fs, &dir.join("initramfs.img")) {
        Some(file("initramfs.img", format!("initramfs-{release}.img"))?)
    } else {
        None
    };
    Ok(Kernel {
        bootcsum: hex(&whole.finalize()),
        linux,
        initrd,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The digest of a file, whose bytes also go into `also`.
pub(crate) fn digest(fs: &dyn Fs, path: &Path, also: Option<&mut Sha256>) -> Result<String> {
    let mut file = fs.open(path).doing("open", path)?;
    let mut hash = Sha256::new();
    let mut also = also;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let n = file.read(&mut buffer).doing("read", path)?;
        if n == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..n]);
        if let Some(also) = &mut also {
            also.update(&buffer[..n]);
        }
    }
}

impl Kernel {
    pub(crate) fn files(&self) -> impl Iterator<Item = &KernelFile> {
        std::iter::once(&self.linux).chain(&self.initrd)
    }

    /// Copies what is not there, or not as it should be, into `dir`.
    pub(crate) fn install(&self, fs: &dyn Fs, dir: &Path) -> Result<()> {
        durable::create_dir_all(fs, dir, 0o755)?;
        let temporary = |file: &KernelFile| dir.join(format!(".{}.tmp", file.name));
        let installed = self.copy_into(fs, dir, &temporary);
        if installed.is_err() {
            // The first error is the one that matters.
            for file in self.files() {
                let _ = durable::remove_tree(fs, &temporary(file));
            }
        }
        installed
    }

    fn copy_into(
        &self,
        fs: &dyn Fs,
        dir: &Path,
        temporary: &dyn Fn(&KernelFile) -> PathBuf,
    ) -> Result<()> {
        let mut batch = Batch::new();
        for file in self.files() {
            let (tmp, to) = (temporary(file), dir.join(&file.name));
            if exists(fs, &to) && digest(fs, &to, None)? == file.sha256 {
                continue;
            }
            durable::remove_tree(fs, &tmp)?;
            copy(fs, &file.source, &tmp)?;
            batch.add(tmp, to);
        }
        Ok(batch.publish(fs, dir)?)
    }
}

/// Copies a file to a new one.
pub(crate) fn copy(fs: &dyn Fs, from: &Path, to: &Path) -> durable::Result<()> {
    let mut source = fs.open(from).doing("open", from)?;
    let mut copy = fs.create(to, 0o644).doing("create", to)?;
    io::copy(&mut source, &mut copy).doing("write", to)?;
    copy.flush().doing("write", to)
}
