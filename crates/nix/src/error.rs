//! What can go wrong on a Nix host.

use std::path::PathBuf;

use crate::program::Ended;
use crate::store::StorePath;
use crate::switch::{Action, SwitchEnd};

/// A failure of a Nix host.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] durable::Error),
    /// The machine.
    #[error(transparent)]
    Machine(#[from] machine::MachineError),
    /// A name that is no path in the store.
    #[error("`{0}` is no path in the Nix store, such as /nix/store/…-nixos-system-…")]
    NotAStorePath(String),
    /// The path is not here, and nothing says where to get it.
    #[error(
        "{0} is not in this host's store: copy it there (`nix copy --to ssh://…`), or say where \
         it is with --from"
    )]
    NotHere(StorePath),
    /// The database knows a path that is not on the disk.
    #[error(
        "{toplevel} is not complete: {missing} is gone; `nix-store --repair-path {missing}` may mend it"
    )]
    Incomplete {
        /// What was to be used.
        toplevel: StorePath,
        /// What it lacks.
        missing: String,
    },
    /// The path is no system.
    #[error("{0} has no bin/switch-to-configuration, so it is no NixOS system")]
    NotASystem(StorePath),
    /// A program failed.
    #[error("cannot {doing}: {program} {ended}{}", said(output))]
    Program {
        /// What it was to do.
        doing: String,
        /// Which.
        program: String,
        /// How it ended.
        ended: Ended,
        /// The end of what it printed.
        output: String,
    },
    /// `switch-to-configuration` did not do it.
    #[error(
        "`switch-to-configuration {action}` of {toplevel}: {end}{}",
        said(output)
    )]
    Switch {
        /// What it was to do.
        action: Action,
        /// Of which system.
        toplevel: StorePath,
        /// How it ended.
        end: SwitchEnd,
        /// The end of what it printed.
        output: String,
    },
    /// What a program printed makes no sense.
    #[error("cannot understand what {program} printed: {why}")]
    Garbled {
        /// Which program.
        program: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A file or link can't be read.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// To which path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// No system profile, nothing running.
    #[error("there is no NixOS here: neither {} nor a system profile", .0.display())]
    NotNixos(PathBuf),
    /// A boot trial needs a loader that boots a version once.
    #[error("this host cannot try a version by booting it: {0}")]
    NoBootOnce(String),
    /// It is told to start versions in a container, and cannot.
    #[error(
        "this host cannot start a version in a container, as [container] in \
         /etc/backstop/nix.toml tells it to: {0}"
    )]
    NoContainer(String),
    /// Its own notes of a trial can't be used.
    #[error("the notes of the trial in {} make no sense", path.display())]
    Notes {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// What a program printed, as the end of a message.
fn said(output: &str) -> String {
    let last: Vec<&str> = output.lines().rev().take(5).collect();
    let last: Vec<&str> = last.into_iter().rev().map(str::trim).collect();
    match last.join("; ") {
        nothing if nothing.is_empty() => String::new(),
        last => format!(" ({last})"),
    }
}

/// Result of a Nix host's doings.
pub type Result<T> = std::result::Result<T, Error>;

/// Names what was being done to a path.
pub(crate) fn file(
    doing: &'static str,
    path: &std::path::Path,
) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File {
        doing,
        path,
        source,
    }
}
