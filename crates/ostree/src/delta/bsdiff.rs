//! Making a patch in the format of bsdiff.
//!
//! The old file's suffixes are sorted, so that the longest match of any place of the
//! new file is found by halving. Between places that match exactly lies what changed
//! a little, such as addresses in a program: it is kept as differences, which are
//! mostly zero and compress to nearly nothing.

/// The numbers of one block and where its bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    /// Where the differences start in the new file.
    pub(super) new: usize,
    /// Where in the old file.
    pub(super) old: usize,
    /// How many bytes are differences.
    pub(super) differences: usize,
    /// How many bytes that follow in the new file are not in the old one.
    pub(super) extra: usize,
}

/// No match is followed further than this at once: else, on files that repeat
/// themselves, the same bytes would be compared over and over.
const LONGEST: usize = 16 << 10;

/// Sorted suffixes, and where those start that begin with each two bytes.
struct Suffixes<'a> {
    text: &'a [u8],
    sorted: Vec<i32>,
    /// How many suffixes of two bytes and more begin with less than each pair.
    before: Vec<u32>,
    /// The pair that would come right after the suffix that is one byte long.
    lone: usize,
}

fn common(a: &[u8], b: &[u8]) -> usize {
    let len = a.len().min(b.len()).min(LONGEST);
    let chunks = a[..len].chunks_exact(16).zip(b[..len].chunks_exact(16));
    let whole = chunks.take_while(|(a, b)| a == b).count() * 16;
    let rest = a[whole..len].iter().zip(&b[whole..len]);
    whole + rest.take_while(|(a, b)| a == b).count()
}

impl<'a> Suffixes<'a> {
    fn new(text: &'a [u8]) -> Self {
        let mut sorted = vec![0; text.len()];
        divsufsort::sort_in_place(text, &mut sorted);
        let mut counts = vec![0u32; 1 << 16];
        for pair in text.windows(2) {
            counts[usize::from(pair[0]) << 8 | usize::from(pair[1])] += 1;
        }
        let mut before = Vec::with_capacity(counts.len() + 1);
        let mut sum = 0;
        for count in counts {
            before.push(sum);
            sum += count;
        }
        before.push(sum);
        Self {
            text,
            sorted,
            before,
            lone: text.last().map_or(0, |byte| usize::from(*byte) << 8),
        }
    }

    /// Which of the sorted suffixes begin with a pair of bytes.
    fn bucket(&self, pair: usize) -> (usize, usize) {
        // The last byte is a suffix by itself, sorted before those of two bytes.
        let shift = usize::from(self.lone <= pair);
        (
            self.before[pair] as usize + shift,
            self.before[pair + 1] as usize + shift,
        )
    }

    fn suffix(&self, i: usize) -> (usize, &'a [u8]) {
        let at = self.sorted[i] as usize;
        (at, &self.text[at..])
    }

    /// The longest match of the start of `new`: where, and how long.
    fn longest(&self, new: &[u8]) -> (usize, usize) {
        let &[first, second, ..] = new else {
            return (0, 0);
        };
        let pair = usize::from(first) << 8 | usize::from(second);
        let (mut low, mut high) = self.bucket(pair);
        let mut best = (0, 0);
        // What all suffixes between the bounds share with `new`.
        let (mut shared_low, mut shared_high) = (2usize, 2usize);
        while low < high {
            let middle = low + (high - low) / 2;
            let (at, suffix) = self.suffix(middle);
            let skip = shared_low.min(shared_high).min(suffix.len()).min(new.len());
            let len = (skip + common(&suffix[skip..], &new[skip..])).min(LONGEST);
            if len > best.1 {
                best = (at, len);
            }
            if len >= LONGEST {
                break;
            }
            match (suffix.get(len), new.get(len)) {
                (_, None) => break,
                (Some(have), Some(want)) if have > want => {
                    high = middle;
                    shared_high = len;
                }
                _ => {
                    low = middle + 1;
                    shared_low = len;
                }
            }
        }
        best
    }
}

/// How far it is worth to go on from both starts: where the bytes that are equal
/// outnumber the others by most.
fn worth(pairs: impl Iterator<Item = bool>) -> usize {
    let (mut score, mut best, mut len) = (0i64, 0i64, 0);
    for (i, equal) in pairs.enumerate() {
        score += if equal { 1 } else { -1 };
        if score > best {
            (best, len) = (score, i + 1);
        }
    }
    len
}

/// Where an alignment of both files holds: `new` and `old` are the same place.
#[derive(Clone, Copy)]
struct Place {
    new: usize,
    old: usize,
}

impl Place {
    /// Whether the byte at `new` is equal where this alignment has it.
    fn agrees(self, old: &[u8], new: &[u8], at: usize) -> bool {
        let there = (at + self.old).checked_sub(self.new);
        there.and_then(|there| old.get(there)) == Some(&new[at])
    }
}

