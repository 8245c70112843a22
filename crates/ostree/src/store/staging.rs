//! New objects, written aside and published together.

use std::collections::HashSet;
use std::io::{self, Read, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use durable::{Batch, Doing, FsLock, LockMode, ReadSeek};

use super::writer::write_object;
use super::{FileObject, PIECE, SMALL, digest_of};
use crate::config::MinFreeSpace;
use crate::format::FileHeader;
use crate::{Checksum, Error, ObjectKind, ObjectName, Repo, Result};

/// Where the content of a new file object comes from.
pub(crate) enum Content<'a> {
    /// It is in memory.
    Memory(&'a [u8]),
    /// It is so long that it is read twice: for its digest, then, if it is new,
    /// to be copied.
    Long(&'a mut dyn ReadSeek),
}

/// A directory below the repository's `tmp` for objects that are being written.
///
/// Nothing in it counts until [`Staging::publish`]; a run that is cut off leaves
/// a directory that the next one removes.
pub(crate) struct Staging<'r> {
    repo: &'r Repo,
    dir: PathBuf,
    lock_path: PathBuf,
    /// Shows that we live. In a mutex because locks are not `Sync`.
    _lock: Mutex<Box<dyn FsLock>>,
    staged: Mutex<HashSet<ObjectName>>,
    free: AtomicU64,
    reserve: u64,
    bytes: AtomicU64,
}

/// What the names of staging directories start with. `ostree` uses another word, so
/// neither takes over what the other left.
const PREFIX: &str = "backstop-";

impl<'r> Staging<'r> {
    /// Makes a staging directory, after removing those of dead processes.
    pub(crate) fn begin(repo: &'r Repo) -> Result<Self> {
        let tmp = repo.path().join("tmp");
        durable::create_dir_all(repo.fs(), &tmp, 0o755)?;
        remove_abandoned(repo, &tmp)?;
        let (dir, lock_path, lock) = allocate(repo, &tmp)?;
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
        })
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
    fn take_space(&self, size: u64) -> Result<()> {
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
    fn place<T>(&self, object: ObjectName, make: impl Fn(&Path) -> Result<T>) -> Result<T> {
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
                let mut file = self.repo.fs().create(path, 0o644).doing("create", path)?;
                file.write_all(data).doing("write", path)?;
                Ok(file.flush().doing("write", path)?)
            })?;
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
                self.write_file(checksum, header, data.len() as u64, &mut |sink| {
                    Ok(sink.write_all(data))
                })?;
                Ok(checksum)
            }
            Content::Long(reader) => self.long_file(header, reader, buffer, origin),
        }
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

    fn write_file(
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
        self.take_space(size)?;
        let fill = std::cell::RefCell::new(fill);
        self.place(object, |path| {
            let (fs, config) = (self.repo.fs(), self.repo.config());
            write_object(fs, config, path, header, size, &mut **fill.borrow_mut())
        })
    }

    /// Adds a copy of another repository's file object, checking its digest.
    pub(crate) fn copy_file(
        &self,
        checksum: Checksum,
        file: FileObject,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        let (header, size) = (file.header.clone(), file.size);
        let mut file = Some(file);
        let mut fill = |sink: &mut dyn Write| match file.take() {
            Some(file) => file.copy_verified(checksum, buffer, sink),
            None => Ok(Ok(())),
        };
        if header.is_symlink() {
            // A symlink has no content, so its digest is checked here.
            let _ = fill(&mut io::sink())?;
        }
        self.write_file(checksum, &header, size, &mut fill)
    }

    /// Adds an object as a hard link to a file elsewhere.
    pub(crate) fn link(&self, object: ObjectName, original: &Path) -> Result<()> {
        self.place(object, |path| {
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
        (staged.len() as u64, self.bytes.load(Ordering::Relaxed))
    }

    /// Makes all staged objects part of the repository, commits last, so that no
    /// commit is ever there without what it is made of.
    pub(crate) fn publish(&self) -> Result<()> {
        let staged =
            std::mem::take(&mut *self.staged.lock().unwrap_or_else(PoisonError::into_inner));
        if staged.is_empty() {
            // All of it is there; but whoever put it there may have died before
            // it was synced, and a ref is going to rely on it.
            let (fs, path) = (self.repo.fs(), self.repo.path());
            return Ok(fs
                .sync_filesystem(path)
                .doing("sync the filesystem of", path)?);
        }
        let (mut commits, mut others): (Vec<_>, Vec<_>) = staged
            .into_iter()
            .partition(|o| o.kind == ObjectKind::Commit);
        others.sort();
        commits.sort();
        self.make_object_dirs(others.iter().chain(&commits))?;
        for group in [others, commits] {
            let mut batch = Batch::new();
            for object in group {
                let from = self.dir.join(object.relative_path(self.repo.mode()));
                batch.add(from, self.repo.object_path(&object));
            }
            batch.publish(self.repo.fs(), self.repo.path())?;
        }
        Ok(())
    }

    fn make_object_dirs<'a>(&self, objects: impl Iterator<Item = &'a ObjectName>) -> Result<()> {
        let first_bytes: HashSet<u8> = objects.map(|o| o.checksum.as_bytes()[0]).collect();
        let objects = self.repo.path().join("objects");
        for byte in first_bytes {
            make_dir(self.repo, &objects.join(format!("{byte:02x}")))?;
        }
        Ok(self.repo.fs().sync_dir(&objects).doing("sync", &objects)?)
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        // What stays behind is removed by the next run.
        let _ = durable::remove_tree(self.repo.fs(), &self.dir);
        let _ = self.repo.fs().remove_file(&self.lock_path);
    }
}

