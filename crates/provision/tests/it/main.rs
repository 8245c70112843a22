//! Making hosts.
#![allow(clippy::print_stdout, reason = "says what is skipped")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "makes throw-away trees"
)]

mod install;
mod tree;

#[test]
fn every_file_here_is_a_module() {
    let main = include_str!("main.rs");
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        let listed = module == "main" || main.contains(&format!("mod {module};"));
        assert!(listed, "{name} is not listed in main.rs");
    }
}
