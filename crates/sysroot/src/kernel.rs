//! The kernel in a deployment's tree, with what it starts with.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use durable::{Batch, Doing, Fs};
use sha2::{Digest, Sha256};

use crate::Result;
use crate::boot_dir::{self, Found, Place};

/// A file to copy to `/boot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelFile {
    pub source: PathBuf,
    /// Its name in `/boot`, below the kernel's directory.
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
    /// What tells the hardware: a device tree, or all of a directory of them.
    pub devicetree: Option<DeviceTree>,
    /// What lies beside the kernel and is not loaded.
    pub hmac: Option<KernelFile>,
}

/// Where the device trees of a kernel are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeviceTree {
    /// One for all machines.
    File(KernelFile),
    /// A directory with many, called `dtb` in `/boot` too.
    Dir(Vec<KernelFile>),
}

/// The kernel in a deployment's tree, with its digests.
pub(crate) fn find(fs: &dyn Fs, deployment: &Path) -> Result<Kernel> {
    read(fs, boot_dir::locate(fs, deployment)?)
}

/// Refuses a tree without a kernel.
pub(crate) fn locate(fs: &dyn Fs, deployment: &Path) -> Result<()> {
    boot_dir::locate(fs, deployment).map(drop)
}

/// Whether a tree has device trees to install.
pub(crate) fn has_device_tree(fs: &dyn Fs, deployment: &Path) -> bool {
    boot_dir::locate(fs, deployment)
        .is_ok_and(|f| f.devicetree.is_some() || f.dtb.is_some_and(|all| !all.is_empty()))
}

fn exists(fs: &dyn Fs, path: &Path) -> bool {
    fs.metadata(path).is_ok()
}

fn read(fs: &dyn Fs, found: Found) -> Result<Kernel> {
    let mut whole = Sha256::new();
    let mut file = |(source, name): Place| -> Result<KernelFile> {
        let sha256 = digest(fs, &source, Some(&mut whole))?;
        Ok(KernelFile {
            source,
            name,
            sha256,
        })
    };
    let linux = file(found.linux)?;
    let initrd = found.initrd.map(&mut file).transpose()?;
    let devicetree = match (found.devicetree, found.dtb) {
        (Some(one), _) => Some(DeviceTree::File(file(one)?)),
        (None, Some(many)) => {
            let all: Result<Vec<_>> = many.into_iter().map(&mut file).collect();
            Some(DeviceTree::Dir(all?))
        }
        (None, None) => None,
    };
    let hmac = match found.hmac {
        Some((source, name)) => Some(KernelFile {
            sha256: digest(fs, &source, None)?,
            source,
            name,
        }),
        None => None,
    };
    Ok(Kernel {
        bootcsum: found.bootcsum.unwrap_or_else(|| hex(&whole.finalize())),
        linux,
        initrd,
        devicetree,
        hmac,
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
    /// What a bootloader must load.
    pub(crate) fn files(&self) -> impl Iterator<Item = &KernelFile> {
        std::iter::once(&self.linux).chain(&self.initrd)
    }

    /// All that goes to `/boot`.
    fn installed(&self) -> impl Iterator<Item = &KernelFile> {
        let trees = match &self.devicetree {
            Some(DeviceTree::File(one)) => std::slice::from_ref(one),
            Some(DeviceTree::Dir(many)) => many.as_slice(),
            None => &[],
        };
        self.files().chain(trees).chain(&self.hmac)
    }

    /// Copies what is not there, or not as it should be, into `dir`.
    pub(crate) fn install(&self, fs: &dyn Fs, dir: &Path) -> Result<()> {
        durable::create_dir_all(fs, dir, 0o755)?;
        for file in self.installed() {
            if let Some(parent) = dir.join(&file.name).parent() {
                durable::create_dir_all(fs, parent, 0o755)?;
            }
        }
        let temporary =
            |file: &KernelFile| dir.join(format!(".{}.tmp", file.name.replace('/', "-")));
        let installed = self.copy_into(fs, dir, &temporary);
        if installed.is_err() {
            // The first error is the one that matters.
            for file in self.installed() {
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
        for file in self.installed() {
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
