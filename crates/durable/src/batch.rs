//! Many files made durable by few syncs.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::fs::Fs;
use crate::moves::parent;
use crate::{Doing, Result};

/// Up to so many directories are synced one by one.
const FEW_DIRS: usize = 8;

/// Files written under temporary names, then published together: one sync of
/// the filesystem, all the renames, one sync of each directory (or of the
/// filesystem again, where they are many).
///
/// After a crash any subset of the files may be there, each one whole, because
/// no rename is issued before the content of all of them is on the disk.
#[derive(Debug, Default)]
pub struct Batch {
    renames: Vec<(PathBuf, PathBuf)>,
    dirs: Vec<(PathBuf, PathBuf)>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a finished but unsynced file `from` that is to become `to`, on the
    /// same filesystem.
    pub fn add(&mut self, from: PathBuf, to: PathBuf) {
        self.renames.push((from, to));
    }

    /// Adds a directory `from` with nothing in it but finished, unsynced files. They
    /// are published by one rename where `to` is not there yet, or empty; else one by
    /// one, and `from` stays, empty.
    pub fn add_dir(&mut self, from: PathBuf, to: PathBuf) {
        self.dirs.push((from, to));
    }

    /// Publishes all files. `on` is a path on their filesystem.
    ///
    /// # Errors
    /// What failed; files not yet renamed keep their temporary names.
    pub fn publish(mut self, fs: &dyn Fs, on: &Path) -> Result<()> {
        if self.renames.is_empty() && self.dirs.is_empty() {
            return Ok(());
        }
        fs.sync_filesystem(on).doing("sync the filesystem of", on)?;
        let mut changed = BTreeSet::new();
        for (from, to) in std::mem::take(&mut self.dirs) {
            match fs.rename(&from, &to) {
                Ok(()) => {
                    changed.insert(parent(&to).to_owned());
                }
                Err(e) if is_taken(&e) => self.one_by_one(fs, &from, &to)?,
                Err(e) => return Err(e).doing("publish", &to),
            }
        }
        for (from, to) in &self.renames {
            fs.rename(from, to).doing("publish", to)?;
            changed.insert(parent(to).to_owned());
        }
        // Each sync of a directory flushes the disk's cache; one of the whole
        // filesystem does so once.
        if changed.len() > FEW_DIRS {
            return fs.sync_filesystem(on).doing("sync the filesystem of", on);
        }
        for dir in changed {
            fs.sync_dir(&dir).doing("sync", &dir)?;
        }
        Ok(())
    }

    /// Adds each file of a directory.
    fn one_by_one(&mut self, fs: &dyn Fs, from: &Path, to: &Path) -> Result<()> {
        for entry in fs.read_dir(from).doing("list", from)? {
            self.add(from.join(&entry.name), to.join(&entry.name));
        }
        Ok(())
    }
}

/// Whether the new name is that of a directory with something in it.
fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
    )
}
