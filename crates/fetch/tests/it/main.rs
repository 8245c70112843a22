//! Pulls over real sockets: from good servers, bad ones, and beside Debian's `ostree`.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

mod cookies;
mod deltas;
mod differential;
mod far;
mod hostile;
mod life;
mod many;
mod metalinks;
mod resume;
mod sandbox;
mod summaries;
mod tls;
mod trust;

/// A file that nobody lists holds tests that never run.
#[test]
fn every_file_here_is_listed() {
    testing::every_file_is_listed(env!("CARGO_MANIFEST_DIR"));
}
