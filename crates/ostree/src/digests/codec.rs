//! The table of digests in memory and in its file (`docs/formats/repository.md`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use durable::Version;

use super::As;
use super::moment::Moment;
use crate::Checksum;

const MAGIC: &[u8; 16] = b"backstop digests";
const FORMAT: u32 = 1;
/// Magic, format, generation, boot, clock, number of entries.
const HEAD: usize = 16 + 4 + 4 + 16 + 8 + 8;
const ENTRY: usize = 8 * 4 + 12 * 2 + 4 * 4 + 32;
const DIGEST: usize = 32;

/// An entry that was of no use in so many rewritings of the table is dropped.
const KEPT: u32 = 8;

/// Which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Inode {
    mount: u64,
    dev: u64,
    ino: u64,
}

impl Inode {
    pub(super) fn of(version: &Version) -> Self {
        Self {
            mount: version.mount,
            dev: version.dev,
            ino: version.ino,
        }
    }
}

/// What is known of a file.
#[derive(Debug)]
pub(super) struct Entry {
    size: u64,
    modified: (i64, u32),
    changed: (i64, u32),
    like: As,
    /// The generation of the table in which it was last new or of use.
    used: AtomicU32,
    checksum: Checksum,
}

impl Entry {
    pub(super) fn new(version: &Version, like: As, checksum: Checksum) -> Self {
        Self {
            size: version.size,
            modified: version.modified,
            changed: version.changed,
            like,
            used: 0.into(),
            checksum,
        }
    }

    fn is(&self, version: &Version, like: As) -> bool {
        self.size == version.size
            && self.modified == version.modified
            && self.changed == version.changed
            && self.like == like
    }
}

/// All that is known.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) moment: Moment,
    generation: u32,
    entries: HashMap<Inode, Entry>,
}

impl Table {
    /// One with nothing in it.
    pub(super) fn new(moment: Moment) -> Self {
        Self {
            moment,
            generation: 0,
            entries: HashMap::new(),
        }
    }

    pub(super) fn find(&self, version: &Version, like: As) -> Option<Checksum> {
        let entry = self.entries.get(&Inode::of(version))?;
        if !entry.is(version, like) {
            return None;
        }
        entry.used.store(self.generation + 1, Ordering::Relaxed);
        Some(entry.checksum)
    }

    /// Adds what was learned, and drops what was long of no use.
    pub(super) fn take_in(&mut self, learned: HashMap<Inode, Entry>) {
        self.generation += 1;
        let generation = self.generation;
        self.entries
            .retain(|_, e| e.used.get_mut().saturating_add(KEPT) > generation);
        for (inode, mut entry) in learned {
            *entry.used.get_mut() = generation;
            self.entries.insert(inode, entry);
        }
    }

    /// As it is in the file: sorted, so that the same table gives the same bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD + self.entries.len() * ENTRY + DIGEST);
        out.extend(MAGIC);
        out.extend(FORMAT.to_le_bytes());
        out.extend(self.generation.to_le_bytes());
        out.extend(self.moment.boot.to_le_bytes());
        out.extend(self.moment.ahead.to_le_bytes());
        out.extend((self.entries.len() as u64).to_le_bytes());
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|(inode, _)| **inode);
        for (inode, entry) in entries {
            write(&mut out, inode, entry);
        }
        let digest = Checksum::of(&out);
        out.extend(digest.as_bytes());
        out
    }

    /// Reads one; `None` where it is cut off, damaged, or in another format.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let end = bytes.len().checked_sub(DIGEST)?;
        let (content, digest) = bytes.split_at(end);
        if Checksum::of(content).as_bytes() != digest {
            return None;
        }
        let mut reader = Reader(content);
        if reader.take::<16>()? != *MAGIC || reader.u32()? != FORMAT {
            return None;
        }
        let generation = reader.u32()?;
        let boot = u128::from_le_bytes(reader.take()?);
        let ahead = i64::from_le_bytes(reader.take()?);
        let count = reader.u64()?;
        if count.checked_mul(ENTRY as u64) != Some(reader.0.len() as u64) {
            return None;
        }
        if generation == u32::MAX {
            return None;
        }
        let mut entries = HashMap::with_capacity(reader.0.len() / ENTRY);
        let mut last = None;
        while !reader.0.is_empty() {
            let (inode, mut entry) = reader.entry()?;
            if last.is_some_and(|last| last >= inode) || *entry.used.get_mut() > generation {
                return None;
            }
            last = Some(inode);
            entries.insert(inode, entry);
        }
        Some(Self {
            moment: Moment { boot, ahead },
            generation,
            entries,
        })
    }
}

/// The highest bit of the mode's field, which no mode has.
const WITH_XATTRS: u32 = 1 << 31;

