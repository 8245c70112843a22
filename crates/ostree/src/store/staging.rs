//! New objects, written aside and published together.

use std::collections::HashSet;
use std::io::{self, Read, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use durable::{Doing, FsLock, ReadSeek, Writeback};

use super::content::{Content, digest_long};
use super::place::{PREFIX, PULL_PREFIX, Place, allocate, remove_abandoned};
use super::takeover::abandoned;
use super::writer::write_object;
use super::{FileObject, SMALL, digest_of};
use crate::config::MinFreeSpace;
use crate::format::{DirTree, FileHeader};
use crate::{Checksum, Error, ObjectKind, ObjectName, Repo, Result};

/// A directory below the repository's `tmp` for objects that are being written.
///
/// Nothing in it counts until [`Staging::publish`]; a run that is cut off leaves
/// a directory that the next one removes.
pub(crate) struct Staging<'r> {
    pub(super) repo: &'r Repo,
    pub(super) dir: PathBuf,
    lock_path: PathBuf,
    /// Shows that we live. In a mutex because locks are not `Sync`.
    _lock: Mutex<Box<dyn FsLock>>,
    pub(super) staged: Mutex<HashSet<ObjectName>>,
    free: AtomicU64,
    reserve: u64,
    bytes: AtomicU64,
    spools: AtomicU64,
    /// Whether an earlier run may have left objects here.
    pub(super) resumed: bool,
    pub(super) taken_over: AtomicU64,
    /// Whether what is here stays when we fail.
    pub(super) keep: AtomicBool,
    /// Objects that took their place as links.
    linked: AtomicU64,
    pub(super) writeback: Writeback,
}

impl<'r> Staging<'r> {
    /// Makes a staging directory, after removing those of dead processes.
    pub(crate) fn begin(repo: &'r Repo) -> Result<Self> {
        let tmp = repo.path().join("tmp");
        durable::create_dir_all(repo.fs(), &tmp, 0o755)?;
        remove_abandoned(repo, &tmp)?;
        let place = allocate(repo, &tmp, PREFIX)?;
        Self::at(repo, &tmp, place)
    }

    /// Takes over the staging directory of a pull that was cut off, or makes one. What
    /// is in it is kept when this run is cut off too, or fails.
    pub(crate) fn resume(repo: &'r Repo) -> Result<Self> {
        let tmp = repo.path().join("tmp");
        durable::create_dir_all(repo.fs(), &tmp, 0o755)?;
        remove_abandoned(repo, &tmp)?;
        let left = abandoned(repo, &tmp, PULL_PREFIX)?;
        let resumed = left.is_some();
        let place = match left {
            Some(place) => place,
            None => allocate(repo, &tmp, PULL_PREFIX)?,
        };
        let mut staging = Self::at(repo, &tmp, place)?;
        staging.keep = AtomicBool::new(true);
        staging.resumed = resumed;
        Ok(staging)
    }

    fn at(repo: &'r Repo, tmp: &Path, (dir, lock_path, lock): Place) -> Result<Self> {
        let tmp = tmp.to_owned();
        let free = repo
            .fs()
            .free_space(&tmp)
            .doing("ask for the free space of", &tmp)?;
        let reserve = match repo.config().min_free_space {
            MinFreeSpace::Bytes(bytes) => bytes,
            MinFreeSpace::Percent(percent) => {
                let size = repo
                    .fs()
                    .total_space(&tmp)
                    .doing("ask for the size of", &tmp)?;
                size / 100 * percent
            }
        };
        Ok(Self {
            repo,
            dir,
            lock_path,
            _lock: Mutex::new(lock),
            staged: Mutex::new(HashSet::new()),
            free: AtomicU64::new(free),
            reserve,
            bytes: AtomicU64::new(0),
            resumed: false,
            taken_over: AtomicU64::new(0),
            linked: AtomicU64::new(0),
            keep: AtomicBool::new(false),
            spools: AtomicU64::new(0),
            writeback: Writeback::new(repo.fs_handle(), repo.path().to_owned()),
        })
    }

