//! What is changed of a tree while it is committed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::commit_options::CommitOptions;
use crate::format::{TYPE_FILE, TYPE_MASK, TYPE_SYMLINK, Xattrs};
use crate::{Error, Repo, RepoMode, Result};

/// Changes to a tree on its way into a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modify {
    /// Takes all write bits off executable files.
    pub ro_executables: bool,
    /// Modes by path in the commit.
    pub modes: BTreeMap<PathBuf, ModeChange>,
    /// Paths in the commit that are left out, with all below them.
    pub skip: BTreeSet<PathBuf>,
    /// Removes directories once they are committed.
    pub consume: bool,
    /// What of files that are hard links to the repository's objects.
    pub links: LinkedFiles,
}

/// How a mode is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModeChange {
    /// These bits are added.
    Add(u32),
    /// These are the permission bits.
    Set(u32),
}

/// What of files that are hard links to the repository's objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LinkedFiles {
    /// They are read like any other.
    #[default]
    Read,
    /// They are the object, unless something is to be changed about them.
    Known,
    /// They are the object.
    Trust,
}

/// The changes while they are made: which of them found their path.
pub(crate) struct Modified<'a> {
    modify: &'a Modify,
    used: Mutex<HashSet<PathBuf>>,
}

impl CommitOptions {
    /// Whether extended attributes are left out.
    pub(crate) fn drops_xattrs(&self, repo: &Repo) -> bool {
        self.no_xattrs || self.is_canonical(repo) || repo.config().disable_xattrs
    }

    /// Extended attributes that what is at `path` in the commit has there; `found` are
    /// those that it has now.
    pub(crate) fn xattrs(
        &self,
        repo: &Repo,
        (path, mode): (&Path, u32),
        found: impl FnOnce() -> Result<Xattrs>,
    ) -> Result<Xattrs> {
        let kept = match self.drops_xattrs(repo) {
            true => Xattrs::default(),
            false => found()?,
        };
        let label = match &self.policy {
            Some(policy) => policy.label(path, mode)?,
            None => None,
        };
        Ok(match label {
            Some(label) => kept.labelled(label),
            None => kept,
        })
    }

    fn is_canonical(&self, repo: &Repo) -> bool {
        self.canonical_permissions || repo.mode() == RepoMode::BareUserOnly
    }
}

impl<'a> Modified<'a> {
    pub(crate) fn new(modify: &'a Modify) -> Self {
        let used = Mutex::default();
        Self { modify, used }
    }

    fn use_path(&self, path: &Path) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(path.to_owned());
    }

    /// Whether a name in a directory of the commit is left out.
    pub(crate) fn skips(&self, dir: &Path, name: &OsStr) -> bool {
        if self.modify.skip.is_empty() {
            return false;
        }
        let path = dir.join(name);
        let skips = self.modify.skip.contains(&path);
        if skips {
            self.use_path(&path);
        }
        skips
    }

    /// Owner and mode as the options want them.
    pub(crate) fn attributes(
        &self,
        repo: &Repo,
        options: &CommitOptions,
        path: &Path,
        (uid, gid): (u32, u32),
        mode: u32,
    ) -> (u32, u32, u32) {
        let mut bits = self.mode(path, mode);
        let (mut owner, mut group) = (uid, gid);
        if options.is_canonical(repo) {
            (owner, group) = (0, 0);
            if mode & TYPE_MASK != TYPE_SYMLINK {
                bits &= TYPE_MASK | 0o755;
            }
        }
        owner = options.owner_uid.unwrap_or(owner);
        group = options.owner_gid.unwrap_or(group);
        (owner, group, bits)
    }

    fn mode(&self, path: &Path, mode: u32) -> u32 {
        let mut mode = mode;
        if let Some(change) = self.modify.modes.get(path) {
            self.use_path(path);
            mode = match *change {
                ModeChange::Add(bits) => mode | (bits & 0o7777),
                ModeChange::Set(bits) => (mode & TYPE_MASK) | (bits & 0o7777),
            };
        }
        let executable = mode & TYPE_MASK == TYPE_FILE && mode & 0o111 != 0;
        match self.modify.ro_executables && executable {
            true => mode & !0o222,
            false => mode,
        }
    }

    /// Whether anything may be changed about what another commit holds.
    pub(crate) fn concern_trees(&self, options: &CommitOptions) -> bool {
        self.modify.ro_executables
            || !self.modify.modes.is_empty()
            || !self.modify.skip.is_empty()
            || options.owner_uid.is_some()
            || options.owner_gid.is_some()
            || options.canonical_permissions
            || options.no_xattrs
            || options.policy.is_some()
    }

    /// A change for a path that is not in the tree is a mistake.
    pub(crate) fn check_all_used(&self) -> Result<()> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = |path: &&PathBuf| !used.contains(*path);
        if let Some(path) = self.modify.modes.keys().find(unused) {
            let (path, list) = (path.clone(), "statoverride");
            return Err(Error::Unmatched { path, list });
        }
        match self.modify.skip.iter().find(unused) {
            None => Ok(()),
            Some(path) => Err(Error::Unmatched {
                path: path.clone(),
                list: "skip-list",
            }),
        }
    }
}
