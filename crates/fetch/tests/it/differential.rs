//! Side by side with Debian's `ostree`: each as the server's repository, each as the
//! one that pulls.

use ostree::RepoMode;

use crate::far::{Act, Far};
use crate::life::Ours;
use crate::sandbox::{Sandbox, assert_has, is_root, options, pull, pull_main, remote};

#[test]
fn they_pull_what_we_serve() {
    if !testing::have(&["ostree"], &[]) {
        return;
    }
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let server = Ours::start(&origin.path);
    sandbox.ostree(&["init", "--repo=theirs", "--mode=bare-user"]);
    let add = [
        "remote",
        "add",
        "--repo=theirs",
        "--no-gpg-verify",
        "origin",
    ];
    sandbox.ostree(&[&add[..], &[&server.url]].concat());
    let refs = sandbox.ostree(&["remote", "refs", "--repo=theirs", "origin"]);
    assert_eq!(refs, "origin:main\norigin:other/branch\n");
    let summary = sandbox.ostree(&["remote", "summary", "--repo=theirs", "origin"]);
    assert!(summary.contains(&origin.second.to_string()), "{summary}");
    assert!(summary.contains("ostree.summary.mode"), "{summary}");
    let pull = [
        "pull",
        "--repo=theirs",
        "--depth=-1",
        "origin",
        "main",
        "other/branch",
    ];
    sandbox.ostree(&pull);
    let head = sandbox.ostree(&["rev-parse", "--repo=theirs", "origin:main"]);
    assert_eq!(head.trim(), origin.second.to_string());
    assert!(
        sandbox
            .ostree(&["fsck", "--repo=theirs"])
            .contains("fsck objects")
    );
    // Mirrors too, and the summary is theirs as it is ours.
    sandbox.ostree(&["init", "--repo=mirror", "--mode=archive"]);
    let add = [
        "remote",
        "add",
        "--repo=mirror",
        "--no-gpg-verify",
        "origin",
    ];
    sandbox.ostree(&[&add[..], &[&server.url]].concat());
    sandbox.ostree(&["pull", "--repo=mirror", "--mirror", "origin"]);
    let ours = std::fs::read(origin.path.join("summary")).unwrap();
    assert_eq!(std::fs::read(sandbox.path("mirror/summary")).unwrap(), ours);
    // What we pulled into, they find in order.
    let repo = sandbox.repo("to", RepoMode::BareUser);
    pull_main(&repo, &server.url).unwrap();
    assert!(
        sandbox
            .ostree(&["fsck", "--repo=to"])
            .contains("fsck objects")
    );
    let list = |repo| sandbox.ostree(&["ls", repo, "-RCX", "origin:main"]);
    assert_eq!(list("--repo=to"), list("--repo=theirs"));
}

#[test]
fn we_pull_what_they_made() {
    if !testing::have(&["ostree"], &[]) {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.ostree(&["init", "--repo=theirs", "--mode=archive"]);
    let tree = sandbox.tree("tree", "x");
    if is_root() {
        std::os::unix::fs::chown(tree.join("etc/conf"), Some(7), Some(8)).unwrap();
    }
    let commit = [
        "commit",
        "--repo=theirs",
        "-b",
        "main",
        "-s",
        "s",
        "--generate-sizes",
    ];
    let add = "--add-metadata-string=version=1.2";
    let head = sandbox.ostree(&[&commit[..], &[add, "tree"]].concat());
    let head = head.trim().parse().unwrap();
    let alias = ["refs", "--repo=theirs", "-A", "main", "--create=stable"];
    sandbox.ostree(&alias);
    sandbox.ostree(&["summary", "--repo=theirs", "-u"]);
    let static_server = Far::start(&sandbox.path("theirs"), |_, _| Act::Serve);
    let ours = Ours::start(&sandbox.path("theirs"));
    let mut modes = vec![RepoMode::BareUser, RepoMode::Archive];
    if is_root() {
        modes.push(RepoMode::Bare);
    }
    for url in [static_server.url(), ours.url.clone()] {
        for mode in &modes {
            let name = format!("to-{mode}-{}", url.len());
            let repo = sandbox.repo(&name, *mode);
            pull_main(&repo, &url).unwrap();
            assert_has(&repo, "origin:main", head);
            let repo_arg = format!("--repo={name}");
            let fsck = sandbox.ostree(&["fsck", &repo_arg]);
            assert!(fsck.contains("fsck objects"), "{fsck}");
            let list = sandbox.ostree(&["ls", &repo_arg, "-RCX", "origin:main"]);
            let want = sandbox.ostree(&["ls", "--repo=theirs", "-RCX", "main"]);
            assert_eq!(list, want);
            durable::remove_tree(&durable::RealFs, repo.path()).unwrap();
        }
    }
    // A ref that is a symlink is served as the file that it leads to.
    std::fs::remove_file(sandbox.path("theirs/summary")).unwrap();
    let repo = sandbox.repo("to", RepoMode::BareUser);
    let lax = fetch::PullOptions {
        verify_bindings: false,
        ..options(&["stable"])
    };
    pull(&repo, &remote(&ours.url), &lax).unwrap();
    assert_has(&repo, "origin:stable", head);
}

#[test]
fn settings_of_remotes_are_theirs() {
    if !testing::have(&["ostree"], &[]) {
        return;
    }
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("ours", RepoMode::Archive);
    let mut added = remote("http://host/repo");
    added.set("branches", Some("main;other"));
    repo.add_remote(&added, ostree::IfExists::Fail).unwrap();
    let list = sandbox.ostree(&["remote", "list", "--repo=ours", "-u"]);
    assert_eq!(list, "origin  http://host/repo\n");
    let add = [
        "remote",
        "add",
        "--repo=ours",
        "--no-gpg-verify",
        "two",
        "http://b/",
    ];
    sandbox.ostree(&[&add[..], &["main"]].concat());
    let two = repo.remote("two").unwrap();
    assert_eq!(
        (two.url().unwrap(), two.branches()),
        ("http://b/", vec!["main"])
    );
    assert!(!two.gpg_verify().unwrap());
    repo.delete_remote("origin").unwrap();
    let list = sandbox.ostree(&["remote", "list", "--repo=ours"]);
    assert_eq!(list, "two\n");
    // Theirs again, exactly as they write it.
    let config = |name: &str| std::fs::read_to_string(sandbox.path(name).join("config")).unwrap();
    let ours = config("ours").replace("min-free-space-percent=0\n", "");
    sandbox.ostree(&["init", "--repo=theirs", "--mode=archive"]);
    let add = [
        "remote",
        "add",
        "--repo=theirs",
        "--no-gpg-verify",
        "two",
        "http://b/",
    ];
    sandbox.ostree(&[&add[..], &["main"]].concat());
    let lines = |text: String| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.retain(|l| !l.is_empty());
        lines.sort();
        lines
    };
    assert_eq!(lines(ours), lines(config("theirs")));
}
