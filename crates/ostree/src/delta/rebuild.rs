//! From recipes to objects, each checked against its digest.

use std::io::{self, Cursor, Read, Seek as _, SeekFrom, Write};

use durable::{Doing, FileKind, ReadSeek};

use super::error::PartError;
use super::patch::Patched;
use super::{Content, DeltaError, Part, Piece, Recipe, Target};
use crate::checksum::Hasher;
use crate::config::RepoMode;
use crate::format::{DirMeta, DirTree};
use crate::store::{PIECE, Staging, digest_of};
use crate::{Checksum, Error, ObjectKind, ObjectName, Repo, Result};

/// In an archive, old files are unpacked into memory to copy from them, up to here.
const MAX_UNPACKED: u64 = 1 << 30;

/// Makes the objects of one part.
pub(super) struct Rebuild<'a> {
    pub(super) repo: &'a Repo,
    pub(super) staging: &'a Staging<'a>,
    pub(super) number: usize,
    pub(super) part: &'a Part,
}

/// What is written, and its digest.
struct Tee<'a> {
    hasher: Hasher,
    sink: &'a mut dyn Write,
}

impl Tee<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.sink.write_all(bytes)
    }

    /// Copies so many bytes. The outer error is the reader's, the inner the sink's.
    fn copy(&mut self, from: &mut dyn Read, len: u64) -> io::Result<io::Result<()>> {
        let mut buffer = vec![0; PIECE.min(usize::try_from(len).unwrap_or(PIECE))];
        let mut left = len;
        while left > 0 {
            let want = buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = match from.read(&mut buffer[..want]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(got) => got,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            if let Err(e) = self.put(&buffer[..got]) {
                return Ok(Err(e));
            }
            left -= got as u64;
        }
        Ok(Ok(()))
    }
}

impl Rebuild<'_> {
    pub(super) fn make(&self, recipe: &Recipe) -> Result<()> {
        let object = recipe.object;
        match &recipe.target {
            Target::Metadata(range) => self.metadata(object, &self.part.data()[range.clone()]),
            Target::File {
                header,
                size,
                content,
            } => {
                let mut fill = |sink: &mut dyn Write| {
                    let hasher = digest_of(header);
                    let mut tee = Tee { hasher, sink };
                    if let Err(e) = self.content(&mut tee, *size, content)? {
                        return Ok(Err(e));
                    }
                    match tee.hasher.finish() {
                        found if found == object.checksum => Ok(Ok(())),
                        found => Err(Error::WrongDigest { object, found }),
                    }
                };
                if header.is_symlink() {
                    // A symlink has no content, so nobody would ask for it.
                    let _ = fill(&mut io::sink())?;
                }
                self.staging
                    .write_file(object.checksum, header, *size, &mut fill)
            }
        }
    }

    fn metadata(&self, object: ObjectName, data: &[u8]) -> Result<()> {
        let found = Checksum::of(data);
        if found != object.checksum {
            return Err(Error::WrongDigest { object, found });
        }
        let form = match object.kind {
            ObjectKind::DirTree => DirTree::decode(data).map(drop),
            ObjectKind::DirMeta => DirMeta::decode(data).map(drop),
            // Only the superblock's commit counts: it comes when all else is there.
            _ => return Err(self.wrong("it makes a commit")),
        };
        form.map_err(|source| Error::Damaged { object, source })?;
        self.staging.metadata(object.kind, data).map(drop)
    }

    fn wrong(&self, why: &'static str) -> Error {
        Error::Delta(DeltaError::Part {
            part: self.number,
            source: PartError::Patch(why),
        })
    }

    /// Writes a file's content. The outer error is the delta's or the old file's,
    /// the inner one the disk's.
    fn content(&self, tee: &mut Tee<'_>, size: u64, content: &Content) -> Result<io::Result<()>> {
        match content {
            Content::Pieces(pieces) => self.pieces(tee, pieces),
            Content::Patch(from, range) => {
                let old = self.open(*from)?;
                let patch = &self.part.data()[range.clone()];
                let damaged = |source: io::Error| {
                    let source = PartError::Unpack(source);
                    let part = self.number;
                    Error::Delta(DeltaError::Part { part, source })
                };
                let mut new = Patched::new(patch, old, size).map_err(damaged)?;
                tee.copy(&mut new, size).map_err(damaged)
            }
        }
    }

    fn pieces(&self, tee: &mut Tee<'_>, pieces: &[Piece]) -> Result<io::Result<()>> {
        let mut open: Option<(Checksum, Box<dyn ReadSeek>)> = None;
        for piece in pieces {
            let written = match piece {
                Piece::Data(range) => tee.put(&self.part.data()[range.clone()]),
                Piece::Copy { from, offset, len } => {
                    let mut file = match open.take() {
                        Some((sum, file)) if sum == *from => file,
                        _ => self.open(*from)?,
                    };
                    let object = ObjectName::new(*from, ObjectKind::File);
                    let failed = |source| Error::Unreadable { object, source };
                    file.seek(SeekFrom::Start(*offset)).map_err(failed)?;
                    let copied = tee.copy(&mut file, *len).map_err(failed)?;
                    open = Some((*from, file));
                    copied
                }
            };
            if written.is_err() {
                return Ok(written);
            }
        }
        Ok(Ok(()))
    }

    /// Opens the content of an old file. It is not verified: what is made of it is.
    fn open(&self, from: Checksum) -> Result<Box<dyn ReadSeek>> {
        let object = ObjectName::new(from, ObjectKind::File);
        if self.repo.mode() == RepoMode::Archive {
            let found = self.repo.load_file(&from, MAX_UNPACKED)?;
            let (_, data) = found.ok_or_else(|| self.wrong("an old file is too large"))?;
            return Ok(Box::new(Cursor::new(data)));
        }
        let path = self.repo.object_path(&object);
        let stat = match self.repo.fs().metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Error::Missing(object)),
            other => other.doing("look at", &path)?,
        };
        // A symlink would lead out of the repository.
        if stat.kind != FileKind::File {
            return Err(self.wrong("an old file is a symlink"));
        }
        Ok(self.repo.fs().open(&path).doing("open", &path)?)
    }
}
