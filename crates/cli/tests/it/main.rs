//! The program's integration tests: one binary, a module for each subject.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

mod adopt;
mod by_hand;
mod fleet;
mod full_disk;
mod host;
mod kargs;
mod kept;
mod killed;
mod network;
mod nix;
mod plan;
mod repo;
mod stateroot;
mod story;

/// A file that nobody lists holds tests that never run.
#[test]
fn every_file_here_is_listed() {
    testing::every_file_is_listed(env!("CARGO_MANIFEST_DIR"));
}
