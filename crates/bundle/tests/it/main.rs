//! Bundles, written and read back, and spoilt.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "these are tests"
)]

mod image;
mod sound;

/// A file that nobody lists holds tests that never run.
#[test]
fn every_file_here_is_listed() {
    testing::every_file_is_listed(env!("CARGO_MANIFEST_DIR"));
}
