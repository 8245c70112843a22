//! File objects that arrive as an archive has them, deflated behind a header.

use std::io::Write;
use std::path::PathBuf;

use durable::{Doing, NewFile};
use flate2::{Decompress, FlushDecompress, Status};
use sys::{Inflate, Inflated};

use super::staging::Staging;
use super::writer::seal;
use super::{PIECE, digest_of};
use crate::checksum::Hasher;
use crate::config::RepoMode;
use crate::format::FileHeader;
use crate::gvariant::Malformed;
use crate::{Error, ObjectName, Result};

/// Deflate cannot make more of a byte than this.
const MAX_RATIO: u64 = 1032;

/// The most bytes that content of `size` may take when it is deflated: more than any
/// compressor needs, so that a stream which never ends is noticed.
pub(crate) fn max_deflated(size: u64) -> u64 {
    size.saturating_add(size / 8).saturating_add(4096)
}

/// Whether `deflated` bytes can hold content of `size`.
pub(crate) fn can_hold(deflated: u64, size: u64) -> bool {
    size <= deflated.saturating_mul(MAX_RATIO)
}

/// Splits the header off an archived file, once it is complete: attributes, size of
/// the content, and where that begins.
pub(crate) fn split_header(
    bytes: &[u8],
) -> std::result::Result<Option<(FileHeader, u64, usize)>, Malformed> {
    let Some(frame) = bytes.first_chunk::<8>() else {
        return Ok(None);
    };
    let end = 8 + FileHeader::framed_len(*frame)?;
    let Some(header) = bytes.get(8..end) else {
        return Ok(None);
    };
    let (header, size) = FileHeader::decode_archive(header)?;
    Ok(Some((header, size, end)))
}

/// Inflates the whole of a content into `out`, of which the first `size` bytes are it
/// then.
pub(crate) fn inflate_whole(
    inflate: &mut Inflate,
    deflated: &[u8],
    size: usize,
    out: &mut Vec<u8>,
) -> std::result::Result<(), Malformed> {
    // One byte more than there should be shows that there is more.
    if out.len() <= size {
        out.resize(size + 1, 0);
    }
    let whole = Inflated {
        read: deflated.len(),
        made: size,
    };
    match inflate.whole(deflated, &mut out[..=size]) {
        Some(inflated) if inflated == whole => Ok(()),
        _ => Err(Malformed::Cut),
    }
}

/// A long file that is written while it arrives.
pub(crate) struct Incoming<'s, 'r> {
    staging: &'s Staging<'r>,
    object: ObjectName,
    path: PathBuf,
    header: FileHeader,
    size: u64,
    left: u64,
    deflated: u64,
    inflate: Decompress,
    ended: bool,
    hasher: Hasher,
    file: Box<dyn NewFile>,
    out: Vec<u8>,
    kept: bool,
}

impl<'s, 'r> Incoming<'s, 'r> {
    /// Begins to write an object of which `head`, its framed header, has arrived.
    pub(crate) fn begin(
        staging: &'s Staging<'r>,
        object: ObjectName,
        header: FileHeader,
        size: u64,
        head: &[u8],
    ) -> Result<Self> {
        staging.take_space(size)?;
        let fs = staging.repo().fs();
        let (path, mut file) = staging.place(object, |path| {
            staging.repo().remove(path)?;
            let file = fs.create(path, 0o600).doing("create", path)?;
            Ok((path.to_owned(), file))
        })?;
        if staging.repo().mode() == RepoMode::Archive {
            file.write_all(head).doing("write", &path)?;
        }
        Ok(Self {
            staging,
            object,
            path,
            size,
            left: size,
            deflated: 0,
            inflate: Decompress::new(false),
            ended: false,
            hasher: digest_of(&header),
            header,
            file,
            out: vec![0; PIECE],
            kept: false,
        })
    }

