//! A door that syncs nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fs::{Attributes, DirEntry, Fs, FsLock, LockMode, Metadata, NewFile, ReadSeek, Xattr};

/// Another [`Fs`] whose syncs are left out: for scratch data, which nobody misses
/// when the machine goes down. No move is safe on it.
#[derive(Debug)]
pub struct Unsynced(Arc<dyn Fs>);

impl Unsynced {
    /// Leaves out the syncs of `fs`.
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>) -> Self {
        Self(fs)
    }
}

/// A file whose sync is left out.
struct UnsyncedFile(Box<dyn NewFile>);

impl io::Write for UnsyncedFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl NewFile for UnsyncedFile {
    fn set(&mut self, attributes: &Attributes) -> io::Result<()> {
        self.0.set(attributes)
    }
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Fs for Unsynced {
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadSeek>> {
        self.0.open(path)
    }
    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.0.metadata(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.0.read_dir(path)
    }
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.0.read_link(path)
    }
    fn xattrs(&self, path: &Path) -> io::Result<Vec<Xattr>> {
        self.0.xattrs(path)
    }
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn NewFile>> {
        Ok(Box::new(UnsyncedFile(self.0.create(path, mode)?)))
    }
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.0.create_dir(path, mode)
    }
    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.0.symlink(target, path)
    }
    fn make_whiteout(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.0.make_whiteout(path, mode)
    }
    fn hard_link(&self, original: &Path, path: &Path) -> io::Result<()> {
        self.0.hard_link(original, path)
    }
    fn set_attributes(&self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        self.0.set_attributes(path, attributes)
    }
    fn overwrite(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.overwrite(path, offset, bytes)
    }
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.0.append(path, bytes)
    }
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        self.0.truncate(path, len)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.0.exchange(one, other)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.0.remove_dir(path)
    }
    fn set_immutable(&self, path: &Path, immutable: bool) -> io::Result<()> {
        self.0.set_immutable(path, immutable)
    }
    fn sync_file(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn sync_filesystem(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn checkpoint(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.0.free_space(path)
    }
    fn total_space(&self, path: &Path) -> io::Result<u64> {
        self.0.total_space(path)
    }
    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Box<dyn FsLock>> {
        self.0.lock(path, mode)
    }
    fn try_lock(&self, path: &Path, mode: LockMode) -> io::Result<Option<Box<dyn FsLock>>> {
        self.0.try_lock(path, mode)
    }
}
