//! Some of the ways to fail, on machines. All of them: `cargo xtask boot-failures`.
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)]

mod adopted;
mod releases;
mod sample;

/// A file that nobody lists holds tests that never run.
#[test]
fn every_file_here_is_listed() {
    testing::every_file_is_listed(env!("CARGO_MANIFEST_DIR"));
}
