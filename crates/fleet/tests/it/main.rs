//! Tests of the deployer from outside. Whole rollouts are tested with the program,
//! in `cli`.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod schema;

#[test]
fn every_file_here_is_a_module() {
    let main = include_str!("main.rs");
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.strip_suffix(".rs").unwrap_or(&name);
        let listed = main.contains(&format!("mod {module};"));
        assert!(module == "main" || listed, "{name} is not listed");
    }
}
