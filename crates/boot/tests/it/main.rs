//! Integration tests of the `boot` crate.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs
)]

mod docs;
mod fake_kernel;
mod machine;
mod packages;
mod real_grub;
mod scripts;

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
