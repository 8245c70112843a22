//! Static deltas that somebody tampered with, and bytes that never were any.

use std::fs;
use std::time::{Duration, Instant};

use monitor::Silent;
use ostree::delta::raw::{apply_patch, diff, find_matches, unpack_part};
use ostree::delta::{
    ApplyOptions, DeltaError, DeltaName, DeltaOptions, Part, PartError, PartHeader,
    SignedSuperblock, Superblock,
};
use ostree::{Checksum, Error, FsckOptions, ObjectKind, ObjectName, Repo, RepoMode};
use proptest::prelude::*;

use crate::delta::Story;

/// Numbers of no particular kind, the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % sides.max(1)
    }

    /// Changes, cuts, repeats or adds some bytes.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.roll(3) {
            let at = self.roll(bytes.len());
            match self.roll(6) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, self.roll(256) as u8),
                2 if !bytes.is_empty() => drop(bytes.remove(at)),
                3 => bytes.extend_from_within(at..(at + 9).min(bytes.len())),
                4 if !bytes.is_empty() => bytes[at] ^= 1 << self.roll(8),
                _ if !bytes.is_empty() => bytes[at] = self.roll(256) as u8,
                _ => {}
            }
        }
    }
}

/// A delta of small files, its superblock and its part's payload.
struct Small {
    story: Story,
    dir: std::path::PathBuf,
    block: Superblock,
    payload: Vec<u8>,
}

impl Small {
    fn new() -> Self {
        let story = Story::new(RepoMode::BareUser);
        let options = DeltaOptions {
            min_fallback_size: 0,
            ..DeltaOptions::default()
        };
        let dir = story.generate(DeltaName::new(Some(story.old), story.new), &options);
        let block = Superblock::decode(&fs::read(dir.join("superblock")).unwrap()).unwrap();
        let payload = unpack_part(&fs::read(dir.join("0")).unwrap(), 1 << 30).unwrap();
        Self {
            story,
            dir,
            block,
            payload,
        }
    }

    /// Writes a delta whose part has this payload, with digest and size to match.
    fn plant(&self, payload: &[u8], set: impl Fn(&mut Superblock)) {
        let file = [&[0], payload].concat();
        let mut block = self.block.clone();
        block.parts[0].checksum = Checksum::of(&file);
        block.parts[0].size = file.len() as u64;
        set(&mut block);
        fs::write(self.dir.join("superblock"), block.encode()).unwrap();
        fs::write(self.dir.join("0"), file).unwrap();
    }

    fn apply(&self, to: &Repo) -> Option<Error> {
        to.apply_delta(&self.dir, &ApplyOptions::default(), &Silent)
            .err()
    }
}

fn clean(repo: &Repo) -> bool {
    repo.fsck(&FsckOptions::default(), &Silent)
        .unwrap()
        .is_clean()
}

/// Whatever is done to a part that its digest covers, nothing wrong comes in.
#[test]
fn mutated_parts() {
    let small = Small::new();
    let to = small.story.behind("to", RepoMode::BareUser);
    let mut dice = Dice(7);
    let start = Instant::now();
    let mut refused = 0;
    while start.elapsed() < Duration::from_secs(4) && refused < 400 {
        let mut payload = small.payload.clone();
        if dice.roll(2) == 0 {
            dice.mutate(&mut payload);
        } else {
            // The operations are at the end.
            let mut tail = payload.split_off(payload.len() - 400);
            dice.mutate(&mut tail);
            payload.extend(tail);
        }
        small.plant(&payload, |_| ());
        if small.apply(&to).is_none() {
            // What was changed did not matter, such as unused data.
            assert!(clean(&to));
            break;
        }
        refused += 1;
        assert!(to.load_commit(&small.story.new).is_err());
    }
    assert!(refused > 3);
    assert!(clean(&to));
}

#[test]
fn mutated_superblocks() {
    let small = Small::new();
    let to = small.story.behind("to", RepoMode::BareUser);
    let superblock = small.dir.join("superblock");
    let good = fs::read(&superblock).unwrap();
    let mut dice = Dice(11);
    let start = Instant::now();
    for _ in 0..3000 {
        if start.elapsed() > Duration::from_secs(3) {
            break;
        }
        let mut bytes = good.clone();
        dice.mutate(&mut bytes);
        if let Ok(found) = Superblock::decode(&bytes) {
            assert_eq!(found.encode(), bytes);
        }
        if dice.roll(20) == 0 {
            fs::write(&superblock, &bytes).unwrap();
            if small.apply(&to).is_none() {
                break;
            }
            assert!(to.load_commit(&small.story.new).is_err());
        }
    }
    assert!(clean(&to));
}

