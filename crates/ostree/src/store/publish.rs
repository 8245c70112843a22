//! What was staged becomes part of the repository.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::PoisonError;

use durable::{Batch, Doing};

use super::staging::{Staging, make_dir};
use crate::{ObjectKind, ObjectName, Result};

impl Staging<'_> {
    /// Makes all staged objects part of the repository, commits last, so that no
    /// commit is ever there without what it is made of.
    pub(crate) fn publish(&self) -> Result<()> {
        let staged =
            std::mem::take(&mut *self.staged.lock().unwrap_or_else(PoisonError::into_inner));
        if staged.is_empty() {
            self.writeback.finish()?;
            // All of it is there; but whoever put it there may have died before
            // it was synced, and a ref is going to rely on it.
            let (fs, path) = (self.repo.fs(), self.repo.path());
            fs.sync_filesystem(path)
                .doing("sync the filesystem of", path)?;
            self.forget();
            return Ok(());
        }
        let (mut commits, mut others): (Vec<_>, Vec<_>) = staged
            .into_iter()
            .partition(|o| o.kind == ObjectKind::Commit);
        others.sort();
        commits.sort();
        self.publish_all(&others)?;
        self.publish_all(&commits)?;
        for commit in commits {
            // It is not gone any more.
            let mark = self.repo.tombstone_path(&commit.checksum);
            self.repo.remove(&mark)?;
        }
        self.forget();
        Ok(())
    }

    /// Publishes these, which are sorted: a directory at a time where the repository
    /// has none of that name.
    fn publish_all(&self, objects: &[ObjectName]) -> Result<()> {
        let mut batch = Batch::new();
        let mut made = false;
        let alike = self.makes_the_same_directories()?;
        for group in objects.chunk_by(|a, b| first_byte(a) == first_byte(b)) {
            let name = format!("{:02x}", first_byte(&group[0]));
            let (from, to) = (self.dir.join(&name), self.objects_dir().join(&name));
            if self.repo.fs().metadata(&to).is_err() {
                if alike && self.is_all_of(&name, group)? {
                    batch.add_dir(from, to);
                    continue;
                }
                make_dir(self.repo, &to)?;
                made = true;
            }
            for object in group {
                batch.add(self.path(*object), self.repo.object_path(object));
            }
        }
        if made {
            let objects = self.objects_dir();
            self.repo.fs().sync_dir(&objects).doing("sync", &objects)?;
        }
        // Not sooner: meanwhile the disk has worked.
        self.writeback.finish()?;
        Ok(batch.publish(self.repo.fs(), self.repo.path())?)
    }

    fn objects_dir(&self) -> PathBuf {
        self.repo.path().join("objects")
    }

    /// Whether a directory that was made here is what one would be that is made below
    /// `objects`: there, a group may have been given to all of them.
    fn makes_the_same_directories(&self) -> Result<bool> {
        const SET_GROUP: u32 = 0o2000;
        let (fs, objects) = (self.repo.fs(), self.objects_dir());
        let there = fs.metadata(&objects).doing("look at", &objects)?;
        let here = fs.metadata(&self.dir).doing("look at", &self.dir)?;
        let given = there.mode & SET_GROUP;
        Ok(given == here.mode & SET_GROUP && (given == 0 || there.gid == here.gid))
    }

    /// Whether a directory here holds these objects and nothing else: an earlier run may
    /// have left half a file in it, and commits wait for the rest.
    fn is_all_of(&self, name: &str, group: &[ObjectName]) -> Result<bool> {
        let dir = self.dir.join(name);
        let found = self.repo.fs().read_dir(&dir).doing("list", &dir)?;
        let name_of = |object: &ObjectName| -> Option<OsString> {
            let path = object.relative_path(self.repo.mode());
            path.file_name().map(Into::into)
        };
        let wanted: HashSet<_> = group.iter().filter_map(name_of).collect();
        Ok(found.len() == wanted.len() && found.iter().all(|e| wanted.contains(&e.name)))
    }
}

fn first_byte(object: &ObjectName) -> u8 {
    object.checksum.as_bytes()[0]
}
