//! A live trial: what differs between two deployments, and the way back.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable::{Attributes, Doing, FileKind, Fs, Metadata};
use engine::TxId;
use machine::{LiveSwitch, Machine};
use sysroot::{DeploymentId, Sysroot};

use crate::{Error, Result};

/// Where a deployment keeps its defaults for `/etc`; what counts live is `/etc`.
const DEFAULTS: &str = "usr/etc";
const ETC: &str = "etc";

/// One live trial, with what is needed to undo it.
#[derive(Debug)]
pub(crate) struct LiveTrial {
    fs: Arc<dyn Fs>,
    from: DeploymentId,
    to: DeploymentId,
    /// Outlives a crash, so that the next boot can undo the trial.
    saved: PathBuf,
}

impl LiveTrial {
    pub(crate) fn new(
        fs: Arc<dyn Fs>,
        sysroot: &Sysroot,
        tx: TxId,
        from: DeploymentId,
        to: DeploymentId,
    ) -> Self {
        let saved = sysroot.layout().memory().join(format!("live-{tx}"));
        Self {
            fs,
            from,
            to,
            saved,
        }
    }

    /// Whether it was begun.
    pub(crate) fn begun(&self) -> bool {
        self.fs.metadata(&self.saved.join("changed")).is_ok()
    }

    /// Refuses a switch that the running machine can't do.
    pub(crate) fn check(&self, sysroot: &Sysroot, machine: &dyn Machine) -> Result<()> {
        let changed = self.compare(sysroot)?;
        self.refuse(sysroot, machine, &changed)
    }

    /// Makes the running system that of the version on trial.
    pub(crate) fn switch(&self, sysroot: &Sysroot, machine: &mut dyn Machine) -> Result<()> {
        let fs = &*self.fs;
        let list = self.saved.join("changed");
        if fs.metadata(&list).is_err() {
            let changed = self.compare(sysroot)?;
            self.refuse(sysroot, machine, &changed)?;
            durable::create_dir_all(fs, &self.saved, 0o700)?;
            durable::publish_file(fs, &list, &to_bytes(&changed), 0o600)?;
        } else {
            durable::make_sure(fs, &list)?;
        }
        let changed = from_bytes(&durable::read(fs, &list)?);
        self.with(sysroot, &changed, |switch| machine.switch_live(switch))
    }

    /// Makes the running system that of the version before, with what was changed in
    /// `/etc` during the trial. Answers with the paths that were.
    pub(crate) fn revert(
        &self,
        sysroot: &Sysroot,
        machine: &mut dyn Machine,
    ) -> Result<Vec<PathBuf>> {
        let fs = &*self.fs;
        let list = self.saved.join("changed");
        if fs.metadata(&list).is_err() {
            // It was never begun.
            return Ok(Vec::new());
        }
        let changed = from_bytes(&durable::read(fs, &list)?);
        let edited = self.carry_edits(sysroot, &changed)?;
        self.with(sysroot, &changed, |switch| machine.revert_live(switch))?;
        Ok(edited)
    }

    /// Takes over what was changed in `/etc` during the trial: all in which the two
    /// differ now and did not when it began.
    fn carry_edits(&self, sysroot: &Sysroot, changed: &[PathBuf]) -> Result<Vec<PathBuf>> {
        let fs = &*self.fs;
        let layout = sysroot.layout();
        let (from, to) = (layout.deployment(&self.from), layout.deployment(&self.to));
        let mut edited = Vec::new();
        compare_trees(fs, &from, &to, Path::new(ETC), &mut edited)?;
        edited.retain(|path| !changed.contains(path));
        for path in &edited {
            put(fs, &to.join(path), &from.join(path))?;
        }
        Ok(edited)
    }

    /// Forgets the way back.
    pub(crate) fn forget(&self) -> Result<()> {
        Ok(durable::remove_tree(&*self.fs, &self.saved)?)
    }

    fn refuse(&self, sysroot: &Sysroot, machine: &dyn Machine, changed: &[PathBuf]) -> Result<()> {
        if self.from.stateroot != self.to.stateroot {
            return Err(crate::stateroot::takes_a_reboot(&self.to.stateroot));
        }
        let why = self.with(sysroot, changed, |switch| Ok(machine.refuses_live(switch)))?;
        why.map_or(Ok(()), |why| Err(Error::NotLive(why)))
    }

