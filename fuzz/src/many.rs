//! Several objects in one answer: what a server sends, and what it is asked.

use bytes::Bytes;
use fetch::{ManyAnswer, ManyPart};

/// Stands for the length of what is not there.
const ABSENT: u64 = u64::MAX;

/// One object of an answer.
#[derive(Debug, PartialEq, Eq)]
enum Object {
    Absent,
    /// Its length as announced, what came of it, whether that was all.
    Came(u64, Vec<u8>, bool),
}

/// An answer that is cut anywhere says the same as one that comes at once: each object
/// has the bytes that were announced for it, in order, and what was cut is not whole.
/// The first byte says how many bytes after it are lengths of pieces.
pub fn answer(bytes: &[u8]) {
    let Some((cuts, rest)) = bytes.split_first() else {
        return;
    };
    let (cuts, answer) = rest.split_at(rest.len().min(usize::from(*cuts)));
    let objects = in_pieces(answer, cuts);
    for object in &objects {
        if let Object::Came(length, content, ended) = object {
            let came = content.len() as u64;
            assert!(came <= *length && *ended == (came == *length));
        }
    }
    assert_eq!(objects, at_once(answer));
}

/// What the reader tells of an answer that comes in pieces.
fn in_pieces(mut answer: &[u8], cuts: &[u8]) -> Vec<Object> {
    let mut reader = ManyAnswer::default();
    let mut objects = Vec::new();
    let mut cuts = cuts.iter();
    while !answer.is_empty() {
        let len = cuts.next().map_or(answer.len(), |cut| usize::from(*cut));
        let (piece, rest) = answer.split_at(len.min(answer.len()));
        answer = rest;
        reader.feed(Bytes::copy_from_slice(piece));
        while let Some(part) = reader.part() {
            match (part, objects.last_mut()) {
                (ManyPart::Absent, _) => objects.push(Object::Absent),
                (ManyPart::Begins(len), _) => objects.push(Object::Came(len, Vec::new(), false)),
                (ManyPart::Bytes(more), Some(Object::Came(_, content, false))) => {
                    assert!(!more.is_empty());
                    content.extend_from_slice(&more);
                }
                (ManyPart::Ends, Some(Object::Came(_, _, ended @ false))) => *ended = true,
                (part, object) => panic!("{part:?} after {object:?}"),
            }
        }
    }
    objects
}

/// What the format's page says of all the bytes.
fn at_once(mut answer: &[u8]) -> Vec<Object> {
    let mut objects = Vec::new();
    while let Some((head, rest)) = answer.split_first_chunk() {
        answer = rest;
        let length = u64::from_be_bytes(*head);
        if length == ABSENT {
            objects.push(Object::Absent);
            continue;
        }
        let here = usize::try_from(length).map_or(rest.len(), |len| len.min(rest.len()));
        let (content, rest) = rest.split_at(here);
        answer = rest;
        objects.push(Object::Came(
            length,
            content.to_vec(),
            here as u64 == length,
        ));
    }
    objects
}

/// Nothing that a server is asked for leads out of the objects.
pub fn query(bytes: &[u8]) {
    let query = String::from_utf8_lossy(bytes);
    let most = 1 + bytes.len() % 64;
    let names = serve::object_names(&query, most).unwrap_or_default();
    assert!(names.len() <= most);
    for name in names {
        let below = name.strip_prefix("objects/").expect("an object");
        assert!(!below.split('/').any(|p| p.is_empty() || p.starts_with('.')));
        assert!(!name.contains('\0'));
    }
}
