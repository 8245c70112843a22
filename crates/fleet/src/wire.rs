//! What deployer and host say to each other over a connection.
//!
//! Both directions carry frames: one byte that says what it is, four bytes of
//! length (big-endian), and so many bytes. The host speaks first ([`Hello`]).
//! The deployer sends a [`Request`] and, where it announces any, data; the host
//! answers with output as it comes and at last a [`Reply`]. One request at a
//! time. When the connection ends, so does what was asked for over it.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The version of this protocol. A deployer brings its own program along, so both
/// ends are always the same.
pub const PROTOCOL: u32 = 1;
/// No frame is longer.
pub const LONGEST: usize = 1 << 20;

/// What a frame holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A request, a reply or a hello, as JSON.
    Message(Vec<u8>),
    /// Data that the deployer announced.
    Input(Vec<u8>),
    /// The end of that data.
    EndOfInput,
    /// What a program on the host printed.
    Output(Vec<u8>),
    /// What it printed on standard error.
    Errors(Vec<u8>),
}

impl Frame {
    /// Writes the frame.
    ///
    /// # Errors
    /// The connection's.
    pub fn write(&self, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
        let (kind, bytes): (u8, &[u8]) = match self {
            Self::Message(bytes) => (b'M', bytes),
            Self::Input(bytes) => (b'I', bytes),
            Self::EndOfInput => (b'E', &[]),
            Self::Output(bytes) => (b'O', bytes),
            Self::Errors(bytes) => (b'R', bytes),
        };
        let len = u32::try_from(bytes.len())
            .ok()
            .filter(|len| *len as usize <= LONGEST)
            .ok_or_else(|| nonsense("a frame would be too long"))?;
        to.write_all(&[kind])?;
        to.write_all(&len.to_be_bytes())?;
        to.write_all(bytes)
    }

    /// Reads a frame; `None` at the end of the connection.
    ///
    /// # Errors
    /// The connection's; `InvalidData` for what is no frame.
    pub fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut kind = [0];
        if from.read(&mut kind)? == 0 {
            return Ok(None);
        }
        let mut len = [0; 4];
        from.read_exact(&mut len)?;
        let len = u32::from_be_bytes(len) as usize;
        if len > LONGEST {
            return Err(nonsense("a frame is too long"));
        }
        let mut bytes = vec![0; len];
        from.read_exact(&mut bytes)?;
        Ok(Some(match kind[0] {
            b'M' => Self::Message(bytes),
            b'I' => Self::Input(bytes),
            b'E' if len == 0 => Self::EndOfInput,
            b'O' => Self::Output(bytes),
            b'R' => Self::Errors(bytes),
            _ => return Err(nonsense("a frame is of no known kind")),
        }))
    }

    /// A message.
    ///
    /// # Errors
    /// It can't be put into words.
    pub fn message(value: &impl Serialize) -> io::Result<Self> {
        Ok(Self::Message(serde_json::to_vec(value)?))
    }
}

fn nonsense(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// What the host says first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol.
    pub protocol: u32,
    /// The program's version.
    pub version: String,
    /// The host's own name.
    pub hostname: String,
    /// Whether the program runs as root.
    pub root: bool,
}

/// What the deployer asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Request {
    /// Run a program on the host.
    Run {
        /// Which.
        program: Program,
        /// Its arguments.
        arguments: Vec<String>,
        /// Whether data for its standard input follows.
        input: bool,
        /// After so many milliseconds it is killed.
        limit_ms: u64,
    },
    /// Put a secret into a file; its content follows.
    Key(KeyFile),
    /// Say which of these files' contents are not in the image host's repository;
    /// their digests, 32 bytes each, follow.
    LacksFiles {
        /// The host's sysroot.
        sysroot: PathBuf,
    },
    /// Take in objects; they follow, each with its name and length.
    TakeObjects {
        /// The repository that they are put into.
        repository: PathBuf,
    },
}

/// A program on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// The backstop that was brought along.
    Backstop,
    /// One that the host has.
    Named(String),
}

/// Where a secret goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFile {
    /// The directory; made, for root alone, where it is missing.
    pub directory: PathBuf,
    /// The file's name.
    pub name: String,
    /// Whose it is: a name, or a number.
    pub owner: String,
    /// Whose group: a name, or a number.
    pub group: String,
    /// Its permission bits.
    pub mode: u32,
    /// It may lie on a disk.
    pub persistent: bool,
}

/// The end of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Reply {
    /// It was done.
    Done,
    /// The program ended.
    Ended {
        /// Its status, or none if a signal ended it.
        code: Option<i32>,
    },
    /// The program took too long and was killed.
    TooSlow,
    /// It could not be done.
    Failed {
        /// Why.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_back() {
        let frames = [
            Frame::message(&Request::Run {
                program: Program::Backstop,
                arguments: vec!["status".to_owned()],
                input: true,
                limit_ms: 5,
            })
            .unwrap(),
            Frame::Input(vec![0; 70_000]),
            Frame::EndOfInput,
            Frame::Output(Vec::new()),
            Frame::Errors(b"x".to_vec()),
        ];
        let mut bytes = Vec::new();
        for frame in &frames {
            frame.write(&mut bytes).unwrap();
        }
        let mut from = bytes.as_slice();
        for frame in frames {
            assert_eq!(Frame::read(&mut from).unwrap(), Some(frame));
        }
        assert_eq!(Frame::read(&mut from).unwrap(), None);
    }

    #[test]
    fn what_is_no_frame_is_refused_before_it_is_believed() {
        let table: &[&[u8]] = &[
            b"X\0\0\0\0",
            b"M\xff\xff\xff\xff",
            b"M\0\0\0\x05ab",
            b"M\0",
            b"E\0\0\0\x01x",
        ];
        for bytes in table {
            assert!(Frame::read(&mut &bytes[..]).is_err(), "{bytes:?}");
        }
        assert!(
            Frame::Output(vec![0; LONGEST + 1])
                .write(&mut Vec::new())
                .is_err()
        );
    }
}
