//! From the disk: metadata objects whole, files as a header and a stream.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use durable::{Doing, FileKind, ReadSeek};
use flate2::bufread::DeflateDecoder;

use super::PIECE;
use crate::checksum::Hasher;
use crate::config::RepoMode;
use crate::format::{Commit, DirMeta, DirTree, FileHeader, Xattrs};
use crate::gvariant::{Malformed, bytes};
use crate::{Checksum, Error, ObjectKind, ObjectName, Repo, Result};

/// The attribute in which a bare-user repository keeps the true ones.
pub(super) const OSTREEMETA: &[u8] = b"user.ostreemeta";

/// Attributes and size of a file object, and its content as a stream.
pub(crate) struct FileObject {
    pub(crate) header: FileHeader,
    pub(crate) size: u64,
    content: Box<dyn Read + Send>,
}

impl Read for FileObject {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.content.read(buf)
    }
}

/// Compressed content; the file must end where it ends.
struct Inflate(DeflateDecoder<BufReader<Box<dyn ReadSeek>>>);

impl Read for Inflate {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.0.read(buf)?;
        if len == 0 && !buf.is_empty() && !self.0.get_mut().fill_buf()?.is_empty() {
            let why = "there is more after the compressed content";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(len)
    }
}

/// The digest of a file object: of its framed header and its content.
pub(crate) fn digest_of(header: &FileHeader) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.update(&FileHeader::framed(&header.encode()));
    hasher
}

/// A file's content, whose digest is checked when it ends.
pub(crate) struct Verified {
    file: FileObject,
    object: ObjectName,
    hasher: Option<Hasher>,
}

impl Read for Verified {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.file.content.read(buf)?;
        match &mut self.hasher {
            Some(hasher) if len > 0 => hasher.update(&buf[..len]),
            _ if buf.is_empty() => {}
            _ => {
                let found = self.hasher.take().map(Hasher::finish);
                let object = self.object;
                if let Some(found) = found.filter(|f| *f != object.checksum) {
                    return Err(io::Error::other(Error::WrongDigest { object, found }));
                }
            }
        }
        Ok(len)
    }
}

impl FileObject {
    /// The content, checked against the digest as it is read.
    pub(crate) fn verified(self, checksum: Checksum) -> Verified {
        let hasher = Some(digest_of(&self.header));
        let object = ObjectName::new(checksum, ObjectKind::File);
        let file = self;
        Verified {
            file,
            object,
            hasher,
        }
    }

    /// Copies the content to `sink` and checks the digest at the end. What has
    /// been written is worth nothing after an error.
    ///
    /// The outer error is the object's, the inner one the sink's.
    pub(crate) fn copy_verified(
        self,
        checksum: Checksum,
        buffer: &mut Vec<u8>,
        sink: &mut dyn Write,
    ) -> Result<io::Result<()>> {
        let hasher = Some(digest_of(&self.header));
        self.copy(checksum, hasher, buffer, sink)
    }

    /// The same, but only the length is checked.
    pub(crate) fn copy_trusted(
        self,
        checksum: Checksum,
        buffer: &mut Vec<u8>,
        sink: &mut dyn Write,
    ) -> Result<io::Result<()>> {
        self.copy(checksum, None, buffer, sink)
    }

    fn copy(
        mut self,
        checksum: Checksum,
        mut hasher: Option<Hasher>,
        buffer: &mut Vec<u8>,
        sink: &mut dyn Write,
    ) -> Result<io::Result<()>> {
        let object = ObjectName::new(checksum, ObjectKind::File);
        let cut = || Error::Damaged {
            object,
            source: Malformed::Cut,
        };
        let mut left = self.size;
        buffer.resize(PIECE, 0);
        loop {
            let len = match self.content.read(buffer) {
                Ok(0) => break,
                Ok(len) => len,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(Error::Unreadable { object, source }),
            };
            left = left.checked_sub(len as u64).ok_or_else(cut)?;
            if let Some(hasher) = &mut hasher {
                hasher.update(&buffer[..len]);
            }
            if let Err(e) = sink.write_all(&buffer[..len]) {
                return Ok(Err(e));
            }
        }
        match hasher.map(|hasher| hasher.finish()) {
            None if left > 0 => Err(cut()),
            Some(found) if left > 0 || found != checksum => {
                Err(Error::WrongDigest { object, found })
            }
            _ => Ok(Ok(())),
        }
    }
}

/// Turns a failed open or look into `Missing` where that is the reason.
fn missing(
    object: ObjectName,
    path: &Path,
    doing: &'static str,
) -> impl FnOnce(io::Error) -> Error {
    move |e| match e.kind() {
        io::ErrorKind::NotFound => Error::Missing(object),
        _ => durable::Error {
            doing,
            path: path.to_owned(),
            source: e,
        }
        .into(),
    }
}

