//! What can go wrong on the deployer's side.

use std::path::PathBuf;
use std::time::Duration;

/// Result of the deployer's doings.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the deployer could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The fleet's description can't be used.
    #[error("the fleet's description in {} cannot be used: {why}", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line where it is known.
        why: String,
    },
    /// A host's settings make no sense.
    #[error("host {host}: {why}")]
    Host {
        /// The host.
        host: String,
        /// What is wrong, and what to write instead.
        why: String,
    },
    /// A selection names nothing.
    #[error("{0}")]
    Selection(String),
    /// A program on this machine failed.
    #[error("cannot {doing}: {why}")]
    Program {
        /// What it was to do.
        doing: String,
        /// What it said.
        why: String,
    },
    /// A wait was longer than it may be.
    #[error("{what} took longer than {} s", limit.as_secs())]
    TooSlow {
        /// What.
        what: String,
        /// The bound.
        limit: Duration,
    },
    /// No connection to the host could be opened.
    #[error("cannot reach {address}: {why}")]
    Unreachable {
        /// Who was to be reached.
        address: String,
        /// What `ssh` said.
        why: String,
    },
    /// The connection broke.
    #[error("the connection to {address} broke while {doing}: {why}")]
    Cut {
        /// With whom.
        address: String,
        /// In the middle of what.
        doing: String,
        /// What `ssh` said last.
        why: String,
    },
    /// The host would not do something.
    #[error("{host} cannot {doing}: {why}")]
    OnHost {
        /// The host.
        host: String,
        /// What it was to do.
        doing: String,
        /// What it said.
        why: String,
    },
    /// The other side speaks otherwise than it should.
    #[error("{from} said something that makes no sense here: {what}")]
    Nonsense {
        /// Who.
        from: String,
        /// What.
        what: String,
    },
    /// No program that runs on the host is at hand.
    #[error(
        "no backstop for {arch} is at hand: build one with `cargo xtask static`, and name it by \
         `program` in the fleet's description"
    )]
    NoProgram {
        /// The host's kind of processor.
        arch: String,
    },
    /// A file on this machine.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// The disk of this machine.
    #[error(transparent)]
    Disk(#[from] durable::Error),
    /// A repository on this machine.
    #[error("cannot use the repository at {}", path.display())]
    Repository {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: ostree::Error,
    },
    /// The rollout was called off.
    #[error("called off")]
    CalledOff,
}

impl Error {
    /// A file's error.
    pub(crate) fn file(
        doing: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            doing,
            path,
            source,
        }
    }
}

/// An error and its sources in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line = format!("{line}: {cause}");
        source = cause.source();
    }
    line
}
