//! A static delta instead of many objects.

use super::PullSession;
use crate::delta::{DeltaError, DeltaName, PartSource, SignedSuperblock, Superblock};
use crate::{Checksum, Error, FetchedCommit, Result};

impl PullSession<'_> {
    /// Makes the objects of a delta. They are verified like all others, and what the
    /// delta leaves out is asked for as ever, so this may be tried before the first
    /// [`PullSession::next`].
    ///
    /// # Errors
    /// It is damaged, its commit is not believed, or its parts cannot be had. Drop
    /// the session then: the next one, without the delta, keeps what is whole.
    pub fn apply_delta(
        &self,
        name: &DeltaName,
        superblock: Vec<u8>,
        digest: Option<&Checksum>,
        parts: &dyn PartSource,
    ) -> Result<()> {
        let block = self.read_delta(name, superblock, digest)?;
        self.repo
            .stage_delta(&block, parts, &self.staging, self.monitor)
    }

    /// Reads a delta's superblock, and judges the commit in it.
    ///
    /// # Errors
    /// It is damaged or another one than `digest` says; its commit is not believed.
    pub fn read_delta(
        &self,
        name: &DeltaName,
        superblock: Vec<u8>,
        digest: Option<&Checksum>,
    ) -> Result<Superblock> {
        let found = Checksum::of(&superblock);
        if let Some(wanted) = digest.filter(|wanted| **wanted != found) {
            return Err(Error::OtherSuperblock {
                wanted: *wanted,
                found,
            });
        }
        let block = SignedSuperblock::decode(superblock)?;
        let block = Superblock::decode(&block.bytes)?;
        if block.name != *name {
            return Err(DeltaError::OtherCommit {
                wanted: name.to,
                found: block.name.to,
            }
            .into());
        }
        let detached = block.detached();
        let fetched = FetchedCommit {
            checksum: &name.to,
            bytes: &block.commit,
            detached: detached.as_ref(),
        };
        let judged = self.verifier.verify_commit(&fetched);
        judged.map_err(|source| Error::Refused {
            what: format!("the commit {} of the delta", name.to),
            source,
        })?;
        Ok(block)
    }

    /// Ends a session that was only begun to look; nothing of it stays.
    pub fn abandon(self) {
        self.staging.forget();
    }

    /// Whether a commit is here with all that it is made of, so that a delta may start
    /// from it.
    ///
    /// # Errors
    /// The disk's.
    pub fn is_complete(&self, commit: &Checksum) -> Result<bool> {
        let object = crate::ObjectName::new(*commit, crate::ObjectKind::Commit);
        Ok(self.repo.has(&object)? && !self.repo.is_partial(commit)?)
    }

    /// The deltas that would help, best first: from what each wanted ref is here now,
    /// then from nothing. None where a delta cannot be used.
    ///
    /// # Errors
    /// The disk's.
    pub fn useful_deltas(&self) -> Result<Vec<DeltaName>> {
        use crate::RepoMode;
        let mut found = Vec::new();
        if self.repo.mode() == RepoMode::Archive || self.options.is_partial() {
            return Ok(found);
        }
        let complete = |commit: &Checksum| self.is_complete(commit);
        for wanted in &self.options.wanted {
            if complete(&wanted.commit)? {
                continue;
            }
            let current = match wanted.local_ref(&self.options) {
                Some(name) => self.repo.read_ref(&name)?,
                None => None,
            };
            if let Some(from) = current
                && complete(&from)?
            {
                found.push(DeltaName::new(Some(from), wanted.commit));
            }
            found.push(DeltaName::new(None, wanted.commit));
        }
        Ok(found)
    }
}
