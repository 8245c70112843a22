//! One file or symlink on its way into a commit.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use durable::{DirEntry, Doing, FileKind};

use super::Walk;
use crate::format::{FileHeader, FileRef};
use crate::modify::LinkedFiles;
use crate::store::{Content, read_small};
use crate::{Checksum, Error, RepoMode, Result};

impl Walk<'_> {
    /// Stores one file or symlink.
    pub(super) fn file(
        &self,
        dir: &Path,
        entry: &DirEntry,
        buffer: &mut Vec<u8>,
    ) -> Result<FileRef> {
        let name = self.name(dir, entry)?;
        let path = dir.join(&name);
        let stat = self.repo.fs().metadata(&path).doing("look at", &path)?;
        let inode = (stat.dev, stat.ino);
        let shared = stat.nlink > 1 && stat.kind == FileKind::File;
        if shared {
            let linked = self.linked.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(checksum) = linked.get(&inode).copied() {
                return Ok(FileRef { name, checksum });
            }
        }
        let owner = (stat.uid, stat.gid);
        let inside = self.inside(&path);
        let (uid, gid, mode) =
            self.modified
                .attributes(self.repo, self.options, &inside, owner, stat.mode);
        if let Some(checksum) = self.link_of(inode, &inside)? {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(FileRef { name, checksum });
        }
        let header = FileHeader {
            uid,
            gid,
            mode,
            target: String::new(),
            xattrs: self.xattrs(&path)?,
        };
        let checksum = match stat.kind {
            FileKind::Symlink => self.symlink(header, &path, buffer)?,
            FileKind::File if self.may_adopt(&header, &stat) => {
                self.staging.adopt(&header, &path, buffer)?
            }
            FileKind::File => self.regular(&header, &path, stat.size, buffer)?,
            FileKind::Dir | FileKind::Other => {
                return Err(Error::Uncommittable {
                    path,
                    why: "it is neither a regular file, a symlink nor a directory",
                });
            }
        };
        if shared {
            let mut linked = self.linked.lock().unwrap_or_else(PoisonError::into_inner);
            linked.insert(inode, checksum);
        }
        Ok(FileRef { name, checksum })
    }

    /// The object that a file is a hard link to, where that is known and nothing is
    /// changed on the way in.
    fn link_of(&self, inode: (u64, u64), inside: &Path) -> Result<Option<Checksum>> {
        let Some(checksum) = self.known.get(&inode) else {
            return Ok(None);
        };
        if self.options.modify.links == LinkedFiles::Trust {
            return Ok(Some(*checksum));
        }
        // The object knows the true attributes, which a checkout may not have.
        let header = self.repo.open_file(checksum)?.header;
        let owner = (header.uid, header.gid);
        let wanted = self
            .modified
            .attributes(self.repo, self.options, inside, owner, header.mode);
        let drops = self.options.drops_xattrs(self.repo) && !header.xattrs.as_slice().is_empty();
        let same = wanted == (header.uid, header.gid, header.mode) && !drops;
        Ok(same.then_some(*checksum))
    }

    /// Whether a file may become the object itself: it is going to be removed, and
    /// is what the object would be.
    fn may_adopt(&self, header: &FileHeader, stat: &durable::Metadata) -> bool {
        self.options.modify.consume
            && self.options.modify.links != LinkedFiles::Read
            && stat.mode == header.mode
            && match self.repo.mode() {
                RepoMode::Bare => (stat.uid, stat.gid) == (header.uid, header.gid),
                RepoMode::BareUserOnly => true,
                _ => false,
            }
    }

    fn symlink(&self, header: FileHeader, path: &Path, buffer: &mut Vec<u8>) -> Result<Checksum> {
        let target = self
            .repo
            .fs()
            .read_link(path)
            .doing("read the symlink", path)?;
        let target = std::str::from_utf8(target.as_os_str().as_bytes());
        let target = target.map_err(|_| Error::Uncommittable {
            path: path.to_owned(),
            why: "its target is not UTF-8",
        })?;
        let header = FileHeader {
            target: target.to_owned(),
            ..header
        };
        self.staging
            .file(&header, Content::Memory(&[]), buffer, path)
    }

    fn regular(
        &self,
        header: &FileHeader,
        path: &Path,
        size: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<Checksum> {
        let mut reader = self.repo.fs().open(path).doing("open", path)?;
        if read_small(&mut *reader, size, buffer, path)? {
            let content = std::mem::take(buffer);
            let done = self
                .staging
                .file(header, Content::Memory(&content), buffer, path);
            *buffer = content;
            return done;
        }
        reader.rewind().doing("read", path)?;
        self.staging
            .file(header, Content::Long(&mut *reader), buffer, path)
    }
}
