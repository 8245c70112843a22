//! The Nix host with a real store: one binary, a module for each subject.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

mod module;

#[test]
fn every_file_here_is_a_module() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let main = std::fs::read_to_string(dir.join("main.rs")).unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        let listed = main.lines().any(|line| line == format!("mod {module};"));
        assert!(module == "main" || listed, "{name} is not listed");
    }
}
