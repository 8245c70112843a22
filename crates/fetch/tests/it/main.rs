//! Pulls over real sockets: from good servers, bad ones, and beside Debian's `ostree`.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

mod deltas;
mod differential;
mod far;
mod hostile;
mod life;
mod resume;
mod sandbox;

mod summaries;
mod tls;
mod trust;

/// A test file that is not listed above would never run.
#[test]
fn every_file_is_listed() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    let listed = include_str!("main.rs");
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        let found = listed.contains(&format!("\nmod {module};"));
        assert!(found || module == "main", "{name} is not listed in main.rs");
    }
}
