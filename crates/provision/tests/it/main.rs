//! Making hosts.
#![allow(clippy::print_stdout, reason = "says what is skipped")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "makes throw-away trees"
)]

mod adopt;
mod install;
mod tree;

/// A file that nobody lists holds tests that never run.
#[test]
fn every_file_here_is_listed() {
    testing::every_file_is_listed(env!("CARGO_MANIFEST_DIR"));
}