impl Repo {
    /// Reads a metadata object whole and checks its digest.
    pub(crate) fn load(&self, object: ObjectName) -> Result<Vec<u8>> {
        match (
            self.load_at(object, &self.object_path(&object)),
            self.parent(),
        ) {
            (Err(Error::Missing(_)), Some(parent)) => parent.load(object),
            (found, _) => found,
        }
    }

    /// The same of an object that lies elsewhere.
    pub(super) fn load_at(&self, object: ObjectName, path: &Path) -> Result<Vec<u8>> {
        let file = self
            .fs()
            .open(path)
            .map_err(missing(object, path, "open"))?;
        let limit = object.kind.limit();
        let mut data = Vec::new();
        file.take(limit + 1)
            .read_to_end(&mut data)
            .map_err(|source| Error::Unreadable { object, source })?;
        if data.len() as u64 > limit {
            let source = Malformed::TooLarge;
            return Err(Error::Damaged { object, source });
        }
        match Checksum::of(&data) {
            found if found == object.checksum => Ok(data),
            found => Err(Error::WrongDigest { object, found }),
        }
    }

    fn decoded<T>(
        &self,
        checksum: &Checksum,
        kind: ObjectKind,
        decode: impl FnOnce(&[u8]) -> crate::gvariant::Result<T>,
    ) -> Result<T> {
        let object = ObjectName::new(*checksum, kind);
        let data = self.load(object)?;
        decode(&data).map_err(|source| Error::Damaged { object, source })
    }

    /// Reads a commit and checks its digest.
    ///
    /// # Errors
    /// That it is missing or damaged.
    pub fn load_commit(&self, checksum: &Checksum) -> Result<Commit> {
        self.decoded(checksum, ObjectKind::Commit, Commit::decode)
    }

    /// Reads the names in a directory and checks their digest.
    ///
    /// # Errors
    /// That they are missing or damaged.
    pub fn load_dirtree(&self, checksum: &Checksum) -> Result<DirTree> {
        let object = ObjectName::new(*checksum, ObjectKind::DirTree);
        decode_dirtree(object, &self.load(object)?)
    }

    /// Reads a directory's attributes and checks their digest.
    ///
    /// # Errors
    /// That they are missing or damaged.
    pub fn load_dirmeta(&self, checksum: &Checksum) -> Result<DirMeta> {
        self.decoded(checksum, ObjectKind::DirMeta, DirMeta::decode)
    }

    /// Opens a file object. Nothing is verified yet but the form of its header.
    pub(crate) fn open_file(&self, checksum: &Checksum) -> Result<FileObject> {
        match (self.open_own_file(checksum), self.parent()) {
            (Err(Error::Missing(_)), Some(parent)) => parent.open_file(checksum),
            (found, _) => found,
        }
    }

    fn open_own_file(&self, checksum: &Checksum) -> Result<FileObject> {
        let object = ObjectName::new(*checksum, ObjectKind::File);
        self.open_file_at(object, &self.object_path(&object))
    }

    /// The same of an object that lies elsewhere, in this repository's mode.
    pub(crate) fn open_file_at(&self, object: ObjectName, path: &Path) -> Result<FileObject> {
        match self.mode() {
            RepoMode::Bare => self.open_bare(object, path),
            RepoMode::BareUser => self.open_bare_user(object, path),
            RepoMode::BareUserOnly => self.open_bare_user_only(object, path),
            RepoMode::Archive => self.open_archive(object, path),
        }
    }

    /// As in a bare repository, but owners and attributes are not those of the file:
    /// there are none.
    fn open_bare_user_only(&self, object: ObjectName, path: &Path) -> Result<FileObject> {
        let mut file = self.open_as_it_is(object, path, Vec::new())?;
        (file.header.uid, file.header.gid) = (0, 0);
        Ok(file)
    }

    fn open_bare(&self, object: ObjectName, path: &Path) -> Result<FileObject> {
        let xattrs = match self.config().disable_xattrs {
            true => Vec::new(),
            false => match self.fs().xattrs(path) {
                Err(e) => return Err(missing(object, path, "read the attributes of")(e)),
                Ok(xattrs) => xattrs,
            },
        };
        self.open_as_it_is(object, path, xattrs)
    }

