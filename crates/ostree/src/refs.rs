//! Refs: names for commits, each a file with 64 digits and a line feed.
//!
//! `NAME` is `refs/heads/NAME`; `REMOTE:NAME`, what a remote called it when last
//! pulled, is `refs/remotes/REMOTE/NAME`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use durable::{Doing, FileKind, Fs, LockMode};

use crate::{Checksum, Error, Repo, Result};

/// Checks a ref's name: parts joined by `/`, each of letters, digits, `-`, `.` and
/// `_`, and starting with a letter, digit or `_`.
///
/// # Errors
/// [`Error::RefName`].
pub fn check_ref_name(name: &str) -> Result<()> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let part = |part: &str| {
        part.starts_with(word) && part.chars().all(|c| word(c) || matches!(c, '-' | '.'))
    };
    if name.split('/').all(part) {
        return Ok(());
    }
    Err(Error::RefName(name.to_owned()))
}

/// Checks `NAME` or `REMOTE:NAME`.
pub(crate) fn check_refspec(refspec: &str) -> Result<()> {
    parse(refspec).map(|_| ())
}

/// Splits `REMOTE:NAME`, checking both.
fn parse(refspec: &str) -> Result<(Option<&str>, &str)> {
    match refspec.split_once(':') {
        None => check_ref_name(refspec).map(|()| (None, refspec)),
        Some((remote, name)) => {
            check_ref_name(name)?;
            if remote.contains('/') || check_ref_name(remote).is_err() {
                return Err(Error::RefName(refspec.to_owned()));
            }
            Ok((Some(remote), name))
        }
    }
}

impl Repo {
    fn ref_path(&self, refspec: &str) -> Result<PathBuf> {
        let (remote, name) = parse(refspec)?;
        let refs = self.path().join("refs");
        Ok(match remote {
            None => refs.join("heads").join(name),
            Some(remote) => refs.join("remotes").join(remote).join(name),
        })
    }

    /// What a ref points to; `None` when there is no such ref.
    ///
    /// # Errors
    /// The disk's, a name that cannot be one, a damaged file.
    pub fn read_ref(&self, refspec: &str) -> Result<Option<Checksum>> {
        read_ref_file(self.fs(), &self.ref_path(refspec)?, refspec)
    }

    /// Points a ref (`NAME` or `REMOTE:NAME`) to a commit, durably; `None` removes
    /// it. An alias is followed: what it stands for is changed.
    ///
    /// # Errors
    /// The disk's, a name that cannot be one, a commit that is not there.
    pub fn set_ref(&self, name: &str, target: Option<&Checksum>) -> Result<()> {
        let path = self.ref_path(name)?;
        let _lock = self.lock(LockMode::Shared, &monitor::Silent)?;
        self.set_ref_file(&path, target)
    }

    /// The same with a ref's file; under a lock.
    pub(crate) fn set_ref_file(&self, path: &Path, target: Option<&Checksum>) -> Result<()> {
        let fs = self.fs();
        let Some(target) = target else {
            return self.remove_ref(path);
        };
        self.load_commit(target)?;
        let path = alias_target(fs, path)?.unwrap_or_else(|| path.to_owned());
        if let Some(parent) = path.parent() {
            durable::create_dir_all(fs, parent, 0o755)?;
        }
        let text = format!("{target}\n");
        durable::publish_file(fs, &path, text.as_bytes(), 0o644)
            .map_err(|e| Error::from(e).explain_full(self.path()))
    }