/// One lie each, and the answer to it.
#[test]
fn lies() {
    let small = Small::new();
    let to = small.story.behind("to", RepoMode::BareUser);
    let plain = small.payload.clone();
    let rogue = ObjectName::new(Checksum::of(b"x"), ObjectKind::Commit);
    type Lie = (&'static str, fn(&mut Superblock, ObjectName), &'static str);
    let lies: [Lie; 9] = [
        ("size", |b, _| b.parts[0].size += 1, "bytes long"),
        ("digest", |b, r| b.parts[0].checksum = r.checksum, "digest"),
        ("version", |b, _| b.parts[0].version = 1, "version 1"),
        (
            "fewer objects",
            |b, _| b.parts[0].objects.truncate(1),
            "more objects",
        ),
        (
            "more objects",
            |b, r| b.parts[0].objects.push(r),
            "fewer objects",
        ),
        ("other objects", |b, _| b.parts[0].objects.reverse(), ""),
        ("a commit", |b, r| b.parts[0].objects[0] = r, "digest"),
        ("no parts", |b, _| b.parts.clear(), "does not hold all"),
        (
            "no source",
            |b, r| b.name.from = Some(r.checksum),
            "starts from",
        ),
    ];
    for (what, lie, says) in lies {
        small.plant(&plain, |block| lie(block, rogue));
        let error = small
            .apply(&to)
            .unwrap_or_else(|| panic!("{what} was believed"));
        let mut text = format!("{error}");
        let mut source = std::error::Error::source(&error);
        while let Some(e) = source {
            text += &format!(": {e}");
            source = e.source();
        }
        assert!(text.contains(says), "{what}: {text}");
        assert!(to.load_commit(&small.story.new).is_err(), "{what}");
    }
    small.plant(&plain, |_| ());
    assert!(small.apply(&to).is_none());
    assert!(clean(&to));
}

/// A part of some kilobytes that unpacks to gigabytes.
#[test]
fn a_bomb() {
    let small = Small::new();
    let zeros = vec![0u8; 64 << 20];
    let file = lzma(&zeros);
    assert!(file.len() < 64 << 10);
    let header = PartHeader {
        version: 0,
        checksum: Checksum::of(&file),
        size: file.len() as u64,
        unpacked: 1 << 20,
        objects: vec![ObjectName::new(Checksum::of(b""), ObjectKind::File)],
    };
    let error = Part::decode(&header, &file).unwrap_err();
    assert!(matches!(error, PartError::TooLong(_)), "{error:?}");
    drop(small);
}

