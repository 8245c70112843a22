//! What may go wrong with a bundle.

use std::io;
use std::path::PathBuf;

use ostree::sign::SignError;

/// A bundle that can't be written or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] durable::Error),
    /// The file is no bundle, or a damaged one.
    #[error("{} is not a sound bundle: {why}", path.display())]
    Unsound {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody who is trusted signed it.
    #[error("{} is not signed by anyone trusted here", path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SignError,
    },
    /// What is to be packed can't be described.
    #[error("cannot describe the bundle's content: {0}")]
    Description(String),
    /// The content is larger than a bundle may be.
    #[error("the content is larger than {} GiB, the most that a bundle holds", .0 >> 30)]
    TooLarge(u64),
    /// The content could not be read.
    #[error("cannot read what is to be packed")]
    Source(#[source] io::Error),
    /// A program failed.
    #[error("{program} failed: {why}")]
    Program {
        /// Its name.
        program: &'static str,
        /// What it said.
        why: String,
    },
    /// The content can't be unpacked.
    #[error("cannot unpack the bundle")]
    Unpack(#[source] io::Error),
    /// A repository.
    #[error(transparent)]
    Repo(#[from] ostree::Error),
}

/// Result of a bundle's doings.
pub type Result<T> = std::result::Result<T, Error>;
