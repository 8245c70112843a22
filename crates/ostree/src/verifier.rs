//! Whether what a remote says may be believed.

use std::fmt::Debug;

use crate::{Checksum, Metadata, Remote};

/// Why something is not believed.
pub type Distrust = Box<dyn std::error::Error + Send + Sync>;

/// A commit that came from a remote.
#[derive(Debug, Clone, Copy)]
pub struct FetchedCommit<'a> {
    /// Its name; the bytes have this digest.
    pub checksum: &'a Checksum,
    /// The object.
    pub bytes: &'a [u8],
    /// What is said about it from outside: signatures.
    pub detached: Option<&'a Metadata>,
}

/// A summary that came from a remote.
#[derive(Debug, Clone, Copy)]
pub struct FetchedSummary<'a> {
    /// The file `summary`.
    pub bytes: &'a [u8],
    /// The file `summary.sig`: an encoded `a{sv}`.
    pub signatures: Option<&'a [u8]>,
}

/// How far something is believed that is not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Somebody whom we trust signed it.
    Signed,
    /// No signature is demanded.
    Undemanded,
}

/// Judges commits and summaries before they count. A pull asks it about every commit
/// before the commit, or anything it names, is stored; and about a summary before
/// it is parsed.
pub trait Verifier: Debug + Send + Sync {
    /// Judges a commit.
    ///
    /// # Errors
    /// Why it is refused.
    fn verify_commit(&self, commit: &FetchedCommit<'_>) -> Result<Trust, Distrust>;

    /// Judges a summary.
    ///
    /// # Errors
    /// Why it is refused.
    fn verify_summary(&self, summary: &FetchedSummary<'_>) -> Result<Trust, Distrust>;
}

/// Verifies nothing, and so refuses all where a signature is demanded.
#[derive(Debug, Clone, Copy)]
pub struct Unsigned {
    commits: bool,
    summaries: bool,
}

/// A signature is demanded that cannot be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the remote's settings demand a signature, and there is no verifier for it here; \
     to do without: gpg-verify=false and no sign-verify"
)]
pub struct NoVerifier;

impl Unsigned {
    /// For a remote's demands.
    ///
    /// # Errors
    /// A setting that cannot be understood.
    pub fn new(remote: &Remote) -> crate::Result<Self> {
        Ok(Self {
            commits: remote.gpg_verify()? || !remote.sign_verify().is_empty(),
            summaries: remote.gpg_verify_summary()? || remote.sign_verify_summary()?,
        })
    }

    fn answer(demanded: bool) -> Result<Trust, Distrust> {
        match demanded {
            true => Err(NoVerifier.into()),
            false => Ok(Trust::Undemanded),
        }
    }
}

impl Verifier for Unsigned {
    fn verify_commit(&self, _: &FetchedCommit<'_>) -> Result<Trust, Distrust> {
        Self::answer(self.commits)
    }

    fn verify_summary(&self, _: &FetchedSummary<'_>) -> Result<Trust, Distrust> {
        Self::answer(self.summaries)
    }
}
