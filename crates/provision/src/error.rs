//! What may go wrong with making a host.

use std::path::PathBuf;

/// A failed step of making a host.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Only root can do it.
    #[error("only root can {0}")]
    NeedsRoot(&'static str),
    /// A directory is no root filesystem that can be prepared.
    #[error("{} cannot be made deployable: {why}", path.display())]
    Unsuitable {
        /// The directory.
        path: PathBuf,
        /// What it lacks.
        why: String,
    },
    /// A program is not installed.
    #[error("needs the program {program}; on Debian it is in the package {package}")]
    MissingProgram {
        /// Its name.
        program: &'static str,
        /// Where Debian has it.
        package: &'static str,
    },
    /// A program could not be started.
    #[error("cannot start {program}")]
    Start {
        /// Its name.
        program: String,
        /// Why.
        source: std::io::Error,
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
    /// A disk must not be written to.
    #[error("{} is left as it is: {why}", path.display())]
    Refused {
        /// The disk.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The boot loader's configuration cannot be written.
    #[error("cannot write the boot loader's configuration")]
    Loader(#[from] boot::grub::StaticConfigError),
    /// A kernel argument that cannot be.
    #[error("the kernel arguments do not fit")]
    Kargs(#[from] boot::KargsError),
    /// The repository.
    #[error(transparent)]
    Repo(#[from] ostree::Error),
    /// The deployment.
    #[error(transparent)]
    Sysroot(#[from] sysroot::Error),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] durable::Error),
}

/// Result of making a host.
pub type Result<T> = std::result::Result<T, Error>;