    fn open_as_it_is(
        &self,
        object: ObjectName,
        path: &Path,
        xattrs: Vec<durable::Xattr>,
    ) -> Result<FileObject> {
        let stat = self.fs().metadata(path);
        let stat = stat.map_err(missing(object, path, "look at"))?;
        let mut header = FileHeader {
            uid: stat.uid,
            gid: stat.gid,
            mode: stat.mode,
            target: String::new(),
            xattrs: Xattrs::new(xattrs),
        };
        let damaged = |source| Error::Damaged { object, source };
        if stat.kind == FileKind::Symlink {
            let target = self.fs().read_link(path).doing("read the symlink", path)?;
            let target = target.into_os_string().into_string();
            header.target = target.map_err(|_| damaged(Malformed::Text))?;
        }
        let header = header.checked().map_err(damaged)?;
        let (size, content): (_, Box<dyn Read + Send>) = match stat.kind {
            FileKind::Symlink => (0, Box::new(io::empty())),
            _ => (
                stat.size,
                Box::new(self.fs().open(path).doing("open", path)?),
            ),
        };
        Ok(FileObject {
            header,
            size,
            content,
        })
    }

    fn open_bare_user(&self, object: ObjectName, path: &Path) -> Result<FileObject> {
        let stat = self.fs().metadata(path);
        let stat = stat.map_err(missing(object, path, "look at"))?;
        let damaged = |source| Error::Damaged { object, source };
        if stat.kind != FileKind::File {
            return Err(damaged(Malformed::Mode));
        }
        let xattrs = self
            .fs()
            .xattrs(path)
            .doing("read the attributes of", path)?;
        let meta = xattrs.iter().find(|(name, _)| name == OSTREEMETA);
        let (_, meta) = meta.ok_or_else(|| damaged(Malformed::Cut))?;
        let meta = DirMeta::decode_any(meta).map_err(damaged)?;
        let mut header = FileHeader {
            uid: meta.uid,
            gid: meta.gid,
            mode: meta.mode,
            target: String::new(),
            xattrs: meta.xattrs,
        };
        let file = self.fs().open(path).doing("open", path)?;
        let (size, content): (_, Box<dyn Read + Send>) = if header.is_symlink() {
            header.target = symlink_target(object, file)?;
            (0, Box::new(io::empty()))
        } else {
            (stat.size, Box::new(file))
        };
        let header = header.checked().map_err(damaged)?;
        Ok(FileObject {
            header,
            size,
            content,
        })
    }

    fn open_archive(&self, object: ObjectName, path: &Path) -> Result<FileObject> {
        let mut file = self
            .fs()
            .open(path)
            .map_err(missing(object, path, "open"))?;
        let damaged = |source| Error::Damaged { object, source };
        let cut = |e: io::Error| match e.kind() {
            io::ErrorKind::UnexpectedEof => damaged(Malformed::Cut),
            _ => Error::Unreadable { object, source: e },
        };
        let mut frame = [0; 8];
        file.read_exact(&mut frame).map_err(cut)?;
        let len = FileHeader::framed_len(frame).map_err(damaged)?;
        let mut header = vec![0; len];
        file.read_exact(&mut header).map_err(cut)?;
        let (header, size) = FileHeader::decode_archive(&header).map_err(damaged)?;
        let content: Box<dyn Read + Send> = if header.is_symlink() {
            if file.read(&mut [0]).map_err(cut)? != 0 {
                return Err(damaged(Malformed::Cut));
            }
            Box::new(io::empty())
        } else {
            let file = BufReader::with_capacity(32 << 10, file);
            Box::new(Inflate(DeflateDecoder::new(file)))
        };
        Ok(FileObject {
            header,
            size,
            content,
        })
    }

    /// The bytes and attributes of a file, verified.
    pub(crate) fn load_file(
        &self,
        checksum: &Checksum,
        limit: u64,
    ) -> Result<Option<(FileHeader, Vec<u8>)>> {
        let file = self.open_file(checksum)?;
        if file.size > limit {
            return Ok(None);
        }
        let header = file.header.clone();
        let mut data = Vec::new();
        // Writing to memory does not fail.
        let _ = file.copy_verified(*checksum, &mut Vec::new(), &mut data)?;
        Ok(Some((header, data)))
    }
}

/// The names in a directory.
pub(crate) fn decode_dirtree(object: ObjectName, data: &[u8]) -> Result<DirTree> {
    DirTree::decode(data).map_err(|source| match DirTree::bad_name(data) {
        Some(name) if source == Malformed::Name => Error::BadName { object, name },
        _ => Error::Damaged { object, source },
    })
}

/// A symlink's target, which a bare-user repository keeps as a file's content,
/// ended by a NUL.
fn symlink_target(object: ObjectName, file: Box<dyn ReadSeek>) -> Result<String> {
    let mut data = Vec::new();
    file.take(4097)
        .read_to_end(&mut data)
        .map_err(|source| Error::Unreadable { object, source })?;
    let damaged = || Error::Damaged {
        object,
        source: Malformed::Text,
    };
    if data.last() != Some(&0) {
        data.push(0);
    }
    let target = bytes(&data).map_err(|_| damaged())?.to_vec();
    String::from_utf8(target).map_err(|_| damaged())
}