    /// Takes in the next deflated bytes.
    pub(crate) fn write(&mut self, piece: &[u8]) -> Result<()> {
        let object = self.object;
        let damaged = |source| Error::Damaged { object, source };
        self.deflated += piece.len() as u64;
        if self.deflated > max_deflated(self.size) {
            return Err(damaged(Malformed::TooLarge));
        }
        if self.staging.repo().mode() == RepoMode::Archive {
            self.file.write_all(piece).doing("write", &self.path)?;
        }
        let mut rest = piece;
        loop {
            if self.ended {
                return match rest.is_empty() {
                    true => Ok(()),
                    false => Err(damaged(Malformed::Cut)),
                };
            }
            let (read, made) = self.step(rest).ok_or_else(|| damaged(Malformed::Cut))?;
            rest = &rest[read..];
            let left = self.left.checked_sub(made as u64);
            self.left = left.ok_or_else(|| damaged(Malformed::Cut))?;
            self.hasher.update(&self.out[..made]);
            self.staging.writeback.wrote(made as u64)?;
            if self.staging.repo().mode() != RepoMode::Archive {
                let written = self.file.write_all(&self.out[..made]);
                written.doing("write", &self.path)?;
            }
            if read == 0 && made == 0 && !self.ended {
                return Ok(());
            }
        }
    }

    /// Inflates a little: bytes read and made; `None` when that cannot be done.
    fn step(&mut self, input: &[u8]) -> Option<(usize, usize)> {
        let (read, made) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self
            .inflate
            .decompress(input, &mut self.out, FlushDecompress::None)
            .ok()?;
        self.ended = status == Status::StreamEnd;
        let read = usize::try_from(self.inflate.total_in() - read).ok()?;
        let made = usize::try_from(self.inflate.total_out() - made).ok()?;
        Some((read, made))
    }

    /// All has arrived: the object counts if it has the digest that names it.
    pub(crate) fn finish(mut self) -> Result<()> {
        let object = self.object;
        if !self.ended || self.left != 0 {
            let source = Malformed::Cut;
            return Err(Error::Damaged { object, source });
        }
        let found = std::mem::take(&mut self.hasher).finish();
        if found != object.checksum {
            return Err(Error::WrongDigest { object, found });
        }
        let mode = self.staging.repo().mode();
        seal(&mut *self.file, mode, &self.header, &self.path)?;
        self.kept = true;
        self.staging.admit(object);
        Ok(())
    }
}

impl Drop for Incoming<'_, '_> {
    fn drop(&mut self) {
        if !self.kept {
            let _ = self.staging.repo().fs().remove_file(&self.path);
            self.staging.give_space_back(self.size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::DeflateEncoder;

    fn deflate(data: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn whole_contents() {
        let (mut inflate, mut out) = (Inflate::new(), Vec::new());
        for data in [&b""[..], b"x", &[7; 100_000], b"short again"] {
            let deflated = deflate(data);
            inflate_whole(&mut inflate, &deflated, data.len(), &mut out).unwrap();
            assert_eq!(&out[..data.len()], data);
            let mut wrong = |deflated: &[u8], size| {
                let result = inflate_whole(&mut inflate, deflated, size, &mut out);
                assert_eq!(result, Err(Malformed::Cut), "{} {size}", deflated.len());
            };
            wrong(&deflated, data.len() + 1);
            wrong(&deflated[..deflated.len() - 1], data.len());
            wrong(&[&deflated[..], b"more"].concat(), data.len());
            if !data.is_empty() {
                wrong(&deflated, data.len() - 1);
            }
        }
    }

    #[test]
    fn the_best_compression_there_is_stays_below_the_ratio() {
        for size in [0u64, 1, 1000, 1 << 22] {
            let deflated = deflate(&vec![0; size as usize]).len() as u64;
            assert!(can_hold(deflated, size), "{size}");
            assert!(deflated <= max_deflated(size), "{size}");
        }
        assert!(!can_hold(1000, 1 << 30));
    }
}
