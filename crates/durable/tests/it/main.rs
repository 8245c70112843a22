//! Tests of the moves on the simulated and on the real filesystem.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod conform;
mod crashes;
mod moves;
mod writeback;

use std::path::Path;

use durable::Fs;
use durable::sim::SimFs;

/// A file's bytes; `None` where it cannot be read.
fn bytes(fs: &SimFs, path: &str) -> Option<Vec<u8>> {
    durable::read(fs, Path::new(path)).ok()
}

/// A simulated disk that holds these files.
fn disk(files: &[(&str, &[u8])]) -> SimFs {
    let fs = SimFs::new();
    for (path, content) in files {
        durable::publish_file(&fs, Path::new(path), content, 0o644).unwrap();
    }
    fs
}

/// The names in a directory.
fn names(fs: &SimFs, dir: &str) -> Vec<String> {
    let entries = fs.read_dir(Path::new(dir)).unwrap();
    let name = |e: durable::DirEntry| e.name.into_string().unwrap();
    entries.into_iter().map(name).collect()
}

/// A file that nobody lists holds tests that never run.
#[test]
fn every_file_here_is_listed() {
    testing::every_file_is_listed(env!("CARGO_MANIFEST_DIR"));
}
