//! Stories on real systemd: in containers, where the test plays the boot loader,
//! and on virtual machines.
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)]

mod container;
mod containers;
mod judge;
mod machines;
mod replay;
mod stateroots;

use testbed::packages::{self, Need};

/// Whether root and the packages are there; says what is missing otherwise. With
/// `BACKSTOP_REQUIRE_ALL=1` that is a failure.
fn able(needs: &[&[Need]]) -> bool {
    testing::nothing_lacks(&packages::lacks(needs))
}

/// A file that nobody lists holds tests that never run.
#[test]
fn every_file_here_is_listed() {
    testing::every_file_is_listed(env!("CARGO_MANIFEST_DIR"));
}
