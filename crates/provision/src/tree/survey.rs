//! What a root filesystem holds, as far as preparing it depends on that.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use durable::{Doing, FileKind, Fs};

use super::payload::{self, FILES};
use crate::{Error, Result};

/// The directories whose content is a host's own: in the tree, below `/var`.
pub(super) const STATE: &[(&str, &str)] = &[
    ("home", "home"),
    ("root", "roothome"),
    ("opt", "opt"),
    ("srv", "srv"),
    ("mnt", "mnt"),
    ("usr/local", "usrlocal"),
];

/// Filled at run time, or by the deployment; empty in a tree.
pub(super) const EMPTY: &[&str] = &["boot", "dev", "proc", "run", "sys", "tmp"];

/// What makes an initramfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitramfsTool {
    /// `mkinitramfs`, Debian's own.
    InitramfsTools,
    /// `dracut`.
    Dracut,
}

/// What is there.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Versions with a kernel under `boot/vmlinuz-VERSION`.
    pub kernels_in_boot: BTreeSet<String>,
    /// Versions with a kernel under `usr/lib/modules/VERSION/vmlinuz`.
    pub kernels_in_modules: BTreeSet<String>,
    /// Versions that have modules.
    pub modules: BTreeSet<String>,
    /// Versions with an initramfs under `usr/lib/modules/VERSION/initramfs.img`.
    pub initramfs: BTreeSet<String>,
    /// `/usr` holds `bin`, `sbin` and `lib`.
    pub merged_usr: bool,
    /// There is an init system.
    pub init: bool,
    /// What could make an initramfs.
    pub tool: Option<InitramfsTool>,
    /// There is a directory `etc`.
    pub etc: bool,
    /// There is a directory `usr/etc`.
    pub usr_etc: bool,
    /// `etc/machine-id` names a machine, or is missing.
    pub machine_id: bool,
    /// `etc/fstab` mounts what the deployment mounts itself; the mended text.
    pub fstab: Option<String>,
    /// There are ssh host keys.
    pub host_keys: bool,
    /// Directories whose content is a host's own, still in their old places.
    pub state_dirs: Vec<&'static str>,
    /// Directories that must be empty and are not, or are missing.
    pub to_empty: Vec<&'static str>,
    /// `var` holds something.
    pub var: bool,
    /// There is a package database at `var/lib/dpkg`.
    pub dpkg: bool,
    /// Indexes of [`FILES`] that differ or are missing.
    pub(super) payload: Vec<usize>,
    /// Links, with their target, that differ or are missing.
    pub links: Vec<(String, String)>,
    /// The binary differs or is missing.
    pub binary: bool,
}

impl Survey {
    /// Looks at `tree`; `binary` is the program to be put into it.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn of(fs: &dyn Fs, tree: &Path, binary: &Path) -> Result<Self> {
        let look = Look { fs, tree };
        if look.kind("")? != Some(FileKind::Dir) {
            return Err(Error::Unsuitable {
                path: tree.to_owned(),
                why: "it is no directory".into(),
            });
        }
        let etc = look.kind("etc")? == Some(FileKind::Dir);
        let conf = if etc { "etc" } else { "usr/etc" };
        let mut survey = Self {
            etc,
            usr_etc: look.kind("usr/etc")? == Some(FileKind::Dir),
            merged_usr: look.merged_usr()?,
            init: look.kind("usr/lib/systemd/systemd")?.is_some(),
            tool: look.tool()?,
            machine_id: look.size(&format!("{conf}/machine-id"))? != Some(0),
            fstab: mended_fstab(&look.read(&format!("{conf}/fstab"))?),
            host_keys: look.host_keys(conf)?,
            var: !look.names("var")?.is_empty(),
            dpkg: look.kind("var/lib/dpkg")? == Some(FileKind::Dir),
            binary: look.differs("usr/bin/backstop", &durable::read(fs, binary)?, 0o755)?,
            ..Self::default()
        };
        look.kernels(&mut survey)?;
        look.state(&mut survey)?;
        look.payload(&mut survey)?;
        Ok(survey)
    }
}

/// A tree being looked at.
struct Look<'a> {
    fs: &'a dyn Fs,
    tree: &'a Path,
}

