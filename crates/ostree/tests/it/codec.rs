//! The codec reads what it writes, and nothing that it would not write.

use ostree::gvariant::Type;
use ostree::{
    Checksum, Commit, DirMeta, DirRef, DirTree, FileHeader, FileRef, Metadata, Value, Xattrs,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

fn checksum() -> impl Strategy<Value = Checksum> {
    any::<[u8; 32]>().prop_map(Checksum::from_bytes)
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_ äß\n-][a-z.ö]{0,20}"
}

fn text() -> impl Strategy<Value = String> {
    vec(any::<char>().prop_filter("NUL", |c| *c != '\0'), 0..20)
        .prop_map(|chars| chars.into_iter().collect())
}

fn xattrs() -> impl Strategy<Value = Xattrs> {
    let attribute = (vec(1..=255u8, 1..12), vec(any::<u8>(), 0..40));
    vec(attribute, 0..4).prop_map(|mut found| {
        found.dedup_by(|a, b| a.0 == b.0);
        let mut seen = std::collections::HashSet::new();
        found.retain(|(name, _)| seen.insert(name.clone()));
        Xattrs::new(found)
    })
}

fn dirtree() -> impl Strategy<Value = DirTree> {
    // Enough names for offsets of one and of two bytes.
    (
        btree_set(name(), 0..24),
        any::<u64>(),
        checksum(),
        checksum(),
    )
        .prop_map(|(names, split, tree, meta)| {
            let mut all = DirTree::default();
            for (i, name) in names.into_iter().enumerate() {
                if split >> (i % 64) & 1 == 0 {
                    let checksum = Checksum::of(name.as_bytes());
                    all.files.push(FileRef { name, checksum });
                } else {
                    all.dirs.push(DirRef { name, tree, meta });
                }
            }
            all
        })
}

fn dirmeta() -> impl Strategy<Value = DirMeta> {
    (any::<u32>(), any::<u32>(), 0..0o10000u32, xattrs()).prop_map(|(uid, gid, mode, xattrs)| {
        let mode = 0o040_000 | mode;
        DirMeta {
            uid,
            gid,
            mode,
            xattrs,
        }
    })
}

fn header() -> impl Strategy<Value = FileHeader> {
    let target = text().prop_filter("empty", |t| !t.is_empty());
    (
        any::<u32>(),
        any::<u32>(),
        0..0o10000u32,
        prop::option::of(target),
        xattrs(),
    )
        .prop_map(|(uid, gid, mode, target, xattrs)| FileHeader {
            uid,
            gid,
            mode: mode
                | if target.is_some() {
                    0o120_000
                } else {
                    0o100_000
                },
            target: target.unwrap_or_default(),
            xattrs,
        })
}

/// Values of many types: what elements an array has, all have.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<u8>().prop_map(Value::Byte),
        any::<[u8; 2]>().prop_map(|b| Value::Number(b'q', b.to_vec())),
        any::<[u8; 4]>().prop_map(|b| Value::Number(b'u', b.to_vec())),
        any::<[u8; 8]>().prop_map(|b| Value::Number(b't', b.to_vec())),
        text().prop_map(Value::Text),
        vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
        vec(text(), 0..40).prop_map(Value::texts),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|v| Value::Variant(Box::new(v))),
            vec(inner.clone(), 0..4).prop_map(Value::Tuple),
            inner
                .clone()
                .prop_map(|v| Value::Maybe(v.value_type(), Some(Box::new(v)))),
            inner
                .clone()
                .prop_map(|v| Value::Maybe(v.value_type(), None)),
            (inner.clone(), 0..5usize).prop_filter_map("bytes have their own kind", |(v, n)| {
                let of = v.value_type();
                (of != Type::Byte).then(|| Value::Array(of, vec![v; n]))
            }),
            (text(), inner)
                .prop_map(|(k, v)| { Value::Entry(Box::new(Value::Text(k)), Box::new(v)) }),
        ]
    })
}

fn commit() -> impl Strategy<Value = Commit> {
    let words = (text(), text(), any::<u64>());
    let metadata = btree_map(text(), value(), 0..5);
    (
        metadata,
        prop::option::of(checksum()),
        vec((text(), checksum()), 0..3),
        words,
        checksum(),
    )
        .prop_map(
            |(values, parent, related, (subject, body, timestamp), root_tree)| {
                let mut metadata = Metadata::default();
                for (key, value) in values {
                    metadata.set(&key, value);
                }
                let root_meta = Checksum::of(subject.as_bytes());
                Commit {
                    metadata,
                    parent,
                    related,
                    subject,
                    body,
                    timestamp,
                    root_tree,
                    root_meta,
                }
            },
        )
}

