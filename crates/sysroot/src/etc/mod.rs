//! The three-way merge of `/etc`.
//!
//! Three trees come in: the old default (`usr/etc` of the deployment to merge
//! from), the local one (its `etc`) and the new default (`usr/etc` of the new
//! deployment). The result is the new default with every local change on top.
//! Where both changed the same thing the local one wins, and that is reported;
//! the new default can still be read below `/usr/etc`. No second file is left
//! beside the local one, because many programs read every file in a directory
//! of `/etc`.

mod apply;
mod merge;
mod plan;
mod tree;

use std::fmt;
use std::path::{Path, PathBuf};

use durable::Fs;

pub(crate) use apply::copy_tree;
pub(crate) use merge::{Merge, UPDATED};

/// How a local change and a new default got in each other's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EtcConflict {
    /// Both changed it, differently. The local one is kept.
    BothChanged,
    /// Deleted on the host, changed in the new version. It stays deleted.
    DeletedHere,
    /// Changed on the host, deleted in the new version. It is kept.
    DeletedInNew,
    /// One of them made a directory of what is no directory in the other. The
    /// local one is kept, whole.
    TypeChanged,
    /// A device, socket or pipe was made on the host. It is not carried over.
    NotCopied,
}

impl fmt::Display for EtcConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BothChanged => "changed here and in the new version: kept as it is here",
            Self::DeletedHere => "deleted here, changed in the new version: stays deleted",
            Self::DeletedInNew => "changed here, deleted in the new version: kept as it is here",
            Self::TypeChanged => "a directory on one side only: kept as it is here",
            Self::NotCopied => "neither file, directory nor symlink: not carried over",
        })
    }
}

/// What became of the local changes; paths are relative to `/etc`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EtcReport {
    /// Local changes, additions and deletions that met no new default.
    pub carried: Vec<PathBuf>,
    /// Those that did.
    pub conflicts: Vec<(PathBuf, EtcConflict)>,
}

impl EtcReport {
    fn sort(&mut self) {
        self.carried.sort();
        self.conflicts.sort();
    }
}

/// The trees of a merge. One that is not there counts as empty.
#[derive(Debug, Clone, Copy)]
pub struct EtcTrees<'a> {
    /// `usr/etc` of the deployment to merge from.
    pub old_default: &'a Path,
    /// Its `etc`.
    pub local: &'a Path,
    /// `usr/etc` of the new deployment.
    pub new_default: &'a Path,
}

/// What a merge of these trees would report. Changes nothing.
///
/// # Errors
/// A tree cannot be read.
pub fn preview(fs: &dyn Fs, trees: &EtcTrees<'_>) -> durable::Result<EtcReport> {
    Ok(Merge::new(fs, *trees)?.report)
}
