//! The kernel's filesystem.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{
    AtFlags, CWD, IFlags, Mode, RenameFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags,
    renameat_with,
};
use rustix::io::Errno;

use crate::fs::{
    Attributes, DirEntry, FileKind, Fs, FsLock, LockMode, Metadata, NewFile, ReadSeek, Version,
    Xattr,
};
use crate::stat;

/// The kernel's filesystem.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFs;

/// A file being written, by its descriptor.
#[derive(Debug)]
struct RealNewFile(File);

impl Write for RealNewFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl NewFile for RealNewFile {
    fn set(&mut self, attributes: &Attributes) -> io::Result<()> {
        // To ask is cheap; each change goes to the filesystem's journal.
        let is = self.0.metadata()?;
        let mut mode = Some(is.mode() & 0o7777);
        if let Some((uid, gid)) = attributes.owner
            && (uid, gid) != (is.uid(), is.gid())
        {
            rustix::fs::fchown(&self.0, Some(owner(uid)), Some(group(gid)))?;
            // That took the bits away which would matter to the new owner.
            mode = None;
        }
        if let Some(wanted) = attributes.mode
            && mode != Some(wanted & 0o7777)
        {
            rustix::fs::fchmod(&self.0, Mode::from_raw_mode(wanted & 0o7777))?;
        }
        for (name, value) in &attributes.xattrs {
            rustix::fs::fsetxattr(&self.0, name.as_slice(), value, XattrFlags::empty())?;
        }
        if let Some(mtime) = attributes.mtime {
            rustix::fs::futimens(&self.0, &times(mtime))?;
        }
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }
}

fn owner(uid: u32) -> rustix::fs::Uid {
    rustix::fs::Uid::from_raw(uid)
}

fn group(gid: u32) -> rustix::fs::Gid {
    rustix::fs::Gid::from_raw(gid)
}

fn times(mtime: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime,
            tv_nsec: 0,
        },
    }
}

fn kind(file_type: std::fs::FileType) -> FileKind {
    if file_type.is_file() {
        FileKind::File
    } else if file_type.is_dir() {
        FileKind::Dir
    } else if file_type.is_symlink() {
        FileKind::Symlink
    } else {
        FileKind::Other
    }
}

/// A lock held by an open file description, as `ostree` takes them.
#[derive(Debug)]
struct RealLock {
    _file: File,
}
impl FsLock for RealLock {}

/// Options that refuse a symlink in the last component.
fn no_follow() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
    options
}

/// How long a filesystem stays frozen at most, should this process stop.
const FREEZE_LIMIT: Duration = Duration::from_secs(10);

/// Answers that mean there is no journal to empty, or no right to.
const WITHOUT_JOURNAL: [Errno; 6] = [
    Errno::PERM,
    Errno::ACCESS,
    Errno::OPNOTSUPP,
    Errno::NOTTY,
    Errno::INVAL,
    Errno::NODEV,
];

fn is(error: &io::Error, errnos: &[Errno]) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    errno.is_some_and(|e| errnos.contains(&e))
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::CLOEXEC.bits() as i32)
        .open(path)
}

/// Reads one xattr value, growing the buffer when it changed in between.
fn xattr_value(path: &Path, name: &[u8]) -> io::Result<Vec<u8>> {
    loop {
        let size = rustix::fs::lgetxattr_query(path, name)?;
        let mut value = vec![0u8; size];
        match rustix::fs::lgetxattr(path, name, value.as_mut_slice()) {
            Ok(len) => {
                value.truncate(len);
                return Ok(value);
            }
            Err(Errno::RANGE) => continue,
            Err(e) => return Err(e.into()),
        }
    }
}

