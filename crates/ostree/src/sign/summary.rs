//! Summaries that are written with all that belongs to them.

use super::{Signer, sign_data};
use crate::format::Metadata;
use crate::{Repo, Result};

impl Repo {
    /// Writes the summary anew, durably: all refs, the deltas, `more` about the
    /// repository (for a collection, also as a commit); the indexes of deltas; and the
    /// signatures. Without a signer, it is
    /// unsigned, whatever it was before.
    ///
    /// # Errors
    /// The disk's; the signers'; a ref to a commit that is missing or damaged.
    pub fn update_summary(&self, more: &Metadata, signers: &[Signer]) -> Result<()> {
        self.commit_metadata(more, signers)?;
        self.reindex_deltas(None)?;
        let bytes = self.summarize(more)?.encode();
        if signers.is_empty() {
            return self.publish_summary(&bytes, None);
        }
        let signatures = sign_data(&bytes, signers, None)?;
        self.publish_summary(&bytes, Some(&signatures.encode()))
    }
}
