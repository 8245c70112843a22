//! Repositories as their users see them, alone and beside Debian's `ostree`.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

mod codec;
mod crash_commit;
mod crash_prune;
mod damage;
mod delta;
mod delta_hostile;
mod differential;
mod digests;
mod life;
mod sandbox;
mod sign;
mod space;

/// A file that nobody lists holds tests that never run.
#[test]
fn every_file_here_is_listed() {
    testing::every_file_is_listed(env!("CARGO_MANIFEST_DIR"));
}
