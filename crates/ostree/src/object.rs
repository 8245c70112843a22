//! Names and places of objects.

use std::fmt;
use std::path::PathBuf;

use crate::Checksum;
use crate::config::RepoMode;

/// The kinds of object that backstop reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// A regular file or symlink with its attributes.
    File,
    /// The names in a directory.
    DirTree,
    /// A directory's attributes.
    DirMeta,
    /// A commit.
    Commit,
}

impl ObjectKind {
    /// The file name's extension in a repository of this mode.
    #[must_use]
    pub fn extension(self, mode: RepoMode) -> &'static str {
        match self {
            Self::File if mode == RepoMode::Archive => "filez",
            Self::File => "file",
            Self::DirTree => "dirtree",
            Self::DirMeta => "dirmeta",
            Self::Commit => "commit",
        }
    }

    /// The kind whose objects have this extension.
    pub(crate) fn from_extension(extension: &str, mode: RepoMode) -> Option<Self> {
        [Self::File, Self::DirTree, Self::DirMeta, Self::Commit]
            .into_iter()
            .find(|kind| kind.extension(mode) == extension)
    }

    /// The longest that an object of this kind may be, for those read whole.
    pub(crate) fn limit(self) -> u64 {
        match self {
            Self::DirTree => 128 << 20,
            Self::Commit => 16 << 20,
            Self::DirMeta | Self::File => 1 << 20,
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.extension(RepoMode::Bare))
    }
}

/// An object's full name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// The digest of its content.
    pub checksum: Checksum,
    /// What it is.
    pub kind: ObjectKind,
}

impl ObjectName {
    /// A name from its parts.
    #[must_use]
    pub const fn new(checksum: Checksum, kind: ObjectKind) -> Self {
        Self { checksum, kind }
    }

    /// The path below `objects/`: `XX/YYYY.kind`.
    #[must_use]
    pub fn relative_path(&self, mode: RepoMode) -> PathBuf {
        let hex = self.checksum.to_string();
        let (dir, rest) = hex.split_at(2);
        PathBuf::from(format!("{dir}/{rest}.{}", self.kind.extension(mode)))
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.checksum, self.kind)
    }
}
