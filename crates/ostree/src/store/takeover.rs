//! What a pull that was cut off left, and the next one takes over.

use std::io::{self, Write};
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use durable::{Attributes, Doing, FileKind, LockMode};

use super::Staging;
use super::place::{KEEP_PULLS, PULL_PREFIX, Place};
use crate::{Error, ObjectName, Repo, Result};

impl Staging<'_> {
    /// Counts an object as staged; `false` when it was already.
    pub(super) fn admit(&self, object: ObjectName) -> bool {
        let mut staged = self.staged.lock().unwrap_or_else(PoisonError::into_inner);
        staged.insert(object)
    }

    /// An object could not be written after all.
    pub(crate) fn give_up(&self, object: ObjectName) -> Result<()> {
        let mut staged = self.staged.lock().unwrap_or_else(PoisonError::into_inner);
        staged.remove(&object);
        drop(staged);
        self.repo.remove(&self.path(object))
    }

    pub(super) fn is_staged(&self, object: ObjectName) -> bool {
        let staged = self.staged.lock().unwrap_or_else(PoisonError::into_inner);
        staged.contains(&object)
    }

    /// Whether an earlier run left this file object here, whole.
    pub(crate) fn take_over(&self, object: ObjectName) -> Result<bool> {
        if self.is_staged(object) {
            return Ok(true);
        }
        if !self.resumed {
            return Ok(false);
        }
        let verified = self.repo.open_file_at(object, &self.path(object));
        let verified = verified
            .and_then(|file| file.copy_verified(object.checksum, &mut Vec::new(), &mut io::sink()));
        match verified {
            Ok(_) => {
                self.admit(object);
                self.taken_over.fetch_add(1, Ordering::Relaxed);
                Ok(true)
            }
            Err(Error::Missing(_)) => Ok(false),
            // It was cut off while it was written, or lost when the power went.
            Err(_) => self.repo.remove(&self.path(object)).map(|()| false),
        }
    }

    /// A metadata object that is staged, or that an earlier run left here.
    pub(crate) fn load(&self, object: ObjectName) -> Result<Option<Vec<u8>>> {
        let staged = self.is_staged(object);
        if !staged && !self.resumed {
            return Ok(None);
        }
        match self.repo.load_at(object, &self.path(object)) {
            Ok(bytes) => {
                if !staged {
                    self.admit(object);
                    self.taken_over.fetch_add(1, Ordering::Relaxed);
                }
                Ok(Some(bytes))
            }
            Err(Error::Missing(_)) => Ok(None),
            Err(e) if staged => Err(e),
            Err(_) => self.repo.remove(&self.path(object)).map(|()| None),
        }
    }

    /// How many objects were taken over from an earlier run.
    pub(crate) fn taken_over(&self) -> u64 {
        self.taken_over.load(Ordering::Relaxed)
    }

    /// Adds a verified file object of an archive, as it came.
    pub(crate) fn archived_file(&self, object: ObjectName, bytes: &[u8]) -> Result<()> {
        if !self.claim(object)? {
            return Ok(());
        }
        self.take_space(bytes.len() as u64)?;
        self.place(object, |path| {
            self.repo.remove_leftover(self.resumed, path)?;
            let mut file = self.repo.fs().create(path, 0o644).doing("create", path)?;
            file.write_all(bytes).doing("write", path)?;
            Ok(file.flush().doing("write", path)?)
        })
    }
}

/// A staging directory with this prefix whose lock nobody holds; ours from now on.
pub(super) fn abandoned(repo: &Repo, tmp: &Path, prefix: &str) -> Result<Option<Place>> {
    let fs = repo.fs();
    for entry in fs.read_dir(tmp).doing("list", tmp)? {
        let name = entry.name.to_string_lossy().into_owned();
        if entry.kind != FileKind::Dir || !name.starts_with(prefix) {
            continue;
        }
        let lock_path = tmp.join(format!("{name}.lock"));
        let held = fs
            .try_lock(&lock_path, LockMode::Exclusive)
            .doing("lock", &lock_path)?;
        let Some(lock) = held else {
            continue;
        };
        // Its owner may have finished, and removed it, in this instant.
        let dir = tmp.join(&name);
        if fs.metadata(&dir).is_ok_and(|m| m.kind == FileKind::Dir) {
            let fresh = Attributes {
                mtime: i64::try_from(crate::summary::now()).ok(),
                ..Attributes::default()
            };
            fs.set_attributes(&lock_path, &fresh)
                .doing("set the time of", &lock_path)?;
            return Ok(Some((dir, lock_path, lock)));
        }
    }
    Ok(None)
}

/// Whether a pull that left this may still be carried on with.
pub(super) fn is_worth_keeping(repo: &Repo, name: &str, lock_path: &Path) -> bool {
    let now = i64::try_from(crate::summary::now()).unwrap_or(i64::MAX);
    name.starts_with(PULL_PREFIX)
        && repo
            .fs()
            .metadata(lock_path)
            .is_ok_and(|m| now.saturating_sub(m.mtime) < KEEP_PULLS)
}
