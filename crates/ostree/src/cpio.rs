//! Archives in the portable format of `cpio` ("newc").
//!
//! Each entry is 110 characters of header, the name, the content; name and content
//! are padded to four bytes. The entry called `TRAILER!!!` ends it.

use std::io::{self, Read};

/// The beginning of an entry.
pub(crate) const MAGIC: &[u8] = b"070701";
/// The length of its fixed part.
const HEADER: usize = 110;
/// The longest name that is read.
const MAX_NAME: usize = 4096;

/// What is said of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CpioEntry {
    pub(crate) name: Vec<u8>,
    pub(crate) inode: (u32, u32, u32),
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) links: u32,
    pub(crate) size: u32,
}

fn bad(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Skips what pads `len` bytes to four.
fn skip_padding(reader: &mut dyn Read, len: usize) -> io::Result<()> {
    let padding = (4 - len % 4) % 4;
    reader.read_exact(&mut [0; 3][..padding])
}

impl CpioEntry {
    /// Reads the next entry's header; `None` at the end.
    pub(crate) fn read(reader: &mut dyn Read) -> io::Result<Option<Self>> {
        let mut header = [0; HEADER];
        reader.read_exact(&mut header)?;
        if &header[..6] != MAGIC && &header[..6] != b"070702" {
            return Err(bad("an entry does not begin as one"));
        }
        let field = |i: usize| {
            let text = std::str::from_utf8(&header[6 + 8 * i..14 + 8 * i]);
            let text = text.map_err(|_| bad("a number is none"))?;
            u32::from_str_radix(text, 16).map_err(|_| bad("a number is none"))
        };
        let len = field(11)? as usize;
        if len == 0 || len > MAX_NAME {
            return Err(bad("a name is too long"));
        }
        let mut name = vec![0; len];
        reader.read_exact(&mut name)?;
        skip_padding(reader, HEADER + len)?;
        name.pop();
        if name == b"TRAILER!!!" {
            return Ok(None);
        }
        Ok(Some(Self {
            name,
            inode: (field(7)?, field(8)?, field(0)?),
            mode: field(1)?,
            uid: field(2)?,
            gid: field(3)?,
            links: field(4)?,
            size: field(6)?,
        }))
    }

    /// Skips what is left of the entry after its content was read.
    pub(crate) fn skip_padding(&self, reader: &mut dyn Read) -> io::Result<()> {
        skip_padding(reader, self.size as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, size: u32) -> Vec<u8> {
        let fields = [
            7,
            0o100_644,
            1,
            2,
            1,
            0,
            size,
            8,
            1,
            0,
            0,
            name.len() as u32 + 1,
            0,
        ];
        let mut bytes = MAGIC.to_vec();
        for field in fields {
            bytes.extend(format!("{field:08x}").bytes());
        }
        bytes.extend(name.bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn entries() {
        let bytes = [entry("a/b", 0), entry("TRAILER!!!", 0)].concat();
        let mut reader = bytes.as_slice();
        let first = CpioEntry::read(&mut reader).unwrap().unwrap();
        assert_eq!(first.name, b"a/b");
        assert_eq!((first.uid, first.gid, first.inode), (1, 2, (8, 1, 7)));
        assert_eq!(CpioEntry::read(&mut reader).unwrap(), None);
        for bad in [&bytes[..50], b"garbage".as_slice(), &[b'x'; 120]] {
            assert!(CpioEntry::read(&mut &*bad).is_err());
        }
    }
}
