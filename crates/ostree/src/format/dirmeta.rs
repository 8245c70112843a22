//! A directory's attributes: `(uuua(ayay))`, numbers big-endian.
//!
//! The same bytes, for files and symlinks, are the `user.ostreemeta` attribute of
//! a bare-user repository.

use super::{TYPE_DIR, TYPE_MASK, Xattrs};
use crate::gvariant::{Layout, Malformed, Result, Writer, tuple, u32_be};

const MEMBERS: [Layout; 4] = [Layout::U32, Layout::U32, Layout::U32, Layout::BYTES];

/// Owner, mode and extended attributes of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DirMeta {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Mode with the file type bits.
    pub mode: u32,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

impl DirMeta {
    /// Reads a `dirmeta` object.
    ///
    /// # Errors
    /// Where it is not canonical, or not of a directory.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let meta = Self::decode_any(bytes)?;
        if meta.mode & TYPE_MASK != TYPE_DIR {
            return Err(Malformed::Mode);
        }
        Ok(meta)
    }

    /// Reads the same for any file type.
    pub(crate) fn decode_any(bytes: &[u8]) -> Result<Self> {
        let [uid, gid, mode, xattrs] = tuple(bytes, MEMBERS)?;
        let mode = u32_be(mode)?;
        if mode & !(TYPE_MASK | 0o7777) != 0 {
            return Err(Malformed::Mode);
        }
        Ok(Self {
            uid: u32_be(uid)?,
            gid: u32_be(gid)?,
            mode,
            xattrs: Xattrs::decode(xattrs)?,
        })
    }

    /// The object's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.tuple(&MEMBERS, |w, i| match i {
            0 => w.u32_be(self.uid),
            1 => w.u32_be(self.gid),
            2 => w.u32_be(self.mode),
            _ => self.xattrs.write(w),
        });
        w.finish()
    }
}
