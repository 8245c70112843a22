//! The four stories of `backstop demo`, and what is left of them.

use std::process::Command;

use serde_json::Value;

use crate::host::{BACKSTOP, text};

#[test]
fn the_demonstration_ends_as_it_says() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("host");
    let demo = Command::new(BACKSTOP)
        .args(["demo", "--dir"])
        .arg(&dir)
        .output()
        .unwrap();
    assert!(demo.status.success(), "{}", text(&demo));
    let history = Command::new(BACKSTOP)
        .arg("--sysroot")
        .arg(&dir)
        .args(["--json", "history"])
        .output()
        .unwrap();
    let ends: Vec<(String, String)> = String::from_utf8(history.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|one| {
            let outcome = &one["outcome"];
            let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            (word(&outcome["end"]), word(&outcome["reason"]["why"]))
        })
        .collect();
    let expected = [
        ("kept", "-"),
        ("rolled-back", "checks-failed"),
        ("rolled-back", "attempts-used-up"),
        ("rolled-back", "deadline"),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(end, why)| ((*end).to_owned(), (*why).to_owned()))
        .collect();
    assert_eq!(ends, expected);
    let removed = Command::new(BACKSTOP)
        .args(["demo", "--remove"])
        .arg(&dir)
        .output()
        .unwrap();
    assert!(removed.status.success(), "{}", text(&removed));
    assert!(!dir.exists());
}

#[test]
fn a_directory_with_something_in_it_is_left_alone() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("thesis.txt"), "x").unwrap();
    for arguments in [["demo", "--dir"], ["demo", "--remove"]] {
        let output = Command::new(BACKSTOP)
            .args(arguments)
            .arg(scratch.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(scratch.path().join("thesis.txt").exists());
    }
}
