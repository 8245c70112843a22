//! Bundles, written and read back, and spoilt.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "these are tests"
)]

mod image;
mod sound;

#[test]
fn every_file_here_is_a_module() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let main = include_str!("main.rs");
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        let listed = main.lines().any(|line| line == format!("mod {module};"));
        assert!(module == "main" || listed, "{name} is not listed");
    }
}