fn write(out: &mut Vec<u8>, inode: &Inode, entry: &Entry) {
    for number in [inode.mount, inode.dev, inode.ino, entry.size] {
        out.extend(number.to_le_bytes());
    }
    for (seconds, nanos) in [entry.modified, entry.changed] {
        out.extend(seconds.to_le_bytes());
        out.extend(nanos.to_le_bytes());
    }
    let xattrs = if entry.like.xattrs { WITH_XATTRS } else { 0 };
    let mode = (entry.like.mode & !WITH_XATTRS) | xattrs;
    // A use since it was read is not known to the generation that is written.
    let used = entry.used.load(Ordering::Relaxed);
    for number in [entry.like.uid, entry.like.gid, mode, used] {
        out.extend(number.to_le_bytes());
    }
    out.extend(entry.checksum.as_bytes());
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take()?))
    }

    fn time(&mut self) -> Option<(i64, u32)> {
        Some((i64::from_le_bytes(self.take()?), self.u32()?))
    }

    fn entry(&mut self) -> Option<(Inode, Entry)> {
        let inode = Inode {
            mount: self.u64()?,
            dev: self.u64()?,
            ino: self.u64()?,
        };
        let size = self.u64()?;
        let (modified, changed) = (self.time()?, self.time()?);
        let (uid, gid, mode, used) = (self.u32()?, self.u32()?, self.u32()?, self.u32()?);
        let like = As {
            uid,
            gid,
            mode: mode & !WITH_XATTRS,
            xattrs: mode & WITH_XATTRS != 0,
        };
        let checksum = Checksum::from_bytes(self.take()?);
        let entry = Entry {
            size,
            modified,
            changed,
            like,
            used: used.into(),
            checksum,
        };
        Some((inode, entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment {
        boot: 1 << 90,
        ahead: -5,
    };
    const LIKE: As = As {
        uid: 0,
        gid: 5,
        mode: 0o100_644,
        xattrs: true,
    };

    fn version(ino: u64) -> Version {
        Version {
            mount: 1 << 33,
            dev: 66,
            ino,
            size: 10,
            modified: (1, 2),
            changed: (3, 4),
        }
    }

    fn with(inos: &[u64]) -> Table {
        let mut table = Table::new(NOW);
        table.take_in(learned(inos));
        table
    }

    fn learned(inos: &[u64]) -> HashMap<Inode, Entry> {
        let entry = |ino: u64| {
            let checksum = Checksum::of(&ino.to_le_bytes());
            let version = version(ino);
            (Inode::of(&version), Entry::new(&version, LIKE, checksum))
        };
        inos.iter().map(|ino| entry(*ino)).collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let bytes = with(&[3, 1, 2]).encode();
        assert_eq!(bytes.len(), HEAD + 3 * ENTRY + DIGEST);
        let read = Table::decode(&bytes).unwrap();
        assert_eq!(read.moment, NOW);
        assert_eq!(read.encode(), bytes);
        for ino in [1, 2, 3] {
            let found = read.find(&version(ino), LIKE);
            assert_eq!(found, Some(Checksum::of(&ino.to_le_bytes())));
        }
        assert_eq!(read.find(&version(4), LIKE), None);
    }

    #[test]
    fn whatever_is_different_is_not_known() {
        let table = with(&[1]);
        let v = version(1);
        for other in [
            Version { mount: 8, ..v },
            Version { dev: 8, ..v },
            Version { ino: 8, ..v },
            Version { size: 8, ..v },
            Version {
                modified: (1, 8),
                ..v
            },
            Version {
                modified: (8, 2),
                ..v
            },
            Version {
                changed: (3, 8),
                ..v
            },
            Version {
                changed: (8, 4),
                ..v
            },
        ] {
            assert_eq!(table.find(&other, LIKE), None, "{other:?}");
        }
        for like in [
            As { uid: 8, ..LIKE },
            As { gid: 8, ..LIKE },
            As {
                mode: 0o100_755,
                ..LIKE
            },
            As {
                xattrs: false,
                ..LIKE
            },
        ] {
            assert_eq!(table.find(&v, like), None, "{like:?}");
        }
        assert!(table.find(&v, LIKE).is_some());
    }

    #[test]
    fn damage_is_noticed() {
        let bytes = with(&[1, 2]).encode();
        for cut in 0..bytes.len() {
            assert!(Table::decode(&bytes[..cut]).is_none(), "cut to {cut}");
        }
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x40;
            assert!(Table::decode(&bytes).is_none(), "flipped at {at}");
        }
    }

    #[test]
    fn a_count_that_would_need_all_memory_is_refused() {
        let mut bytes = with(&[]).encode();
        bytes.truncate(HEAD);
        bytes[HEAD - 8..].copy_from_slice(&u64::MAX.to_le_bytes());
        let digest = Checksum::of(&bytes);
        bytes.extend(digest.as_bytes());
        assert!(Table::decode(&bytes).is_none());
    }

    #[test]
    fn what_is_of_no_use_for_long_is_dropped() {
        let mut table = with(&[1, 2]);
        for round in 0..KEPT + 2 {
            assert!(table.find(&version(1), LIKE).is_some(), "{round}");
            table.take_in(learned(&[100 + u64::from(round)]));
            // Through the file, as it is between two commits.
            table = Table::decode(&table.encode()).unwrap();
        }
        assert_eq!(table.find(&version(2), LIKE), None);
        assert!(table.find(&version(1), LIKE).is_some());
        assert_eq!(table.entries.len(), 1 + KEPT as usize);
    }
}
