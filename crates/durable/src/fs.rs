//! The calls that everything on the disk goes through.

use std::ffi::OsString;
use std::fmt::Debug;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A device, socket or pipe.
    Other,
}

/// What is known of a path without opening it; never follows a last symlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits with the file type, as in `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes (a symlink's: its target's).
    pub size: u64,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Number of names.
    pub nlink: u64,
}

/// What tells a file's content and attributes from any that it had before, on the
/// filesystems for which [`Fs::tells_changes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// The mount, by a number that comes never again before a reboot (Linux 6.8's
    /// `STATX_MNT_ID_UNIQUE`).
    pub mount: u64,
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Length in bytes.
    pub size: u64,
    /// Modification time: seconds since 1970, nanoseconds.
    pub modified: (i64, u32),
    /// Change time, which nobody can set: seconds since 1970, nanoseconds.
    pub changed: (i64, u32),
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name, without a path.
    pub name: OsString,
    /// What it names.
    pub kind: FileKind,
}

/// An extended attribute: name (without NUL) and value.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// Attributes to give to a new file; what is `None` stays as created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Owner and group.
    pub owner: Option<(u32, u32)>,
    /// Permission bits (the low twelve).
    pub mode: Option<u32>,
    /// Extended attributes to set, besides those present.
    pub xattrs: Vec<Xattr>,
    /// Modification time, seconds since 1970.
    pub mtime: Option<i64>,
}

/// A reader that can seek.
pub trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// A file being written; it has its name from the start, so write it under a
/// temporary one.
pub trait NewFile: Write + Send {
    /// Applies owner, mode, extended attributes and time, in that order.
    ///
    /// # Errors
    /// The kernel's answer.
    fn set(&mut self, attributes: &Attributes) -> io::Result<()>;
    /// Forces content and metadata of this file to the disk.
    ///
    /// # Errors
    /// The kernel's answer; after an error the content is lost.
    fn sync(&mut self) -> io::Result<()>;
}

/// How to hold a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Many may hold it at once.
    Shared,
    /// One alone.
    Exclusive,
}

/// A held lock; dropping it lets go.
pub trait FsLock: Debug + Send {}

/// The door to the disk. Paths are absolute or relative to the process; no call
/// follows a symlink in the last component but [`Fs::open`], [`Fs::read_dir`], the
/// locks and the syncs.
///
/// Nothing here is durable by itself: use the moves of this crate, or
/// [`Batch`](crate::Batch), which sync.
pub trait Fs: Debug + Send + Sync {
    /// Opens a file for reading.
    /// # Errors
    /// The kernel's answer.
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadSeek>>;
    /// The same once no call that writes to the file is under way: what is read then has a
    /// change time that is not older.
    /// # Errors
    /// The kernel's answer.
    fn open_settled(&self, path: &Path) -> io::Result<Box<dyn ReadSeek>> {
        self.open(path)
    }
    /// Reads what is known of a path (`lstat`).
    /// # Errors
    /// The kernel's answer.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;
    /// The same with the file's version, where the kernel has all of that and the inode
    /// has room for fractions of a second.
    /// # Errors
    /// The kernel's answer.
    fn metadata_and_version(&self, path: &Path) -> io::Result<(Metadata, Option<Version>)> {
        Ok((self.metadata(path)?, None))
    }
    /// Whether `path` is on a filesystem of which it is known that each change of a file
    /// gives it another change time.
    fn tells_changes(&self, path: &Path) -> bool {
        let _ = path;
        false
    }
    /// Lists a directory, sorted by name, without `.` and `..`.
    /// # Errors
    /// The kernel's answer.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Reads a symlink's target.
    /// # Errors
    /// The kernel's answer.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;
    /// Reads all extended attributes, sorted by name; empty where the
    /// filesystem has none.
    /// # Errors
    /// The kernel's answer.
    fn xattrs(&self, path: &Path) -> io::Result<Vec<Xattr>>;

    /// Creates a file that must not exist, with permission bits `mode`.
    /// # Errors
    /// The kernel's answer.
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn NewFile>>;
    /// Creates a directory with permission bits `mode`.
    /// # Errors
    /// The kernel's answer.
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Creates a symlink at `path`.
    /// # Errors
    /// The kernel's answer.
    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()>;
    /// Creates the character device 0:0 that hides a name in an overlay.
    /// # Errors
    /// The kernel's answer; `Unsupported` where there are no devices.
    fn make_whiteout(&self, path: &Path, mode: u32) -> io::Result<()> {
        let _ = (path, mode);
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Gives `original` a second name.
    /// # Errors
    /// The kernel's answer.
    fn hard_link(&self, original: &Path, path: &Path) -> io::Result<()>;
    /// Sets attributes of an existing path; on a symlink the mode is ignored.
    /// # Errors
    /// The kernel's answer.
    fn set_attributes(&self, path: &Path, attributes: &Attributes) -> io::Result<()>;
    /// Writes `bytes` at `offset` of an existing file, never past its end.
    /// # Errors
    /// The kernel's answer; `InvalidInput` when it would grow the file.
    fn overwrite(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Adds `bytes` to the end of a file, creating it with mode 0644.
    /// # Errors
    /// The kernel's answer.
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Cuts a file to `len` bytes.
    /// # Errors
    /// The kernel's answer.
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()>;
    /// Renames, replacing a file or an empty directory at `to`.
    /// # Errors
    /// The kernel's answer.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives each of two paths what the other has, in one step.
    /// # Errors
    /// The kernel's answer; `InvalidInput` where the filesystem cannot do that.
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()>;
    /// Removes a name that is not a directory.
    /// # Errors
    /// The kernel's answer.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    /// # Errors
    /// The kernel's answer.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Sets or clears the immutable flag; without the right or the
    /// filesystem's support it does nothing.
    /// # Errors
    /// The kernel's answer, save for those two.
    fn set_immutable(&self, path: &Path, immutable: bool) -> io::Result<()>;

    /// `fsync` of a file.
    /// # Errors
    /// The kernel's answer.
    fn sync_file(&self, path: &Path) -> io::Result<()>;
    /// `fsync` of a directory.
    /// # Errors
    /// The kernel's answer.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// `syncfs` of the filesystem that holds `path`.
    /// # Errors
    /// The kernel's answer.
    fn sync_filesystem(&self, path: &Path) -> io::Result<()>;
    /// Syncs the filesystem that holds `path` and empties its journal, so that a
    /// reader which replays none (GRUB) sees everything done so far. Is a mere
    /// [`Fs::sync_filesystem`] without the right to do more, or where the
    /// filesystem has no journal.
    /// # Errors
    /// The kernel's answer.
    fn checkpoint(&self, path: &Path) -> io::Result<()>;
    /// Bytes that an unprivileged writer may still use on the filesystem that
    /// holds `path`.
    /// # Errors
    /// The kernel's answer.
    fn free_space(&self, path: &Path) -> io::Result<u64>;
    /// Size in bytes of the filesystem that holds `path`, or of what is free of
    /// it where no size is known.
    /// # Errors
    /// The kernel's answer.
    fn total_space(&self, path: &Path) -> io::Result<u64> {
        self.free_space(path)
    }
    /// Takes an advisory lock on a file, creating it; waits.
    /// # Errors
    /// The kernel's answer.
    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Box<dyn FsLock>>;
    /// Like [`Fs::lock`], but answers `None` instead of waiting.
    /// # Errors
    /// The kernel's answer.
    fn try_lock(&self, path: &Path, mode: LockMode) -> io::Result<Option<Box<dyn FsLock>>>;
}
