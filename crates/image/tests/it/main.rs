//! Image hosts from outside.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs
)]

mod crash_kargs;
mod crash_upgrade;
mod pinned;
mod replaced_config;
mod sim_machine;
mod stateroot;

/// A file that nobody lists holds tests that never run.
#[test]
fn every_file_here_is_listed() {
    testing::every_file_is_listed(env!("CARGO_MANIFEST_DIR"));
}
