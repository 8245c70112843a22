//! `backstop repo` beside `ostree`: the same words for the same things.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Two repositories with the same three versions: `ours` and `theirs`.
struct Pair {
    dir: TempDir,
}

fn run(dir: &Path, program: &str, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(dir)
        .env("TZ", "UTC")
        .env_remove("OSTREE_REPO");
    command.output().unwrap()
}

impl Pair {
    /// `None`, and a word about it, where there is no `ostree`.
    fn new() -> Option<Self> {
        if !testing::have(&["ostree"], &[]) {
            return None;
        }
        let pair = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        pair.both(&["init", "--mode=bare-user"]);
        for version in ["1.0", "1.1", "2.0"] {
            pair.tree(version);
            let metadata = format!("--add-metadata-string=version={version}");
            let subject = if version == "1.1" { "" } else { "a subject" };
            let args = [
                "commit",
                "-b",
                "os/stable",
                "-s",
                subject,
                "-m",
                "two\nlines",
            ];
            pair.both(&[&args[..], &[&metadata, "--timestamp=@1000000000", "tree"]].concat());
        }
        Some(pair)
    }

    fn tree(&self, version: &str) {
        let tree = self.dir.path().join("tree");
        let _ = fs::remove_dir_all(&tree);
        fs::create_dir_all(tree.join("usr/bin")).unwrap();
        fs::write(tree.join("usr/version"), version).unwrap();
        fs::write(tree.join(format!("only-{version}")), "x").unwrap();
        fs::write(tree.join("usr/bin/tool"), "tool").unwrap();
        let mode = PermissionsExt::from_mode(0o4755);
        fs::set_permissions(tree.join("usr/bin/tool"), mode).unwrap();
        symlink("usr/bin", tree.join("bin")).unwrap();
    }

    fn ours(&self, args: &[&str]) -> Output {
        let args = [&["repo", "--repo=ours"], args].concat();
        run(self.dir.path(), env!("CARGO_BIN_EXE_backstop"), &args)
    }

    fn theirs(&self, args: &[&str]) -> Output {
        let (verb, rest) = args.split_first().unwrap();
        run(
            self.dir.path(),
            "ostree",
            &[&[verb, "--repo=theirs"], rest].concat(),
        )
    }

    /// What both print, which must be the same.
    fn both(&self, args: &[&str]) -> String {
        let (ours, theirs) = (self.ours(args), self.theirs(args));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(ours.status.success(), "{args:?}: {}", text(&ours.stderr));
        assert!(
            theirs.status.success(),
            "{args:?}: {}",
            text(&theirs.stderr)
        );
        assert_eq!(text(&ours.stdout), text(&theirs.stdout), "{args:?}");
        text(&ours.stdout)
    }
}

#[test]
fn same_output() {
    let Some(pair) = Pair::new() else { return };
    for args in [
        &["rev-parse", "os/stable", "os/stable^"][..],
        &["refs"],
        &["log", "os/stable"],
        &["log", "os/stable^"],
        &["show", "os/stable"],
        &["show", "--print-metadata-key=version", "os/stable"],
        &[
            "show",
            "--print-metadata-key=ostree.ref-binding",
            "os/stable",
        ],
        &["ls", "os/stable"],
        &["ls", "-d", "os/stable", "/usr"],
        &["ls", "os/stable", "/usr", "/bin"],
        &["ls", "-RCX", "os/stable"],
        &["ls", "-R", "--nul-filenames-only", "os/stable", "/usr"],
        &["cat", "os/stable", "/usr/version", "/usr/bin/tool"],
    ] {
        let printed = pair.both(args);
        assert!(!printed.is_empty(), "{args:?}");
    }
    let lines = |out: Output| {
        let text = String::from_utf8(out.stdout).unwrap();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    for args in [
        &["diff", "os/stable"][..],
        &["diff", "os/stable^^", "os/stable"],
    ] {
        assert_eq!(lines(pair.ours(args)), lines(pair.theirs(args)), "{args:?}");
    }
}

#[test]
fn json_is_one_value_a_line() {
    let Some(pair) = Pair::new() else { return };
    for args in [
        &["log", "os/stable"][..],
        &["refs"],
        &["ls", "-R", "os/stable"],
        &["diff", "os/stable"],
        &["fsck"],
        &["prune", "--dry-run"],
        &["rev-parse", "os/stable"],
        &["checkout", "-U", "os/stable", "out"],
        &["commit", "--orphan", "tree"],
    ] {
        let out = pair.ours(&[args, &["--json"]].concat());
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(!text.is_empty(), "{args:?}");
        for line in text.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(value.is_object(), "{args:?}: {line}");
        }
    }
}

#[test]
fn a_repository_s_day() {
    let Some(pair) = Pair::new() else { return };
    let ok = |args: &[&str]| {
        let out = pair.ours(args);
        assert!(
            out.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8(out.stdout).unwrap()
    };
    ok(&["refs", "--create", "os/testing", "os/stable^"]);
    assert!(
        !pair
            .ours(&["refs", "--create", "os/testing", "os/stable"])
            .status
            .success()
    );
    ok(&["refs", "--create", "os/testing", "--force", "os/stable"]);
    assert_eq!(ok(&["refs"]), "os/stable\nos/testing\n");
    ok(&["refs", "--delete", "os/testing"]);
    assert_eq!(ok(&["refs"]), "os/stable\n");
    assert!(ok(&["prune", "--refs-only", "--depth=0"]).contains("Deleted"));
    assert!(ok(&["log", "os/stable"]).contains("<< History beyond this commit not fetched >>"));
    assert!(ok(&["fsck"]).contains("no errors found"));

    let theirs = [
        "pull-local",
        "theirs",
        "os/stable",
        "--remote",
        "them",
        "--depth=-1",
    ];
    assert!(ok(&theirs).contains("objects imported"));
    assert_eq!(ok(&["refs", "them"]), "them:os/stable\n");

    // Damage: code 6, and which file is hit.
    let list = ok(&["ls", "-C", "os/stable", "/usr/version"]);
    let checksum = list.split_whitespace().nth(4).unwrap();
    let object = format!("ours/objects/{}/{}.file", &checksum[..2], &checksum[2..]);
    fs::write(pair.dir.path().join(object), "2.1").unwrap();
    let out = pair.ours(&["fsck"]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(6), "{text}");
    assert!(
        text.contains(checksum) && text.contains("/usr/version of"),
        "{text}"
    );
}

#[test]
fn errors_say_what_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let backstop = env!("CARGO_BIN_EXE_backstop");
    let says = |args: &[&str], words: &str| {
        let out = run(dir.path(), backstop, args);
        let text = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(1), "{args:?}: {text}");
        assert!(text.contains(words), "{args:?}: {text}");
    };
    says(&["repo", "--repo=none", "refs"], "none is not a repository");
    run(
        dir.path(),
        backstop,
        &["repo", "--repo=r", "init", "--mode=bare-user"],
    );
    says(
        &["repo", "--repo=r", "log", "main"],
        "no ref or commit \"main\"",
    );
    says(
        &["repo", "--repo=r", "init", "--mode=archive"],
        "in mode bare-user and not archive",
    );
    says(
        &["repo", "--repo=r", "commit", "-b", "a b", "."],
        "cannot be the name of a ref",
    );
    says(
        &["repo", "--repo=r", "commit", "-b", "main", "nowhere"],
        "nowhere",
    );
    fs::write(
        dir.path().join("r/config"),
        "[core]\nrepo_version=9\nmode=bare\n",
    )
    .unwrap();
    says(&["repo", "--repo=r", "refs"], "use a newer one");
}