    /// The repository that this is for.
    pub(crate) fn repo(&self) -> &'r Repo {
        self.repo
    }

    pub(super) fn path(&self, object: ObjectName) -> PathBuf {
        self.dir.join(object.relative_path(self.repo.mode()))
    }

    /// Keeps what is here.
    pub(crate) fn keep(&self) {
        self.keep.store(true, Ordering::Relaxed);
    }

    /// Keeps nothing for the next run.
    pub(crate) fn forget(&self) {
        self.keep.store(false, Ordering::Relaxed);
    }

    /// Space that was taken is not needed.
    pub(super) fn give_space_back(&self, size: u64) {
        self.free.fetch_add(size, Ordering::Relaxed);
        self.bytes.fetch_sub(size, Ordering::Relaxed);
    }

    /// Whether the object is to be written by the caller: it is neither in the
    /// repository nor on its way there.
    pub(crate) fn claim(&self, object: ObjectName) -> Result<bool> {
        if self.repo.has(&object)? {
            return Ok(false);
        }
        let mut staged = self.staged.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(staged.insert(object))
    }

    /// Takes `size` bytes off what may still be written.
    pub(super) fn take_space(&self, size: u64) -> Result<()> {
        let left = |free: u64| free.checked_sub(size).filter(|left| *left >= self.reserve);
        let taken = self
            .free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        self.bytes.fetch_add(size, Ordering::Relaxed);
        taken.map(|_| ()).map_err(|free| Error::NoSpace {
            path: self.repo.path().to_owned(),
            needed: size,
            free,
            reserve: self.reserve,
        })
    }

    /// The object's path here. Its directory is made when `make` failed for lack
    /// of it, and `make` is tried again.
    pub(super) fn place<T>(
        &self,
        object: ObjectName,
        make: impl Fn(&Path) -> Result<T>,
    ) -> Result<T> {
        let path = self.dir.join(object.relative_path(self.repo.mode()));
        match make(&path) {
            Err(Error::Disk(e)) if e.source.kind() == io::ErrorKind::NotFound => {
                if let Some(parent) = path.parent() {
                    make_dir(self.repo, parent)?;
                }
                make(&path)
            }
            other => other,
        }
    }

    /// Adds a metadata object.
    pub(crate) fn metadata(&self, kind: ObjectKind, data: &[u8]) -> Result<Checksum> {
        let object = ObjectName::new(Checksum::of(data), kind);
        if self.claim(object)? {
            self.take_space(data.len() as u64)?;
            self.place(object, |path| {
                self.repo.remove_leftover(self.resumed, path)?;
                let mut file = self.repo.fs().create(path, 0o644).doing("create", path)?;
                file.write_all(data).doing("write", path)?;
                Ok(file.flush().doing("write", path)?)
            })?;
            self.writeback.wrote(data.len() as u64)?;
        }
        Ok(object.checksum)
    }

    /// Adds a file. `origin` is named in messages.
    pub(crate) fn file(
        &self,
        header: &FileHeader,
        content: Content<'_>,
        buffer: &mut Vec<u8>,
        origin: &Path,
    ) -> Result<Checksum> {
        match content {
            Content::Memory(data) => {
                let mut hasher = digest_of(header);
                hasher.update(data);
                let checksum = hasher.finish();
                self.verified_file(checksum, header, data)?;
                Ok(checksum)
            }
            Content::Long(reader) => self.long_file(header, reader, buffer, origin),
        }
    }

    /// Adds a file of which the digest is known to be this.
    pub(crate) fn verified_file(
        &self,
        checksum: Checksum,
        header: &FileHeader,
        data: &[u8],
    ) -> Result<()> {
        self.write_file(checksum, header, data.len() as u64, &mut |sink| {
            Ok(sink.write_all(data))
        })
    }

    /// The same of one that the caller knows not to be in the repository.
    pub(crate) fn absent_file(
        &self,
        checksum: Checksum,
        header: &FileHeader,
        data: &[u8],
    ) -> Result<()> {
        let object = ObjectName::new(checksum, ObjectKind::File);
        if !self.admit(object) {
            return Ok(());
        }
        let fill = &mut |sink: &mut dyn Write| Ok(sink.write_all(data));
        self.write_claimed(object, header, data.len() as u64, fill)
    }

    fn long_file(
        &self,
        header: &FileHeader,
        reader: &mut dyn ReadSeek,
        buffer: &mut Vec<u8>,
        origin: &Path,
    ) -> Result<Checksum> {
        let (checksum, size) = digest_long(header, reader, buffer, origin, &mut io::sink())?;
        let changed = Error::Uncommittable {
            path: origin.to_owned(),
            why: "it changed while it was being read",
        };
        let mut copied = None;
        self.write_file(checksum, header, size, &mut |sink| {
            reader.seek(SeekFrom::Start(0)).doing("read", origin)?;
            copied = Some(digest_long(header, reader, buffer, origin, sink)?.0);
            Ok(Ok(()))
        })?;
        match copied {
            Some(copied) if copied != checksum => Err(changed),
            _ => Ok(checksum),
        }
    }

    /// Adds a file whose digest the caller knows and `fill`, which writes its content,
    /// checks; after an error nothing here may be published.
    pub(crate) fn write_file(
        &self,
        checksum: Checksum,
        header: &FileHeader,
        size: u64,
        fill: &mut dyn FnMut(&mut dyn Write) -> Result<io::Result<()>>,
    ) -> Result<()> {
        let object = ObjectName::new(checksum, ObjectKind::File);
        if !self.claim(object)? {
            return Ok(());
        }
        self.write_claimed(object, header, size, fill)
    }

    fn write_claimed(
        &self,
        object: ObjectName,
        header: &FileHeader,
        size: u64,
        fill: &mut dyn FnMut(&mut dyn Write) -> Result<io::Result<()>>,
    ) -> Result<()> {
        self.take_space(size)?;
        let fill = std::cell::RefCell::new(fill);
        self.place(object, |path| {
            let (fs, config) = (self.repo.fs(), self.repo.config());
            self.repo.remove_leftover(self.resumed, path)?;
            write_object(fs, config, path, header, size, &mut **fill.borrow_mut())
        })?;
        Ok(self.writeback.wrote(size)?)
    }

    /// Adds a file under another header than the one that it was stored with. What
    /// is stored is checked against its digest.
    pub(crate) fn file_from(
        &self,
        header: &FileHeader,
        checksum: Checksum,
        file: FileObject,
        origin: &Path,
    ) -> Result<Checksum> {
        let mut buffer = Vec::new();
        let mut file = Some(file);
        self.spooled(header, &mut buffer, origin, |sink, buffer| {
            match file.take() {
                Some(file) => file.copy_verified(checksum, buffer, sink),
                None => Ok(Ok(())),
            }
        })
    }

    /// Adds a file whose content can be read once only.
    pub(crate) fn stream(
        &self,
        header: &FileHeader,
        reader: &mut dyn Read,
        size: u64,
        origin: &Path,
    ) -> Result<Checksum> {
        let mut buffer = Vec::new();
        if size <= SMALL {
            let broken = |source| Error::Archive {
                path: origin.to_owned(),
                source,
            };
            reader.take(size).read_to_end(&mut buffer).map_err(broken)?;
            let data = std::mem::take(&mut buffer);
            return self.file(header, Content::Memory(&data), &mut buffer, origin);
        }
        self.spooled(header, &mut buffer, origin, |sink, _| {
            Ok(io::copy(reader, sink).map(|_| ()))
        })
    }

    /// Adds a file by way of a temporary copy that `fill` writes.
    fn spooled(
        &self,
        header: &FileHeader,
        buffer: &mut Vec<u8>,
        origin: &Path,
        fill: impl FnOnce(&mut dyn Write, &mut Vec<u8>) -> Result<io::Result<()>>,
    ) -> Result<Checksum> {
        let number = self.spools.fetch_add(1, Ordering::Relaxed);
        let spool = self.dir.join(format!("spool-{number}"));
        let mut copy = self
            .repo
            .fs()
            .create(&spool, 0o600)
            .doing("create", &spool)?;
        fill(&mut copy, buffer)?.doing("write", &spool)?;
        copy.flush().doing("write", &spool)?;
        drop(copy);
        let mut reader = self.repo.fs().open(&spool).doing("open", &spool)?;
        let done = self.file(header, Content::Long(&mut *reader), buffer, origin);
        self.repo.remove(&spool)?;
        done
    }

    /// Adds a file that is to become the object itself: as a hard link.
    pub(crate) fn adopt(
        &self,
        header: &FileHeader,
        path: &Path,
        buffer: &mut Vec<u8>,
    ) -> Result<Checksum> {
        let mut reader = self.repo.fs().open(path).doing("open", path)?;
        let (checksum, _) = digest_long(header, &mut *reader, buffer, path, &mut io::sink())?;
        let object = ObjectName::new(checksum, ObjectKind::File);
        if self.claim(object)? {
            self.share_claimed(object, path)?;
            let epoch = durable::Attributes {
                mtime: Some(0),
                ..durable::Attributes::default()
            };
            self.repo
                .fs()
                .set_attributes(path, &epoch)
                .doing("set the time of", path)?;
        }
        Ok(checksum)
    }

    /// A directory's names, whether they are staged or in the repository.
    pub(crate) fn dirtree(&self, checksum: &Checksum) -> Result<DirTree> {
        let object = ObjectName::new(*checksum, ObjectKind::DirTree);
        if !self.is_staged(object) {
            return self.repo.load_dirtree(checksum);
        }
        let data = self.repo.load_at(object, &self.path(object))?;
        DirTree::decode(&data).map_err(|source| Error::Damaged { object, source })
    }

    /// Where an object is, which is staged or in the repository.
    pub(crate) fn path_of(&self, object: ObjectName) -> Result<PathBuf> {
        Ok(match self.is_staged(object) {
            true => self.path(object),
            false => self.repo.object_path(&object),
        })
    }

    /// All objects of a tree that is staged or in the repository.
    pub(crate) fn objects_of(
        &self,
        tree: &Checksum,
        meta: &Checksum,
    ) -> Result<HashSet<ObjectName>> {
        let mut needed = HashSet::from([ObjectName::new(*meta, ObjectKind::DirMeta)]);
        let mut stack = vec![*tree];
        while let Some(tree) = stack.pop() {
            if !needed.insert(ObjectName::new(tree, ObjectKind::DirTree)) {
                continue;
            }
            let tree = self.dirtree(&tree)?;
            needed.extend(
                tree.files
                    .iter()
                    .map(|f| ObjectName::new(f.checksum, ObjectKind::File)),
            );
            for dir in tree.dirs {
                needed.insert(ObjectName::new(dir.meta, ObjectKind::DirMeta));
                stack.push(dir.tree);
            }
        }
        Ok(needed)
    }

    /// Lets go of all that is staged and not part of this tree.
    pub(crate) fn keep_only(&self, tree: &Checksum, meta: &Checksum) -> Result<()> {
        let needed = self.objects_of(tree, meta)?;
        let mut staged = self.staged.lock().unwrap_or_else(PoisonError::into_inner);
        let garbage: Vec<_> = staged
            .iter()
            .filter(|o| !needed.contains(o))
            .copied()
            .collect();
        for object in garbage {
            self.repo
                .remove(&self.dir.join(object.relative_path(self.repo.mode())))?;
            staged.remove(&object);
        }
        Ok(())
    }

    /// How many files were staged so far.
    pub(crate) fn files_written(&self) -> u64 {
        let staged = self.staged.lock().unwrap_or_else(PoisonError::into_inner);
        let staged = staged.iter().filter(|o| o.kind == ObjectKind::File);
        staged.count() as u64 + self.linked.load(Ordering::Relaxed)
    }

    /// Adds an object as a hard link to another repository's, which is whole and
    /// synced: so it takes its place at once. One that is there already is as good.
    pub(crate) fn link(&self, object: ObjectName, original: &Path) -> Result<()> {
        let (fs, path) = (self.repo.fs(), self.repo.object_path(&object));
        let link = || fs.hard_link(original, &path);
        let linked = match link() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                if let Some(parent) = path.parent() {
                    make_dir(self.repo, parent)?;
                }
                link()
            }
            other => other,
        };
        match linked {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(e).doing("link", &path).map_err(Error::from),
            Ok(()) => {
                self.linked.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Stages an object as a hard link to a file elsewhere; `false` where that cannot
    /// be, or where it is not wanted any more.
    pub(crate) fn share(&self, object: ObjectName, original: &Path) -> Result<bool> {
        if !self.claim(object)? {
            return Ok(true);
        }
        match self.share_claimed(object, original) {
            Ok(()) => Ok(true),
            Err(_) => self.give_up(object).map(|()| false),
        }
    }

    fn share_claimed(&self, object: ObjectName, original: &Path) -> Result<()> {
        self.place(object, |path| {
            self.repo.remove_leftover(self.resumed, path)?;
            Ok(self
                .repo
                .fs()
                .hard_link(original, path)
                .doing("link", path)?)
        })
    }

    /// How many objects were staged so far, and their bytes.
    pub(crate) fn written(&self) -> (u64, u64) {
        let staged = self.staged.lock().unwrap_or_else(PoisonError::into_inner);
        let objects = staged.len() as u64 + self.linked.load(Ordering::Relaxed);
        (objects, self.bytes.load(Ordering::Relaxed))
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if self.keep.load(Ordering::Relaxed) {
            return;
        }
        // What stays behind is removed by the next run.
        let _ = durable::remove_tree(self.repo.fs(), &self.dir);
        let _ = self.repo.fs().remove_file(&self.lock_path);
    }
}

/// Makes one directory; one that is there is as good.
pub(super) fn make_dir(repo: &Repo, path: &Path) -> Result<()> {
    match repo.fs().create_dir(path, 0o755) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e)
            .doing("create the directory", path)
            .map_err(Error::from),
        _ => Ok(()),
    }
}

impl Repo {
    /// Clears the way for an object where an earlier run may have left a part of it.
    pub(super) fn remove_leftover(&self, resumed: bool, path: &Path) -> Result<()> {
        match resumed {
            true => self.remove(path),
            false => Ok(()),
        }
    }
}
