//! The same command lines, given to both: what they print must be the same.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::ours;

/// What Debian's `ostree` prints.
fn theirs(line: &str) -> (bool, String) {
    let out = Command::new("ostree")
        .args(line.split_whitespace())
        .output()
        .unwrap();
    (out.status.success(), String::from_utf8(out.stdout).unwrap())
}

fn have_ostree() -> bool {
    testing::have(&["ostree"], &[])
}

fn make_tree(root: &Path) {
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::write(root.join("usr/bin/sh"), "a shell").unwrap();
    fs::set_permissions(root.join("usr/bin/sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    symlink("usr/bin/sh", root.join("link")).unwrap();
}

/// Gives the same lines to both, with a repository each for `REPO`; they must say the
/// same.
fn same(dir: &Path, lines: &[&str], of_both: impl Fn(&str, String) -> String) {
    for line in lines {
        let of = |repo: &str| line.replace("REPO", &format!("--repo={}", dir.join(repo).display()));
        let (status, out, err) = ours(&of("ours"));
        let (fine, expected) = theirs(&of("theirs"));
        let (out, expected) = (of_both(line, out), of_both(line, expected));
        assert_eq!((status == 0, out), (fine, expected), "{line}: {err}");
    }
}

#[test]
fn collections() {
    if !have_ostree() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    make_tree(&dir.path().join("tree"));
    let tree = dir.path().join("tree").display().to_string();
    let commit = |options: &str| format!("REPO commit {TIME} {options} {tree}");
    let own = "org.example.Own";
    same(
        dir.path(),
        &[
            &format!("REPO init --mode=archive --collection-id={own}"),
            // The same checksum means the same bindings in the same order.
            &commit("-b main"),
            &commit("-b two --add-metadata-string=ostree.collection-binding=org.example.Other"),
            &commit("-b three --no-bindings"),
            "REPO refs --collections --create=org.example.Mirrored:a/b main",
            "REPO refs --collections",
            "REPO refs --collections org.example.Mirrored",
            "REPO refs --collections --create=nonsense:a main",
            "REPO summary -u",
            "REPO summary -v",
            "REPO show --print-metadata-key=ostree.collection-binding ostree-metadata",
            "REPO ls -C ostree-metadata",
            "REPO fsck --quiet",
            "REPO refs --delete main",
            "REPO prune --refs-only --depth=0",
            "REPO refs --collections --delete org.example.Mirrored",
            "REPO refs --collections",
        ],
        // When the summary and its commit were made differs, and what hangs on that.
        // Theirs come as a hash table has them.
        |line, text| match line.contains("summary -v") {
            true => {
                let lines = text.split_inclusive('\n');
                let steady = |l: &&str| l.starts_with('*') || l.contains("ollection");
                sorted(&lines.filter(steady).collect::<String>())
            }
            false => sorted(&without(&text, "fsck objects")),
        },
    );
}

const TIME: &str = "--timestamp=@1130589809";

#[test]
fn what_is_printed_is_the_same() {
    if !have_ostree() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    make_tree(&dir.path().join("tree"));
    make_tree(&dir.path().join("more"));
    fs::write(dir.path().join("more/usr/new"), "new").unwrap();
    fs::remove_file(dir.path().join("more/empty")).unwrap();
    fs::write(dir.path().join("modes"), "2048 /usr/bin/sh\n").unwrap();
    fs::write(dir.path().join("skip"), "/link\n").unwrap();
    let (tree, more, modes, skip) = (at("tree"), at("more"), at("modes"), at("skip"));
    let lines = [
        "REPO init --mode=bare-user".to_owned(),
        format!("REPO commit -b main -s one -m body {TIME} --add-metadata-string=version=1 {tree}"),
        format!("REPO commit -b main -s two {TIME} --tree=dir={more} --add-metadata=n='uint64 7'"),
        format!("REPO commit -b other {TIME} --owner-uid=7 --owner-gid=8 --no-bindings {tree}"),
        format!("REPO commit -b modes {TIME} --statoverride={modes} --skip-list={skip} {tree}"),
        format!("REPO commit -b both {TIME} --tree=ref=other --tree=dir={more}"),
        format!("REPO commit -b ro {TIME} --mode-ro-executables --canonical-permissions {tree}"),
        format!("REPO commit --orphan {TIME} --parent=none {tree}"),
        "REPO rev-parse main main^".to_owned(),
        "REPO refs".to_owned(),
        "REPO refs --list".to_owned(),
        "REPO refs --create=alias/x main".to_owned(),
        "REPO refs alias".to_owned(),
        "REPO log main".to_owned(),
        "REPO show main".to_owned(),
        "REPO show --print-metadata-key=version main^".to_owned(),
        "REPO show --print-metadata-key=ostree.ref-binding main".to_owned(),
        "REPO show --raw other".to_owned(),
        "REPO ls main".to_owned(),
        "REPO ls -R -C main".to_owned(),
        "REPO ls -R -X modes /usr".to_owned(),
        "REPO ls -d main /usr".to_owned(),
        "REPO ls --nul-filenames-only -R main".to_owned(),
        "REPO cat main /usr/bin/sh".to_owned(),
        "REPO diff main^ main".to_owned(),
        "REPO config get core.mode".to_owned(),
        "REPO config set core.lock-timeout-secs 60".to_owned(),
        "REPO config get core.lock-timeout-secs".to_owned(),
        "REPO prune --no-prune --refs-only --depth=0".to_owned(),
        "REPO refs --delete other".to_owned(),
        "REPO reset main main^".to_owned(),
        "REPO rev-parse main".to_owned(),
        "REPO remote add one http://one.example/repo".to_owned(),
        "REPO remote list -u".to_owned(),
        "REPO remote show-url one".to_owned(),
        "REPO fsck -q".to_owned(),
    ];
    for line in lines {
        let line = line.replace('\'', "").replace("uint64 7", "uint64\u{a0}7");
        let line = line.replace("--add-metadata=n=uint64\u{a0}7", "--add-metadata=n=7");
        let of = |repo: &str| line.replace("REPO", &format!("--repo={}", at(repo)));
        let (status, mut out, err) = ours(&of("ours"));
        let (fine, mut expected) = theirs(&of("theirs"));
        // How far they are, which ours says on a terminal only.
        expected = without(&expected, "fsck objects");
        if line.starts_with("REPO refs") {
            // Theirs come as a hash table has them.
            (out, expected) = (sorted(&out), sorted(&expected));
        }
        assert_eq!((status == 0, out), (fine, expected), "{line}: {err}");
    }
}

fn without(text: &str, start: &str) -> String {
    let lines = text.split_inclusive('\n');
    lines.filter(|line| !line.starts_with(start)).collect()
}

fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[test]
fn archives_are_taken_in_and_given_out() {
    if !have_ostree() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    make_tree(&dir.path().join("tree"));
    let repo = format!("--repo={}", at("repo"));
    let run = |line: String| {
        let (status, out, err) = ours(&format!("{repo} {line}"));
        assert_eq!(status, 0, "{line}: {err}");
        out
    };
    run("init --mode=archive".into());
    run(format!("commit -b a {TIME} --no-xattrs {}", at("tree")));
    run(format!("export a -o {}", at("a.tar")));
    let ours_from_tar = run(format!(
        "commit -b a --parent=none {TIME} --tree=tar={}",
        at("a.tar")
    ));
    let (fine, theirs_from_tar) = theirs(&format!(
        "{repo} commit -b a --parent=none {TIME} --tree=tar={}",
        at("a.tar")
    ));
    assert!(fine);
    assert_eq!(ours_from_tar, theirs_from_tar);
    let (fine, _) = theirs(&format!("{repo} fsck -q"));
    assert!(fine);
}
