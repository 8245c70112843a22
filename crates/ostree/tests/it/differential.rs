//! Side by side with Debian's `ostree`: what one wrote, the other reads, and both
//! give the same names to the same things.

use std::path::Path;

use monitor::Silent;
use ostree::{CheckoutOptions, CommitOptions, Links, Metadata, Repo, RepoMode, Value};

use crate::sandbox::{Sandbox, assert_same_trees, commit, describe, have_ostree, is_root};

/// The modes that this user can commit the test tree in.
fn modes() -> Vec<RepoMode> {
    match is_root() {
        true => vec![RepoMode::Bare, RepoMode::BareUser, RepoMode::Archive],
        false => vec![RepoMode::BareUser, RepoMode::Archive],
    }
}

fn theirs(sandbox: &Sandbox, name: &str, mode: RepoMode) {
    sandbox.ostree(&["init", &format!("--repo={name}"), &format!("--mode={mode}")]);
}

/// Commits `tree` with theirs to the branch `main`, as [`commit`] does.
fn commit_theirs(sandbox: &Sandbox, repo: &str, more: &[&str]) -> String {
    let repo = format!("--repo={repo}");
    let mut args = vec!["commit", &repo, "-b", "main", "-s", "subject"];
    args.push("--timestamp=@1000000000");
    args.extend(more);
    args.push("tree");
    sandbox.ostree(&args).trim().to_owned()
}

#[test]
fn same_checksums() {
    if !have_ostree() {
        return;
    }
    type Case = (&'static [&'static str], fn(&mut CommitOptions));
    let cases: [Case; 7] = [
        (&[], |_| ()),
        (&["--no-xattrs"], |o| o.no_xattrs = true),
        (&["--canonical-permissions"], |o| {
            o.canonical_permissions = true
        }),
        (&["--owner-uid=7", "--owner-gid=8"], |o| {
            (o.owner_uid, o.owner_gid) = (Some(7), Some(8));
        }),
        (&["--no-bindings", "--body=more\nlines"], |o| {
            o.no_bindings = true;
            o.body = "more\nlines".into();
        }),
        (&["--bind-ref=z/z", "--bind-ref=a"], |o| {
            o.bind_refs = vec!["z/z".into(), "a".into()];
        }),
        (
            &[
                "--add-metadata-string=version=12.8",
                "--add-metadata-string=a=ü",
            ],
            |o| {
                o.metadata.set("version", Value::from("12.8"));
                o.metadata.set("a", Value::from("ü"));
            },
        ),
    ];
    let sandbox = Sandbox::new();
    let tree = sandbox.tree("tree");
    // Bare-user needs no root, and the checksums do not depend on the mode.
    theirs(&sandbox, "theirs", RepoMode::BareUser);
    let ours = sandbox.repo("ours", RepoMode::BareUser);
    for (args, set) in cases {
        sandbox.ostree(&["refs", "--repo=theirs", "--delete", "main"]);
        ours.set_ref("main", None).unwrap();
        let mut options = CommitOptions {
            branch: Some("main".into()),
            subject: "subject".into(),
            timestamp: Some(1_000_000_000),
            metadata: Metadata::default(),
            ..CommitOptions::default()
        };
        set(&mut options);
        let got = ours.commit_dir(&tree, &options, &Silent).unwrap();
        assert_eq!(
            got.checksum.to_string(),
            commit_theirs(&sandbox, "theirs", args),
            "{args:?}"
        );
    }
    // A second commit on a branch has the first one as its parent.
    let first = ours.resolve("main").unwrap();
    let second = commit(&ours, &tree);
    assert_eq!(ours.load_commit(&second).unwrap().parent, Some(first));
    let theirs = commit_theirs(&sandbox, "theirs", &[]);
    assert_eq!(second.to_string(), theirs);
}

