//! Frames: how a record lies in the journal.
//!
//! A frame is one line: `backstop1 LENGTH CHECKSUM JSON`, the length and the
//! CRC-32 of the JSON in eight hex digits each. The journal is readable with
//! `less`, and a damaged frame can be skipped: the next one begins after a line
//! feed, which JSON never holds.

const MAGIC: &[u8] = b"backstop1 ";
const HEADER: usize = MAGIC.len() + 8 + 1 + 8 + 1;

/// Puts a frame around a record's JSON.
pub(crate) fn encode(json: &[u8]) -> Vec<u8> {
    let header = format!("{:08x} {:08x} ", json.len(), crc32(json));
    let mut frame = MAGIC.to_vec();
    frame.extend_from_slice(header.as_bytes());
    frame.extend_from_slice(json);
    frame.push(b'\n');
    frame
}

/// What a journal's bytes hold.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Frames<'a> {
    /// The whole frames' contents, in order.
    pub contents: Vec<&'a [u8]>,
    /// Where the last whole frame ends. What follows is a torn tail.
    pub end: usize,
    /// Where the first damaged frame lies that whole ones follow.
    pub damaged_at: Option<usize>,
}

/// Finds all whole frames.
pub(crate) fn decode(bytes: &[u8]) -> Frames<'_> {
    let mut frames = Frames::default();
    while frames.end < bytes.len() {
        let start = match frame_at(bytes, frames.end) {
            Some(_) => Some(frames.end),
            None => next_whole(bytes, frames.end),
        };
        let Some((start, content)) = start.and_then(|s| Some((s, frame_at(bytes, s)?))) else {
            break;
        };
        if start != frames.end {
            frames.damaged_at.get_or_insert(frames.end);
        }
        frames.end = start + HEADER + content.len() + 1;
        frames.contents.push(content);
    }
    frames
}

/// The content of the whole frame at `at`, if there is one.
fn frame_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let frame = bytes.get(at..)?;
    let header = frame.get(..HEADER)?.strip_prefix(MAGIC)?;
    let len = hex(header.get(..8)?)? as usize;
    let sum = hex(header.get(9..17)?)?;
    let spaced = header[8] == b' ' && header[17] == b' ';
    let content = frame.get(HEADER..HEADER.checked_add(len)?)?;
    let ended = frame.get(HEADER + len) == Some(&b'\n');
    (spaced && ended && crc32(content) == sum).then_some(content)
}

/// Where the next whole frame after `from` begins.
fn next_whole(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from + 1;
    while at + HEADER < bytes.len() {
        let rest = &bytes[at..];
        at += rest.windows(MAGIC.len()).position(|w| w == MAGIC)?;
        if frame_at(bytes, at).is_some() {
            return Some(at);
        }
        at += 1;
    }
    None
}

fn hex(digits: &[u8]) -> Option<u32> {
    let lower = |d: &u8| d.is_ascii_digit() || (b'a'..=b'f').contains(d);
    if !digits.iter().all(lower) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// CRC-32 (IEEE 802.3).
fn crc32(bytes: &[u8]) -> u32 {
    let fold = |crc: u32, byte: &u8| {
        let index = (crc ^ u32::from(*byte)) & 0xff;
        (crc >> 8) ^ CRC_OF_BYTE[index as usize]
    };
    !bytes.iter().fold(!0, fold)
}

/// What each value of a byte does to the checksum.
const CRC_OF_BYTE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn crc32_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    fn journal(records: &[String]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for record in records {
            bytes.extend(encode(record.as_bytes()));
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    proptest! {
        #[test]
        fn a_cut_journal_holds_the_whole_records_before_the_cut(
            records in prop::collection::vec("[a-z{}\": ]{0,40}", 1..8),
            cut in any::<prop::sample::Index>(),
            zeros in 0usize..40,
        ) {
            let (mut bytes, ends) = journal(&records);
            bytes.truncate(cut.index(bytes.len() + 1));
            let whole = ends.iter().rposition(|end| *end <= bytes.len()).unwrap();
            // A filesystem may have extended the file before the data came.
            bytes.extend(vec![0; zeros]);
            let frames = decode(&bytes);
            prop_assert_eq!(frames.end, ends[whole]);
            prop_assert_eq!(frames.contents.len(), whole);
            prop_assert_eq!(frames.damaged_at, None);
        }

        #[test]
        fn a_flipped_bit_costs_one_record_and_is_noticed(
            records in prop::collection::vec("[a-z]{1,40}", 2..8),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let (mut bytes, ends) = journal(&records);
            // Not in the last record: there it cannot be told from a torn tail.
            let at = at.index(ends[records.len() - 1]);
            bytes[at] ^= 1 << bit;
            let frames = decode(&bytes);
            let hit = ends.iter().rposition(|end| *end <= at).unwrap();
            prop_assert_eq!(frames.contents.len(), records.len() - 1);
            prop_assert_eq!(frames.damaged_at, Some(ends[hit]));
            prop_assert_eq!(frames.end, bytes.len());
        }

        #[test]
        fn any_bytes_can_be_decoded(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(decode(&bytes).end <= bytes.len());
        }
    }
}