/// A change of valid bytes.
#[derive(Debug, Clone)]
enum Mutation {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Cut(prop::sample::Index),
    Append(Vec<u8>),
    Swap(prop::sample::Index, prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    use prop::sample::Index;
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(i, b)| Mutation::Set(i, b)),
        (any::<Index>(), any::<u8>()).prop_map(|(i, b)| Mutation::Insert(i, b)),
        any::<Index>().prop_map(Mutation::Remove),
        any::<Index>().prop_map(Mutation::Cut),
        vec(any::<u8>(), 1..9).prop_map(Mutation::Append),
        any::<(Index, Index)>().prop_map(|(a, b)| Mutation::Swap(a, b)),
    ]
}

fn mutate(mut bytes: Vec<u8>, mutations: &[Mutation]) -> Vec<u8> {
    for mutation in mutations {
        if bytes.is_empty() {
            break;
        }
        let len = bytes.len();
        match mutation {
            Mutation::Set(at, byte) => bytes[at.index(len)] = *byte,
            Mutation::Insert(at, byte) => bytes.insert(at.index(len), *byte),
            Mutation::Remove(at) => drop(bytes.remove(at.index(len))),
            Mutation::Cut(at) => bytes.truncate(at.index(len)),
            Mutation::Append(more) => bytes.extend(more),
            Mutation::Swap(a, b) => bytes.swap(a.index(len), b.index(len)),
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn dirtrees(tree in dirtree(), mutations in vec(mutation(), 1..3)) {
        let bytes = tree.encode();
        prop_assert_eq!(DirTree::decode(&bytes), Ok(tree));
        let mutant = mutate(bytes, &mutations);
        if let Ok(read) = DirTree::decode(&mutant) {
            prop_assert_eq!(read.encode(), mutant);
        }
    }

    #[test]
    fn dirmetas(meta in dirmeta(), mutations in vec(mutation(), 1..3)) {
        let bytes = meta.encode();
        prop_assert_eq!(DirMeta::decode(&bytes), Ok(meta));
        let mutant = mutate(bytes, &mutations);
        if let Ok(read) = DirMeta::decode(&mutant) {
            prop_assert_eq!(read.encode(), mutant);
        }
    }

    #[test]
    fn headers(header in header(), size in any::<u64>(), mutations in vec(mutation(), 1..3)) {
        let bytes = header.encode();
        prop_assert_eq!(FileHeader::decode(&bytes), Ok(header.clone()));
        let mutant = mutate(bytes, &mutations);
        if let Ok(read) = FileHeader::decode(&mutant) {
            prop_assert_eq!(read.encode(), mutant);
        }
        let size = if header.is_symlink() { 0 } else { size };
        let bytes = header.encode_archive(size);
        prop_assert_eq!(FileHeader::decode_archive(&bytes), Ok((header, size)));
        let mutant = mutate(bytes, &mutations);
        if let Ok((read, size)) = FileHeader::decode_archive(&mutant) {
            prop_assert_eq!(read.encode_archive(size), mutant);
        }
    }

    #[test]
    fn commits(commit in commit(), mutations in vec(mutation(), 1..3)) {
        let bytes = commit.encode();
        prop_assert_eq!(Commit::decode(&bytes), Ok(commit));
        let mutant = mutate(bytes, &mutations);
        if let Ok(read) = Commit::decode(&mutant) {
            prop_assert_eq!(read.encode(), mutant);
        }
    }

    #[test]
    fn noise(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(read) = Commit::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes.clone());
        }
        if let Ok(read) = DirTree::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes.clone());
        }
        if let Ok(value) = Value::decode_variant(&bytes) {
            let mut w = ostree::gvariant::Writer::new();
            value.write_variant(&mut w);
            prop_assert_eq!(w.finish(), bytes);
        }
    }
}

/// Every single-byte change of one small object of each kind.
#[test]
fn every_single_byte_change() {
    let tree = DirTree {
        files: vec![FileRef {
            name: "a".into(),
            checksum: Checksum::of(b"a"),
        }],
        dirs: vec![DirRef {
            name: "d".into(),
            tree: Checksum::of(b"t"),
            meta: Checksum::of(b"m"),
        }],
    };
    let bytes = tree.encode();
    let mut accepted = 0;
    for at in 0..bytes.len() {
        for byte in 0..=255 {
            let mut mutant = bytes.clone();
            mutant[at] = byte;
            if let Ok(read) = DirTree::decode(&mutant) {
                assert_eq!(read.encode(), mutant);
                accepted += 1;
            }
        }
    }
    // Digests may be anything, names nearly so; the framing may be nothing else.
    let free = 3 * 32 * 256;
    assert!(
        (free..free + 2 * 256 + 16).contains(&accepted),
        "{accepted}"
    );
}

#[test]
fn nesting_is_bounded() {
    let mut deep = Value::Bool(true);
    for _ in 0..100 {
        deep = Value::Variant(Box::new(deep));
    }
    let mut w = ostree::gvariant::Writer::new();
    deep.write_variant(&mut w);
    assert!(Value::decode_variant(&w.finish()).is_err());
    assert!(Type::parse(&[b'a'; 1000]).is_err());
    assert!(Type::parse("(".repeat(100_000).as_bytes()).is_err());
}