/// Makes one directory; one that is there is as good.
fn make_dir(repo: &Repo, path: &Path) -> Result<()> {
    match repo.fs().create_dir(path, 0o755) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e)
            .doing("create the directory", path)
            .map_err(Error::from),
        _ => Ok(()),
    }
}

/// A directory of our own, and the lock that shows that we live.
fn allocate(repo: &Repo, tmp: &Path) -> Result<(PathBuf, PathBuf, Box<dyn FsLock>)> {
    let fs = repo.fs();
    let mut n = 0u32;
    loop {
        let name = format!("{PREFIX}{}-{n}", std::process::id());
        n += 1;
        let (dir, lock_path) = (tmp.join(&name), tmp.join(name + ".lock"));
        let Some(lock) = fs
            .try_lock(&lock_path, LockMode::Exclusive)
            .doing("lock", &lock_path)?
        else {
            continue;
        };
        match fs.create_dir(&dir, 0o700) {
            Ok(()) => return Ok((dir, lock_path, lock)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => {
                return Err(e)
                    .doing("create the directory", &dir)
                    .map_err(Error::from);
            }
        }
    }
}

/// Removes staging directories whose lock nobody holds.
fn remove_abandoned(repo: &Repo, tmp: &Path) -> Result<()> {
    let fs = repo.fs();
    for entry in fs.read_dir(tmp).doing("list", tmp)? {
        let name = entry.name.to_string_lossy().into_owned();
        let Some(dir) = name.strip_suffix(".lock").filter(|d| d.starts_with(PREFIX)) else {
            continue;
        };
        let lock_path = tmp.join(&name);
        let held = fs
            .try_lock(&lock_path, LockMode::Exclusive)
            .doing("lock", &lock_path)?;
        if held.is_some() {
            durable::remove_tree(fs, &tmp.join(dir))?;
            durable::remove_tree(fs, &lock_path)?;
        }
    }
    Ok(())
}

/// Digest and length of a long file, copied to `sink` on the way.
fn digest_long(
    header: &FileHeader,
    reader: &mut dyn ReadSeek,
    buffer: &mut Vec<u8>,
    origin: &Path,
    sink: &mut dyn Write,
) -> Result<(Checksum, u64)> {
    let mut hasher = digest_of(header);
    let mut size = 0;
    buffer.resize(PIECE, 0);
    loop {
        let len = match reader.read(buffer) {
            Ok(0) => return Ok((hasher.finish(), size)),
            Ok(len) => len,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e).doing("read", origin).map_err(Error::from),
        };
        size += len as u64;
        hasher.update(&buffer[..len]);
        sink.write_all(&buffer[..len])
            .doing("write a copy of", origin)?;
    }
}

/// Reads a file of at most [`SMALL`] bytes into `buffer`; `false` when it is
/// longer, and the reader is at an unknown place.
pub(crate) fn read_small(
    reader: &mut dyn ReadSeek,
    expected: u64,
    buffer: &mut Vec<u8>,
    origin: &Path,
) -> Result<bool> {
    buffer.clear();
    if expected > SMALL {
        return Ok(false);
    }
    buffer.reserve(usize::try_from(expected).unwrap_or(0) + 1);
    let read = reader
        .take(SMALL + 1)
        .read_to_end(buffer)
        .doing("read", origin)?;
    Ok(read as u64 <= SMALL)
}
