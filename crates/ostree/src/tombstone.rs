//! Marks that say that a commit was removed: objects `.tombstone-commit`, `a{sv}` with
//! the commit's digest.

use std::path::PathBuf;

use crate::format::Metadata;
use crate::gvariant::Value;
use crate::{Checksum, ObjectKind, ObjectName, Repo, Result};

impl Repo {
    pub(crate) fn tombstone_path(&self, commit: &Checksum) -> PathBuf {
        let object = ObjectName::new(*commit, ObjectKind::Commit);
        self.object_path(&object).with_extension("tombstone-commit")
    }

    pub(crate) fn write_tombstone(&self, commit: &Checksum) -> Result<()> {
        let mut mark = Metadata::default();
        mark.set("commit", Value::Bytes(commit.as_bytes().to_vec()));
        let path = self.tombstone_path(commit);
        if let Some(dir) = path.parent() {
            durable::create_dir_all(self.fs(), dir, 0o755)?;
        }
        Ok(durable::publish_file(
            self.fs(),
            &path,
            &mark.encode(),
            0o644,
        )?)
    }

    /// Marks all commits as removed that other commits have for a parent and that
    /// are not there. Names those newly marked.
    ///
    /// # Errors
    /// The disk's; damaged commits.
    pub fn add_tombstones(&self) -> Result<Vec<Checksum>> {
        let mut added = Vec::new();
        for commit in self.commits()? {
            let Some(parent) = self.load_commit(&commit)?.parent else {
                continue;
            };
            let there = self.has(&ObjectName::new(parent, ObjectKind::Commit))?;
            let marked = self.fs().metadata(&self.tombstone_path(&parent)).is_ok();
            if !there && !marked {
                self.write_tombstone(&parent)?;
                added.push(parent);
            }
        }
        if !added.is_empty() {
            self.set_config("core", "tombstone-commits", Some("true"))?;
        }
        Ok(added)
    }
}
