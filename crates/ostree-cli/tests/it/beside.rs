//! The same command lines, given to both: what they print must be the same.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::XattrFlags;

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

/// A system with a policy, the lines of which meet in every way that counts.
fn make_policy(root: &Path) {
    let place = root.join("etc/selinux");
    let files = place.join("name/contexts/files");
    fs::create_dir_all(&files).unwrap();
    fs::create_dir_all(place.join("name/policy")).unwrap();
    fs::write(place.join("name/policy/policy.33"), "compiled").unwrap();
    fs::write(
        place.join("config"),
        "SELINUX=permissive\nSELINUXTYPE=name\n",
    )
    .unwrap();
    fs::write(files.join("file_contexts"), CONTEXTS).unwrap();
    let with = |suffix: &str, text: &str| {
        fs::write(files.join(format!("file_contexts{suffix}")), text).unwrap();
    };
    with(".homedirs", "/home/[^/]+/\\.config(/.*)? u:r:config:s0\n");
    with(".local", "/opt/b u:r:local_b:s0\n");
    with(".subs_dist", "/usr/etc /etc\n/srv /usr\n/srv /etc\n");
    with(".subs", "/data /\n/opt/link /srv\n");
}

const CONTEXTS: &str = r"
# A comment.
/.*                             u:r:default:s0
/                       -d      u:r:root:s0
/usr/bin/exact          --      u:r:exact:s0
/usr/bin(/.*)?                  u:r:bin:s0
/usr/bin/.*             -l      u:r:link:s0
/usr/lib(64)?/.+\.so(\.[^/]*)?  --  u:r:lib:s0
/usr/lib/one|/usr/two           u:r:either:s0
/opt/one|/top2                  u:r:top:s0
/etc/secret.?           --      <<none>>
/etc/[a-m]*             --      u:r:a_to_m:s0
/opt/.*                 -d      u:r:dirs:s0
/opt/b                          u:r:b:s0
/mnt                    -d      u:r:mnt:s0
/proc                   -d      <<none>>
/home/a\+b                      u:r:plus:s0
";

#[test]
fn files_get_the_labels_of_a_policy() {
    if !have_ostree() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let tree = dir.path().join("tree");
    make_tree(&tree);
    for file in [
        "usr/bin/exact",
        "usr/lib/a.so",
        "usr/lib64/a.so.1",
        "usr/lib/one",
        "usr/two",
        "usr/one/usr/two",
        "top2",
        "opt/one",
        "opt/one2",
        "x/top2",
        "etc/secret",
        "etc/secret2",
        "etc/secret23",
        "etc/abc",
        "etc/xyz",
        "usr/etc/abc",
        "usr/etc/secret",
        "opt/b",
        "opt/c/d",
        "opt/link/abc",
        "home/a+b",
        "home/me/.config/x",
        "home/me/config",
        "data/usr/bin/x",
        "data2/usr/bin/x",
        "srv/abc",
        "srv/bin/y",
    ] {
        fs::create_dir_all(tree.join(file).parent().unwrap()).unwrap();
        fs::write(tree.join(file), file).unwrap();
    }
    symlink("sh", tree.join("usr/bin/bash")).unwrap();
    fs::create_dir(tree.join("proc")).unwrap();
    fs::hard_link(tree.join("usr/bin/sh"), tree.join("etc/bl")).unwrap();
    make_policy(&tree);
    make_policy(&tree.join("usr"));
    make_policy(&dir.path().join("policy"));
    fs::create_dir(dir.path().join("without")).unwrap();
    make_policy(&dir.path().join("other"));
    let other = "etc/selinux/name/contexts/files/file_contexts";
    let nearly_none = "/.* <<none>>\n/ -d u:r:other:s0\n";
    fs::write(dir.path().join("other").join(other), nearly_none).unwrap();
    let (tree, policy, none) = (at("tree"), at("policy"), at("without"));
    let other_policy = at("other");
    let commit = |options: &str| format!("REPO commit --orphan {TIME} {options}");
    let archive = format!("{}/tree.tar", dir.path().display());
    let packed = Command::new("tar")
        .args(["-C", &tree, "--owner=0", "--group=0", "-cf", &archive, "."])
        .status();
    assert!(packed.unwrap().success());
    same(
        dir.path(),
        &[
            "REPO init --mode=bare-user",
            &format!("REPO commit -b plain --no-bindings {TIME} {tree}"),
            &format!("REPO commit -b main --no-bindings {TIME} --selinux-policy={policy} {tree}"),
            "REPO ls -R -X main",
            "REPO ls -R -C main",
            &commit(&format!("-P {tree}")),
            &commit(&format!("-P --tree=dir={tree}")),
            &commit("-P --tree=ref=plain"),
            &commit(&format!("-P --base=plain --tree=dir={tree}")),
            &commit(&format!("--no-xattrs --selinux-policy={policy} {tree}")),
            &commit(&format!(
                "--canonical-permissions --selinux-policy={policy} {tree}"
            )),
            &commit(&format!("--selinux-policy={policy} --tree=ref=main")),
            &commit(&format!("--selinux-policy={policy} --tree=tar={archive}")),
            &commit(&format!(
                "--selinux-policy={policy} --tree=tar={archive} --tar-autocreate-parents"
            )),
            // What a policy wants no label for keeps the one it has.
            &format!("REPO commit -b other {TIME} --selinux-policy={other_policy} --tree=ref=main"),
            "REPO ls -X other /usr/bin",
            // Without a policy, files keep what they have.
            &commit(&format!("--selinux-policy={none} --tree=ref=main")),
            &commit(&format!("--selinux-policy={policy}/nowhere {tree}")),
            "REPO fsck -q",
        ],
        |_, text| without(&text, "fsck objects"),
    );
}

