//! How large a commit's objects are: its metadata `ostree.sizes`, `aay`.
//!
//! Each entry is the object's digest, its size as it is stored and as it is unpacked
//! (base 128, least significant first), and one byte for its kind.

use durable::Doing;

use crate::format::Commit;
use crate::gvariant::{Type, Value};
use crate::store::Staging;
use crate::{Checksum, Error, ObjectKind, ObjectName, Repo, Result};

/// The metadata's key.
pub(crate) const KEY: &str = "ostree.sizes";

/// Objects, counted and weighed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight {
    /// How many.
    pub objects: u64,
    /// Bytes as they are stored, and go over a network.
    pub compressed: u64,
    /// Bytes of what is in them.
    pub unpacked: u64,
}

/// What a commit weighs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// The objects that are not here.
    pub needed: Weight,
    /// All.
    pub total: Weight,
}

fn kind_byte(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::File => 1,
        ObjectKind::DirTree => 2,
        ObjectKind::DirMeta => 3,
        ObjectKind::Commit => 4,
    }
}

fn write_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// One entry's object and weight.
fn read_entry(entry: &[u8]) -> Option<(ObjectName, Weight)> {
    let (checksum, mut rest) = entry.split_at_checked(32)?;
    let checksum = Checksum::from_bytes(checksum.try_into().ok()?);
    let (compressed, unpacked) = (read_number(&mut rest)?, read_number(&mut rest)?);
    let all = [
        ObjectKind::File,
        ObjectKind::DirTree,
        ObjectKind::DirMeta,
        ObjectKind::Commit,
    ];
    // Entries of long ago have no kind: those were files.
    let kind = match rest.first() {
        None => ObjectKind::File,
        Some(byte) => all.into_iter().find(|k| kind_byte(*k) == *byte)?,
    };
    let objects = 1;
    let weight = Weight {
        objects,
        compressed,
        unpacked,
    };
    Some((ObjectName::new(checksum, kind), weight))
}

impl Weight {
    fn add(&mut self, other: Self) {
        self.objects += other.objects;
        self.compressed = self.compressed.saturating_add(other.compressed);
        self.unpacked = self.unpacked.saturating_add(other.unpacked);
    }
}

impl Repo {
    /// What a commit weighs, where it says so.
    ///
    /// # Errors
    /// The disk's; metadata that cannot be understood.
    pub fn sizes(&self, commit: &Commit) -> Result<Option<Sizes>> {
        let Some(value) = commit.metadata.get(KEY) else {
            return Ok(None);
        };
        let Value::Array(_, entries) = value else {
            return Err(Error::BadSizes);
        };
        let mut sizes = Sizes::default();
        for entry in entries {
            let entry = entry.as_bytes().and_then(read_entry);
            let (object, weight) = entry.ok_or(Error::BadSizes)?;
            sizes.total.add(weight);
            if !self.has(&object)? {
                sizes.needed.add(weight);
            }
        }
        Ok(Some(sizes))
    }
}

/// The value of the metadata for a tree that is staged or stored in an archive.
pub(crate) fn of_tree(staging: &Staging<'_>, tree: &Checksum, meta: &Checksum) -> Result<Value> {
    let mut objects: Vec<_> = staging.objects_of(tree, meta)?.into_iter().collect();
    objects.sort();
    let mut entries = Vec::with_capacity(objects.len());
    for object in objects {
        let path = staging.path_of(object)?;
        let fs = staging.repo().fs();
        let stored = fs.metadata(&path).doing("look at", &path)?.size;
        let unpacked = match object.kind {
            ObjectKind::File => {
                let file = staging.repo().open_file_at(object, &path)?;
                file.size + file.header.target.len() as u64
            }
            _ => stored,
        };
        let mut entry = object.checksum.as_bytes().to_vec();
        write_number(stored, &mut entry);
        write_number(unpacked, &mut entry);
        entry.push(kind_byte(object.kind));
        entries.push(Value::Bytes(entry));
    }
    Ok(Value::Array(Type::Array(Box::new(Type::Byte)), entries))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for number in [0, 1, 127, 128, 300, u64::MAX] {
            let mut bytes = Vec::new();
            write_number(number, &mut bytes);
            assert_eq!(read_number(&mut bytes.as_slice()), Some(number));
        }
        assert_eq!(read_number(&mut [0x80; 12].as_slice()), None);
        assert_eq!(read_number(&mut [0x80].as_slice()), None);
    }
}
