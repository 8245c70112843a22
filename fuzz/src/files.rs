//! Files of a host, and what is said between two of them.

use std::path::Path;
use std::sync::Arc;

use boot::{BlsEntry, KernelArgs, StateSector};
use bundle::Bundle;
use durable::sim::SimFs;
use engine::Journal;
use fleet::wire::Frame;
use ostree::SePolicy;

/// The sector in which the boot loader counts.
pub fn sector(bytes: &[u8]) {
    if let Ok(found) = StateSector::parse(bytes) {
        let written = found.encode();
        assert_eq!(StateSector::parse(&written).ok(), Some(found));
    }
}

/// A boot entry, and the kernel's arguments in it.
pub fn boot_entry(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(entry) = BlsEntry::parse(&text) {
        let written = entry.to_string();
        assert_eq!(BlsEntry::parse(&written).ok(), Some(entry));
    }
    if let Ok(args) = text.parse::<KernelArgs>() {
        assert_eq!(args.to_string().parse::<KernelArgs>().ok(), Some(args));
    }
}

fn on_disk(path: &str, bytes: &[u8]) -> SimFs {
    let fs = SimFs::new();
    let path = Path::new(path);
    durable::create_dir_all(&fs, path.parent().expect("a parent"), 0o755).expect("a directory");
    durable::publish_file(&fs, path, bytes, 0o644).expect("a file");
    fs
}

/// The engine's journal.
pub fn journal(bytes: &[u8]) {
    let fs = on_disk("/state/journal", bytes);
    let journal = Journal::new(Arc::new(fs), Path::new("/state"));
    let all = journal.load().is_ok();
    assert_eq!(all, journal.records().is_ok());
}

/// A bundle that came by hand.
pub fn bundle(bytes: &[u8]) {
    let fs = on_disk("/in/bundle", bytes);
    let _ = Bundle::open_unverified(&fs, Path::new("/in/bundle"));
}

/// What a deployer and a host say to each other.
pub fn wire(mut bytes: &[u8]) {
    while let Ok(Some(_)) = Frame::read(&mut bytes) {}
}

/// What vouches for a summary.
pub fn metalink(bytes: &[u8]) {
    let _ = fetch::Metalink::parse(bytes, "summary");
}

/// What a policy says of files: its lines, and after a NUL those that lead elsewhere.
pub fn file_contexts(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |b| *b == 0);
    let (contexts, subs) = (parts.next(), parts.next());
    let (contexts, subs) = (contexts.unwrap_or_default(), subs.unwrap_or_default());
    let Ok(policy) = SePolicy::parse(contexts, subs) else {
        return;
    };
    for path in [
        "/",
        "/usr/bin/sh",
        "/etc/a b",
        "/usr/lib64/a.so.1",
        "usr",
        "",
    ] {
        let _ = policy.label(Path::new(path), 0o100_644);
    }
}

/// A check's file.
pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = health::parse("fuzzed", &text, Path::new("fuzzed.toml"));
}