    fn with<T>(
        &self,
        sysroot: &Sysroot,
        changed: &[PathBuf],
        act: impl FnOnce(&LiveSwitch<'_>) -> machine::Result<T>,
    ) -> Result<T> {
        let layout = sysroot.layout();
        let (from, to) = (layout.deployment(&self.from), layout.deployment(&self.to));
        Ok(act(&LiveSwitch {
            from: &from,
            to: &to,
            changed,
        })?)
    }

    /// The paths in which the two differ: outside `/etc` by their commits, in
    /// `/etc` by the trees as they are.
    fn compare(&self, sysroot: &Sysroot) -> Result<Vec<PathBuf>> {
        let commits = sysroot
            .repo()
            .diff(&self.from.checksum, &self.to.checksum)?;
        let mut changed: Vec<PathBuf> = commits
            .into_iter()
            .filter_map(|change| Some(change.path.strip_prefix("/").ok()?.to_owned()))
            .filter(|path| !path.starts_with(DEFAULTS))
            .collect();
        let layout = sysroot.layout();
        let (from, to) = (layout.deployment(&self.from), layout.deployment(&self.to));
        compare_trees(&*self.fs, &from, &to, Path::new(ETC), &mut changed)?;
        Ok(changed)
    }
}

/// Copies one path with its attributes, or removes it where it is gone.
fn put(fs: &dyn Fs, from: &Path, to: &Path) -> Result<()> {
    let Some(metadata) = look(fs, from)? else {
        return Ok(durable::remove_tree(fs, to)?);
    };
    let attributes = Attributes {
        owner: Some((metadata.uid, metadata.gid)),
        mode: (metadata.kind != FileKind::Symlink).then_some(metadata.mode & 0o7777),
        ..Attributes::default()
    };
    match metadata.kind {
        FileKind::File => {
            let bytes = durable::read(fs, from)?;
            durable::publish_file(fs, to, &bytes, metadata.mode & 0o7777)?;
        }
        FileKind::Symlink => {
            let target = fs.read_link(from).doing("read the link", from)?;
            durable::publish_symlink(fs, &target, to)?;
        }
        FileKind::Dir => durable::create_dir_all(fs, to, metadata.mode & 0o7777)?,
        FileKind::Other => return Ok(()),
    }
    let set = fs.set_attributes(to, &attributes);
    Ok(set.doing("set the attributes of", to)?)
}

fn to_bytes(paths: &[PathBuf]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for path in paths {
        bytes.extend(path.as_os_str().as_bytes());
        bytes.push(0);
    }
    bytes
}

fn from_bytes(bytes: &[u8]) -> Vec<PathBuf> {
    let paths = bytes.split(|b| *b == 0).filter(|path| !path.is_empty());
    paths
        .map(|path| PathBuf::from(OsStr::from_bytes(path)))
        .collect()
}

fn look(fs: &dyn Fs, path: &Path) -> Result<Option<Metadata>> {
    match fs.metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Ok(Err(e).doing("look at", path)?),
    }
}

/// Adds the paths below `path` that are not alike in both trees. Of a directory
/// that is only in one of them, everything below is named, parents first.
fn compare_trees(
    fs: &dyn Fs,
    left: &Path,
    right: &Path,
    path: &Path,
    changed: &mut Vec<PathBuf>,
) -> Result<()> {
    let (a, b) = (left.join(path), right.join(path));
    let (left_is, right_is) = (look(fs, &a)?, look(fs, &b)?);
    if !alike(fs, (&a, left_is), (&b, right_is))? {
        changed.push(path.to_owned());
    }
    let mut names = BTreeSet::new();
    for (dir, metadata) in [(&a, left_is), (&b, right_is)] {
        if metadata.is_some_and(|m| m.kind == FileKind::Dir) {
            let entries = fs.read_dir(dir).doing("list", dir)?;
            names.extend(entries.into_iter().map(|entry| entry.name));
        }
    }
    for name in names {
        compare_trees(fs, left, right, &path.join(name), changed)?;
    }
    Ok(())
}

fn alike(
    fs: &dyn Fs,
    (a, left): (&Path, Option<Metadata>),
    (b, right): (&Path, Option<Metadata>),
) -> Result<bool> {
    let (Some(left), Some(right)) = (left, right) else {
        return Ok(left.is_none() && right.is_none());
    };
    let facts = |m: Metadata| (m.kind, m.mode, m.uid, m.gid);
    if facts(left) != facts(right) {
        return Ok(false);
    }
    match left.kind {
        FileKind::Symlink => {
            let target = |path| fs.read_link(path).doing("read the link", path);
            Ok(target(a)? == target(b)?)
        }
        FileKind::File if (left.dev, left.ino) == (right.dev, right.ino) => Ok(true),
        FileKind::File => {
            Ok(left.size == right.size && durable::read(fs, a)? == durable::read(fs, b)?)
        }
        _ => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]
    use super::*;
    use durable::RealFs;

    #[test]
    fn lists_read_back() {
        let paths = [PathBuf::from("etc/a b"), PathBuf::from("usr/ü\n")];
        assert_eq!(from_bytes(&to_bytes(&paths)), paths);
        assert!(from_bytes(b"").is_empty());
    }

    #[test]
    fn trees_differ_in_content_mode_and_presence() {
        let dir = tempfile::tempdir().unwrap();
        let file = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for side in ["a", "b"] {
            file(&format!("{side}/etc/same"), "x");
            file(&format!("{side}/etc/content"), side);
        }
        file("a/etc/gone", "x");
        file("b/etc/new/deep", "x");
        let mut changed = Vec::new();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        compare_trees(&RealFs, &a, &b, Path::new(ETC), &mut changed).unwrap();
        let expected = ["etc/content", "etc/gone", "etc/new", "etc/new/deep"];
        assert_eq!(changed, expected.map(PathBuf::from));
    }
}