/// A part as a file: compressed, whatever it holds.
fn lzma(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut writer = lzma_rust2::XzWriter::new(vec![b'x'], options).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

#[test]
fn unknown_compression_and_cut_streams() {
    let file = lzma(b"something");
    for (bytes, what) in [
        (vec![], "nothing"),
        (vec![b'g', 1, 2], "gzip"),
        (vec![b'x'], "no stream"),
        (file[..file.len() / 2].to_vec(), "half"),
        (file[..file.len() - 1].to_vec(), "all but one"),
        ([&file[..], b"more"].concat(), "more"),
    ] {
        assert!(unpack_part(&bytes, 1 << 20).is_err(), "{what}");
    }
    assert_eq!(unpack_part(&file, 1 << 20).unwrap(), b"something");
}

/// An old file that is a symlink would lead out of the repository.
#[test]
fn a_source_that_is_a_symlink() {
    if !crate::sandbox::is_root() && !testing::nothing_lacks(&["root"]) {
        return;
    }
    let story = Story::new(RepoMode::Bare);
    let listed = story
        .repo
        .list(&story.old, "absolute".as_ref(), false)
        .unwrap();
    let ostree::Item::File { checksum, .. } = listed[0].item else {
        panic!("{listed:?}");
    };
    let options = DeltaOptions {
        min_fallback_size: 0,
        ..DeltaOptions::default()
    };
    let dir = story.generate(DeltaName::new(Some(story.old), story.new), &options);
    let mut block = Superblock::decode(&fs::read(dir.join("superblock")).unwrap()).unwrap();
    let mut payload = unpack_part(&fs::read(dir.join("0")).unwrap(), 1 << 30).unwrap();
    let part = Part::decode_unpacked(payload.clone()).unwrap();
    let (recipes, _) = part.recipes(&block.parts[0]).unwrap();
    let source = recipes.iter().find_map(|r| match &r.target {
        ostree::delta::Target::File {
            content: ostree::delta::Content::Patch(from, _),
            ..
        } => Some(*from),
        _ => None,
    });
    let source = source.unwrap();
    let at = payload
        .windows(32)
        .position(|w| w == source.as_bytes())
        .unwrap();
    payload[at..at + 32].copy_from_slice(checksum.as_bytes());
    let file = [&[0][..], &payload].concat();
    block.parts[0].checksum = Checksum::of(&file);
    block.parts[0].size = file.len() as u64;
    fs::write(dir.join("superblock"), block.encode()).unwrap();
    fs::write(dir.join("0"), file).unwrap();
    let to = story.behind("to", RepoMode::Bare);
    let error = to
        .apply_delta(&dir, &ApplyOptions::default(), &Silent)
        .unwrap_err();
    let Error::Delta(DeltaError::Part { source, .. }) = error else {
        panic!("{error:?}");
    };
    assert!(source.to_string().contains("symlink"), "{source}");
}

fn header(objects: Vec<ObjectName>) -> PartHeader {
    PartHeader {
        version: 0,
        checksum: Checksum::of(b""),
        size: 0,
        unpacked: 0,
        objects,
    }
}

/// A payload around a program: one mode, no attributes, a kilobyte of data.
fn payload(operations: &[u8]) -> Vec<u8> {
    use ostree::gvariant::{Layout, Writer};
    let modes = Layout {
        align: 4,
        fixed: Some(12),
    };
    let members = [
        Layout::variable(4),
        Layout::BYTES,
        Layout::BYTES,
        Layout::BYTES,
    ];
    let mut w = Writer::new();
    w.tuple(&members, |w, i| match i {
        0 => w.array(modes, [0o100_644], |w, mode| {
            w.u32_be(0);
            w.u32_be(0);
            w.u32_be(mode);
        }),
        1 => w.array(Layout::BYTES, [()], |_, ()| ()),
        2 => w.raw(&[7; 1024]),
        _ => w.raw(operations),
    });
    w.finish()
}

#[test]
fn programs_that_make_no_sense() {
    let file = ObjectName::new(Checksum::of(b"file"), ObjectKind::File);
    let tree = ObjectName::new(Checksum::of(b"tree"), ObjectKind::DirTree);
    let cases: [(&[ObjectName], &[u8], &str); 20] = [
        (&[file], b"S\0\0\x04\0", ""),
        (&[tree], b"S\x04\0", ""),
        (&[file], b"o\0\0\x04w\x04\0c", ""),
        (&[file], b"r\0o\0\0\x04w\x04\x7fc", ""),
        (&[file], b"", "fewer objects"),
        (&[], b"S\0\0\x04\0", "more objects"),
        (&[file], b"Z", "no such operation"),
        (&[file], b"S\0\0\x04", "cut short"),
        (&[file], b"S\x01\0\x04\0", "no such mode"),
        (&[file], b"S\0\x01\x04\0", "no such extended"),
        (
            &[file],
            b"S\0\0\x04\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            "outside",
        ),
        (&[file], b"S\0\0\x80\x08\x01", "outside"),
        (
            &[file],
            b"S\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\0",
            "cut short or too",
        ),
        (&[tree], b"o\0\0\x04w\x04\0c", "another object"),
        (&[file], b"o\0\0\x04w\x05\0c", "beyond the size"),
        (&[file], b"o\0\0\x04w\x03\0c", "before its size"),
        (&[file], b"o\0\0\x04", "within a file"),
        (&[file], b"w\x04\0", "no file is open"),
        (&[file], b"o\0\0\x04B\0\x04c", "without a source"),
        (&[file], b"r\xff\x07", "outside"),
    ];
    for (objects, operations, says) in cases {
        let part = Part::decode_unpacked(payload(operations)).unwrap();
        match part.recipes(&header(objects.to_vec())) {
            Ok((recipes, _)) => assert!(says.is_empty() && recipes.len() == 1, "{operations:?}"),
            Err(e) => {
                let text = e.to_string();
                assert!(
                    !says.is_empty() && text.contains(says),
                    "{operations:?}: {text}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_program(operations in proptest::collection::vec(
        prop_oneof![Just(b'S'), Just(b'o'), Just(b'w'), Just(b'r'), Just(b'R'), Just(b'c'),
            Just(b'B'), 0u8..4, any::<u8>()], 0..60)) {
        let objects = vec![ObjectName::new(Checksum::of(b""), ObjectKind::File); 4];
        let part = Part::decode_unpacked(payload(&operations)).unwrap();
        let _ = part.recipes(&header(objects));
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Part::decode_unpacked(bytes.clone());
        let _ = unpack_part(&bytes, 1 << 16);
        let _ = Superblock::decode(&bytes);
        if let Ok(signed) = SignedSuperblock::decode(bytes.clone()) {
            prop_assert_eq!(signed.encode(), bytes.clone());
        }
        if let Ok(made) = apply_patch(&bytes, b"some old file", 100) {
            prop_assert_eq!(made.len(), 100);
        }
    }

    #[test]
    fn any_two_files(old in proptest::collection::vec(0u8..4, 0..400),
                     new in proptest::collection::vec(0u8..4, 0..400)) {
        let patch = diff(&old, &new);
        prop_assert!(apply_patch(&patch, &old, new.len() as u64).unwrap() == new);
        let mut end = 0;
        for m in find_matches(&old, &new) {
            prop_assert!(m.new >= end);
            prop_assert_eq!(&new[m.new..m.new + m.len], &old[m.old..m.old + m.len]);
            end = m.new + m.len;
        }
        prop_assert!(end <= new.len());
    }

    #[test]
    fn any_edit(seed in any::<u64>(), edits in proptest::collection::vec(
        (0usize..5000, proptest::collection::vec(any::<u8>(), 0..50), 0usize..50), 0..6)) {
        let old = crate::delta::noise(5000, seed);
        let mut new = old.clone();
        for (at, put, gone) in edits {
            let at = at.min(new.len());
            let end = (at + gone).min(new.len());
            new.splice(at..end, put);
        }
        let patch = diff(&old, &new);
        prop_assert!(apply_patch(&patch, &old, new.len() as u64).unwrap() == new);
    }
}
