//! What goes wrong, and in which words: scripts look for them.

use std::fs;

use crate::ours;

#[test]
fn wrong_command_lines() {
    let cases = [
        ("", "error: No command specified"),
        ("nonsense", "error: Unknown command 'nonsense'"),
        ("remote", "error: No \"remote\" subcommand specified"),
        (
            "remote nonsense",
            "error: Unknown \"remote\" subcommand 'nonsense'",
        ),
        ("log --nonsense", "error: Unknown option --nonsense"),
        (
            "--repo=/nonexistent refs",
            "error: opening repo: opendir(/nonexistent): No such file",
        ),
    ];
    for (line, says) in cases {
        let (status, out, err) = ours(line);
        assert_eq!((status, out.as_str()), (1, ""), "{line}");
        assert!(err.contains(says), "{line}: {err}");
    }
}

#[test]
fn help_names_every_command() {
    let (status, out, err) = ours("--help");
    assert_eq!((status, err.as_str()), (0, ""));
    for verb in [
        "admin", "commit", "checkout", "fsck", "pull", "remote", "summary",
    ] {
        assert!(out.contains(&format!("\n  {verb} ")), "{verb}");
        let (status, out, _) = ours(&format!("{verb} --help"));
        assert_eq!(status, 0);
        assert!(
            out.starts_with(&format!("Usage:\n  ostree {verb} [OPTION…]")),
            "{out}"
        );
    }
}

#[test]
fn a_repository_in_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let repo = format!("--repo={}", dir.path().join("repo").display());
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), "content").unwrap();
    assert_eq!(ours(&format!("{repo} init --mode=archive")).0, 0);
    let commit = ours(&format!("{repo} commit -b main {}", tree.display()));
    assert_eq!(commit.0, 0, "{}", commit.2);
    let file = ours(&format!("{repo} ls -C main /file")).1;
    let checksum = file.split_whitespace().nth(4).unwrap().to_owned();
    let object = dir.path().join(format!(
        "repo/objects/{}/{}.filez",
        &checksum[..2],
        &checksum[2..]
    ));
    let cases = [
        ("rev-parse nothing", "Refspec 'nothing' not found"),
        ("rev-parse main^", "has no parent"),
        (
            "checkout main --subpath /nope out",
            "No such file or directory",
        ),
        ("ls main /file/below", "Not a directory"),
        ("cat main /", "open directory"),
        ("refs --create=main main", "already exists"),
        (
            "commit -b main --statoverride=/nonexistent .",
            "No such file or directory",
        ),
        (
            "prune --delete-commit=0000000000000000000000000000000000000000000000000000000000000000",
            "No such metadata object",
        ),
        ("config get core.nothing", "does not have key"),
    ];
    for (line, says) in cases {
        let (status, _, err) = ours(&format!("{repo} {line}"));
        assert!(
            status == 1 && err.starts_with("error: ") && err.contains(says),
            "{line}: {err}"
        );
    }
    fs::remove_file(&object).unwrap();
    let (status, _, err) = ours(&format!("{repo} fsck -q"));
    assert_eq!(status, 1);
    assert!(
        err.contains("Object missing") && err.contains("Marking commit as partial"),
        "{err}"
    );
}
