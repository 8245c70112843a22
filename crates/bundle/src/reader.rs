//! Reading a bundle.

use std::io::{self, Read, SeekFrom};
use std::path::{Path, PathBuf};

use durable::{Doing, FileKind, Fs, ReadSeek};
use flate2::read::ZlibDecoder;
use ostree::sign::{KeySet, PublicKey};
use sha2::{Digest, Sha256};

use crate::layout::{DIGEST, MAGIC, PIECE, SIGNATURE, Trailer};
use crate::{Description, Encoding, Error, Result};

/// A bundle whose signature is good; its content is verified as it is read.
pub struct Bundle {
    path: PathBuf,
    file: Box<dyn ReadSeek>,
    trailer: Trailer,
    digests: Vec<u8>,
    description: Description,
    signer: Option<PublicKey>,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle")
            .field("path", &self.path)
            .field("description", &self.description)
            .finish_non_exhaustive()
    }
}

/// Whether a file begins as a bundle does.
#[must_use]
pub fn is_one(fs: &dyn Fs, path: &Path) -> bool {
    let mut magic = [0; MAGIC.len()];
    let is_file = fs.metadata(path).is_ok_and(|m| m.kind == FileKind::File);
    is_file
        && fs
            .open(path)
            .and_then(|mut file| file.read_exact(&mut magic))
            .is_ok()
        && magic == *MAGIC
}

/// What stands after the content.
struct Index {
    trailer: Trailer,
    description: Vec<u8>,
    digests: Vec<u8>,
    signatures: Vec<u8>,
}

impl Bundle {
    /// Opens a bundle that one of these keys signed.
    ///
    /// # Errors
    /// It is damaged, or nobody trusted signed it.
    pub fn open(fs: &dyn Fs, path: &Path, trusted: &KeySet) -> Result<Self> {
        Self::open_by(fs, path, |index| {
            let signed = index.trailer.signed(&index.description, &index.digests);
            let signatures: Vec<&[u8]> = index.signatures.chunks(SIGNATURE).collect();
            let untrusted = |source| Error::Untrusted {
                path: path.to_owned(),
                source,
            };
            trusted
                .verify(&signed, &signatures)
                .map(Some)
                .map_err(untrusted)
        })
    }

    /// Opens a bundle whoever made it. Damage is still found.
    ///
    /// # Errors
    /// It is damaged.
    pub fn open_unverified(fs: &dyn Fs, path: &Path) -> Result<Self> {
        Self::open_by(fs, path, |_| Ok(None))
    }

    fn open_by(
        fs: &dyn Fs,
        path: &Path,
        vouch: impl FnOnce(&Index) -> Result<Option<PublicKey>>,
    ) -> Result<Self> {
        let mut file = fs.open(path).doing("open", path)?;
        let unsound = |why| Error::Unsound {
            path: path.to_owned(),
            why,
        };
        let index = read_index(&mut *file, path)?.map_err(unsound)?;
        let signer = vouch(&index)?;
        let description: Description = serde_json::from_slice(&index.description)
            .map_err(|e| unsound(format!("its description: {e}")))?;
        description.check()?;
        Ok(Self {
            path: path.to_owned(),
            file,
            trailer: index.trailer,
            digests: index.digests,
            description,
            signer,
        })
    }

    /// What it says of itself.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Who signed it.
    #[must_use]
    pub fn signer(&self) -> Option<PublicKey> {
        self.signer
    }

    /// How many signatures it has, good or not.
    #[must_use]
    pub fn signatures(&self) -> u32 {
        self.trailer.signatures
    }

