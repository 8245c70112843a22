//! Many files made durable by few syncs.

use std::collections::BTreeSet;
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

    /// How many files wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.renames.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.renames.is_empty()
    }

    /// Publishes all files. `on` is a path on their filesystem.
    ///
    /// # Errors
    /// What failed; files not yet renamed keep their temporary names.
    pub fn publish(self, fs: &dyn Fs, on: &Path) -> Result<()> {
        if self.renames.is_empty() {
            return Ok(());
        }
        fs.sync_filesystem(on).doing("sync the filesystem of", on)?;
        let mut dirs = BTreeSet::new();
        for (from, to) in &self.renames {
            fs.rename(from, to).doing("publish", to)?;
            dirs.insert(parent(to).to_owned());
        }
        // Each sync of a directory flushes the disk's cache; one of the whole
        // filesystem does so once.
        if dirs.len() > FEW_DIRS {
            return fs.sync_filesystem(on).doing("sync the filesystem of", on);
        }
        for dir in dirs {
            fs.sync_dir(&dir).doing("sync", &dir)?;
        }
        Ok(())
    }
}
