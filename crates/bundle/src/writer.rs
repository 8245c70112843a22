//! Writing a bundle.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use durable::{Doing, Fs, NewFile};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use monitor::{Monitor, Progress, Unit};
use ostree::sign::SecretKey;
use sha2::{Digest, Sha256};

use crate::layout::{LONGEST_DESCRIPTION, MAGIC, MOST_PIECES, PIECE, Trailer};
use crate::{Description, Encoding, Error, Result};

/// So much is read at a time.
const STEP: usize = 1 << 18;

/// Writes a bundle to `path`, replacing what is there when it is complete. The
/// description's length is that of the content then.
///
/// # Errors
/// The content can't be read or is too large, or the disk's. Nothing is left.
pub fn write(
    fs: &dyn Fs,
    path: &Path,
    description: Description,
    content: &mut dyn Read,
    keys: &[SecretKey],
    monitor: &dyn Monitor,
) -> Result<Description> {
    description.check()?;
    let partial = partial(path);
    durable::remove_tree(fs, &partial)?;
    let written = write_partial(fs, &partial, description, content, keys, monitor);
    match written {
        Ok(description) => {
            durable::rename_and_sync(fs, &partial, path)?;
            Ok(description)
        }
        Err(e) => {
            // The first error is the one to tell.
            let _ = durable::remove_tree(fs, &partial);
            Err(e)
        }
    }
}

fn partial(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".partial");
    path.with_file_name(name)
}

fn write_partial(
    fs: &dyn Fs,
    partial: &Path,
    mut description: Description,
    content: &mut dyn Read,
    keys: &[SecretKey],
    monitor: &dyn Monitor,
) -> Result<Description> {
    let mut file = fs.create(partial, 0o644).doing("create", partial)?;
    file.write_all(MAGIC).doing("write", partial)?;
    let pieces = Pieces::new(file);
    let (unpacked, mut pieces) = match description.encoding {
        Encoding::Plain => {
            let mut pieces = pieces;
            let copied = copy(content, &mut pieces, partial, monitor)?;
            (copied, pieces)
        }
        Encoding::Zlib => {
            let mut encoder = ZlibEncoder::new(pieces, Compression::default());
            let copied = copy(content, &mut encoder, partial, monitor)?;
            (copied, encoder.finish().doing("write", partial)?)
        }
    };
    pieces.end_piece();
    description.unpacked = unpacked;
    let index = index(&description, &pieces, keys)?;
    let Pieces { mut file, .. } = pieces;
    file.write_all(&index).doing("write", partial)?;
    file.sync().doing("sync", partial)?;
    Ok(description)
}

/// Everything after the content.
fn index(description: &Description, pieces: &Pieces, keys: &[SecretKey]) -> Result<Vec<u8>> {
    let too_large = Error::TooLarge(u64::from(MOST_PIECES) * PIECE as u64);
    let count = pieces.digests.len() / crate::layout::DIGEST;
    let count = u32::try_from(count).ok().filter(|n| *n <= MOST_PIECES);
    let text = serde_json::to_vec(description).map_err(|e| Error::Description(e.to_string()))?;
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    if length > LONGEST_DESCRIPTION {
        return Err(Error::Description("it is too long".to_owned()));
    }
    let trailer = Trailer {
        content: pieces.written,
        description: length,
        pieces: count.ok_or(too_large)?,
        signatures: u32::try_from(keys.len()).unwrap_or(u32::MAX),
    };
    let signed = trailer.signed(&text, &pieces.digests);
    let mut index = text;
    index.extend(&pieces.digests);
    for key in keys {
        index.extend(key.sign(&signed));
    }
    index.extend(trailer.to_bytes());
    Ok(index)
}

/// Copies all there is; answers with how much that was.
fn copy(
    from: &mut dyn Read,
    to: &mut dyn Write,
    path: &Path,
    monitor: &dyn Monitor,
) -> Result<u64> {
    let most = u64::from(MOST_PIECES) * PIECE as u64;
    let mut buffer = vec![0; STEP];
    let mut done = 0;
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => return Ok(done),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::Source(e)),
        };
        to.write_all(&buffer[..n]).doing("write", path)?;
        done += n as u64;
        if done > most {
            return Err(Error::TooLarge(most));
        }
        monitor.progress(Progress {
            step: "packing",
            done,
            total: None,
            unit: Unit::Bytes,
        });
    }
}

/// What goes into the file is hashed piece by piece.
struct Pieces {
    file: Box<dyn NewFile>,
    digests: Vec<u8>,
    hash: Sha256,
    /// How much of the current piece there is.
    filled: usize,
    written: u64,
}

impl Pieces {
    fn new(file: Box<dyn NewFile>) -> Self {
        Self {
            file,
            digests: Vec::new(),
            hash: Sha256::new(),
            filled: 0,
            written: 0,
        }
    }

    fn end_piece(&mut self) {
        if self.filled > 0 {
            let hash = std::mem::take(&mut self.hash);
            self.digests.extend(hash.finalize());
            self.filled = 0;
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = (PIECE - self.filled).min(bytes.len());
        let n = self.file.write(&bytes[..room])?;
        self.hash.update(&bytes[..n]);
        self.filled += n;
        self.written += n as u64;
        if self.filled == PIECE {
            self.end_piece();
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
