//! A disk's writes and flushes as QEMU recorded them, in the format of Linux'
//! `dm-log-writes`, for putting any moment of a guest's life on a disk again.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::Doing;
use crate::{Error, Result};

const MAGIC: u64 = 0x6a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;
/// What a disk writes whole or not at all.
pub const SECTOR: u64 = 512;

/// One thing that the guest asked of its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Bytes to be written.
    Write {
        /// Where on the disk.
        at: u64,
        /// How many.
        len: u64,
        /// To be kept before it is answered.
        fua: bool,
        /// Where they are in the recording.
        data: u64,
    },
    /// All that was written before is to be kept.
    Flush,
}

/// A recording.
#[derive(Debug)]
pub struct Recording {
    file: File,
    asked: Vec<Asked>,
}

impl Recording {
    /// Opens one. It may end anywhere: the machine was killed.
    ///
    /// # Errors
    /// The disk's, or it is none.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).doing("open", path)?;
        let end = file.metadata().doing("look at", path)?.len();
        let word = |at: u64| -> Result<u64> {
            let mut bytes = [0; 8];
            file.read_exact_at(&mut bytes, at).doing("read", path)?;
            Ok(u64::from_le_bytes(bytes))
        };
        let sector = word(24)? & 0xffff_ffff;
        if word(0)? != MAGIC || !(SECTOR..=65536).contains(&sector) {
            return Err(Error::Recording(path.to_owned()));
        }
        let mut asked = Vec::new();
        let mut at = sector;
        while at + sector <= end {
            let (place, sectors, flags) = (word(at)?, word(at + 8)?, word(at + 16)?);
            if (place, sectors, flags) == (0, 0, 0) {
                break;
            }
            let data = at + sector;
            let len = match flags & (DISCARD | MARK) {
                0 => sectors.saturating_mul(sector),
                _ => 0,
            };
            if data.saturating_add(len) > end {
                break;
            }
            at = data + len;
            if flags & FLUSH != 0 {
                asked.push(Asked::Flush);
            }
            if len > 0 {
                asked.push(Asked::Write {
                    at: place.saturating_mul(sector),
                    len,
                    fua: flags & FUA != 0,
                    data,
                });
            }
        }
        Ok(Self { file, asked })
    }

    /// All of it, in order.
    #[must_use]
    pub fn asked(&self) -> &[Asked] {
        &self.asked
    }

    /// Does one write, or the first `sectors` of it, on an image.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&self, asked: Asked, sectors: Option<u64>, image: &File) -> Result<()> {
        let Asked::Write { at, len, data, .. } = asked else {
            return Ok(());
        };
        let len = sectors.map_or(len, |sectors| len.min(sectors * SECTOR));
        let image_path = Path::new("the image");
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let read = self.file.read_exact_at(&mut bytes, data);
        read.doing("read the recording for", image_path)?;
        image.write_all_at(&bytes, at).doing("write", image_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(log: &mut Vec<u8>, fields: [u64; 3], data: &[u8]) {
        let start = log.len();
        for field in fields {
            log.extend(field.to_le_bytes());
        }
        log.resize(start + 512, 0);
        log.extend(data);
    }

    #[test]
    fn reads_what_qemu_writes_and_stops_where_it_was_cut() {
        let mut log = Vec::new();
        log.extend(MAGIC.to_le_bytes());
        log.extend(1u64.to_le_bytes());
        log.extend(0u64.to_le_bytes());
        log.extend(512u64.to_le_bytes());
        log.resize(512, 0);
        entry(&mut log, [3, 2, 0], &[7; 1024]);
        entry(&mut log, [9, 1, DISCARD], &[]);
        entry(&mut log, [0, 0, FLUSH], &[]);
        entry(&mut log, [1, 1, FUA], &[8; 512]);
        entry(&mut log, [5, 4, 0], &[9; 100]);
        let dir = tempfile::tempdir().unwrap();
        let (path, image) = (dir.path().join("log"), dir.path().join("image"));
        std::fs::write(&path, &log).unwrap();
        let recording = Recording::open(&path).unwrap();
        let asked = recording.asked();
        assert_eq!(asked.len(), 3, "{asked:?}");
        assert_eq!(asked[1], Asked::Flush);
        assert!(matches!(
            asked[2],
            Asked::Write {
                at: 512,
                len: 512,
                fua: true,
                ..
            }
        ));
        std::fs::write(&image, [0; 4096]).unwrap();
        let file = File::options().write(true).open(&image).unwrap();
        recording.write(asked[0], Some(1), &file).unwrap();
        recording.write(asked[2], None, &file).unwrap();
        let bytes = std::fs::read(&image).unwrap();
        assert_eq!(bytes[512..1024], [8; 512]);
        assert_eq!(bytes[1536..2048], [7; 512]);
        assert_eq!(bytes[2048..2560], [0; 512]);
        std::fs::write(&path, b"none").unwrap();
        assert!(Recording::open(&path).is_err());
    }
}
