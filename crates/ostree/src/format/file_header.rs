//! What goes before a file's content: in the digest `(uuuusa(ayay))`, in an
//! archive `(tuuuusa(ayay))` with the size first; numbers big-endian.
//!
//! Both are framed alike: the header's length as four big-endian bytes, four zero
//! bytes, the header.

use super::{DirMeta, TYPE_FILE, TYPE_MASK, TYPE_SYMLINK, Xattrs};
use crate::gvariant::{Layout, Malformed, Result, Writer, text, tuple, u32_be, u64_be};

const PLAIN: [Layout; 6] = [
    Layout::U32,
    Layout::U32,
    Layout::U32,
    Layout::U32,
    Layout::BYTES,
    Layout::BYTES,
];
const ARCHIVE: [Layout; 7] = [
    Layout::U64,
    Layout::U32,
    Layout::U32,
    Layout::U32,
    Layout::U32,
    Layout::BYTES,
    Layout::BYTES,
];

/// The longest header that is read: Linux allows 64 KiB for an attribute.
pub const MAX_HEADER: usize = 1 << 20;

/// Attributes of a regular file or symlink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHeader {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Mode with the file type bits.
    pub mode: u32,
    /// A symlink's target; empty for a regular file.
    pub target: String,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

impl FileHeader {
    /// Whether this is a symlink.
    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.mode & TYPE_MASK == TYPE_SYMLINK
    }

    /// Checks that mode and target belong together.
    pub(crate) fn checked(self) -> Result<Self> {
        if self.mode & !(TYPE_MASK | 0o7777) != 0 {
            return Err(Malformed::Mode);
        }
        match self.mode & TYPE_MASK {
            TYPE_FILE if self.target.is_empty() => Ok(self),
            TYPE_FILE => Err(Malformed::NotEmpty),
            TYPE_SYMLINK if self.target.is_empty() => Err(Malformed::Name),
            TYPE_SYMLINK => Ok(self),
            _ => Err(Malformed::Mode),
        }
    }

    /// Reads the header that precedes content in the digest.
    ///
    /// # Errors
    /// Where it is not canonical.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let [uid, gid, mode, rdev, target, xattrs] = tuple(bytes, PLAIN)?;
        Self::from_members([uid, gid, mode, rdev, target, xattrs])
    }

    /// Reads an archive object's header: attributes and the content's size.
    ///
    /// # Errors
    /// Where it is not canonical.
    pub fn decode_archive(bytes: &[u8]) -> Result<(Self, u64)> {
        let [size, uid, gid, mode, rdev, target, xattrs] = tuple(bytes, ARCHIVE)?;
        let header = Self::from_members([uid, gid, mode, rdev, target, xattrs])?;
        let size = u64_be(size)?;
        if header.is_symlink() && size != 0 {
            return Err(Malformed::NotEmpty);
        }
        Ok((header, size))
    }

    fn from_members([uid, gid, mode, rdev, target, xattrs]: [&[u8]; 6]) -> Result<Self> {
        if u32_be(rdev)? != 0 {
            return Err(Malformed::NotEmpty);
        }
        let header = Self {
            uid: u32_be(uid)?,
            gid: u32_be(gid)?,
            mode: u32_be(mode)?,
            target: text(target)?.to_owned(),
            xattrs: Xattrs::decode(xattrs)?,
        };
        header.checked()
    }

    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.tuple(&PLAIN, |w, i| self.member(w, i));
        w.finish()
    }

    /// The bytes of an archive object's header.
    #[must_use]
    pub fn encode_archive(&self, size: u64) -> Vec<u8> {
        let mut w = Writer::new();
        w.tuple(&ARCHIVE, |w, i| match i.checked_sub(1) {
            None => w.u64_be(size),
            Some(i) => self.member(w, i),
        });
        w.finish()
    }

    fn member(&self, w: &mut Writer, i: usize) {
        match i {
            0 => w.u32_be(self.uid),
            1 => w.u32_be(self.gid),
            2 => w.u32_be(self.mode),
            3 => w.u32_be(0),
            4 => w.text(&self.target),
            _ => self.xattrs.write(w),
        }
    }

    /// The header's bytes behind their frame.
    pub(crate) fn framed(header: &[u8]) -> Vec<u8> {
        let len = u32::try_from(header.len()).unwrap_or(u32::MAX);
        let mut framed = Vec::with_capacity(8 + header.len());
        framed.extend_from_slice(&len.to_be_bytes());
        framed.extend_from_slice(&[0; 4]);
        framed.extend_from_slice(header);
        framed
    }

    /// The length of the header that a frame announces.
    pub(crate) fn framed_len(frame: [u8; 8]) -> Result<usize> {
        let [a, b, c, d, padding @ ..] = frame;
        if padding != [0; 4] {
            return Err(Malformed::Padding);
        }
        match u32::from_be_bytes([a, b, c, d]) as usize {
            len if len <= MAX_HEADER => Ok(len),
            _ => Err(Malformed::TooLarge),
        }
    }

    /// The bytes of the `user.ostreemeta` attribute.
    pub(crate) fn ostreemeta(&self) -> Vec<u8> {
        let meta = DirMeta {
            uid: self.uid,
            gid: self.gid,
            mode: self.mode,
            xattrs: self.xattrs.clone(),
        };
        meta.encode()
    }
}
