//! The objects' contents. Parsers take bytes and refuse all that is not canonical.

mod commit;
mod dirmeta;
mod dirtree;
mod file_header;
mod metadata;
mod name;
mod xattrs;

pub use commit::Commit;
pub use dirmeta::DirMeta;
pub use dirtree::{DirRef, DirTree, FileRef};
pub use file_header::{FileHeader, MAX_HEADER};
pub use metadata::Metadata;
pub use name::check_name;
pub use xattrs::Xattrs;

/// The file type bits of a mode.
pub(crate) const TYPE_MASK: u32 = 0o170_000;
/// A directory's.
pub(crate) const TYPE_DIR: u32 = 0o040_000;
/// A regular file's.
pub(crate) const TYPE_FILE: u32 = 0o100_000;
/// A symlink's.
pub(crate) const TYPE_SYMLINK: u32 = 0o120_000;