impl Look<'_> {
    fn at(&self, path: &str) -> PathBuf {
        self.tree.join(path)
    }

    /// What a path is; a missing one is no error.
    fn kind(&self, path: &str) -> Result<Option<FileKind>> {
        let path = self.at(path);
        match self.fs.metadata(&path) {
            Ok(m) => Ok(Some(m.kind)),
            Err(e) if absent(&e) => Ok(None),
            Err(e) => Ok(Err(e).doing("look at", &path)?),
        }
    }

    fn names(&self, path: &str) -> Result<Vec<String>> {
        let path = self.at(path);
        match self.fs.read_dir(&path) {
            Ok(entries) => Ok(entries
                .into_iter()
                .filter_map(|e| e.name.into_string().ok())
                .collect()),
            Err(e) if absent(&e) => Ok(Vec::new()),
            Err(e) => Ok(Err(e).doing("list", &path)?),
        }
    }

    fn read(&self, path: &str) -> Result<String> {
        match self.kind(path)? {
            Some(FileKind::File) => Ok(durable::read_to_string(self.fs, &self.at(path))?),
            _ => Ok(String::new()),
        }
    }

    fn size(&self, path: &str) -> Result<Option<u64>> {
        match self.kind(path)? {
            Some(_) => {
                let path = self.at(path);
                Ok(Some(self.fs.metadata(&path).doing("look at", &path)?.size))
            }
            None => Ok(None),
        }
    }

    fn differs(&self, path: &str, bytes: &[u8], mode: u32) -> Result<bool> {
        if self.kind(path)? != Some(FileKind::File) {
            return Ok(true);
        }
        let path = self.at(path);
        let meta = self.fs.metadata(&path).doing("look at", &path)?;
        Ok(meta.mode & 0o7777 != mode
            || meta.size != bytes.len() as u64
            || durable::read(self.fs, &path)? != bytes)
    }

    fn merged_usr(&self) -> Result<bool> {
        for dir in ["bin", "sbin", "lib"] {
            if self.kind(dir)? != Some(FileKind::Symlink)
                || self.kind(&format!("usr/{dir}"))? != Some(FileKind::Dir)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn tool(&self) -> Result<Option<InitramfsTool>> {
        if self.kind("usr/sbin/mkinitramfs")?.is_some() {
            return Ok(Some(InitramfsTool::InitramfsTools));
        }
        let dracut = self.kind("usr/bin/dracut")?;
        Ok(dracut.map(|_| InitramfsTool::Dracut))
    }

    fn host_keys(&self, conf: &str) -> Result<bool> {
        let names = self.names(&format!("{conf}/ssh"))?;
        Ok(names.iter().any(|n| n.starts_with("ssh_host_")))
    }

    fn kernels(&self, survey: &mut Survey) -> Result<()> {
        for name in self.names("boot")? {
            if let Some(version) = name.strip_prefix("vmlinuz-") {
                survey.kernels_in_boot.insert(version.to_owned());
            }
        }
        for version in self.names("usr/lib/modules")? {
            let dir = format!("usr/lib/modules/{version}");
            if self.kind(&format!("{dir}/vmlinuz"))?.is_some() {
                survey.kernels_in_modules.insert(version.clone());
            }
            if self.kind(&format!("{dir}/initramfs.img"))?.is_some() {
                survey.initramfs.insert(version.clone());
            }
            survey.modules.insert(version);
        }
        Ok(())
    }

    fn state(&self, survey: &mut Survey) -> Result<()> {
        for (dir, _) in STATE {
            if self.kind(dir)? == Some(FileKind::Dir) {
                survey.state_dirs.push(dir);
            }
        }
        for dir in EMPTY {
            if self.kind(dir)? != Some(FileKind::Dir) || !self.names(dir)?.is_empty() {
                survey.to_empty.push(dir);
            }
        }
        Ok(())
    }

    fn payload(&self, survey: &mut Survey) -> Result<()> {
        for (n, file) in FILES.iter().enumerate() {
            if self.differs(file.path, file.bytes, file.mode)? {
                survey.payload.push(n);
            }
        }
        for (path, target) in links().chain(payload::links()) {
            let at = self.at(&path);
            if self.fs.read_link(&at).ok().as_deref() != Some(Path::new(&target)) {
                survey.links.push((path, target));
            }
        }
        Ok(())
    }
}

/// The links of a tree's top, besides those for [`STATE`].
fn links() -> impl Iterator<Item = (String, String)> {
    [("ostree", "sysroot/ostree"), ("media", "run/media")]
        .into_iter()
        .map(|(path, target)| (path.to_owned(), target.to_owned()))
}

/// Whether an error says that there is nothing.
fn absent(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The table without the filesystems that a deployment mounts itself; `None`
/// when it has none of them.
fn mended_fstab(text: &str) -> Option<String> {
    let own = |line: &str| {
        let mut fields = line.split_whitespace();
        let device = fields.next().unwrap_or("#");
        let at = fields.next().unwrap_or_default();
        !device.starts_with('#') && matches!(at, "/" | "/usr" | "/var" | "/boot")
    };
    text.lines().any(own).then(|| {
        text.lines()
            .map(|l| match own(l) {
                true => format!("# mounted by backstop: {l}\n"),
                false => format!("{l}\n"),
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fstab_loses_only_what_the_deployment_mounts() {
        assert_eq!(mended_fstab("# / is\nLABEL=x /data ext4 a 0 2\n"), None);
        assert_eq!(
            mended_fstab("LABEL=r / ext4 a 0 1\nLABEL=x /data ext4 a 0 2\n").as_deref(),
            Some("# mounted by backstop: LABEL=r / ext4 a 0 1\nLABEL=x /data ext4 a 0 2\n")
        );
    }
}
