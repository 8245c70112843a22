//! A part: one byte that says how it is compressed, then
//! `(a(uuu)aa(ayay)ayay)`: modes, sets of extended attributes, data, operations.

use std::io::{self, Read, Write};
use std::ops::Range;

use lzma_rust2::{XzOptions, XzReader, XzWriter};

use super::error::PartError;
use super::superblock::split_part;
use super::{DeltaError, PartHeader};
use crate::format::Xattrs;
use crate::gvariant::{Layout, Writer, array, tuple, u32_be};

const MEMBERS: [Layout; 4] = [
    Layout::variable(4),
    Layout::BYTES,
    Layout::BYTES,
    Layout::BYTES,
];
const MODE: [Layout; 3] = [Layout::U32; 3];

/// A tuple of three numbers, as an element of an array.
const MODES: Layout = Layout {
    align: 4,
    fixed: Some(12),
};

const NONE: u8 = 0;
const XZ: u8 = b'x';

/// Most memory that a decompressor may take, in KiB. What `ostree` writes has a
/// dictionary of 32 MiB.
const XZ_MEMORY: u32 = 160 << 10;

/// The largest dictionary that is compressed with. Two parts are compressed at
/// a time, and each takes some twelve times as much memory.
const DICTIONARY: u32 = 16 << 20;

/// Owner, group and mode with the file type bits.
pub(super) type Mode = (u32, u32, u32);

/// A part, unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub(super) modes: Vec<Mode>,
    pub(super) xattrs: Vec<Xattrs>,
    bytes: Vec<u8>,
    data: Range<usize>,
    operations: Range<usize>,
}

impl Part {
    /// Reads a part that should be the one of a header, as it lies in a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(header: &PartHeader, file: &[u8]) -> Result<Self, PartError> {
        if header.version != 0 {
            return Err(PartError::Version(header.version));
        }
        if header.size != file.len() as u64 {
            return Err(PartError::WrongSize {
                wanted: header.size,
                found: file.len() as u64,
            });
        }
        match crate::Checksum::of(file) {
            found if found == header.checksum => {}
            found => {
                return Err(PartError::WrongDigest {
                    wanted: header.checksum,
                    found,
                });
            }
        }
        Self::decode_unpacked(unpack_part(file, longest(header))?)
    }

    /// Reads an unpacked part.
    ///
    /// # Errors
    /// Where it is not canonical.
    pub fn decode_unpacked(bytes: Vec<u8>) -> Result<Self, PartError> {
        let split = || {
            let [modes, xattrs, data, operations] = tuple(&bytes, MEMBERS)?;
            let modes = array(modes, MODES)?;
            let mode = |bytes| {
                let [uid, gid, mode] = tuple(bytes, MODE)?;
                Ok((u32_be(uid)?, u32_be(gid)?, u32_be(mode)?))
            };
            let sets = array(xattrs, Layout::BYTES)?;
            Ok((
                modes
                    .into_iter()
                    .map(mode)
                    .collect::<crate::gvariant::Result<_>>()?,
                sets.into_iter()
                    .map(Xattrs::decode)
                    .collect::<crate::gvariant::Result<_>>()?,
                within(&bytes, data),
                within(&bytes, operations),
            ))
        };
        let (modes, xattrs, data, operations) = split().map_err(PartError::Malformed)?;
        Ok(Self {
            modes,
            xattrs,
            bytes,
            data,
            operations,
        })
    }

    /// The data that operations refer to.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.bytes[self.data.clone()]
    }

    /// The program.
    #[must_use]
    pub fn operations(&self) -> &[u8] {
        &self.bytes[self.operations.clone()]
    }

    /// How many modes and sets of attributes there are.
    #[must_use]
    pub fn tables(&self) -> (usize, usize) {
        (self.modes.len(), self.xattrs.len())
    }
}

/// The payload of a part as it lies in a file, of at most `limit` bytes.
///
/// # Errors
/// That it cannot be unpacked.
pub fn unpack_part(file: &[u8], limit: u64) -> Result<Vec<u8>, PartError> {
    let (kind, packed) = split_part(file).map_err(PartError::Malformed)?;
    match kind {
        NONE => Ok(packed.to_vec()),
        XZ => unpack(packed, limit),
        other => Err(PartError::Compression(other)),
    }
}

/// Where a slice of `whole` is in it.
fn within(whole: &[u8], slice: &[u8]) -> Range<usize> {
    let start = slice.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + slice.len()
}

/// The most that a part's payload can sensibly be: the objects' content, or a patch
/// of a little more, and for each object its attributes and operations.
fn longest(header: &PartHeader) -> u64 {
    let objects = header.objects.len() as u64;
    let content = header.unpacked.saturating_mul(2);
    content
        .saturating_add(objects.saturating_mul(128 << 10))
        .saturating_add(1 << 20)
}

fn unpack(packed: &[u8], limit: u64) -> Result<Vec<u8>, PartError> {
    let mut reader = XzReader::new_mem_limit(packed, false, XZ_MEMORY).take(limit + 1);
    let mut bytes = Vec::new();
    // A multiple of the packed size, which is there, is a fair first guess.
    bytes.reserve_exact(
        packed
            .len()
            .saturating_mul(4)
            .min(32 << 20)
            .min(limit as usize + 1),
    );
    reader.read_to_end(&mut bytes).map_err(PartError::Unpack)?;
    if bytes.len() as u64 > limit {
        return Err(PartError::TooLong(limit));
    }
    let rest = reader.into_inner().into_inner();
    if !rest.is_empty() {
        let why = "there is more after its end";
        return Err(PartError::Unpack(io::Error::new(
            io::ErrorKind::InvalidData,
            why,
        )));
    }
    Ok(bytes)
}

/// What a part will be made of.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) modes: Vec<Mode>,
    pub(super) xattrs: Vec<Xattrs>,
    pub(super) data: Vec<u8>,
    pub(super) operations: Vec<u8>,
}

impl Contents {
    /// The part as it lies in a file. It is compressed even where that makes it
    /// longer: released `ostree` cannot read parts that are not.
    pub(super) fn pack(self) -> Result<Vec<u8>, DeltaError> {
        let plain = self.into_bytes();
        let mut options = XzOptions::with_preset(8);
        let whole = u32::try_from(plain.len()).unwrap_or(u32::MAX);
        options.lzma_options.dict_size = whole.clamp(4 << 10, DICTIONARY);
        let pack = || {
            let mut writer = XzWriter::new(vec![XZ], options)?;
            writer.write_all(&plain)?;
            writer.finish()
        };
        pack().map_err(DeltaError::Compress)
    }

    fn into_bytes(mut self) -> Vec<u8> {
        let mut w = Writer::new();
        w.tuple(&MEMBERS, |w, i| match i {
            0 => w.array(MODES, &self.modes, |w, mode| {
                w.u32_be(mode.0);
                w.u32_be(mode.1);
                w.u32_be(mode.2);
            }),
            1 => w.array(Layout::BYTES, &self.xattrs, |w, set| set.write(w)),
            2 => w.raw(&std::mem::take(&mut self.data)),
            _ => w.raw(&self.operations),
        });
        w.finish()
    }
}
