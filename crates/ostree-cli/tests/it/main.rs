//! The command line beside that of Debian's `ostree`.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

mod beside;
mod refusals;

/// A test file that is not listed above would never run.
#[test]
fn every_file_is_listed() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    let listed = include_str!("main.rs");
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        let found = listed.contains(&format!("\nmod {module};"));
        assert!(found || module == "main", "{name} is not listed in main.rs");
    }
}

/// Runs a command line; the status, and what went to both outputs.
fn ours(line: &str) -> (u8, String, String) {
    let args: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = ostree_cli::run(&args, &mut out, &mut err);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status, text(out), text(err))
}
