//! What can go wrong on an image host.

use std::path::PathBuf;

use engine::VersionId;

/// A failure of an image host.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Deployments, boot entries, the state sector.
    #[error(transparent)]
    Sysroot(#[from] sysroot::Error),
    /// The repository.
    #[error(transparent)]
    Repo(#[from] ostree::Error),
    /// The machine.
    #[error(transparent)]
    Machine(#[from] machine::MachineError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] durable::Error),
    /// The repository that versions come from.
    #[error("cannot use the repository {}, from which versions come", path.display())]
    Source {
        /// The repository.
        path: PathBuf,
        /// Why not.
        source: ostree::Error,
    },
    /// The remote that versions come from.
    #[error("cannot use the remote {name}, from which versions come")]
    Remote {
        /// Its name.
        name: String,
        /// Why not.
        source: Box<fetch::Error>,
    },
    /// A source that names nothing.
    #[error(
        "`{0}` names no source of versions: write REPOSITORY:REF, such as /srv/repo:debian/12, or REMOTE:REF"
    )]
    BadSource(String),
    /// A name that is no commit.
    #[error("`{0}` is no commit of an OSTree-format repository")]
    NotACommit(VersionId),
    /// The version is neither here nor can it be had.
    #[error("version {} is not on this host, and its source `{source_text}` does not have it", version.short())]
    Unavailable {
        /// Which.
        version: VersionId,
        /// Where it should come from.
        source_text: String,
    },
    /// What booted is no deployment.
    #[error("this host did not boot a deployment of {}: backstop can't upgrade it", sysroot.display())]
    NotDeployed {
        /// The sysroot looked at.
        sysroot: PathBuf,
    },
    /// A deployment that should be there is gone.
    #[error("no deployment of version {} is on this host", .0.short())]
    NoDeployment(VersionId),
    /// There is nothing to try.
    #[error("version {} has these kernel arguments already", .0.short())]
    SameKargs(VersionId),
    /// A version runs with one `/var` only.
    #[error("version {} is in the stateroot {stateroot} of this host already; a version is in one only", version.short())]
    Elsewhere {
        /// Which.
        version: VersionId,
        /// Where it is.
        stateroot: String,
    },
    /// A live trial can't do this.
    #[error("this version cannot be tried live: {0}")]
    NotLive(String),
}

/// Result of an image host's doings.
pub type Result<T> = std::result::Result<T, Error>;
