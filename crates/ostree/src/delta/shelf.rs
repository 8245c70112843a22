//! The deltas that lie in a repository.

use std::io;

use durable::Doing;

use super::{DeltaError, DeltaName, MAX_SUPERBLOCK, SignedSuperblock};
use crate::sign::{Trust, Vouched};
use crate::{Checksum, Error, Repo, Result};

impl Repo {
    /// The names of all deltas, sorted.
    ///
    /// # Errors
    /// The disk's.
    pub fn deltas(&self) -> Result<Vec<DeltaName>> {
        let mut found = Vec::new();
        let root = self.path().join("deltas");
        for (dir, name) in self.below("deltas")? {
            let superblock = root.join(&dir).join(&name).join("superblock");
            if let Some(delta) = DeltaName::from_dirs(&dir, &name)
                && self.fs().metadata(&superblock).is_ok()
            {
                found.push(delta);
            }
        }
        found.sort();
        Ok(found)
    }

    /// The names two levels below a directory of the repository.
    pub(super) fn below(&self, top: &str) -> Result<Vec<(String, String)>> {
        let list = |path: &std::path::Path| match self.fs().read_dir(path) {
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(Vec::new())
            }
            other => other.doing("list", path).map_err(Error::from),
        };
        let mut found = Vec::new();
        let root = self.path().join(top);
        for dir in list(&root)? {
            for entry in list(&root.join(&dir.name))? {
                let names = (dir.name.to_str(), entry.name.to_str());
                if let (Some(dir), Some(name)) = names {
                    found.push((dir.to_owned(), name.to_owned()));
                }
            }
        }
        Ok(found)
    }

    /// Whether a delta is there.
    ///
    /// # Errors
    /// The disk's.
    pub fn has_delta(&self, name: &DeltaName) -> Result<bool> {
        let path = self.path().join(name.superblock_path());
        match self.fs().metadata(&path) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Ok(Err(e).doing("look at", &path)?),
        }
    }

    /// The bytes of a delta's superblock as they lie on the disk.
    ///
    /// # Errors
    /// That there is none; the disk's.
    pub fn delta_superblock(&self, name: &DeltaName) -> Result<Vec<u8>> {
        let path = self.path().join(name.superblock_path());
        match durable::read_bounded(self.fs(), &path, MAX_SUPERBLOCK) {
            Err(e) if e.source.kind() == io::ErrorKind::NotFound => {
                Err(DeltaError::Missing(*name).into())
            }
            other => Ok(other?),
        }
    }

    /// The digest of a delta's superblock, as summaries and indexes hold it.
    ///
    /// # Errors
    /// That there is none; the disk's.
    pub fn delta_digest(&self, name: &DeltaName) -> Result<Checksum> {
        Ok(Checksum::of(&self.delta_superblock(name)?))
    }

    /// Checks that a key of `trust` vouches for a delta of this repository.
    ///
    /// # Errors
    /// That there is none, that it is damaged, not signed or by nobody trusted.
    pub fn verify_delta(&self, name: &DeltaName, trust: &Trust) -> Result<Vouched> {
        verify(self.delta_superblock(name)?, trust)
    }

    /// The same for a delta in files elsewhere.
    ///
    /// # Errors
    /// As [`Repo::verify_delta`].
    pub fn verify_delta_file(&self, path: &std::path::Path, trust: &Trust) -> Result<Vouched> {
        verify(self.read_delta(path)?.0.encode(), trust)
    }

    /// Removes a delta: its superblock first, for without that it is none.
    ///
    /// # Errors
    /// That there is none; the disk's.
    pub fn delete_delta(&self, name: &DeltaName) -> Result<()> {
        if !self.has_delta(name)? {
            return Err(DeltaError::Missing(*name).into());
        }
        let dir = self.path().join(name.relative_dir());
        self.remove(&dir.join("superblock"))?;
        self.fs().sync_dir(&dir).doing("sync", &dir)?;
        durable::remove_tree(self.fs(), &dir)?;
        Ok(())
    }
}

fn verify(bytes: Vec<u8>, trust: &Trust) -> Result<Vouched> {
    let block = SignedSuperblock::decode(bytes)?;
    let Some(signatures) = &block.signatures else {
        return Err(DeltaError::Unsigned.into());
    };
    let verified = trust.verify(&block.bytes, signatures);
    verified.map_err(|e| DeltaError::Untrusted(Box::new(e)).into())
}
