//! Integration tests of the `sysroot` crate.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs
)]

mod crash_publish;
mod cuts;
mod host;
mod lifecycle;
mod oracle;
mod packages;
mod sim_host;

/// A module that nobody lists is a test that never runs.
#[test]
fn every_file_here_is_listed() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    let listed = include_str!("main.rs");
    for file in std::fs::read_dir(dir).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        assert!(
            module == "main" || listed.contains(&format!("mod {module};")),
            "{name} is not listed in main.rs"
        );
    }
}
