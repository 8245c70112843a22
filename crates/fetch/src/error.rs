//! What can go wrong between here and a remote.

use std::path::PathBuf;

use crate::{BadMetalink, NotTheFile};

/// A failed operation over the network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The repository here, or what came does not do.
    #[error(transparent)]
    Repo(#[from] ostree::Error),
    /// The remote cannot be reached, or stops in the middle.
    #[error(
        "cannot fetch {url} ({tries} tries): check the network and run the same again; what has arrived is kept"
    )]
    Network {
        /// What was asked for.
        url: String,
        /// How often it was tried.
        tries: u32,
        /// Why the last one failed.
        source: Trouble,
    },
    /// The remote says no.
    #[error("cannot fetch {url}")]
    Denied {
        /// What was asked for.
        url: String,
        /// Its answer.
        source: Trouble,
    },
    /// What arrives is not what was asked for, wherever it is fetched from.
    #[error("what {url} holds is not what it should be")]
    Wrong {
        /// What was asked for.
        url: String,
        /// How.
        source: ostree::Error,
    },
    /// An address that cannot be one.
    #[error("{url:?} is not the address of a remote: {why}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A metalink that cannot be used.
    #[error("the metalink {url} cannot be used")]
    Metalink {
        /// Where it is.
        url: String,
        /// Why not.
        source: BadMetalink,
    },
    /// What a metalink leads to is something else.
    #[error("what {url} holds is not what the metalink says")]
    NotOfMetalink {
        /// Where it was fetched from.
        url: String,
        /// How.
        source: NotTheFile,
    },
    /// A certificate or key that cannot be used.
    #[error("cannot use {} for connections to the remote {remote}", path.display())]
    Credential {
        /// The remote.
        remote: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The client cannot be set up.
    #[error("cannot set up connections to the remote {remote}")]
    Setup {
        /// The remote.
        remote: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nothing says what to pull.
    #[error("which refs to pull from {0}? Name some, set `branches` for the remote, or mirror it")]
    NoRefs(String),
    /// A remote has no such ref.
    #[error("the remote {remote} has no ref {name:?}")]
    NoSuchRef {
        /// The remote.
        remote: String,
        /// The name.
        name: String,
    },
    /// A ref's file at the remote holds something else.
    #[error("what the remote has for the ref {name:?} is no checksum: {found:?}")]
    NotARef {
        /// The ref.
        name: String,
        /// The beginning of what is there.
        found: String,
    },
    /// A delta is demanded and not there.
    #[error("the remote {remote} has no delta to the commit {commit}, and one is demanded")]
    NoDelta {
        /// The remote.
        remote: String,
        /// The commit.
        commit: ostree::Checksum,
    },
    /// Deltas are demanded where they cannot be used.
    #[error("deltas are demanded, and cannot be used for an archive or for a part of a commit")]
    DeltasUseless,
    /// A summary is needed and not there.
    #[error("the remote {remote} has no summary, which is needed {why}")]
    NoSummary {
        /// The remote.
        remote: String,
        /// For what.
        why: &'static str,
    },
    /// A summary cannot be read.
    #[error("the summary of the remote {remote} is damaged")]
    DamagedSummary {
        /// The remote.
        remote: String,
        /// How.
        source: ostree::gvariant::Malformed,
    },
    /// A summary that was replaced long ago.
    #[error(
        "the summary of the remote {remote} is older than one seen before ({found} instead of \
         {seen}, in seconds since 1970): somebody may be replaying it; if its keeper went back \
         on purpose, allow older summaries once"
    )]
    OlderSummary {
        /// The remote.
        remote: String,
        /// When this one was written.
        found: u64,
        /// When the newest that was seen was written.
        seen: u64,
    },
    /// A summary that is not to be used any more.
    #[error("the summary of the remote {remote} expired {ago} seconds ago")]
    ExpiredSummary {
        /// The remote.
        remote: String,
        /// Since when.
        ago: u64,
    },
    /// A repository that cannot be pulled from over HTTP.
    #[error(
        "the remote {remote} is a repository in mode {mode}: over HTTP only archives are pulled"
    )]
    NotAnArchive {
        /// The remote.
        remote: String,
        /// Its mode.
        mode: String,
    },
    /// The remote is one of another program.
    #[error("the remote {remote} is one of {backend:?}, which is not known here")]
    OtherBackend {
        /// The remote.
        remote: String,
        /// Whose it is.
        backend: String,
    },
    /// The remote says that it is not to be used yet.
    #[error("the remote {remote} is not configured: {state}")]
    Unconfigured {
        /// The remote.
        remote: String,
        /// What its keeper says.
        state: String,
    },
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// No connection, or it broke.
    #[error("{0}")]
    Connection(String),
    /// The server answered with this status.
    #[error("the server answered {0}")]
    Status(u16),
    /// Nothing, or next to nothing, came for so many seconds.
    #[error("the server sent less than {rate} bytes a second for {seconds} seconds")]
    Stalled {
        /// Bytes per second that would do.
        rate: u64,
        /// The patience, in seconds.
        seconds: u64,
    },
    /// More came than may.
    #[error("the server sends more than {0} bytes")]
    TooMuch(u64),
    /// The server sent another part than was asked for.
    #[error("the server sent another part of the file than was asked for")]
    OtherPart,
}

/// Result of an operation over the network.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether it is the network, so that the same may go well later.
    #[must_use]
    pub fn is_network(&self) -> bool {
        matches!(self, Self::Network { .. })
    }
}

/// All that an error says, cause after cause.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        let more = e.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = e.source();
    }
    text
}
