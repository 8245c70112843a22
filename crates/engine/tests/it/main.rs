//! Tests of the engine crate from outside.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

mod anything;
mod crash_journal;
mod explore;
mod refusals;
mod remembering;
mod scripts;
mod simulated;

/// A file that nobody lists holds tests that never run.
#[test]
fn every_file_here_is_listed() {
    testing::every_file_is_listed(env!("CARGO_MANIFEST_DIR"));
}
