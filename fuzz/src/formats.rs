//! The formats of OSTree: what is read is written the same, to the byte.

use ostree::delta::raw::{apply_patch, unpack_part};
use ostree::delta::{Part, SignedSuperblock, Superblock};
use ostree::{Commit, DirMeta, DirTree, FileHeader, Metadata, Summary, Value};

/// So many bytes may come of a few.
const LONGEST: u64 = 1 << 20;

/// A dictionary of variants: with it, all of the codec.
pub fn metadata(bytes: &[u8]) {
    if let Ok(found) = Metadata::decode(bytes) {
        assert_eq!(found.encode(), bytes);
    }
}

/// GVariant's text form, as given on the command line.
pub fn value_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(value) = Value::parse_text(text) {
        let printed = value.to_string();
        // Its type may be wider there than where a type stood before it.
        Value::parse_text(&printed).unwrap_or_else(|e| panic!("{printed:?}: {e}"));
    }
}

/// Metadata objects and the headers of files; the first byte says which.
pub fn objects(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let again = match kind % 5 {
        0 => Commit::decode(bytes).map(|c| c.encode()),
        1 => DirTree::decode(bytes).map(|t| t.encode()),
        2 => DirMeta::decode(bytes).map(|m| m.encode()),
        3 => FileHeader::decode(bytes).map(|h| h.encode()),
        _ => FileHeader::decode_archive(bytes).map(|(h, size)| h.encode_archive(size)),
    };
    if let Ok(again) = again {
        assert_eq!(again, bytes);
    }
}

/// A repository's summary.
pub fn summary(bytes: &[u8]) {
    if let Ok(found) = Summary::decode(bytes) {
        // Refs may stand there in another order than the one we write.
        let written = found.encode();
        let again = Summary::decode(&written).map(|s| s.encode());
        assert_eq!(again.ok(), Some(written));
    }
}

/// A static delta's superblock, signed or not.
pub fn superblock(bytes: &[u8]) {
    let Ok(signed) = SignedSuperblock::decode(bytes.to_vec()) else {
        return;
    };
    let _ = Superblock::decode(&signed.bytes);
}

/// A static delta's part as it lies in a file, or its payload.
pub fn part(bytes: &[u8]) {
    let payload = unpack_part(bytes, LONGEST);
    let _ = Part::decode_unpacked(payload.unwrap_or_else(|_| bytes.to_vec()));
}

/// A binary patch; the first byte is the length of the old file.
pub fn patch(bytes: &[u8]) {
    let Some((len, rest)) = bytes.split_first() else {
        return;
    };
    let (old, patch) = rest.split_at(rest.len().min(usize::from(*len)));
    if let Ok(new) = apply_patch(patch, old, LONGEST) {
        assert!(new.len() as u64 <= LONGEST);
    }
}
