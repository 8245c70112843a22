//! The head of a delta:
//! `(a{sv}tayay(a{sv}aya(say)sstayay)aya(uayttay)a(yaytt))`.
//!
//! The numbers of parts and fallbacks are in the byte order that the metadata
//! names, for want of a better decision long ago; the time is big-endian.

use super::{DeltaError, DeltaName};
use crate::format::Metadata;
use crate::gvariant::{Layout, Malformed, Result, Value, Writer, array, tuple, u64_be};
use crate::{Checksum, ObjectKind, ObjectName};

/// The longest superblock that is read; parts may be inside.
pub const MAX_SUPERBLOCK: u64 = 1 << 30;

const MEMBERS: [Layout; 8] = [
    Layout::VARIANT,
    Layout::U64,
    Layout::BYTES,
    Layout::BYTES,
    // The commit and both lists have members that are aligned to eight bytes.
    Layout::VARIANT,
    Layout::BYTES,
    Layout::VARIANT,
    Layout::VARIANT,
];
const PART: [Layout; 5] = [
    Layout::U32,
    Layout::BYTES,
    Layout::U64,
    Layout::U64,
    Layout::BYTES,
];
const FALLBACK: [Layout; 4] = [Layout::U8, Layout::BYTES, Layout::U64, Layout::U64];
const SIGNED: [Layout; 3] = [Layout::U64, Layout::BYTES, Layout::VARIANT];
const INLINE: [Layout; 2] = [Layout::U8, Layout::BYTES];

/// What a signed superblock starts with: `OSTSGNDT`.
const SIGNED_MAGIC: u64 = 0x4F53_5453_474E_4454;
const ENDIANNESS: &str = "ostree.endianness";

/// The byte order of the sizes in a superblock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Endianness {
    /// Least significant byte first.
    #[default]
    Little,
    /// Most significant byte first.
    Big,
}

impl Endianness {
    fn u32(self, bytes: &[u8]) -> Result<u32> {
        let raw = bytes.try_into().map_err(|_| Malformed::Length)?;
        Ok(match self {
            Self::Little => u32::from_le_bytes(raw),
            Self::Big => u32::from_be_bytes(raw),
        })
    }

    fn u64(self, bytes: &[u8]) -> Result<u64> {
        let raw = bytes.try_into().map_err(|_| Malformed::Length)?;
        Ok(match self {
            Self::Little => u64::from_le_bytes(raw),
            Self::Big => u64::from_be_bytes(raw),
        })
    }

    fn put_u64(self, w: &mut Writer, n: u64) {
        w.raw(&match self {
            Self::Little => n.to_le_bytes(),
            Self::Big => n.to_be_bytes(),
        });
    }
}

/// What the superblock says of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartHeader {
    /// The version of the format: 0.
    pub version: u32,
    /// The digest of the part.
    pub checksum: Checksum,
    /// The part's bytes.
    pub size: u64,
    /// Bytes of the objects that it makes.
    pub unpacked: u64,
    /// The objects in the order in which it makes them.
    pub objects: Vec<ObjectName>,
}

/// An object that the delta leaves out, to be fetched by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallback {
    /// The object.
    pub object: ObjectName,
    /// Bytes to fetch.
    pub size: u64,
    /// Bytes of its content.
    pub unpacked: u64,
}

/// The head of a delta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// What is said of the delta, inline parts among it.
    pub metadata: Metadata,
    /// When it was made, in seconds since 1970.
    pub timestamp: u64,
    /// From which commit to which.
    pub name: DeltaName,
    /// The new commit's object.
    pub commit: Vec<u8>,
    /// Deltas to apply before this one; nobody makes such.
    pub parents: Vec<u8>,
    /// The parts.
    pub parts: Vec<PartHeader>,
    /// What it leaves out.
    pub fallbacks: Vec<Fallback>,
    /// The byte order of sizes.
    pub endianness: Endianness,
    /// Whether the byte order was guessed, for nothing names it.
    pub guessed: bool,
}

/// The numbers by which deltas name kinds of objects.
pub(super) fn kind_number(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::File => 1,
        ObjectKind::DirTree => 2,
        ObjectKind::DirMeta => 3,
        ObjectKind::Commit => 4,
    }
}

fn kind_of(number: u8) -> Result<ObjectKind> {
    Ok(match number {
        1 => ObjectKind::File,
        2 => ObjectKind::DirTree,
        3 => ObjectKind::DirMeta,
        4 => ObjectKind::Commit,
        _ => return Err(Malformed::Type),
    })
}