#[test]
fn they_accept_what_we_wrote() {
    if !have_ostree() {
        return;
    }
    for mode in modes() {
        let sandbox = Sandbox::new();
        let tree = sandbox.tree("tree");
        let repo = sandbox.repo("ours", mode);
        let checksum = commit(&repo, &tree).to_string();
        assert_eq!(
            sandbox.ostree(&["rev-parse", "--repo=ours", "main"]).trim(),
            checksum
        );
        let fsck = sandbox.ostree(&["fsck", "--repo=ours"]);
        assert!(fsck.contains("fsck objects"), "{mode}: {fsck}");
        theirs(&sandbox, "theirs", mode);
        commit_theirs(&sandbox, "theirs", &[]);
        let list = |repo: &str| sandbox.ostree(&["ls", repo, "-RCX", "main"]);
        assert_eq!(list("--repo=ours"), list("--repo=theirs"), "{mode}");
        let user: &[&str] = if is_root() { &[] } else { &["-U"] };
        sandbox.ostree(&[&["checkout", "--repo=ours", "main", "got"], user].concat());
        sandbox.ostree(&[&["checkout", "--repo=theirs", "main", "want"], user].concat());
        assert_same_trees(&sandbox.path("got"), &sandbox.path("want"), mode.as_str());
        if mode != RepoMode::Archive && is_root() {
            assert_eq!(
                sandbox.ostree(&["diff", "--repo=ours", "main", "./tree"]),
                "",
                "{mode}"
            );
        }
        assert_same_objects(&sandbox, mode);
    }
}

/// Both repositories hold the same objects; in the bare modes, the same bytes with
/// the same attributes as well.
fn assert_same_objects(sandbox: &Sandbox, mode: RepoMode) {
    let names = |repo: &str| describe(&sandbox.path(repo).join("objects"));
    let (ours, theirs) = (names("ours"), names("theirs"));
    if mode == RepoMode::Archive {
        let name = |line: &String| line.split_whitespace().next().map(str::to_owned);
        assert!(ours.iter().map(name).eq(theirs.iter().map(name)));
    } else {
        assert_eq!(ours, theirs, "{mode}");
    }
}

#[test]
fn we_read_what_they_wrote() {
    if !have_ostree() {
        return;
    }
    for mode in modes() {
        let sandbox = Sandbox::new();
        sandbox.tree("tree");
        theirs(&sandbox, "theirs", mode);
        let checksum = commit_theirs(&sandbox, "theirs", &[]);
        let repo = sandbox.open("theirs");
        let commit = repo.resolve("main").unwrap();
        assert_eq!(commit.to_string(), checksum);
        assert_eq!(repo.resolve(&checksum[..9]).unwrap(), commit);
        for (user_mode, links) in [
            (true, Links::Prefer),
            (false, Links::Prefer),
            (false, Links::Never),
        ] {
            let may = user_mode || is_root();
            if !may && !testing::nothing_lacks(&["root, for a checkout with owners"]) {
                continue;
            }
            let (ours, want) = (sandbox.path("got"), sandbox.path("want"));
            let options = CheckoutOptions {
                user_mode,
                links,
                ..CheckoutOptions::default()
            };
            repo.checkout(&commit, &ours, &options, &Silent).unwrap();
            let flag = if user_mode { "-U" } else { "--force-copy" };
            sandbox.ostree(&["checkout", "--repo=theirs", flag, "main", "want"]);
            let what = format!("{mode} user mode {user_mode} {links:?}");
            assert_same_trees(&ours, &want, &what);
            durable::remove_tree(&durable::RealFs, &ours).unwrap();
            durable::remove_tree(&durable::RealFs, &want).unwrap();
        }
        let one = repo
            .read_file(&commit, Path::new("/a/b/c/three"), 100)
            .unwrap();
        assert_eq!(one.as_deref(), Some(b"content 2\n".as_slice()));
        pull_and_compare(&sandbox, &repo);
    }
}

/// Pulls from `theirs` into each mode, and lets them check it.
fn pull_and_compare(sandbox: &Sandbox, from: &Repo) {
    for mode in modes() {
        let name = format!("pulled-{mode}");
        let to = sandbox.repo(&name, mode);
        let options = ostree::PullOptions::default();
        to.pull_local(from, &["main".into()], &options, &Silent)
            .unwrap();
        let name = format!("--repo={name}");
        assert!(sandbox.ostree(&["fsck", &name]).contains("fsck objects"));
        let listed = sandbox.ostree(&["ls", &name, "-RCX", "main"]);
        assert_eq!(
            listed,
            sandbox.ostree(&["ls", "--repo=theirs", "-RCX", "main"])
        );
    }
}
