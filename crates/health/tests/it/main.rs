//! Tests of the health crate from outside.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod loading;
mod running;
mod tls;

/// A file that nobody lists holds tests that never run.
#[test]
fn every_file_here_is_listed() {
    testing::every_file_is_listed(env!("CARGO_MANIFEST_DIR"));
}