/// One byte of kind and a digest, for each object.
fn decode_objects(bytes: &[u8]) -> Result<Vec<ObjectName>> {
    let chunks = bytes.chunks_exact(33);
    if !chunks.remainder().is_empty() {
        return Err(Malformed::Length);
    }
    chunks
        .map(|chunk| {
            let checksum = Checksum::decode(&chunk[1..])?;
            Ok(ObjectName::new(checksum, kind_of(chunk[0])?))
        })
        .collect()
}

impl PartHeader {
    fn decode(bytes: &[u8], order: Endianness) -> Result<Self> {
        let [version, checksum, size, unpacked, objects] = tuple(bytes, PART)?;
        Ok(Self {
            version: order.u32(version)?,
            checksum: Checksum::decode(checksum)?,
            size: order.u64(size)?,
            unpacked: order.u64(unpacked)?,
            objects: decode_objects(objects)?,
        })
    }

    fn write(&self, w: &mut Writer, order: Endianness) {
        w.tuple(&PART, |w, i| match i {
            0 => w.raw(&match order {
                Endianness::Little => self.version.to_le_bytes(),
                Endianness::Big => self.version.to_be_bytes(),
            }),
            1 => w.raw(self.checksum.as_bytes()),
            2 => order.put_u64(w, self.size),
            3 => order.put_u64(w, self.unpacked),
            _ => {
                for object in &self.objects {
                    w.raw(&[kind_number(object.kind)]);
                    w.raw(object.checksum.as_bytes());
                }
            }
        });
    }
}

impl Fallback {
    fn decode(bytes: &[u8], order: Endianness) -> Result<Self> {
        let [kind, checksum, size, unpacked] = tuple(bytes, FALLBACK)?;
        let kind = kind_of(*kind.first().ok_or(Malformed::Length)?)?;
        Ok(Self {
            object: ObjectName::new(Checksum::decode(checksum)?, kind),
            size: order.u64(size)?,
            unpacked: order.u64(unpacked)?,
        })
    }

    fn write(&self, w: &mut Writer, order: Endianness) {
        w.tuple(&FALLBACK, |w, i| match i {
            0 => w.raw(&[kind_number(self.object.kind)]),
            1 => w.raw(self.object.checksum.as_bytes()),
            2 => order.put_u64(w, self.size),
            _ => order.put_u64(w, self.unpacked),
        });
    }
}

/// Guesses the byte order of a superblock that does not name it, from sizes that
/// would be absurd: parts that shrink when unpacked, objects beyond 4 GiB.
fn guess(parts: &[&[u8]]) -> Result<Endianness> {
    let (mut size, mut objects) = (0u64, 0u64);
    for part in parts {
        let header = PartHeader::decode(part, Endianness::Little)?;
        // More than a fifth larger than what it makes.
        if header.size / 6 > header.unpacked / 5 {
            return Ok(Endianness::Big);
        }
        size = size.saturating_add(header.size);
        objects += header.objects.len() as u64;
    }
    let absurd = objects > 0 && size / objects > u64::from(u32::MAX);
    Ok(if absurd {
        Endianness::Big
    } else {
        Endianness::Little
    })
}

