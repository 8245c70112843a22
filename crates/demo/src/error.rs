//! What can go wrong in the demonstration.

use std::path::PathBuf;

/// A failure of the demonstration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory is not empty.
    #[error("{} is not empty: name another directory, or remove it", .0.display())]
    NotEmpty(PathBuf),
    /// Something else lives there.
    #[error("{} holds no demonstration: nothing was removed", .0.display())]
    NotADemo(PathBuf),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] durable::Error),
    /// The releases.
    #[error(transparent)]
    Repo(#[from] ostree::Error),
    /// The host.
    #[error(transparent)]
    Sysroot(#[from] sysroot::Error),
    /// The host's machine.
    #[error(transparent)]
    Machine(#[from] machine::MachineError),
    /// The virtual machine.
    #[error(transparent)]
    Testbed(#[from] testbed::Error),
    /// A story of the virtual machine went wrong.
    #[error("the story `{title}` ended as `{end}`: the demonstration found a defect")]
    Story {
        /// Which.
        title: &'static str,
        /// How it ended.
        end: String,
    },
    /// The host's service.
    #[error(transparent)]
    Shop(#[from] crate::shop::Error),
    /// A command of the story did not run.
    #[error("cannot run `{command}`")]
    Command {
        /// As typed.
        command: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A command of the story ended otherwise than the story says.
    #[error(
        "`{command}` ended with exit code {code:?}, not {expected}: the demonstration found a defect"
    )]
    Ending {
        /// As typed.
        command: String,
        /// How it ended.
        code: Option<i32>,
        /// How it should have.
        expected: i32,
    },
    /// The host is not as the story says.
    #[error("after `{after}` the shop should answer `{expected}`, but: {found}")]
    Answer {
        /// The command before.
        after: String,
        /// What it should be.
        expected: String,
        /// What was found.
        found: String,
    },
}

/// Result of a part of the demonstration.
pub type Result<T> = std::result::Result<T, Error>;