/// Cuts the new file into blocks.
pub(super) fn blocks(old: &[u8], new: &[u8]) -> Vec<Block> {
    let suffixes = Suffixes::new(old);
    let mut found = Vec::new();
    let mut last = Place { new: 0, old: 0 };
    let mut alignment = last;
    let (mut scan, mut len) = (0, 0);
    while scan < new.len() {
        scan += len;
        let (mut score, mut scored, mut pos) = (0usize, scan, 0);
        while scan < new.len() {
            (pos, len) = suffixes.longest(&new[scan..]);
            while scored < scan + len {
                score += usize::from(alignment.agrees(old, new, scored));
                scored += 1;
            }
            if (len == score && len != 0) || len > score + 8 {
                break;
            }
            // Bytes of which nothing matched have not been scored.
            if scored > scan {
                score -= usize::from(alignment.agrees(old, new, scan));
            }
            scan += 1;
            scored = scored.max(scan);
        }
        if len == score && scan < new.len() {
            continue;
        }
        let next = Place {
            new: scan.min(new.len()),
            old: pos,
        };
        let (block, start) = cut(old, new, last, next);
        found.push(block);
        (last, alignment) = (start, next);
    }
    found
}

/// The block from `last` up to `next`, and where the one after it starts: both
/// alignments are extended into what lies between as far as it is worth.
fn cut(old: &[u8], new: &[u8], last: Place, next: Place) -> (Block, Place) {
    let between = &new[last.new..next.new];
    let forward = between.iter().zip(&old[last.old.min(old.len())..]);
    let mut ahead = worth(forward.map(|(a, b)| a == b));
    let mut back = 0;
    if next.new < new.len() {
        let backward = between.iter().rev().zip(old[..next.old].iter().rev());
        back = worth(backward.map(|(a, b)| a == b));
    }
    let overlap = (ahead + back).saturating_sub(between.len());
    if overlap > 0 {
        let (a, b) = (last.old + ahead - overlap, next.old - back);
        let at = last.new + ahead - overlap;
        let split = split(&new[at..at + overlap], &old[a..], &old[b..]);
        ahead = ahead - overlap + split;
        back -= split;
    }
    let block = Block {
        new: last.new,
        old: last.old,
        differences: ahead,
        extra: between.len() - ahead - back,
    };
    let start = Place {
        new: next.new - back,
        old: next.old - back,
    };
    (block, start)
}

/// How many bytes of an overlap fit better before it.
fn split(new: &[u8], before: &[u8], after: &[u8]) -> usize {
    let (mut score, mut best, mut at) = (0i64, 0i64, 0);
    for (i, byte) in new.iter().enumerate() {
        score += i64::from(before.get(i) == Some(byte));
        score -= i64::from(after.get(i) == Some(byte));
        if score > best {
            (best, at) = (score, i + 1);
        }
    }
    at
}

/// Writes blocks that cover the new file down as a patch.
pub(super) fn write(old: &[u8], new: &[u8], blocks: &[Block]) -> Vec<u8> {
    let mut out = Vec::with_capacity(new.len() + 24 * blocks.len());
    for (i, block) in blocks.iter().enumerate() {
        let next = blocks.get(i + 1);
        let seek = next.map_or(0, |n| n.old as i64 - (block.old + block.differences) as i64);
        for number in [block.differences as i64, block.extra as i64, seek] {
            let sign = u64::from(number < 0) << 63;
            out.extend_from_slice(&(number.unsigned_abs() | sign).to_le_bytes());
        }
        let middle = block.new + block.differences;
        let there = &old[block.old.min(old.len())..];
        let zero = std::iter::repeat(&0);
        let bytes = new[block.new..middle].iter().zip(there.iter().chain(zero));
        out.extend(bytes.map(|(new, old)| new.wrapping_sub(*old)));
        out.extend_from_slice(&new[middle..middle + block.extra]);
    }
    out
}

/// Makes a patch that turns `old` into `new`.
#[must_use]
pub fn diff(old: &[u8], new: &[u8]) -> Vec<u8> {
    write(old, new, &blocks(old, new))
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
    fn there_and_back() {
        let base = noise(100_000, 1);
        let mut addresses = base.clone();
        (0..base.len())
            .step_by(12)
            .for_each(|i| addresses[i] = addresses[i].wrapping_add(16));
        let moved = [&base[60_000..], b"new", &base[..70_000]].concat();
        let zeros = vec![0; 50_000];
        let mut dotted = zeros.clone();
        (0..zeros.len()).step_by(997).for_each(|i| dotted[i] = 1);
        let texts: [&[u8]; 10] = [
            b"",
            b"a",
            b"ab",
            b"aaaa",
            &base,
            &addresses,
            &moved,
            &zeros,
            &dotted,
            &base[..5],
        ];
        for old in texts {
            for new in texts {
                let patch = diff(old, new);
                let made = apply_patch(&patch, old, new.len() as u64).unwrap();
                assert!(made == new, "{} -> {}", old.len(), new.len());
            }
        }
    }

    #[test]
    fn small_changes_are_differences() {
        let base = noise(100_000, 1);
        let mut changed = base.clone();
        (0..base.len())
            .step_by(12)
            .for_each(|i| changed[i] = changed[i].wrapping_add(16));
        let blocks = blocks(&base, &changed);
        let extra: usize = blocks.iter().map(|b| b.extra).sum();
        assert!(extra < 100 && blocks.len() < 10, "{extra} {}", blocks.len());
    }
}
