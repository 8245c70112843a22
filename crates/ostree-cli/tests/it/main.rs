//! The command line beside that of Debian's `ostree`.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

mod beside;
mod refusals;

/// A file that nobody lists holds tests that never run.
#[test]
fn every_file_here_is_listed() {
    testing::every_file_is_listed(env!("CARGO_MANIFEST_DIR"));
}

/// Runs a command line; the status, and what went to both outputs.
fn ours(line: &str) -> (u8, String, String) {
    let args: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = ostree_cli::run(&args, &mut out, &mut err);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status, text(out), text(err))
}
