//! Applying a patch in the format of bsdiff, as a stream.
//!
//! A patch is a run of blocks: three numbers (how many bytes are *differences*, how
//! many are *extra*, how far to move on in the old file), the differences, which are
//! added to bytes of the old file, and the extra bytes.

use std::io::{self, Read, Seek, SeekFrom};

use super::error::PartError;

/// As much of the old file is read at a time.
const PIECE: usize = 64 << 10;

/// The new file, while it comes into being.
pub(super) struct Patched<P, O> {
    patch: P,
    old: O,
    old_size: u64,
    left: u64,
    /// How much of the current block is left.
    differences: u64,
    extra: u64,
    /// How far to move on at its end.
    seek: i64,
    /// Where the next difference is added to. Bytes outside of the old file count
    /// as zero.
    position: i64,
    /// Bytes of the old file, from `buffered_at`.
    buffer: Vec<u8>,
    buffered_at: u64,
}

fn wrong(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, PartError::Patch(why))
}

/// A number as patches have it: the sign is the top bit, and not two's complement.
fn number(bytes: [u8; 8]) -> i64 {
    let n = u64::from_le_bytes(bytes);
    let magnitude = (n & !(1 << 63)) as i64;
    if n >> 63 == 1 { -magnitude } else { magnitude }
}

impl<P: Read, O: Read + Seek> Patched<P, O> {
    /// A file of `size` bytes, made by `patch` of an old one.
    pub(super) fn new(patch: P, mut old: O, size: u64) -> io::Result<Self> {
        let old_size = old.seek(SeekFrom::End(0))?;
        Ok(Self {
            patch,
            old,
            old_size,
            left: size,
            differences: 0,
            extra: 0,
            seek: 0,
            position: 0,
            buffer: Vec::new(),
            buffered_at: 0,
        })
    }

    /// Reads the numbers of the next block. A block may be empty, and a patch may
    /// have as many of those as its length allows.
    fn next_block(&mut self) -> io::Result<()> {
        let mut numbers = [[0; 8]; 3];
        for bytes in &mut numbers {
            self.patch.read_exact(bytes).map_err(cut)?;
        }
        let [differences, extra, seek] = numbers.map(number);
        let counts = u64::try_from(differences)
            .ok()
            .zip(u64::try_from(extra).ok());
        let (differences, extra) = counts.ok_or_else(|| wrong("a length is negative"))?;
        let all = differences.checked_add(extra);
        if all.is_none_or(|all| all > self.left) {
            return Err(wrong("a block goes beyond the end of the file"));
        }
        (self.differences, self.extra, self.seek) = (differences, extra, seek);
        Ok(())
    }

    /// The end of a block: on to where the next one begins in the old file.
    fn end_block(&mut self) -> io::Result<()> {
        let next = self.position.checked_add(std::mem::take(&mut self.seek));
        self.position = next.ok_or_else(|| wrong("it leaves the range of numbers"))?;
        Ok(())
    }

    /// Adds the old file's bytes at the current position to `bytes`.
    fn add_old(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let at = self.position.saturating_add(done as i64);
            let Ok(at) = u64::try_from(at) else {
                // Before the start: on to it.
                let skip = usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX);
                done = done.saturating_add(skip);
                continue;
            };
            if at >= self.old_size {
                break;
            }
            let old = self.old_bytes(at)?;
            let len = old.len().min(bytes.len() - done);
            for (byte, old) in bytes[done..done + len].iter_mut().zip(old) {
                *byte = byte.wrapping_add(*old);
            }
            done += len;
        }
        let next = self.position.checked_add(bytes.len() as i64);
        self.position = next.ok_or_else(|| wrong("it leaves the range of numbers"))?;
        Ok(())
    }

    /// At least one byte of the old file from `at`, which is inside of it.
    fn old_bytes(&mut self, at: u64) -> io::Result<&[u8]> {
        let end = self.buffered_at + self.buffer.len() as u64;
        if at < self.buffered_at || at >= end {
            self.old.seek(SeekFrom::Start(at))?;
            self.buffer.clear();
            let piece = (self.old_size - at).min(PIECE as u64);
            (&mut self.old).take(piece).read_to_end(&mut self.buffer)?;
            self.buffered_at = at;
            if self.buffer.is_empty() {
                return Err(wrong("the old file became shorter"));
            }
        }
        Ok(&self.buffer[(at - self.buffered_at) as usize..])
    }
}

fn cut(e: io::Error) -> io::Error {
    match e.kind() {
        io::ErrorKind::UnexpectedEof => wrong("it is cut short"),
        _ => e,
    }
}

impl<P: Read, O: Read + Seek> Read for Patched<P, O> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buf.is_empty() {
            return Ok(0);
        }
        while self.differences == 0 && self.extra == 0 {
            self.end_block()?;
            self.next_block()?;
        }
        let part = if self.differences > 0 {
            self.differences
        } else {
            self.extra
        };
        let len = buf.len().min(usize::try_from(part).unwrap_or(usize::MAX));
        let buf = &mut buf[..len];
        self.patch.read_exact(buf).map_err(cut)?;
        if self.differences > 0 {
            self.add_old(buf)?;
            self.differences -= len as u64;
        } else {
            self.extra -= len as u64;
        }
        self.left -= len as u64;
        Ok(len)
    }
}

/// Applies a whole patch in memory.
///
/// # Errors
/// What is wrong with the patch.
pub fn apply_patch(patch: &[u8], old: &[u8], size: u64) -> io::Result<Vec<u8>> {
    let mut new = Vec::new();
    Patched::new(patch, io::Cursor::new(old), size)?.read_to_end(&mut new)?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(differences: &[u8], extra: &[u8], seek: i64) -> Vec<u8> {
        let number = |n: i64| (n.unsigned_abs() | u64::from(n < 0) << 63).to_le_bytes();
        let mut out = Vec::new();
        out.extend(number(differences.len() as i64));
        out.extend(number(extra.len() as i64));
        out.extend(number(seek));
        out.extend(differences);
        out.extend(extra);
        out
    }

    #[test]
    fn blocks() {
        let patch = [
            block(&[0, 0, 1], b"XY", -2),
            block(&[], &[], 1),
            block(&[0], b"", 100),
            block(&[5], b"", -200),
            block(&[7], b"", 0),
        ]
        .concat();
        let new = apply_patch(&patch, b"abcd", 8).unwrap();
        // After three bytes and back two: at 1; one on: "c"; beyond: zero; before: zero.
        assert_eq!(new, b"abdXYc\x05\x07");
    }

    #[test]
    fn refused() {
        let huge = [u64::MAX.to_le_bytes(), [0; 8], [0; 8]].concat();
        let far = [
            0u64.to_le_bytes(),
            1u64.to_le_bytes(),
            (i64::MAX as u64).to_le_bytes(),
        ]
        .concat();
        let cases = [
            (vec![], "cut short"),
            (block(&[1], b"", 0)[..20].to_vec(), "cut short"),
            (block(&[1, 2], b"", 0)[..25].to_vec(), "cut short"),
            (block(&[1; 9], b"", 0), "beyond the end"),
            (block(&[1; 5], &[1; 4], 0), "beyond the end"),
            (huge, "negative"),
            (
                [far.clone(), vec![1], far, vec![1]].concat(),
                "range of numbers",
            ),
        ];
        for (patch, says) in cases {
            let error = apply_patch(&patch, b"old", 8).unwrap_err();
            let text = format!("{:?}", error);
            assert!(text.contains(says), "{text} and not {says}");
        }
    }
}