impl Fs for RealFs {
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(File::open(path)?))
    }

    fn open_settled(&self, path: &Path) -> io::Result<Box<dyn ReadSeek>> {
        let file = File::open(path)?;
        stat::await_writers(&file)?;
        Ok(Box::new(file))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let m = std::fs::symlink_metadata(path)?;
        Ok(Metadata {
            kind: kind(m.file_type()),
            mode: m.mode(),
            uid: m.uid(),
            gid: m.gid(),
            size: m.size(),
            mtime: m.mtime(),
            dev: m.dev(),
            ino: m.ino(),
            nlink: m.nlink(),
        })
    }

    fn metadata_and_version(&self, path: &Path) -> io::Result<(Metadata, Option<Version>)> {
        stat::metadata_and_version(path)
    }

    fn tells_changes(&self, path: &Path) -> bool {
        stat::tells_changes(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = std::fs::read_dir(path)?
            .map(|entry| {
                let entry = entry?;
                Ok(DirEntry {
                    kind: kind(entry.file_type()?),
                    name: entry.file_name(),
                })
            })
            .collect::<io::Result<Vec<_>>>()?;
        entries.sort();
        Ok(entries)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::read_link(path)
    }

    fn xattrs(&self, path: &Path) -> io::Result<Vec<Xattr>> {
        let mut names = Vec::new();
        loop {
            let size = match rustix::fs::llistxattr_query(path) {
                Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
                Ok(size) => size,
                Err(e) => return Err(e.into()),
            };
            names.resize(size, 0u8);
            match rustix::fs::llistxattr(path, names.as_mut_slice()) {
                Ok(len) => {
                    names.truncate(len);
                    break;
                }
                Err(Errno::RANGE) => continue,
                Err(e) => return Err(e.into()),
            }
        }
        let mut found = names
            .split(|b| *b == 0)
            .filter(|name| !name.is_empty())
            .map(|name| Ok((name.to_vec(), xattr_value(path, name)?)))
            .collect::<io::Result<Vec<_>>>()?;
        found.sort();
        Ok(found)
    }

    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn NewFile>> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)?;
        Ok(Box::new(RealNewFile(file)))
    }

    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        std::fs::DirBuilder::new().mode(mode).create(path)
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(target, path)
    }

    fn make_whiteout(&self, path: &Path, mode: u32) -> io::Result<()> {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let mode = Mode::from_raw_mode(mode & 0o7777);
        Ok(mknodat(CWD, path, FileType::CharacterDevice, mode, 0)?)
    }

    #[expect(clippy::disallowed_methods, reason = "this crate is the door")]
    fn hard_link(&self, original: &Path, path: &Path) -> io::Result<()> {
        std::fs::hard_link(original, path)
    }

    fn set_attributes(&self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        if let Some((uid, gid)) = attributes.owner {
            rustix::fs::chownat(
                CWD,
                path,
                Some(owner(uid)),
                Some(group(gid)),
                AtFlags::SYMLINK_NOFOLLOW,
            )?;
        }
        if let Some(mode) = attributes.mode
            && self.metadata(path)?.kind != FileKind::Symlink
        {
            rustix::fs::chmodat(
                CWD,
                path,
                Mode::from_raw_mode(mode & 0o7777),
                AtFlags::empty(),
            )?;
        }
        for (name, value) in &attributes.xattrs {
            rustix::fs::lsetxattr(path, name.as_slice(), value, XattrFlags::empty())?;
        }
        if let Some(mtime) = attributes.mtime {
            rustix::fs::utimensat(CWD, path, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    fn overwrite(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = no_follow().write(true).open(path)?;
        let len = file.metadata()?.len();
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > len) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the write would grow the file",
            ));
        }
        file.write_all_at(bytes, offset)
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut options = no_follow();
        options.append(true).create(true).mode(0o644);
        options.open(path)?.write_all(bytes)
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        no_follow().write(true).open(path)?.set_len(len)
    }

    #[expect(clippy::disallowed_methods, reason = "this crate is the door")]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn set_immutable(&self, path: &Path, immutable: bool) -> io::Result<()> {
        let file = no_follow().read(true).open(path)?;
        let result = (|| {
            let old = rustix::fs::ioctl_getflags(&file)?;
            let mut new = old;
            new.set(IFlags::IMMUTABLE, immutable);
            if new == old {
                return Ok(());
            }
            rustix::fs::ioctl_setflags(&file, new)
        })();
        match result {
            Err(Errno::PERM | Errno::ACCESS | Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL) => {
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_filesystem(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(path)?)?)
    }

    fn checkpoint(&self, path: &Path) -> io::Result<()> {
        let dir = File::open(path)?;
        rustix::fs::syncfs(&dir)?;
        let emptied = match sys::checkpoint_ext4(&dir) {
            // Not ext4, or a kernel before 5.15.
            Err(e) if is(&e, &[Errno::NOTTY, Errno::OPNOTSUPP]) => {
                sys::freeze_and_thaw(&dir, FREEZE_LIMIT)
            }
            other => other,
        };
        match emptied {
            Err(e) if is(&e, &WITHOUT_JOURNAL) => Ok(()),
            other => other,
        }
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path.as_os_str().as_bytes())?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn total_space(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path.as_os_str().as_bytes())?;
        Ok(stat.f_blocks.saturating_mul(stat.f_frsize))
    }

    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Box<dyn FsLock>> {
        let file = lock_file(path)?;
        sys::lock_description(&file, mode == LockMode::Exclusive, true)?;
        Ok(Box::new(RealLock { _file: file }))
    }

    fn try_lock(&self, path: &Path, mode: LockMode) -> io::Result<Option<Box<dyn FsLock>>> {
        let file = lock_file(path)?;
        let taken = sys::lock_description(&file, mode == LockMode::Exclusive, false)?;
        Ok(taken.then(|| Box::new(RealLock { _file: file }) as Box<dyn FsLock>))
    }
}
