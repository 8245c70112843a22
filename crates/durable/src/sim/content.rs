//! What a power cut may leave of a file's content.

use std::sync::Arc;

/// A disk writes this many bytes at once, or none of them.
const SECTOR: usize = 512;

/// So many changed sectors are torn in every combination.
const ALL_COMBINATIONS: usize = 4;

/// Most contents listed for one file.
const CONTENTS_MAX: usize = 24;

/// What stands in for bytes that were never written: what lay on the disk.
const GARBAGE: u8 = 0xA5;

/// The contents that may be found when `versions` are what the file held on the
/// disk and after each write since; from nothing written (first) to all written
/// (last), each once, with a word for people.
pub(super) fn torn(versions: &[Arc<Vec<u8>>]) -> Vec<(String, Arc<Vec<u8>>)> {
    let (Some(old), Some(new)) = (versions.first(), versions.last()) else {
        return Vec::new();
    };
    let mut found = Contents(vec![("old content".to_owned(), Arc::clone(old))]);
    for (n, version) in versions.iter().enumerate().take(versions.len() - 1).skip(1) {
        found.add(format!("content after write {n}"), version.to_vec());
    }
    tear_sectors(old, new, &mut found);
    tear_growth(old, new, &mut found);
    found.0.truncate(CONTENTS_MAX - 1);
    found.add("new content".to_owned(), new.to_vec());
    found.0
}

/// Contents without repetition.
struct Contents(Vec<(String, Arc<Vec<u8>>)>);

impl Contents {
    fn add(&mut self, says: String, content: Vec<u8>) {
        // The last one stays last even if it was seen before.
        if says == "new content" {
            self.0.retain(|(_, c)| **c != content);
        }
        if self.0.iter().all(|(_, c)| **c != content) {
            self.0.push((says, Arc::new(content)));
        }
    }
}

/// Sectors that both have and that differ, each old or new.
fn tear_sectors(old: &[u8], new: &[u8], found: &mut Contents) {
    let sector = |content: &[u8], n: usize| {
        let end = ((n + 1) * SECTOR).min(content.len());
        content[(n * SECTOR).min(end)..end].to_vec()
    };
    let common = old.len().min(new.len());
    let changed: Vec<usize> = (0..common.div_ceil(SECTOR))
        .filter(|n| sector(&old[..common], *n) != sector(&new[..common], *n))
        .collect();
    for mask in masks(changed.len()) {
        let mut content = new.to_vec();
        let mut kept = Vec::new();
        for (bit, n) in changed.iter().enumerate() {
            if !mask[bit] {
                let end = ((n + 1) * SECTOR).min(common);
                content[n * SECTOR..end].copy_from_slice(&old[n * SECTOR..end]);
                kept.push(*n);
            }
        }
        found.add(format!("torn: sectors {kept:?} old"), content);
    }
}

/// Which of `n` sectors are new, in each case worth a look.
fn masks(n: usize) -> Vec<Vec<bool>> {
    let mask = |is_new: &dyn Fn(usize) -> bool| (0..n).map(is_new).collect();
    if n <= ALL_COMBINATIONS {
        let mixed = 1..(1usize << n).saturating_sub(1);
        return mixed.map(|m| mask(&|bit| (m & (1 << bit)) != 0)).collect();
    }
    vec![
        mask(&|bit| bit == 0),
        mask(&|bit| bit != 0),
        mask(&|bit| bit + 1 == n),
        mask(&|bit| bit < n / 2),
        mask(&|bit| bit >= n / 2),
        mask(&|bit| bit % 2 == 0),
    ]
}

/// The length reached the disk and the bytes did not, or a part of both did.
fn tear_growth(old: &[u8], new: &[u8], found: &mut Contents) {
    if new.len() <= old.len() {
        return;
    }
    let grown = |fill: u8| {
        let mut content = new[..old.len()].to_vec();
        content.resize(new.len(), fill);
        content
    };
    found.add("new length, zeros".to_owned(), grown(0));
    found.add("new length, garbage".to_owned(), grown(GARBAGE));
    let first_sector = (old.len() / SECTOR + 1) * SECTOR;
    let half = old.len() + (new.len() - old.len()) / 2;
    for cut in [old.len() + 1, first_sector, half, new.len() - 1] {
        if (old.len() + 1..new.len()).contains(&cut) {
            found.add(format!("cut at byte {cut}"), new[..cut].to_vec());
        }
    }
    if first_sector < new.len() {
        let mut content = new[..first_sector].to_vec();
        content.resize(new.len(), 0);
        found.add("first sector, then zeros".to_owned(), content);
        let mut content = grown(0);
        content[first_sector..].copy_from_slice(&new[first_sector..]);
        found.add("zeros, then the rest".to_owned(), content);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(versions: &[&[u8]]) -> Vec<Vec<u8>> {
        let versions: Vec<_> = versions.iter().map(|v| Arc::new(v.to_vec())).collect();
        torn(&versions)
            .into_iter()
            .map(|(_, c)| c.to_vec())
            .collect()
    }

    #[test]
    fn one_sector_is_never_torn() {
        let (old, new) = ([1u8; 512], [2u8; 512]);
        assert_eq!(contents(&[&old, &new]), [old.to_vec(), new.to_vec()]);
    }

    #[test]
    fn two_sectors_are_torn_in_every_way() {
        let mixed = |a: u8, b: u8| [[a; 512], [b; 512]].concat();
        let mut found = contents(&[&mixed(1, 1), &mixed(2, 2)]);
        assert_eq!(found.first(), Some(&mixed(1, 1)));
        assert_eq!(found.last(), Some(&mixed(2, 2)));
        found.sort();
        assert_eq!(found, [mixed(1, 1), mixed(1, 2), mixed(2, 1), mixed(2, 2)]);
    }

    #[test]
    fn a_new_file_may_be_empty_zero_garbage_or_short() {
        let found = contents(&[b"", b"abcdef"]);
        for content in [
            &b""[..],
            b"\0\0\0\0\0\0",
            &[GARBAGE; 6],
            b"a",
            b"abc",
            b"abcdef",
        ] {
            assert!(
                found.iter().any(|c| c == content),
                "{content:?} of {found:?}"
            );
        }
    }

    #[test]
    fn what_was_written_in_between_may_be_found() {
        assert!(contents(&[b"", b"one", b"two"]).contains(&b"one".to_vec()));
    }

    #[test]
    fn the_same_content_is_listed_once() {
        assert_eq!(
            contents(&[b"x", b"y", b"x"]),
            [b"y".to_vec(), b"x".to_vec()]
        );
        assert_eq!(contents(&[b"x", b"x"]), [b"x".to_vec()]);
    }
}
