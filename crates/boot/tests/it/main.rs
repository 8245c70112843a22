//! Integration tests of the `boot` crate.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs
)]

mod docs;
mod efi_variables;
mod fake_kernel;
mod grub;
mod grub_emu;
mod loader_states;
mod machine;
mod real_grub;
mod real_systemd_boot;
mod scripts;

/// A file that nobody lists holds tests that never run.
#[test]
fn every_file_here_is_listed() {
    testing::every_file_is_listed(env!("CARGO_MANIFEST_DIR"));
}
