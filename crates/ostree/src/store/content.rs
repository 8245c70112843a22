//! Where the content of a new file comes from, and reading it.

use std::io::{self, Read, Write};
use std::path::Path;

use durable::{Doing, ReadSeek};

use super::{PIECE, SMALL, digest_of};
use crate::format::FileHeader;
use crate::{Checksum, Error, Result};

/// Where the content of a new file object comes from.
pub(crate) enum Content<'a> {
    /// It is in memory.
    Memory(&'a [u8]),
    /// It is so long that it is read twice: for its digest, then, if it is new,
    /// to be copied.
    Long(&'a mut dyn ReadSeek),
}

/// Digest and length of a long file, copied to `sink` on the way.
pub(crate) fn digest_long(
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
