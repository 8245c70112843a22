//! A whole disk, written by offset: an image file or a block device.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

use durable::Doing;

use crate::Result;

/// An open disk.
#[derive(Debug)]
pub(crate) struct RawDisk {
    file: File,
    path: PathBuf,
}

impl RawDisk {
    /// Makes an image file of `size` bytes that take no space yet. There must
    /// be none.
    pub(crate) fn create(path: &Path, size: u64) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .doing("create", path)?;
        file.set_len(size).doing("make room in", path)?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Opens a disk that is there.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        Ok(Self {
            file: file.doing("open", path)?,
            path: path.to_owned(),
        })
    }

    /// Its length in bytes.
    pub(crate) fn size(&self) -> Result<u64> {
        let mut file = &self.file;
        Ok(file.seek(SeekFrom::End(0)).doing("measure", &self.path)?)
    }

    pub(crate) fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        let read = self.file.read_exact_at(bytes, offset);
        Ok(read.doing("read", &self.path)?)
    }

    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all_at(bytes, offset);
        Ok(written.doing("write", &self.path)?)
    }

    /// Writes a whole file at `offset`. `sparse`: leave out blocks of zeros,
    /// because the disk has them there already.
    pub(crate) fn write_file(&self, offset: u64, from: &Path, sparse: bool) -> Result<()> {
        let mut file = File::open(from).doing("open", from)?;
        let mut block = vec![0; 1 << 20];
        let mut at = offset;
        loop {
            let n = file.read(&mut block).doing("read", from)?;
            if n == 0 {
                return Ok(());
            }
            for chunk in block[..n].chunks(4096) {
                if !sparse || chunk.iter().any(|b| *b != 0) {
                    self.write_at(at, chunk)?;
                }
                at += chunk.len() as u64;
            }
        }
    }

    /// Forces all of it to the disk.
    pub(crate) fn sync(&self) -> Result<()> {
        Ok(self.file.sync_all().doing("sync", &self.path)?)
    }
}

/// Whether a path is a block device.
pub(crate) fn is_block_device(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.file_type().is_block_device())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_left_out_only_when_asked() {
        let tmp = tempfile::tempdir().unwrap();
        let (image, file) = (tmp.path().join("image"), tmp.path().join("file"));
        let mut content = vec![0; 10_000];
        content[9_000] = 7;
        durable::publish_file(&durable::RealFs, &file, &content, 0o600).unwrap();
        let disk = RawDisk::create(&image, 1 << 20).unwrap();
        disk.write_at(0, &[1; 20_000]).unwrap();
        disk.write_file(512, &file, true).unwrap();
        let mut got = vec![0; 10_000];
        disk.read_at(512, &mut got).unwrap();
        assert_eq!((got[0], got[9_000], got[8_200]), (1, 7, 0));
        disk.write_file(512, &file, false).unwrap();
        disk.read_at(512, &mut got).unwrap();
        assert_eq!(got, content);
        assert_eq!(disk.size().unwrap(), 1 << 20);
        assert!(RawDisk::create(&image, 1).is_err(), "it is there already");
    }
}