    /// Removes a ref's file, and the directories that are empty then.
    fn remove_ref(&self, path: &Path) -> Result<()> {
        match self.fs().remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(e).doing("remove", path).map_err(Error::from);
            }
            _ => {}
        }
        let refs = self.path().join("refs");
        let mut dir = path.parent();
        while let Some(parent) = dir.filter(|d| d.starts_with(&refs) && d.parent() != Some(&refs)) {
            if self.fs().remove_dir(parent).is_err() {
                break;
            }
            dir = parent.parent();
        }
        match dir {
            Some(left) => Ok(self.fs().sync_dir(left).doing("sync", left)?),
            None => Ok(()),
        }
    }

    /// Removes a ref, durably. Of an alias, the alias itself.
    ///
    /// # Errors
    /// The disk's, a name that cannot be one.
    pub fn remove_ref_itself(&self, name: &str) -> Result<()> {
        let path = self.ref_path(name)?;
        let _lock = self.lock(LockMode::Shared, &monitor::Silent)?;
        self.remove_ref(&path)
    }

    /// Makes `name` stand for whatever the ref `target` points to.
    ///
    /// # Errors
    /// The disk's; names that cannot be, or are remotes'; a target that is not there.
    pub fn set_alias(&self, name: &str, target: &str) -> Result<()> {
        check_ref_name(name)?;
        check_ref_name(target).map_err(|_| Error::NoSuchRev(target.to_owned()))?;
        if self.read_ref(target)?.is_none() {
            return Err(Error::NoSuchRev(target.to_owned()));
        }
        let path = self.ref_path(name)?;
        let up = "../".repeat(name.matches('/').count());
        if let Some(parent) = path.parent() {
            durable::create_dir_all(self.fs(), parent, 0o755)?;
        }
        let target = PathBuf::from(up + target);
        Ok(durable::publish_symlink(self.fs(), &target, &path)?)
    }

    /// The aliases among the refs of this repository, and what they stand for.
    ///
    /// # Errors
    /// The disk's.
    pub fn aliases(&self) -> Result<BTreeMap<String, String>> {
        let heads = self.path().join("refs/heads");
        let mut found = BTreeMap::new();
        for name in self.ref_names()?.into_iter().filter(|n| !n.contains(':')) {
            let Some(target) = alias_target(self.fs(), &heads.join(&name))? else {
                continue;
            };
            let mut plain = PathBuf::new();
            for component in target.strip_prefix(&heads).unwrap_or(&target).components() {
                match component {
                    std::path::Component::ParentDir => drop(plain.pop()),
                    other => plain.push(other),
                }
            }
            found.insert(name, plain.to_string_lossy().into_owned());
        }
        Ok(found)
    }

    /// All refs whose name is `prefix` or starts with `prefix/`; without one, all.
    /// Those of remotes are called `REMOTE:NAME`.
    ///
    /// # Errors
    /// The disk's, or a damaged file.
    pub fn refs(&self, prefix: Option<&str>) -> Result<BTreeMap<String, Checksum>> {
        let mut found = BTreeMap::new();
        for name in self.ref_names()? {
            let within = |p: &str| {
                name == p
                    || name
                        .strip_prefix(p)
                        .is_some_and(|rest| rest.starts_with(['/', ':']))
            };
            if prefix.is_none_or(within)
                && let Some(checksum) = self.read_ref(&name)?
            {
                found.insert(name, checksum);
            }
        }
        Ok(found)
    }

    /// What the refs of collections (`refs/mirrors/COLLECTION/NAME`) point to, whatever
    /// they are called: what they need is kept.
    pub(crate) fn mirrored(&self) -> Result<Vec<Checksum>> {
        let mirrors = self.path().join("refs/mirrors");
        let mut names = Vec::new();
        collect(self.fs(), &mirrors, "", &mut names)?;
        let read = |name: &String| read_ref_file(self.fs(), &mirrors.join(name), name).transpose();
        names.iter().filter_map(read).collect()
    }

    /// The names of all refs.
    pub(crate) fn ref_names(&self) -> Result<Vec<String>> {
        let refs = self.path().join("refs");
        let mut names = Vec::new();
        collect(self.fs(), &refs.join("heads"), "", &mut names)?;
        let remotes = refs.join("remotes");
        for remote in list(self.fs(), &remotes)? {
            if let (FileKind::Dir, Some(name)) = (remote.kind, remote.name.to_str()) {
                collect(
                    self.fs(),
                    &remotes.join(name),
                    &format!("{name}:"),
                    &mut names,
                )?;
            }
        }
        Ok(names)
    }
}

/// Lists a directory that may not be there.
pub(crate) fn list(fs: &dyn Fs, dir: &Path) -> Result<Vec<durable::DirEntry>> {
    match fs.read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => Ok(other.doing("list", dir)?),
    }
}

/// Adds the names of the refs below `dir`. Files whose name cannot be a ref's, such
/// as what an interrupted writer left, are passed over.
pub(crate) fn collect(
    fs: &dyn Fs,
    dir: &Path,
    prefix: &str,
    names: &mut Vec<String>,
) -> Result<()> {
    for entry in list(fs, dir)? {
        let Some(name) = entry.name.to_str().filter(|n| check_ref_name(n).is_ok()) else {
            continue;
        };
        let full = format!("{prefix}{name}");
        match entry.kind {
            FileKind::Dir => collect(fs, &dir.join(name), &format!("{full}/"), names)?,
            FileKind::File | FileKind::Symlink => names.push(full),
            FileKind::Other => {}
        }
    }
    Ok(())
}

/// The path that an alias (a symlink beside other refs) stands for.
fn alias_target(fs: &dyn Fs, path: &Path) -> Result<Option<PathBuf>> {
    match fs.metadata(path) {
        Ok(m) if m.kind == FileKind::Symlink => {
            let target = fs.read_link(path).doing("read the symlink", path)?;
            Ok(path.parent().map(|dir| dir.join(target)))
        }
        _ => Ok(None),
    }
}

pub(crate) fn read_ref_file(fs: &dyn Fs, path: &Path, name: &str) -> Result<Option<Checksum>> {
    let text = match durable::read_to_string(fs, path) {
        Ok(text) => text,
        Err(e) => {
            use io::ErrorKind::{InvalidData, IsADirectory, NotADirectory, NotFound};
            return match e.source.kind() {
                NotFound | NotADirectory | IsADirectory => Ok(None),
                InvalidData => Err(Error::DamagedRef(name.to_owned())),
                _ => Err(e.into()),
            };
        }
    };
    match text.trim_end().parse() {
        Ok(checksum) => Ok(Some(checksum)),
        Err(_) => Err(Error::DamagedRef(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in [
            "main",
            "debian/12/x86_64",
            "ostree/0/1/0",
            "_x",
            "a.b-c",
            "remote:a/b",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        let bad = [
            "", "/a", "a/", "a//b", ".a", "-a", "a/../b", "a b", "a:b:c", ":a", "r/s:a", "ä",
        ];
        for bad in bad {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