impl Superblock {
    /// Reads a superblock that is not signed.
    ///
    /// # Errors
    /// Where it is not canonical, or its commit is not the one that it names.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Self, DeltaError> {
        let found = Self::decode_form(bytes).map_err(DeltaError::Superblock)?;
        match Checksum::of(&found.commit) {
            sum if sum == found.name.to => Ok(found),
            sum => Err(DeltaError::OtherCommit {
                wanted: found.name.to,
                found: sum,
            }),
        }
    }

    fn decode_form(bytes: &[u8]) -> Result<Self> {
        let [metadata, time, from, to, commit, parents, parts, fallbacks] = tuple(bytes, MEMBERS)?;
        let metadata = Metadata::decode(metadata)?;
        let parts = array(parts, Layout::VARIANT)?;
        let (endianness, guessed) = match metadata.get(ENDIANNESS) {
            Some(Value::Byte(b'l')) => (Endianness::Little, false),
            Some(Value::Byte(b'B')) => (Endianness::Big, false),
            Some(_) => return Err(Malformed::Type),
            None => (guess(&parts)?, true),
        };
        let from = match from {
            [] => None,
            digest => Some(Checksum::decode(digest)?),
        };
        let headers = parts.into_iter().map(|p| PartHeader::decode(p, endianness));
        let left_out = array(fallbacks, Layout::VARIANT)?;
        let left_out = left_out
            .into_iter()
            .map(|f| Fallback::decode(f, endianness));
        Ok(Self {
            metadata,
            timestamp: u64_be(time)?,
            name: DeltaName::new(from, Checksum::decode(to)?),
            commit: commit.to_vec(),
            parents: parents.to_vec(),
            parts: headers.collect::<Result<_>>()?,
            fallbacks: left_out.collect::<Result<_>>()?,
            endianness,
            guessed,
        })
    }

    /// The superblock's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.tuple(&MEMBERS, |w, i| match i {
            0 => self.metadata.write(w),
            1 => w.u64_be(self.timestamp),
            2 => w.raw(self.name.from.as_ref().map_or(&[], |f| f.as_bytes())),
            3 => w.raw(self.name.to.as_bytes()),
            4 => w.raw(&self.commit),
            5 => w.raw(&self.parents),
            6 => w.array(Layout::VARIANT, &self.parts, |w, part| {
                part.write(w, self.endianness);
            }),
            _ => w.array(Layout::VARIANT, &self.fallbacks, |w, fallback| {
                fallback.write(w, self.endianness);
            }),
        });
        w.finish()
    }

    /// Names the byte order in the metadata.
    pub(super) fn name_endianness(&mut self) {
        let letter = match self.endianness {
            Endianness::Little => b'l',
            Endianness::Big => b'B',
        };
        self.metadata.set(ENDIANNESS, Value::Byte(letter));
    }

    /// What is said of the new commit beside it, if that came along.
    #[must_use]
    pub fn detached(&self) -> Option<Metadata> {
        Metadata::from_value(self.metadata.get(&self.name.detached_key())?)
    }

    /// Lets what is said of the new commit come along.
    pub(super) fn set_detached(&mut self, detached: &Metadata) {
        let value = detached.to_value();
        self.metadata.set(&self.name.detached_key(), value);
    }

    /// A part that is inside of the superblock: its bytes, as a file would have them.
    #[must_use]
    pub fn inline_part(&self, part: usize) -> Option<Vec<u8>> {
        match self.metadata.get(&self.name.part_path(part))? {
            Value::Tuple(members) => match members.as_slice() {
                [Value::Byte(kind), Value::Bytes(rest)] => Some([&[*kind][..], rest].concat()),
                _ => None,
            },
            _ => None,
        }
    }

    /// Puts a part, as a file would have it, inside.
    pub(super) fn set_inline_part(&mut self, part: usize, bytes: &[u8]) {
        let (kind, rest) = bytes.split_first().unwrap_or((&0, &[]));
        let value = Value::Tuple(vec![Value::Byte(*kind), Value::Bytes(rest.to_vec())]);
        self.metadata.set(&self.name.part_path(part), value);
    }
}

/// Splits a part into its kind of compression and the rest.
pub(super) fn split_part(bytes: &[u8]) -> Result<(u8, &[u8])> {
    let [kind, rest] = tuple(bytes, INLINE)?;
    Ok((*kind.first().ok_or(Malformed::Length)?, rest))
}

/// A superblock as it lies on the disk: bare, or with signatures around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedSuperblock {
    /// The bytes of the superblock, which is what signatures are made over.
    pub bytes: Vec<u8>,
    /// The signatures; `None` where the superblock is bare.
    pub signatures: Option<Metadata>,
}

impl SignedSuperblock {
    /// Takes the signatures off, if there are any.
    ///
    /// # Errors
    /// Where it begins as a signed one does and goes on differently.
    pub fn decode(bytes: Vec<u8>) -> std::result::Result<Self, DeltaError> {
        if bytes.get(..8) != Some(&SIGNED_MAGIC.to_be_bytes()) {
            let signatures = None;
            return Ok(Self { bytes, signatures });
        }
        let split = || {
            let [_, inner, signatures] = tuple(&bytes, SIGNED)?;
            Ok((inner.to_vec(), Metadata::decode(signatures)?))
        };
        let (bytes, signatures) = split().map_err(DeltaError::Superblock)?;
        Ok(Self {
            bytes,
            signatures: Some(signatures),
        })
    }

    /// The bytes on the disk.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Some(signatures) = &self.signatures else {
            return self.bytes.clone();
        };
        let mut w = Writer::new();
        w.tuple(&SIGNED, |w, i| match i {
            0 => w.u64_be(SIGNED_MAGIC),
            1 => w.raw(&self.bytes),
            _ => signatures.write(w),
        });
        w.finish()
    }
}
