//! What two files share: the longest runs of equal bytes.
//!
//! The old file is cut into blocks, and a hash of each is kept. Over the new file
//! rolls a window of the same length; where its hash is that of a block and the
//! bytes are the same, the match grows in both directions as far as it goes. So
//! what is equal is found wherever it moved to, from the first byte to the last, and
//! only what is new costs anything.

/// Equal bytes of both files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// Where in the new file.
    pub new: usize,
    /// Where in the old file.
    pub old: usize,
    /// How many.
    pub len: usize,
}

/// The length of a block, and the shortest match.
const BLOCK: usize = 32;
/// So many blocks with the same hash are tried.
const TRIES: usize = 16;
/// A run this long where it is expected is taken without looking for a longer one.
const ENOUGH: usize = 256;
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15 | 1;

/// The sum that rolls: a polynomial in `FACTOR`, modulo 2^64.
fn sum(block: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| sum.wrapping_mul(FACTOR).wrapping_add(u64::from(*byte) + 1);
    block.iter().fold(0, step)
}

/// The factor with which the oldest byte is in the sum.
fn oldest() -> u64 {
    (1..BLOCK).fold(1u64, |factor, _| factor.wrapping_mul(FACTOR))
}

/// The blocks of the old file by their hashes.
struct Index {
    /// The newest block of each hash, plus one.
    heads: Vec<u32>,
    /// The block with the same hash before each, plus one.
    next: Vec<u32>,
    shift: u32,
}

impl Index {
    fn new(old: &[u8]) -> Self {
        let blocks = old.len() / BLOCK;
        let bits = usize::BITS - blocks.leading_zeros();
        let mut index = Self {
            heads: vec![0; 1 << bits],
            next: vec![0; blocks],
            shift: 64 - bits,
        };
        // From the end, so that the first of several equal blocks is tried first. Of
        // a run of equal blocks, only its first and last count.
        for block in (0..blocks).rev() {
            let at = block * BLOCK;
            let here = &old[at..at + BLOCK];
            let same = |other: usize| old.get(other..other + BLOCK) == Some(here);
            if at >= BLOCK && same(at - BLOCK) && same(at + BLOCK) {
                continue;
            }
            let slot = index.slot(sum(here));
            index.next[block] = index.heads[slot];
            index.heads[slot] = block as u32 + 1;
        }
        index
    }

    fn slot(&self, sum: u64) -> usize {
        (sum.wrapping_mul(0xD6E8_FEB8_6659_FD93) >> self.shift) as usize
    }

    /// Where the blocks with this sum are in the old file, and some others.
    fn candidates(&self, sum: u64) -> impl Iterator<Item = usize> {
        let first = self.heads[self.slot(sum)];
        let chain = std::iter::successors(Some(first), |at| {
            (*at != 0).then(|| self.next[*at as usize - 1])
        });
        chain
            .take_while(|at| *at != 0)
            .take(TRIES)
            .map(|at| (at as usize - 1) * BLOCK)
    }
}

/// How many bytes are the same from the start.
fn common(a: &[u8], b: &[u8]) -> usize {
    let len = a.len().min(b.len());
    let chunks = a[..len].chunks_exact(16).zip(b[..len].chunks_exact(16));
    let whole = chunks.take_while(|(a, b)| a == b).count() * 16;
    let rest = a[whole..len].iter().zip(&b[whole..len]);
    whole + rest.take_while(|(a, b)| a == b).count()
}

/// How many bytes are the same up to the end.
fn common_end(a: &[u8], b: &[u8]) -> usize {
    a.iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(a, b)| a == b)
        .count()
}

/// Finds what the new file has in common with the old one: matches in the order of
/// the new file that do not overlap in it.
#[must_use]
pub fn find_matches(old: &[u8], new: &[u8]) -> Vec<Match> {
    if old.len() < BLOCK || new.len() < BLOCK || old.len() / BLOCK >= u32::MAX as usize {
        return Vec::new();
    }
    let mut finder = Finder {
        old,
        new,
        index: Index::new(old),
        found: Vec::new(),
        free: 0,
    };
    finder.run();
    finder.found
}

struct Finder<'a> {
    old: &'a [u8],
    new: &'a [u8],
    index: Index,
    found: Vec<Match>,
    /// What comes before this in the new file is matched already.
    free: usize,
}

