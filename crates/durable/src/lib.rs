//! The only crate that writes files which must survive a crash.
//!
//! [`Fs`] is the door to the disk: a handful of path-based calls with one real
//! implementation ([`RealFs`]) and, for tests, a simulated page cache that can
//! be cut off at any instant. On top of it stand the *moves*, each of which is
//! safe to be interrupted anywhere:
//!
//! | move | after a crash |
//! | --- | --- |
//! | [`publish_file`] | the old file or the new one, whole |
//! | [`publish_symlink`] | the old target or the new one |
//! | [`switch_symlink`], [`switch_file`] | the same, even to a boot loader that replays no journal |
//! | [`overwrite_in_place`] | each 512-byte sector old or new; the length never changes |
//! | [`append_record`] | all earlier bytes; the new ones whole, cut, or absent |
//! | [`rename_and_sync`] | the old name or the new one |
//! | [`exchange_and_sync`] | both paths as before, or each with what the other had |
//! | [`Batch`] | any subset of the files, or of whole directories of them, each file whole |
//! | [`create_dir_all`] | some of the directories, from the top |
//!
//! Nothing is durable before the move returns; after it returns, everything is.
//! What another process left may not be: [`make_sure`] before relying on it.

mod batch;
mod fs;
mod moves;
mod real;
#[cfg(feature = "sim")]
pub mod sim;
mod stat;
mod unsynced;
mod writeback;

pub use batch::Batch;
pub use fs::{
    Attributes, DirEntry, FileKind, Fs, FsLock, LockMode, Metadata, NewFile, ReadSeek, Version,
    Xattr,
};
pub use moves::{
    append_record, create_dir_all, exchange_and_sync, is_leftover, make_sure, overwrite_in_place,
    publish_file, publish_symlink, read, read_bounded, read_to_string, remove_leftovers,
    remove_tree, rename_and_sync, switch_file, switch_symlink,
};
pub use real::RealFs;
pub use unsynced::Unsynced;
pub use writeback::Writeback;

use std::path::{Path, PathBuf};

/// A failed step on the disk: what was being done and to which path; the
/// source says why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}", path.display())]
pub struct Error {
    /// The verb: `"write"`, `"rename"`.
    pub doing: &'static str,
    /// The path it was done to.
    pub path: PathBuf,
    /// The kernel's answer.
    pub source: std::io::Error,
}

/// Result of a move.
pub type Result<T> = std::result::Result<T, Error>;

/// Turns a plain I/O error into an [`Error`] that says what was being done.
pub trait Doing<T> {
    /// Names the verb and the path.
    ///
    /// # Errors
    /// The same error, with its context.
    fn doing(self, verb: &'static str, path: &Path) -> Result<T>;
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, verb: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error {
            doing: verb,
            path: path.to_owned(),
            source,
        })
    }
}
