use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use health::{BuiltIns, Checks, Need, Origin, Probe};

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn names(checks: &Checks) -> Vec<&str> {
    checks.checks.iter().map(|c| c.name.as_str()).collect()
}

#[test]
fn an_empty_system_has_the_built_in_checks() {
    let root = tempfile::tempdir().unwrap();
    let checks = Checks::load(root.path(), BuiltIns::With);
    assert_eq!(
        names(&checks),
        ["default-route", "failed-units", "listening"]
    );
    assert!(checks.checks.iter().all(|c| c.origin == Origin::BuiltIn));
    assert!(checks.checks.iter().all(|c| !c.description.is_empty()));
    let none = Checks::load(root.path(), BuiltIns::Without);
    assert_eq!(none, Checks::default());
}

#[test]
fn later_directories_replace_and_mask() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(
        root,
        "usr/lib/backstop/checks.d/a.toml",
        "unit = 'a.service'",
    );
    write(
        root,
        "usr/lib/backstop/checks.d/b.toml",
        "unit = 'b.service'",
    );
    write(
        root,
        "usr/lib/backstop/checks.d/c.toml",
        "unit = 'c.service'",
    );
    write(root, "run/backstop/checks.d/b.toml", "unit = 'run.service'");
    write(root, "etc/backstop/checks.d/b.toml", "unit = 'etc.service'");
    write(root, "etc/backstop/checks.d/c.toml", "");
    write(root, "etc/backstop/checks.d/listening.toml", "");
    write(root, "etc/backstop/checks.d/README", "not a check");
    let checks = Checks::load(root, BuiltIns::With);
    assert_eq!(checks.problems, []);
    assert_eq!(names(&checks), ["a", "b", "default-route", "failed-units"]);
    let unit = "etc.service".to_owned();
    assert_eq!(checks.checks[1].probe, Probe::Unit { unit });
}

#[test]
fn a_broken_file_is_named_and_does_not_hide_others() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(
        root,
        "usr/lib/backstop/checks.d/a.toml",
        "unit = 'a.service'",
    );
    write(
        root,
        "etc/backstop/checks.d/a.toml",
        "unit = 'a.service'\nretry = 3",
    );
    write(root, "etc/backstop/checks.d/b.toml", "unit = 'b.service'");
    let long = "#".repeat(70_000);
    write(root, "etc/backstop/checks.d/long.toml", &long);
    let checks = Checks::load(root, BuiltIns::Without);
    assert_eq!(names(&checks), ["b"]);
    let problems: Vec<_> = checks.problems.iter().map(ToString::to_string).collect();
    assert!(
        problems[0].contains("etc/backstop/checks.d/a.toml"),
        "{problems:?}"
    );
    assert!(problems[0].contains("line 2"), "{problems:?}");
    assert!(
        problems[0].contains("unknown field `retry`"),
        "{problems:?}"
    );
    assert!(problems[1].contains("longer than"), "{problems:?}");
}

#[test]
fn programs_written_for_greenboot_are_taken_up() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(root, "usr/lib/greenboot/check/required.d/01_a.sh", "exit 0");
    write(root, "etc/greenboot/check/required.d/01_a.sh", "exit 1");
    write(
        root,
        "etc/greenboot/check/wanted.d/tool",
        "#!/bin/sh\nexit 0",
    );
    write(
        root,
        "etc/greenboot/check/wanted.d/readme.txt",
        "no program",
    );
    let tool = root.join("etc/greenboot/check/wanted.d/tool");
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    let checks = Checks::load(root, BuiltIns::Without);
    assert_eq!(names(&checks), ["greenboot/01_a.sh", "greenboot/tool"]);
    let needs: Vec<_> = checks.checks.iter().map(|c| c.need).collect();
    assert_eq!(needs, [Need::Required, Need::Wanted]);
    let from_etc = root.join("etc/greenboot/check/required.d/01_a.sh");
    assert_eq!(checks.checks[0].origin, Origin::Greenboot(from_etc));
}