    /// The content, from its beginning. Each piece is verified before any of it
    /// comes out; damage is an error of the reader.
    ///
    /// # Errors
    /// The disk's.
    pub fn content(&mut self) -> Result<Content<'_>> {
        let start = SeekFrom::Start(MAGIC.len() as u64);
        self.file.seek(start).doing("read", &self.path)?;
        let pieces = Pieces {
            file: &mut *self.file,
            digests: self.digests.chunks(DIGEST),
            left: self.trailer.content,
            piece: Vec::new(),
            used: 0,
        };
        let stream = match self.description.encoding {
            Encoding::Plain => Stream::Plain(pieces),
            Encoding::Zlib => Stream::Zlib(Box::new(ZlibDecoder::new(pieces))),
        };
        Ok(Content {
            stream,
            left: self.description.unpacked,
        })
    }

    /// Reads all of the content once, so that damage is found before the first
    /// byte is used.
    ///
    /// # Errors
    /// It is damaged.
    pub fn verify(&mut self) -> Result<()> {
        let path = self.path.clone();
        let copied = io::copy(&mut self.content()?, &mut io::sink());
        copied.map(drop).map_err(|e| Error::Unsound {
            path,
            why: e.to_string(),
        })
    }
}

/// Reads both ends of the file. The inner error says what is wrong with it.
fn read_index(
    file: &mut dyn ReadSeek,
    path: &Path,
) -> durable::Result<std::result::Result<Index, String>> {
    let len = file.seek(SeekFrom::End(0)).doing("read", path)?;
    if len < (MAGIC.len() + Trailer::LEN) as u64 {
        return Ok(Err("it is too short".to_owned()));
    }
    let mut magic = [0; MAGIC.len()];
    file.seek(SeekFrom::Start(0)).doing("read", path)?;
    file.read_exact(&mut magic).doing("read", path)?;
    if magic != *MAGIC {
        return Ok(Err("its beginning is not that of a bundle".to_owned()));
    }
    let mut end = [0; Trailer::LEN];
    let at = SeekFrom::Start(len - Trailer::LEN as u64);
    file.seek(at).doing("read", path)?;
    file.read_exact(&mut end).doing("read", path)?;
    let trailer = match Trailer::parse(&end, len) {
        Ok(trailer) => trailer,
        Err(why) => return Ok(Err(why)),
    };
    // All lengths are within their limits by now.
    let index_at = SeekFrom::Start(trailer.index_at());
    file.seek(index_at).doing("read", path)?;
    let mut part = |count: u32, each: usize| -> durable::Result<Vec<u8>> {
        let mut bytes = vec![0; count as usize * each];
        file.read_exact(&mut bytes).doing("read", path)?;
        Ok(bytes)
    };
    Ok(Ok(Index {
        trailer,
        description: part(trailer.description, 1)?,
        digests: part(trailer.pieces, DIGEST)?,
        signatures: part(trailer.signatures, SIGNATURE)?,
    }))
}

/// The verified content of a bundle.
pub struct Content<'a> {
    stream: Stream<'a>,
    left: u64,
}

impl std::fmt::Debug for Content<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

enum Stream<'a> {
    Plain(Pieces<'a>),
    Zlib(Box<ZlibDecoder<Pieces<'a>>>),
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(pieces) => pieces.read(buffer),
            Self::Zlib(decoder) => decoder.read(buffer),
        }
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            // More than was said would be a surprise to whoever made room.
            return match self.stream.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(damaged("its content is longer than it says")),
            };
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        let room = room.min(buffer.len());
        let n = self.stream.read(&mut buffer[..room])?;
        if n == 0 {
            return Err(damaged("its content is shorter than it says"));
        }
        self.left -= n as u64;
        Ok(n)
    }
}

/// The pieces, each verified before it is handed out.
struct Pieces<'a> {
    file: &'a mut dyn ReadSeek,
    digests: std::slice::Chunks<'a, u8>,
    left: u64,
    piece: Vec<u8>,
    used: usize,
}

impl Pieces<'_> {
    fn next(&mut self) -> io::Result<bool> {
        let Some(digest) = self.digests.next() else {
            return Ok(false);
        };
        let len = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        self.piece.resize(len, 0);
        self.file.read_exact(&mut self.piece)?;
        if Sha256::digest(&self.piece)[..] != *digest {
            return Err(damaged("a piece of its content is damaged"));
        }
        self.left -= len as u64;
        self.used = 0;
        Ok(true)
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.piece.len() && !self.next()? {
            return Ok(0);
        }
        let n = buffer.len().min(self.piece.len() - self.used);
        buffer[..n].copy_from_slice(&self.piece[self.used..self.used + n]);
        self.used += n;
        Ok(n)
    }
}

fn damaged(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
