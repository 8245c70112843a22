//! Only what was signed comes out, and all of it.

use std::io::Read;
use std::path::Path;

use bundle::{Bundle, Description, Encoding, Error, Kind};
use durable::RealFs;
use monitor::Silent;
use ostree::sign::{KeySet, SecretKey};
use proptest::prelude::*;

fn describe(encoding: Encoding) -> Description {
    Description {
        kind: Kind::Nix,
        version: format!("/nix/store/{}-nixos-system-x", "a".repeat(32)),
        label: "26.05".to_owned(),
        encoding,
        unpacked: 0,
    }
}

fn keys(text: &str) -> (SecretKey, KeySet) {
    let key: SecretKey = text.parse().unwrap();
    let mut set = KeySet::default();
    set.trust(key.public());
    (key, set)
}

fn mine() -> (SecretKey, KeySet) {
    keys("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=")
}

fn another() -> (SecretKey, KeySet) {
    keys("AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=")
}

fn make(path: &Path, encoding: Encoding, content: &[u8], keys: &[SecretKey]) {
    let mut from = content;
    let made = bundle::write(&RealFs, path, describe(encoding), &mut from, keys, &Silent);
    assert_eq!(made.unwrap().unpacked, content.len() as u64);
}

fn read(path: &Path, trusted: &KeySet) -> Result<Vec<u8>, String> {
    let mut bundle = Bundle::open(&RealFs, path, trusted).map_err(|e| e.to_string())?;
    let mut content = bundle.content().map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    match content.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(e) => Err(e.to_string()),
    }
}

/// Bytes that do not compress, and are the same every time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[test]
fn content_comes_back_whatever_its_length() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b");
    let (key, trusted) = mine();
    let mib = 1 << 20;
    for encoding in [Encoding::Plain, Encoding::Zlib] {
        for len in [0, 1, mib - 1, mib, mib + 1, 3 * mib + 7] {
            let content = noise(len);
            make(&path, encoding, &content, std::slice::from_ref(&key));
            assert!(
                read(&path, &trusted).unwrap() == content,
                "{len} {encoding:?}"
            );
            Bundle::open(&RealFs, &path, &trusted)
                .unwrap()
                .verify()
                .unwrap();
        }
    }
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing is left beside it");
}

#[test]
fn one_trusted_signature_is_needed_and_enough() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b");
    let ((a, trusts_a), (b, trusts_b)) = (mine(), another());
    make(&path, Encoding::Zlib, b"x", std::slice::from_ref(&a));
    assert!(read(&path, &trusts_a).is_ok());
    let refused = Bundle::open(&RealFs, &path, &trusts_b).unwrap_err();
    assert!(matches!(refused, Error::Untrusted { .. }), "{refused:?}");
    make(&path, Encoding::Zlib, b"x", &[a, b]);
    assert!(read(&path, &trusts_a).is_ok() && read(&path, &trusts_b).is_ok());
    make(&path, Encoding::Zlib, b"x", &[]);
    assert!(read(&path, &trusts_a).is_err());
    let shown = Bundle::open_unverified(&RealFs, &path).unwrap();
    assert_eq!((shown.signatures(), shown.signer()), (0, None));
    assert!(read(&path, &KeySet::default()).is_err());
}

#[test]
fn no_bit_may_change() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b");
    let (key, trusted) = mine();
    for encoding in [Encoding::Plain, Encoding::Zlib] {
        make(&path, encoding, &noise(300), std::slice::from_ref(&key));
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut spoilt = whole.clone();
            spoilt[at] ^= 1 << (at % 8);
            std::fs::write(&path, &spoilt).unwrap();
            assert!(read(&path, &trusted).is_err(), "byte {at} of {encoding:?}");
        }
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert!(read(&path, &trusted).is_err(), "cut to {len}");
        }
        std::fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
        assert!(read(&path, &trusted).is_err(), "longer");
    }
}

#[test]
fn a_damaged_piece_is_found_before_any_of_it_comes_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b");
    let (key, trusted) = mine();
    make(
        &path,
        Encoding::Plain,
        &noise(5 << 19),
        std::slice::from_ref(&key),
    );
    let mut bytes = std::fs::read(&path).unwrap();
    // In the second piece of three.
    bytes[(1 << 20) + 500_000] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let mut bundle = Bundle::open(&RealFs, &path, &trusted).unwrap();
    let mut out = Vec::new();
    let failed = bundle.content().unwrap().read_to_end(&mut out);
    assert!(failed.is_err());
    assert_eq!(out.len(), 1 << 20);
    assert!(matches!(bundle.verify(), Err(Error::Unsound { .. })));
}

#[test]
fn a_stream_that_fails_leaves_what_was_there() {
    struct Breaks(usize);
    impl Read for Breaks {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(1)
                .ok_or(std::io::ErrorKind::BrokenPipe)?;
            buffer.fill(7);
            Ok(buffer.len())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b");
    let (key, trusted) = mine();
    make(&path, Encoding::Zlib, b"before", std::slice::from_ref(&key));
    let description = describe(Encoding::Zlib);
    let failed = bundle::write(
        &RealFs,
        &path,
        description,
        &mut Breaks(20),
        &[key],
        &Silent,
    );
    assert!(matches!(failed, Err(Error::Source(_))));
    assert_eq!(read(&path, &trusted).unwrap(), b"before");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the bytes: no panic, and no more memory than the limits allow.
    #[test]
    fn any_bytes_are_refused(middle in prop::collection::vec(any::<u8>(), 0..200), ends in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b");
        let mut bytes = middle;
        if ends {
            bytes = [b"backstop-bundle\n".as_slice(), &bytes, b"bundle-1"].concat();
        }
        std::fs::write(&path, bytes).unwrap();
        prop_assert!(Bundle::open(&RealFs, &path, &mine().1).is_err());
    }
}
