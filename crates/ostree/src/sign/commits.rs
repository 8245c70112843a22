//! Signatures of commits, which lie in their detached metadata: they cannot be a part
//! of what they sign.

use durable::LockMode;

use super::{Signer, Trust, Vouched, add_signature};
use crate::{Checksum, Error, ObjectKind, ObjectName, Repo, Result};

impl Repo {
    /// Signs a commit; its signature joins those that are there. `false` where the
    /// same signature is there already.
    ///
    /// # Errors
    /// That the commit is missing or damaged; the signer's; the disk's.
    pub fn sign_commit(&self, commit: &Checksum, signer: &Signer) -> Result<bool> {
        let _lock = self.lock(LockMode::Shared, &monitor::Silent)?;
        let data = self.load(ObjectName::new(*commit, ObjectKind::Commit))?;
        let signature = signer.sign(&data).map_err(Error::from)?;
        let mut metadata = self.detached_metadata(commit)?.unwrap_or_default();
        if !add_signature(&mut metadata, signer.scheme(), signature).map_err(Error::from)? {
            return Ok(false);
        }
        self.set_detached_metadata(commit, Some(&metadata))?;
        Ok(true)
    }

    /// Checks that a key of `trust` vouches for a commit of this repository.
    ///
    /// # Errors
    /// That the commit is missing or damaged; [`Error::UntrustedCommit`].
    pub fn verify_commit(&self, commit: &Checksum, trust: &Trust) -> Result<Vouched> {
        let data = self.load(ObjectName::new(*commit, ObjectKind::Commit))?;
        let metadata = self.detached_metadata(commit)?.unwrap_or_default();
        let verified = trust.verify(&data, &metadata);
        verified.map_err(|source| Error::UntrustedCommit {
            commit: *commit,
            source: Box::new(source),
        })
    }

    /// Removes the signatures of a kind that `gone` picks; answers how many there
    /// were.
    ///
    /// # Errors
    /// The disk's; damaged metadata.
    pub fn remove_signatures(
        &self,
        commit: &Checksum,
        scheme: super::Scheme,
        gone: &dyn Fn(&[u8]) -> bool,
    ) -> Result<usize> {
        let Some(mut metadata) = self.detached_metadata(commit)? else {
            return Ok(0);
        };
        let all = super::signatures_of(&metadata, scheme).map_err(Error::from)?;
        let kept: Vec<_> = all
            .iter()
            .filter(|s| !gone(s))
            .map(|s| s.to_vec())
            .collect();
        let removed = all.len() - kept.len();
        if removed > 0 {
            match kept.is_empty() {
                true => metadata.remove(scheme.metadata_key()),
                false => super::scheme::set_signatures(&mut metadata, scheme, kept),
            }
            self.set_detached_metadata(commit, Some(&metadata))?;
        }
        Ok(removed)
    }
}
