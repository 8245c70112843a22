//! An answer with many objects, as bytes: what the pieces that arrive mean.
//!
//! It does no I/O, so any bytes can be fed to it, cut anywhere
//! (`docs/formats/many-objects.md`).

use bytes::{Buf, Bytes};

/// How many bytes a length has.
const HEAD: usize = 8;
/// Stands for the length of what is not there.
const ABSENT: u64 = u64::MAX;

/// What an answer says next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManyPart {
    /// The next object is not there.
    Absent,
    /// The next object begins. It has so many bytes, if the server is to be believed.
    Begins(u64),
    /// Some of its bytes, one at least.
    Bytes(Bytes),
    /// All of its bytes came.
    Ends,
}

/// Reads an answer: takes pieces of bytes as they come, and gives out what they say.
///
/// The objects have no names here: they come in the order in which they were asked for,
/// and whoever asked knows how many there are.
#[derive(Debug, Default)]
pub struct ManyAnswer {
    /// What came and was not given out.
    piece: Bytes,
    /// The part of a length that came.
    head: [u8; HEAD],
    known: usize,
    /// How much the open object lacks.
    open: Option<u64>,
}

impl ManyAnswer {
    /// The next bytes of the answer. All of the ones before must have been used up:
    /// [`ManyAnswer::part`] said `None`.
    pub fn feed(&mut self, piece: Bytes) {
        debug_assert!(self.piece.is_empty(), "bytes would be lost");
        self.piece = piece;
    }

    /// What the answer says next; `None`: more bytes are needed to tell.
    pub fn part(&mut self) -> Option<ManyPart> {
        match self.open {
            Some(0) => {
                self.open = None;
                Some(ManyPart::Ends)
            }
            Some(_) if self.piece.is_empty() => None,
            Some(left) => {
                let most = usize::try_from(left).unwrap_or(usize::MAX);
                let bytes = self.piece.split_to(most.min(self.piece.len()));
                self.open = Some(left - bytes.len() as u64);
                Some(ManyPart::Bytes(bytes))
            }
            None => self.begin(),
        }
    }

    /// Reads the length of the next object.
    fn begin(&mut self) -> Option<ManyPart> {
        let some = (HEAD - self.known).min(self.piece.len());
        let known = self.known + some;
        self.piece.copy_to_slice(&mut self.head[self.known..known]);
        self.known = known % HEAD;
        if known < HEAD {
            return None;
        }
        Some(match u64::from_be_bytes(self.head) {
            ABSENT => ManyPart::Absent,
            length => {
                self.open = Some(length);
                ManyPart::Begins(length)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that an answer says when it comes in pieces of a length.
    fn said(answer: &[u8], len: usize) -> Vec<ManyPart> {
        let mut reader = ManyAnswer::default();
        let mut said = Vec::new();
        for piece in answer.chunks(len) {
            reader.feed(Bytes::copy_from_slice(piece));
            while let Some(part) = reader.part() {
                match (said.last_mut(), part) {
                    (Some(ManyPart::Bytes(last)), ManyPart::Bytes(more)) => {
                        *last = [&last[..], &more[..]].concat().into();
                    }
                    (_, part) => said.push(part),
                }
            }
        }
        said
    }

    #[test]
    fn pieces_of_any_length() {
        let answer = [
            &3u64.to_be_bytes()[..],
            b"abc",
            &ABSENT.to_be_bytes(),
            &0u64.to_be_bytes(),
            &9u64.to_be_bytes(),
            b"cut",
        ]
        .concat();
        let expected = [
            ManyPart::Begins(3),
            ManyPart::Bytes(Bytes::from_static(b"abc")),
            ManyPart::Ends,
            ManyPart::Absent,
            ManyPart::Begins(0),
            ManyPart::Ends,
            ManyPart::Begins(9),
            ManyPart::Bytes(Bytes::from_static(b"cut")),
        ];
        for len in 1..=answer.len() {
            assert_eq!(said(&answer, len), expected, "pieces of {len}");
        }
    }

    #[test]
    fn a_length_that_was_cut_is_none() {
        for cut in 0..HEAD {
            assert_eq!(said(&ABSENT.to_be_bytes()[..cut], HEAD), []);
        }
    }
}
