//! Detached metadata: what is said of a commit after it was made, such as who signed
//! it. Not part of the commit's digest.

use std::io;
use std::path::PathBuf;

use durable::Doing;

use crate::format::Metadata;
use crate::gvariant::Malformed;
use crate::{Checksum, Error, ObjectKind, ObjectName, Repo, Result};

/// The longest that is read.
pub(crate) const MAX_DETACHED: u64 = 16 << 20;

impl Repo {
    /// The file that holds a commit's detached metadata.
    pub(crate) fn detached_path(&self, commit: &Checksum) -> PathBuf {
        let object = ObjectName::new(*commit, ObjectKind::Commit);
        self.object_path(&object).with_extension("commitmeta")
    }

    /// The detached metadata of a commit, if it has any.
    ///
    /// # Errors
    /// The disk's, or that it is damaged.
    pub fn detached_metadata(&self, commit: &Checksum) -> Result<Option<Metadata>> {
        let path = self.detached_path(commit);
        match durable::read_bounded(self.fs(), &path, MAX_DETACHED) {
            Ok(bytes) => {
                let object = ObjectName::new(*commit, ObjectKind::Commit);
                let damaged = |source: Malformed| Error::DamagedDetached { object, source };
                Metadata::decode(&bytes).map(Some).map_err(damaged)
            }
            Err(e) if e.source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Replaces the detached metadata of a commit, durably; `None` removes it.
    ///
    /// # Errors
    /// The disk's, or that the commit is not there.
    pub fn set_detached_metadata(
        &self,
        commit: &Checksum,
        metadata: Option<&Metadata>,
    ) -> Result<()> {
        let object = ObjectName::new(*commit, ObjectKind::Commit);
        if !self.has(&object)? {
            return Err(Error::Missing(object));
        }
        let path = self.detached_path(commit);
        let Some(metadata) = metadata else {
            self.remove(&path)?;
            let dir = path.parent().unwrap_or(self.path());
            return Ok(self.fs().sync_dir(dir).doing("sync", dir)?);
        };
        durable::publish_file(self.fs(), &path, &metadata.encode(), 0o644)
            .map_err(|e| Error::from(e).explain_full(self.path()))
    }
}
