//! An image's objects on their way to a host.
//!
//! Each is a byte for its kind, 32 of its digest, 8 of its length (big-endian),
//! and its content as it lies in an archive repository.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use ostree::{Checksum, ObjectKind, ObjectName};

/// What stands before an object's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub object: ObjectName,
    pub len: u64,
}

/// A digest from its bytes.
pub(crate) fn checksum(bytes: [u8; 32]) -> Checksum {
    Checksum::from_bytes(bytes)
}

impl Header {
    pub(crate) const LEN: usize = 41;

    pub(crate) fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[0] = match self.object.kind {
            ObjectKind::File => b'f',
            ObjectKind::DirTree => b't',
            ObjectKind::DirMeta => b'm',
            ObjectKind::Commit => b'c',
        };
        bytes[1..33].copy_from_slice(self.object.checksum.as_bytes());
        bytes[33..].copy_from_slice(&self.len.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let bytes: [u8; Self::LEN] = bytes.try_into().map_err(|_| "a header broke off")?;
        let kind = match bytes[0] {
            b'f' => ObjectKind::File,
            b't' => ObjectKind::DirTree,
            b'm' => ObjectKind::DirMeta,
            b'c' => ObjectKind::Commit,
            other => return Err(format!("no object is of the kind {other}")),
        };
        let (mut name, mut len) = ([0; 32], [0; 8]);
        name.copy_from_slice(&bytes[1..33]);
        len.copy_from_slice(&bytes[33..]);
        Ok(Self {
            object: ObjectName::new(checksum(name), kind),
            len: u64::from_be_bytes(len),
        })
    }
}

/// The stream of some objects of a repository.
pub(crate) struct Stream<F> {
    objects: std::vec::IntoIter<(ObjectName, PathBuf)>,
    header: Vec<u8>,
    content: Option<std::io::Take<File>>,
    sent: u64,
    tell: F,
}

impl<F: FnMut(u64)> Stream<F> {
    pub(crate) fn new(objects: Vec<(ObjectName, PathBuf)>, tell: F) -> Self {
        Self {
            objects: objects.into_iter(),
            header: Vec::new(),
            content: None,
            sent: 0,
            tell,
        }
    }

    /// Goes on to the next object; answers whether there is one.
    fn advance(&mut self) -> std::io::Result<bool> {
        let Some((object, path)) = self.objects.next() else {
            return Ok(false);
        };
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        self.header = Header { object, len }.encode().to_vec();
        self.content = Some(file.take(len));
        Ok(true)
    }
}

impl<F: FnMut(u64)> Read for Stream<F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let room = &mut buffer[filled..];
            if !self.header.is_empty() {
                let n = room.len().min(self.header.len());
                room[..n].copy_from_slice(&self.header[..n]);
                self.header.drain(..n);
                filled += n;
                continue;
            }
            let read = match &mut self.content {
                Some(content) => content.read(room)?,
                None => 0,
            };
            filled += read;
            if read == 0 {
                if self.content.as_ref().is_some_and(|c| c.limit() > 0) {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                if !self.advance()? {
                    break;
                }
            }
        }
        self.sent += filled as u64;
        (self.tell)(self.sent);
        Ok(filled)
    }
}
