//! What the integration tests of all crates share.
//!
//! Only ever a dev-dependency: everything here panics as a failing test does.
#![allow(clippy::print_stdout, reason = "says what is skipped")]

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Fails when a file or folder in `tests/it` of the crate at `crate_dir` is not a module
/// of its `main.rs`: its tests would never run.
///
/// # Panics
/// With the name of the file.
pub fn every_file_is_listed(crate_dir: &str) {
    let dir = Path::new(crate_dir).join("tests/it");
    let Ok(main) = std::fs::read_to_string(dir.join("main.rs")) else {
        panic!("{} has no main.rs", dir.display());
    };
    let modules: Vec<&str> = main
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
        .filter_map(|line| line.strip_suffix(';'))
        .collect();
    let entries = std::fs::read_dir(&dir).into_iter().flatten();
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // Golden files and the like are no modules.
        if !name.ends_with(".rs") && !entry.path().join("mod.rs").exists() {
            continue;
        }
        let module = name.trim_end_matches(".rs");
        let listed = module == "main" || modules.contains(&module);
        assert!(listed, "{name} is not listed in main.rs");
    }
}

/// Whether nothing is lacking. Otherwise says so: the test is skipped, or, with
/// `BACKSTOP_REQUIRE_ALL=1`, fails.
///
/// # Panics
/// With `BACKSTOP_REQUIRE_ALL=1`, naming what is lacking.
#[must_use]
pub fn nothing_lacks(lacks: &[&str]) -> bool {
    if lacks.is_empty() {
        return true;
    }
    let lacks = lacks.join(", ");
    let must = std::env::var_os("BACKSTOP_REQUIRE_ALL").is_some_and(|v| v == "1");
    assert!(!must, "needs {lacks}");
    println!("skipped: needs {lacks}");
    false
}

/// Whether this process is root; else as [`nothing_lacks`].
#[must_use]
pub fn as_root() -> bool {
    let mine = std::fs::metadata("/proc/self");
    let root = mine.is_ok_and(|process| process.uid() == 0);
    root || nothing_lacks(&["root"])
}

/// Whether other releases of Debian are wanted too, with `BACKSTOP_RELEASES=all`: their
/// roots take their time.
#[must_use]
pub fn all_releases() -> bool {
    let wanted = std::env::var_os("BACKSTOP_RELEASES").is_some_and(|which| which == "all");
    if !wanted {
        println!("left out: other releases of Debian, without BACKSTOP_RELEASES=all");
    }
    wanted
}

/// Whether all these programs and files are there; else as [`nothing_lacks`].
#[must_use]
pub fn have(programs: &[&str], files: &[&str]) -> bool {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let on_path = |name: &str| {
        path.split(':')
            .any(|dir| Path::new(dir).join(name).exists())
    };
    let programs = programs.iter().filter(|name| !on_path(name));
    let files = files.iter().filter(|name| !Path::new(name).exists());
    let lacks: Vec<&str> = programs.chain(files).copied().collect();
    nothing_lacks(&lacks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_lacking() {
        assert!(have(&["sh"], &["/"]));
        assert!(nothing_lacks(&[]));
    }

    #[test]
    #[should_panic(expected = "has no main.rs")]
    fn a_crate_without_tests_is_noticed() {
        every_file_is_listed("/nowhere");
    }
}
