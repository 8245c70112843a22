//! Integration tests of the `sysroot` crate.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs
)]

mod crash_adopt;
mod crash_esp;
mod crash_kargs;
mod crash_publish;
mod crash_remerge;
mod crash_rest;
mod cuts;
mod histories;
mod host;
mod lifecycle;
mod oracle;
mod plain;
mod remerge;
mod sim_host;
mod stateroots;

/// A file that nobody lists holds tests that never run.
#[test]
fn every_file_here_is_listed() {
    testing::every_file_is_listed(env!("CARGO_MANIFEST_DIR"));
}
