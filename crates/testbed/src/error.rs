//! What may go wrong with a machine.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A failed step of building or driving a machine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// The path it was done to.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("cannot start {program}")]
    Start {
        /// Its name.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A program ended with an error.
    #[error("{program} failed ({status}): {output}")]
    Program {
        /// Its command line.
        program: String,
        /// How it ended.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// A host could not be made.
    #[error(transparent)]
    Provision(#[from] provision::Error),
    /// A repository.
    #[error(transparent)]
    Repo(#[from] ostree::Error),
    /// A sysroot.
    #[error(transparent)]
    Sysroot(#[from] sysroot::Error),
    /// Debian packages are not there.
    #[error("needs the Debian packages {}", .0.join(" "))]
    Missing(Vec<&'static str>),
    /// A file that QEMU did not record to.
    #[error("{} is no recording of a disk's writes", .0.display())]
    Recording(std::path::PathBuf),
    /// Only root can do it.
    #[error("needs root to {0}")]
    NeedsRoot(&'static str),
    /// Something did not happen in time.
    #[error("{what} did not happen within {} s; the console's end:\n{tail}", within.as_secs())]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        within: Duration,
        /// The last lines of the console.
        tail: String,
    },
    /// The machine stopped while it was needed.
    #[error("the machine stopped while waiting for {waiting_for}; the console's end:\n{tail}")]
    Stopped {
        /// What was waited for.
        waiting_for: String,
        /// The last lines of the console.
        tail: String,
    },
}

/// Result of driving a machine.
pub type Result<T> = std::result::Result<T, Error>;

/// Turns an I/O error into [`Error::Io`].
pub(crate) trait Doing<T> {
    fn doing(self, verb: &'static str, path: &Path) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, verb: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Io {
            doing: verb,
            path: path.to_owned(),
            source,
        })
    }
}
