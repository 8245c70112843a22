//! One file or symlink on its way into a commit.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use durable::{DirEntry, Doing, FileKind, Metadata, ReadSeek, Version};

use super::Walk;
use crate::digests::As;
use crate::format::{FileHeader, FileRef, Xattrs};
use crate::modify::LinkedFiles;
use crate::store::{Content, read_small};
use crate::{Checksum, Error, ObjectKind, ObjectName, RepoMode, Result};

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
        let (stat, version) = self.look_at(&path)?;
        let inode = (stat.dev, stat.ino);
        // Other names may have other labels.
        let alike = self.intake.options.policy.is_none();
        let shared = alike && stat.nlink > 1 && stat.kind == FileKind::File;
        if shared && let Some(checksum) = self.linked().get(&inode).copied() {
            return Ok(FileRef { name, checksum });
        }
        let header = self.header(&path, &stat);
        let known = match self.link_of(inode, &self.inside(&path))? {
            Some(checksum) => Some((checksum, &self.hits)),
            None => self
                .remembered(version.as_ref(), &header)?
                .map(|checksum| (checksum, &self.unread)),
        };
        if let Some((checksum, counter)) = known {
            counter.fetch_add(1, Ordering::Relaxed);
            return Ok(FileRef { name, checksum });
        }
        let checksum = self.store(header, path, &stat, version, buffer)?;
        if shared {
            self.linked().insert(inode, checksum);
        }
        Ok(FileRef { name, checksum })
    }

    /// Files with several names that were stored, by inode.
    fn linked(&self) -> MutexGuard<'_, HashMap<(u64, u64), Checksum>> {
        self.linked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Owner and mode that a file is to have in the commit. Its extended attributes cost
    /// another look at it.
    fn header(&self, path: &Path, stat: &Metadata) -> FileHeader {
        let (uid, gid, mode) = self.intake.modified.attributes(
            self.intake.repo,
            self.intake.options,
            &self.inside(path),
            (stat.uid, stat.gid),
            stat.mode,
        );
        FileHeader {
            uid,
            gid,
            mode,
            target: String::new(),
            xattrs: Xattrs::default(),
        }
    }

    /// Stores what was not known.
    fn store(
        &self,
        header: FileHeader,
        path: PathBuf,
        stat: &Metadata,
        version: Option<Version>,
        buffer: &mut Vec<u8>,
    ) -> Result<Checksum> {
        let header = FileHeader {
            xattrs: self.xattrs(&path, header.mode)?,
            ..header
        };
        match stat.kind {
            FileKind::Symlink => self.symlink(header, &path, buffer),
            FileKind::File if self.may_adopt(&header, stat) => {
                self.intake.staging.adopt(&header, &path, buffer)
            }
            FileKind::File => self.regular(&header, &path, stat.size, version, buffer),
            FileKind::Dir | FileKind::Other => Err(Error::Uncommittable {
                path,
                why: "it is neither a regular file, a symlink nor a directory",
            }),
        }
    }

    fn look_at(&self, path: &Path) -> Result<(Metadata, Option<Version>)> {
        let fs = self.intake.repo.fs();
        let found = match self.intake.digests {
            Some(_) => fs.metadata_and_version(path),
            None => fs.metadata(path).map(|stat| (stat, None)),
        };
        Ok(found.doing("look at", path)?)
    }

    /// The object that a file is, as far as that is known without reading it.
    fn remembered(
        &self,
        version: Option<&Version>,
        header: &FileHeader,
    ) -> Result<Option<Checksum>> {
        let (Some(version), Some(digests)) = (version, &self.intake.digests) else {
            return Ok(None);
        };
        let Some(checksum) = digests.find(version, self.as_in(header)) else {
            return Ok(None);
        };
        // It may have been removed since.
        let object = ObjectName::new(checksum, ObjectKind::File);
        Ok(self.intake.repo.has(&object)?.then_some(checksum))
    }

    fn as_in(&self, header: &FileHeader) -> As {
        As {
            uid: header.uid,
            gid: header.gid,
            mode: header.mode,
            xattrs: !self.intake.drops_xattrs(),
        }
    }

    /// The object that a file is a hard link to, where that is known and nothing is
    /// changed on the way in.
    fn link_of(&self, inode: (u64, u64), inside: &Path) -> Result<Option<Checksum>> {
        let Some(checksum) = self.known.get(&inode) else {
            return Ok(None);
        };
        if self.intake.options.modify.links == LinkedFiles::Trust {
            return Ok(Some(*checksum));
        }
        // The object knows the true attributes, which a checkout may not have.
        let header = self.intake.repo.open_file(checksum)?.header;
        let owner = (header.uid, header.gid);
        let wanted = self.intake.modified.attributes(
            self.intake.repo,
            self.intake.options,
            inside,
            owner,
            header.mode,
        );
        let at = (inside, header.mode);
        let kept = || Ok(header.xattrs.clone());
        let xattrs = self.intake.options.xattrs(self.intake.repo, at, kept)?;
        let same = wanted == (header.uid, header.gid, header.mode) && xattrs == header.xattrs;
        Ok(same.then_some(*checksum))
    }

    /// Whether a file may become the object itself: it is going to be removed, and
    /// is what the object would be.
    fn may_adopt(&self, header: &FileHeader, stat: &Metadata) -> bool {
        self.intake.options.modify.consume
            && self.intake.options.policy.is_none()
            && self.intake.options.modify.links != LinkedFiles::Read
            && stat.mode == header.mode
            && match self.intake.repo.mode() {
                RepoMode::Bare => (stat.uid, stat.gid) == (header.uid, header.gid),
                RepoMode::BareUserOnly => true,
                _ => false,
            }
    }

    fn symlink(&self, header: FileHeader, path: &Path, buffer: &mut Vec<u8>) -> Result<Checksum> {
        let target = self
            .intake
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
        self.intake
            .staging
            .file(&header, Content::Memory(&[]), buffer, path)
    }

    /// Stores a regular file, and remembers its digest where that can be.
    fn regular(
        &self,
        header: &FileHeader,
        path: &Path,
        size: u64,
        version: Option<Version>,
        buffer: &mut Vec<u8>,
    ) -> Result<Checksum> {
        let (repo, digests) = (self.intake.repo, self.intake.digests.as_ref());
        let learning = digests
            .zip(version)
            .filter(|(digests, version)| digests.may_learn(repo, path, version));
        let reader = match learning {
            Some(_) => repo.fs().open_settled(path),
            None => repo.fs().open(path),
        };
        let checksum = self.content(header, reader.doing("open", path)?, path, size, buffer)?;
        if let Some((digests, version)) = learning {
            digests.learn(&version, self.as_in(header), checksum);
        }
        Ok(checksum)
    }

    fn content(
        &self,
        header: &FileHeader,
        mut reader: Box<dyn ReadSeek>,
        path: &Path,
        size: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<Checksum> {
        let staging = self.intake.staging;
        if read_small(&mut *reader, size, buffer, path)? {
            let content = std::mem::take(buffer);
            let done = staging.file(header, Content::Memory(&content), buffer, path);
            *buffer = content;
            return done;
        }
        reader.rewind().doing("read", path)?;
        staging.file(header, Content::Long(&mut *reader), buffer, path)
    }
}
