//! Signatures of commits, which lie in their detached metadata: they cannot be a part
//! of what they sign.

use durable::LockMode;

use super::{Signer, Trust, Vouched, add_signature};
use crate::{Checksum, Error, ObjectKind, ObjectName, Repo, Result};

impl Repo {
    /// Signs a commit; its signature joins those that are there. `false` where the
    /// same signature is there already, or one by the same OpenPGP key.
    ///
    /// # Errors
    /// That the commit is missing or damaged; the signer's; the disk's.
    pub fn sign_commit(&self, commit: &Checksum, signer: &Signer) -> Result<bool> {
        let _lock = self.lock(LockMode::Shared, &monitor::Silent)?;
        let data = self.load(ObjectName::new(*commit, ObjectKind::Commit))?;
        let mut metadata = self.detached_metadata(commit)?.unwrap_or_default();
        if let Signer::Gpg { gpg, key } = signer
            && !by_key(gpg, key, &data, &metadata)
                .map_err(Error::from)?
                .is_empty()
        {
            return Ok(false);
        }
        let signature = signer.sign(&data).map_err(Error::from)?;
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

    /// Removes the OpenPGP signatures by the key that `gpg` finds by this name;
    /// answers how many there were.
    ///
    /// # Errors
    /// What `gpg` says; the disk's; damaged metadata.
    pub fn remove_gpg_signatures(
        &self,
        commit: &Checksum,
        gpg: &super::Gpg,
        key: &str,
    ) -> Result<usize> {
        let _lock = self.lock(LockMode::Shared, &monitor::Silent)?;
        let data = self.load(ObjectName::new(*commit, ObjectKind::Commit))?;
        let metadata = self.detached_metadata(commit)?.unwrap_or_default();
        let gone = by_key(gpg, key, &data, &metadata).map_err(Error::from)?;
        self.remove_signatures(commit, super::Scheme::Gpg, &|s| {
            gone.iter().any(|g| g.as_slice() == s)
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

/// The signatures that were made by a key that `gpg` finds by this name.
fn by_key(
    gpg: &super::Gpg,
    key: &str,
    data: &[u8],
    metadata: &crate::format::Metadata,
) -> std::result::Result<Vec<Vec<u8>>, super::SignError> {
    let signatures = super::signatures_of(metadata, super::Scheme::Gpg)?;
    if signatures.is_empty() {
        return Ok(Vec::new());
    }
    let keys = gpg.find_keys(key)?;
    let is_of_it = |print: &str| {
        let mut parts = keys.iter().flat_map(super::OpenPgpKey::parts);
        !print.is_empty() && parts.any(|part| part.fingerprint.ends_with(print))
    };
    let nobody = super::Gpg::default();
    let mut found = Vec::new();
    for signature in signatures {
        let by = nobody.inspect(data, &[signature])?;
        if by.iter().any(|s| is_of_it(&s.key)) {
            found.push(signature.to_vec());
        }
    }
    Ok(found)
}