#[test]
fn labels_that_ostree_put_last_are_read() {
    if !have_ostree() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let tree = dir.path().join("tree");
    make_tree(&tree);
    make_policy(&dir.path().join("policy"));
    for path in ["usr", "usr/bin/sh"] {
        let set = rustix::fs::setxattr(tree.join(path), "user.x", b"1", XattrFlags::empty());
        set.unwrap();
    }
    let (repo, policy) = (format!("--repo={}", at("repo")), at("policy"));
    let (fine, _) = theirs(&format!("{repo} init --mode=archive"));
    let options = format!("-b main --no-bindings {TIME} --selinux-policy={policy}");
    let (committed, labelled) = theirs(&format!("{repo} commit {options} {}", at("tree")));
    assert!(fine && committed);
    let line = format!("{repo} ls -R -X main");
    assert_eq!(ours(&line).1, theirs(&line).1);
    assert!(
        ours(&line)
            .1
            .contains("b'user.x', [byte 0x31]), (b'security")
    );
    assert_eq!(ours(&format!("{repo} fsck")).0, 0);

    // Where attributes can be in that order, it is pulled; else it is refused.
    let modes = [
        ("bare-user", ""),
        ("archive", ""),
        ("bare", "extended attributes are not sorted"),
    ];
    for (mode, refusal) in modes.into_iter().take(2 + usize::from(testing::as_root())) {
        let copy = format!("--repo={}", at(mode));
        assert_eq!(ours(&format!("{copy} init --mode={mode}")).0, 0);
        let (status, _, err) = ours(&format!("{copy} pull-local {} main", at("repo")));
        assert_eq!(
            (status == 0, err.contains(refusal)),
            (refusal.is_empty(), true),
            "{mode}: {err}"
        );
        let (status, _, err) = ours(&format!("{copy} fsck"));
        assert_eq!(status, 0, "{mode}: {err}");
        assert!(theirs(&format!("{copy} fsck -q")).0, "{mode}");
    }
    // Ours are sorted, so that every repository can have them.
    let again = ours(&format!(
        "{repo} commit {options} --parent=none {}",
        at("tree")
    ));
    assert_eq!(again.0, 0, "{}", again.2);
    assert_ne!(again.1, labelled);
    assert!(ours(&line).1.contains(":s0'), (b'user.x'"));
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