impl Finder<'_> {
    fn run(&mut self) {
        let oldest = oldest();
        let mut at = 0;
        let mut rolling = None;
        while at + BLOCK <= self.new.len() {
            let sum = rolling.unwrap_or_else(|| sum(&self.new[at..at + BLOCK]));
            if let Some(best) = self.best(at, sum) {
                self.found.push(best);
                at = best.new + best.len;
                self.free = at;
                rolling = None;
                continue;
            }
            let (out, into) = (self.new[at], self.new.get(at + BLOCK));
            rolling = into.map(|into| {
                sum.wrapping_sub(oldest.wrapping_mul(u64::from(out) + 1))
                    .wrapping_mul(FACTOR)
                    .wrapping_add(u64::from(*into) + 1)
            });
            at += 1;
        }
    }

    /// The longest match that has the window at `at` in it.
    fn best(&self, at: usize, sum: u64) -> Option<Match> {
        // What went on where the last match ended would go on here.
        let expected = self.found.last().and_then(|last| {
            let after = last.old + last.len + (at - self.free);
            (after < self.old.len()).then_some(after)
        });
        let mut best: Option<Match> = None;
        for candidate in expected.into_iter().chain(self.index.candidates(sum)) {
            let found = self.grow(at, candidate);
            if found.len >= BLOCK && best.is_none_or(|best| found.len > best.len) {
                best = Some(found);
                if Some(candidate) == expected && found.len >= ENOUGH {
                    break;
                }
            }
        }
        best
    }

    /// The match through `new` and `old`, as long as it gets.
    fn grow(&self, new: usize, old: usize) -> Match {
        let forward = common(&self.new[new..], &self.old[old..]);
        if forward < BLOCK {
            return Match { new, old, len: 0 };
        }
        let back = common_end(&self.new[self.free..new], &self.old[..old]);
        Match {
            new: new - back,
            old: old - back,
            len: forward + back,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that do not repeat.
    fn noise(len: usize, mut seed: u64) -> Vec<u8> {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    fn literals(old: &[u8], new: &[u8]) -> usize {
        let found = find_matches(old, new);
        let mut end = 0;
        for m in &found {
            assert!(m.new >= end && m.len >= BLOCK);
            assert_eq!(new[m.new..m.new + m.len], old[m.old..m.old + m.len]);
            end = m.new + m.len;
        }
        new.len() - found.iter().map(|m| m.len).sum::<usize>()
    }

    /// Upstream's issue 2066: one byte at the start costs one byte, as at the end.
    #[test]
    fn a_changed_byte_costs_one_byte_wherever_it_is() {
        let old = noise(4 << 20, 1);
        for at in [0, 1, 31, 100_000, 3_500_000, old.len() - 1] {
            let mut new = old.clone();
            new[at] ^= 0x55;
            let cost = literals(&old, &new);
            // Less than a window is left at an end that has nothing after it.
            assert!(cost <= BLOCK, "{at}: {cost}");
        }
    }

    #[test]
    fn what_moved_is_found() {
        let old = noise(1 << 20, 2);
        let inserted = [&old[..5000], b"inserted", &old[5000..]].concat();
        assert_eq!(literals(&old, &inserted), 8);
        let removed = [&old[..5000], &old[5100..]].concat();
        assert_eq!(literals(&old, &removed), 0);
        let swapped = [&old[500_001..], &old[..500_001]].concat();
        assert_eq!(literals(&old, &swapped), 0);
        assert_eq!(literals(&old, &noise(10_000, 3)), 10_000);
        assert_eq!(literals(&old, &old), 0);
    }

    #[test]
    fn short_and_dull_files() {
        for (old, new, cost) in [
            (&b""[..], &b""[..], 0),
            (b"short", b"short", 5),
            (&[0; 1000], &[0; 5000], 0),
            (&[0; 31], &[0; 31], 31),
        ] {
            assert_eq!(literals(old, new), cost, "{} {}", old.len(), new.len());
        }
        // Quadratic work would take minutes.
        let zeros = vec![0; 4 << 20];
        let mut new = zeros.clone();
        (0..new.len()).step_by(5000).for_each(|at| new[at] = 1);
        assert!(literals(&zeros, &new) < 10_000);
    }
}
