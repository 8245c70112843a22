//! Machines, as far as this one can make them.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "these are tests"
)]

mod boots;
mod nixos;
mod root;
mod support;

/// A file that nobody lists holds tests that never run.
#[test]
fn every_file_here_is_listed() {
    testing::every_file_is_listed(env!("CARGO_MANIFEST_DIR"));
}
