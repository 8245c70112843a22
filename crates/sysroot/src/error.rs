//! What can go wrong with a host's deployments.

use std::path::PathBuf;

use crate::DeploymentId;

/// A failed operation on a sysroot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] durable::Error),
    /// The repository said no.
    #[error(transparent)]
    Repo(#[from] ostree::Error),
    /// A boot configuration cannot be made of the deployments.
    #[error("cannot make a boot configuration")]
    Config(#[from] boot::ConfigError),
    /// Kernel arguments are not valid.
    #[error("the kernel arguments of {of} are not valid")]
    Kargs {
        /// Whose they are.
        of: String,
        /// What is wrong.
        source: boot::KargsError,
    },
    /// There is no sysroot.
    #[error("{} is no host with deployments: it has no ostree/deploy", path.display())]
    NotASysroot {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file of the sysroot holds what it should not.
    #[error("cannot use {}: {why}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A name that could leave its directory, or that `ostree` would not read.
    #[error("{0:?} cannot name a stateroot: it is made of letters, digits and ._-")]
    StaterootName(String),
    /// The stateroot is not there.
    #[error("there is no stateroot {0}")]
    NoStateroot(String),
    /// The deployment is not there.
    #[error("there is no deployment {0}")]
    NoDeployment(DeploymentId),
    /// The tree cannot be booted or merged.
    #[error("{} cannot be deployed: {why}", path.display())]
    NotDeployable {
        /// The deployment's directory.
        path: PathBuf,
        /// What is wrong with the tree.
        why: &'static str,
    },
    /// The deployment must stay.
    #[error("the deployment {id} must stay: {why}")]
    InUse {
        /// Which.
        id: DeploymentId,
        /// Why.
        why: &'static str,
    },
    /// A boot order that would leave the host without a way back.
    #[error("this boot order cannot be published: {0}")]
    Order(&'static str),
    /// There is no state sector to count attempts in.
    #[error(
        "no attempts can be counted, because the state sector {} is missing or unusable (is its \
         filesystem mounted?)",
        path.display()
    )]
    Sector {
        /// Where it should be.
        path: PathBuf,
        /// What is wrong with it, if it is there.
        source: Option<boot::SectorError>,
    },
}

/// Result of an operation on a sysroot.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether the disk was full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Repo(e) => e.is_full(),
            Self::Disk(e) => e.source.kind() == std::io::ErrorKind::StorageFull,
            _ => false,
        }
    }
}
