//! How one file is best made of another: by copying what is equal, or by a patch.

use super::bsdiff::{Block, blocks, write};
use super::matching::{Match, find_matches};

/// How a file is made of an old one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Encoded {
    /// It has too little in common with it: its content as it is.
    Whole,
    /// These are copied, and the rest is new.
    Copies(Vec<Match>),
    /// A patch.
    Patch(Vec<u8>),
}

/// About what a copy costs, after compression: its own operation, and that of the
/// new bytes before it.
const COPY: usize = 14;
/// About what the numbers of a block cost.
const BLOCK: usize = 8;
/// About what one place costs where differences are not zero.
const PLACE: usize = 3;
/// So many zeros cost about a byte.
const ZEROS: usize = 6000;

/// Sorting a file's suffixes is only tried where more than this share of the new
/// file, or these many bytes, would else be new.
const NEW_SHARE: usize = 400;
const NEW_BYTES: usize = 256;

fn copies_cost(matches: &[Match], len: usize) -> usize {
    let copied: usize = matches.iter().map(|m| m.len).sum();
    len - copied + COPY * matches.len()
}

fn patch_cost(old: &[u8], new: &[u8], blocks: &[Block]) -> usize {
    let mut cost = new.len() / ZEROS;
    for block in blocks {
        cost += BLOCK + block.extra;
        let there = &old[block.old.min(old.len())..];
        let here = &new[block.new..block.new + block.differences];
        let mut within = false;
        let same = here.iter().zip(there).map(|(a, b)| a == b);
        for same in same {
            cost += if same {
                0
            } else {
                1 + usize::from(!within) * PLACE
            };
            within = !same;
        }
    }
    cost
}

/// Blocks of matches: between two of the same alignment are differences, between
/// others what is new.
fn blocks_of(matches: &[Match], old_len: usize, new_len: usize) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut current = Block {
        new: 0,
        old: 0,
        differences: 0,
        extra: 0,
    };
    for m in matches {
        let end = current.new + current.differences;
        let same = m.new + current.old == m.old + current.new;
        if same {
            current.differences = m.new + m.len - current.new;
            continue;
        }
        current.extra = m.new - end;
        found.push(current);
        current = Block {
            new: m.new,
            old: m.old,
            differences: m.len,
            extra: 0,
        };
    }
    let end = current.new + current.differences;
    // What is left is as likely as not the same with a few bytes changed.
    let left = new_len - end;
    let there = old_len.saturating_sub(current.old + current.differences);
    current.differences += left.min(there);
    current.extra = left - left.min(there);
    found.push(current);
    found
}

/// Chooses how `new` is made of `old`, with a patch if that may be.
pub(super) fn encode(old: &[u8], new: &[u8], patches: bool) -> Encoded {
    let matches = find_matches(old, new);
    let by_copies = copies_cost(&matches, new.len());
    let mut best = (new.len() - new.len() / 16, Encoded::Whole);
    let mut consider = |cost: usize, make: &dyn Fn() -> Encoded| {
        if cost < best.0 {
            best = (cost, make());
        }
    };
    consider(by_copies, &|| Encoded::Copies(matches.clone()));
    if patches && i32::try_from(old.len()).is_ok() {
        let rough = blocks_of(&matches, old.len(), new.len());
        let by_rough = patch_cost(old, new, &rough);
        consider(by_rough, &|| Encoded::Patch(write(old, new, &rough)));
        let worth = by_copies.min(by_rough) > NEW_BYTES.max(new.len() / NEW_SHARE);
        if worth && !old.is_empty() {
            let fine = blocks(old, new);
            let by_fine = patch_cost(old, new, &fine);
            consider(by_fine, &|| Encoded::Patch(write(old, new, &fine)));
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::patch::apply_patch;

    fn noise(len: usize, mut seed: u64) -> Vec<u8> {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn what_is_chosen() {
        let old = noise(300_000, 1);
        let mut one = old.clone();
        one[70_000] ^= 1;
        let mut addresses = old.clone();
        (0..old.len())
            .step_by(16)
            .for_each(|i| addresses[i] ^= 0x10);
        let moved = [&old[100_000..], &old[..100_000]].concat();
        let other = noise(300_000, 9);
        for (new, patches, wanted) in [
            (&one, true, "copies"),
            (&one, false, "copies"),
            (&addresses, true, "patch"),
            (&addresses, false, "whole"),
            (&moved, true, "copies"),
            (&other, true, "whole"),
            (&other, false, "whole"),
        ] {
            let found = encode(&old, new, patches);
            let name = match &found {
                Encoded::Whole => "whole",
                Encoded::Copies(_) => "copies",
                Encoded::Patch(patch) => {
                    let made = apply_patch(patch, &old, new.len() as u64).unwrap();
                    assert!(made == *new);
                    "patch"
                }
            };
            assert_eq!(name, wanted);
        }
    }

    #[test]
    fn blocks_of_matches_make_the_file() {
        let old = noise(50_000, 1);
        let mut edited = old.clone();
        edited[3] ^= 1;
        edited[20_000] ^= 1;
        let longer = [&edited[..], b"and more"].concat();
        let shorter = edited[..49_990].to_vec();
        let moved = [&edited[30_000..], b"xyz", &edited[..30_000]].concat();
        for new in [edited, longer, shorter, moved, old.clone(), Vec::new()] {
            let matches = find_matches(&old, &new);
            let blocks = blocks_of(&matches, old.len(), new.len());
            let patch = write(&old, &new, &blocks);
            assert!(apply_patch(&patch, &old, new.len() as u64).unwrap() == new);
        }
    }
}
