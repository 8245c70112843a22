//! What may go wrong with a case, besides what should.

use std::path::PathBuf;

/// A failure of the test, or of what it tests.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine, or making it.
    #[error(transparent)]
    Testbed(#[from] testbed::Error),
    /// A file of the test.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// The path it was done to.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// The disk is not as a disk of backstop's is.
    #[error("cannot damage the disk: {0}")]
    Disk(String),
    /// The machine is in another system than it should be, or for another reason.
    #[error("`{case}` ended as {found}, not as {expected}")]
    Ending {
        /// The case's name.
        case: &'static str,
        /// What was seen.
        found: String,
        /// What the table says.
        expected: String,
    },
}

/// Result of a part of a case.
pub type Result<T> = std::result::Result<T, Error>;

/// Turns an I/O error into [`Error::Io`].
pub(crate) trait Doing<T> {
    fn doing(self, verb: &'static str, path: &std::path::Path) -> Result<T>;
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, verb: &'static str, path: &std::path::Path) -> Result<T> {
        self.map_err(|source| Error::Io {
            doing: verb,
            path: path.to_owned(),
            source,
        })
    }
}
