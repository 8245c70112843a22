//! Stories on real systemd: in containers, where the test plays the boot loader,
//! and on virtual machines.
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)]

mod container;
mod containers;
mod machines;

use testbed::packages::{self, Need};

/// Whether root and the packages are there; says what is missing otherwise. With
/// `BACKSTOP_REQUIRE_ALL=1` that is a failure.
fn able(needs: &[&[Need]]) -> bool {
    let mut lacks = packages::missing(needs);
    if !packages::is_root() {
        lacks.push("root");
    }
    if lacks.is_empty() {
        return true;
    }
    let lacks = lacks.join(", ");
    let must = std::env::var_os("BACKSTOP_REQUIRE_ALL").is_some_and(|v| v == "1");
    assert!(!must, "needs {lacks}");
    println!("skipped: needs {lacks}");
    false
}

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
