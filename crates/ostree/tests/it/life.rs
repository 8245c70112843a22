//! A repository's daily life: refs, history, pruning, locks, interrupted work.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use durable::{Fs, LockMode, RealFs};
use monitor::Silent;
use ostree::{
    ChangeKind, CheckoutOptions, CommitOptions, Error, FsckOptions, IfExists, Links, PruneOptions,
    PullFiles, PullOptions, Repo, RepoMode,
};

use crate::sandbox::{Sandbox, assert_same_trees, commit, have_ostree, is_root, write};

/// Three versions of a small tree on `main`.
fn three(sandbox: &Sandbox) -> (Repo, Vec<ostree::Checksum>) {
    let repo = sandbox.repo("repo", RepoMode::BareUser);
    let tree = sandbox.path("tree");
    fs::create_dir_all(tree.join("dir/sub")).unwrap();
    write(&tree.join("same"), b"same", 0o644);
    write(&tree.join("dir/sub/deep"), b"deep", 0o644);
    let revs = (0..3)
        .map(|i| {
            write(
                &tree.join("changes"),
                format!("version {i}").as_bytes(),
                0o644,
            );
            write(
                &tree.join(format!("new{i}")),
                format!("new {i}").as_bytes(),
                0o644,
            );
            if i == 2 {
                fs::remove_dir_all(tree.join("dir")).unwrap();
                fs::create_dir_all(tree.join("other/x")).unwrap();
                fs::remove_file(tree.join("same")).unwrap();
                fs::create_dir(tree.join("same")).unwrap();
            }
            commit(&repo, &tree)
        })
        .collect();
    (repo, revs)
}

#[test]
fn revisions() {
    let sandbox = Sandbox::new();
    let (repo, revs) = three(&sandbox);
    assert_eq!(repo.resolve("main").unwrap(), revs[2]);
    assert_eq!(repo.resolve("main^").unwrap(), revs[1]);
    assert_eq!(repo.resolve("main^^").unwrap(), revs[0]);
    assert_eq!(repo.resolve(&revs[1].to_string()[..10]).unwrap(), revs[1]);
    assert!(matches!(repo.resolve("main^^^"), Err(Error::NoParent(_))));
    for bad in ["nope", "", "../main", "remote:main", "zz", "a b"] {
        assert!(
            matches!(repo.resolve(bad), Err(Error::NoSuchRev(_))),
            "{bad:?}"
        );
    }
    let history = repo.history(&revs[2], 2).unwrap();
    assert_eq!(
        history.commits.iter().map(|c| c.0).collect::<Vec<_>>(),
        [revs[2], revs[1]]
    );
    assert!(!history.cut);
}

#[test]
fn refs_come_and_go() {
    let sandbox = Sandbox::new();
    let (repo, revs) = three(&sandbox);
    repo.set_ref("os/stable/x86_64", Some(&revs[0])).unwrap();
    repo.set_ref("os/testing", Some(&revs[1])).unwrap();
    repo.set_ref("origin:os/stable", Some(&revs[1])).unwrap();
    std::os::unix::fs::symlink("main", sandbox.path("repo/refs/heads/alias")).unwrap();
    let names = |prefix| repo.refs(prefix).unwrap().into_keys().collect::<Vec<_>>();
    let all = [
        "alias",
        "main",
        "origin:os/stable",
        "os/stable/x86_64",
        "os/testing",
    ];
    assert_eq!(names(None), all);
    assert_eq!(names(Some("os")), ["os/stable/x86_64", "os/testing"]);
    assert_eq!(names(Some("origin")), ["origin:os/stable"]);
    assert_eq!(names(Some("os/test")), Vec::<String>::new());
    // What an alias stands for is changed, not the alias.
    repo.set_ref("alias", Some(&revs[0])).unwrap();
    assert_eq!(repo.resolve("main").unwrap(), revs[0]);
    assert!(sandbox.path("repo/refs/heads/alias").is_symlink());
    // Empty directories go with the last ref in them, so `os` can be a ref.
    repo.set_ref("os/stable/x86_64", None).unwrap();
    repo.set_ref("os/testing", None).unwrap();
    repo.set_ref("os", Some(&revs[2])).unwrap();
    repo.set_ref("gone", None).unwrap();
    let nothing = ostree::Checksum::of(b"nothing");
    assert!(matches!(
        repo.set_ref("x", Some(&nothing)),
        Err(Error::Missing(_))
    ));
    for bad in ["/x", "a/../b", "-x", "a//b", "r:x:y"] {
        assert!(
            matches!(repo.set_ref(bad, Some(&revs[0])), Err(Error::RefName(_))),
            "{bad}"
        );
    }
}

#[test]
fn differences() {
    let sandbox = Sandbox::new();
    let (repo, revs) = three(&sandbox);
    let changes = repo.diff(&revs[1], &revs[2]).unwrap();
    let text: Vec<_> = changes
        .iter()
        .map(|c| {
            let letter = match c.kind {
                ChangeKind::Modified => 'M',
                ChangeKind::Removed => 'D',
                ChangeKind::Added => 'A',
            };
            format!("{letter}    {}", c.path.display())
        })
        .collect();
    let want = [
        "M    /changes",
        "M    /same",
        "D    /dir",
        "A    /new2",
        "A    /other",
        "A    /other/x",
    ];
    assert_eq!(text, want);
    assert!(repo.diff(&revs[2], &revs[2]).unwrap().is_empty());
    if have_ostree() {
        let theirs = sandbox.ostree(&["diff", "--repo=repo", "main^", "main"]);
        let mut theirs: Vec<_> = theirs.lines().collect();
        let mut ours: Vec<_> = text.iter().map(String::as_str).collect();
        theirs.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, theirs);
    }
}

#[test]
fn pruning() {
    let sandbox = Sandbox::new();
    let (repo, revs) = three(&sandbox);
    let keep_all = PruneOptions {
        refs_only: true,
        ..PruneOptions::default()
    };
    assert_eq!(repo.prune(&keep_all, &Silent).unwrap().objects_removed, 0);
    let options = PruneOptions {
        depth: Some(0),
        dry_run: true,
        ..keep_all.clone()
    };
    let would = repo.prune(&options, &Silent).unwrap();
    assert!(would.objects_removed > 4, "{would:?}");
    let report = repo.fsck(&FsckOptions::default(), &Silent).unwrap();
    assert_eq!(report.objects, would.objects_total);
    let did = repo
        .prune(
            &PruneOptions {
                dry_run: false,
                ..options
            },
            &Silent,
        )
        .unwrap();
    assert_eq!(did, would);
    let report = repo.fsck(&FsckOptions::default(), &Silent).unwrap();
    assert_eq!((report.is_clean(), report.commits), (true, 1));
    assert_eq!(report.objects, would.objects_total - would.objects_removed);
    assert!(repo.history(&revs[2], 9).unwrap().cut);
    if have_ostree() {
        sandbox.ostree(&["fsck", "--repo=repo"]);
        let theirs = sandbox.ostree(&["prune", "--repo=repo", "--refs-only"]);
        assert!(theirs.contains("No unreachable objects"), "{theirs}");
    }
    // What only a collection's ref leads to is kept.
    let mirrors = sandbox.path("repo/refs/mirrors/org.example.Os");
    fs::create_dir_all(&mirrors).unwrap();
    fs::rename(sandbox.path("repo/refs/heads/main"), mirrors.join("main")).unwrap();
    assert_eq!(repo.prune(&keep_all, &Silent).unwrap().objects_removed, 0);
    // Where it cannot be told what is needed, nothing is removed.
    let tree = repo.load_commit(&revs[2]).unwrap().root_tree;
    let tree = ostree::ObjectName::new(tree, ostree::ObjectKind::DirTree);
    fs::remove_file(repo.object_path(&tree)).unwrap();
    let before = repo.fsck(&FsckOptions::default(), &Silent).unwrap().objects;
    assert!(matches!(
        repo.prune(&keep_all, &Silent),
        Err(Error::Missing(_))
    ));
    assert_eq!(
        repo.fsck(&FsckOptions::default(), &Silent).unwrap().objects,
        before
    );
}

#[test]
fn locks_are_those_of_ostree() {
    if !have_ostree() {
        return;
    }
    let sandbox = Sandbox::new();
    three(&sandbox);
    let config = sandbox.path("repo/config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + "lock-timeout-secs=0\n").unwrap();
    let lock = RealFs
        .lock(&sandbox.path("repo/.lock"), LockMode::Shared)
        .unwrap();
    let (ok, said) = sandbox.ostree_status(&["prune", "--repo=repo"]);
    assert!(!ok && said.contains("Lock"), "{said}");
    sandbox.ostree(&["commit", "--repo=repo", "--orphan", "tree"]);
    drop(lock);
    sandbox.ostree(&["prune", "--repo=repo"]);
    let _lock = RealFs
        .lock(&sandbox.path("repo/.lock"), LockMode::Exclusive)
        .unwrap();
    let (ok, _) = sandbox.ostree_status(&["commit", "--repo=repo", "--orphan", "tree"]);
    assert!(!ok);
}

#[test]
fn what_a_killed_run_left_is_removed() {
    let sandbox = Sandbox::new();
    let (repo, _) = three(&sandbox);
    let tmp = sandbox.path("repo/tmp");
    fs::create_dir_all(tmp.join("backstop-999-0/ab")).unwrap();
    write(&tmp.join("backstop-999-0/ab/cd.file"), b"half", 0o644);
    write(&tmp.join("backstop-999-0.lock"), b"", 0o644);
    // One that lives is left alone.
    fs::create_dir_all(tmp.join("backstop-998-0")).unwrap();
    let alive = RealFs
        .lock(&tmp.join("backstop-998-0.lock"), LockMode::Exclusive)
        .unwrap();
    commit(&repo, &sandbox.path("tree"));
    let names: Vec<_> = RealFs
        .read_dir(&tmp)
        .unwrap()
        .into_iter()
        .map(|e| e.name)
        .collect();
    assert_eq!(names, ["backstop-998-0", "backstop-998-0.lock", "cache"]);
    drop(alive);
}

#[test]
fn uncommittable_files() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("repo", RepoMode::BareUser);
    let tree = sandbox.path("tree");
    fs::create_dir(&tree).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    let refused = |why: &str| {
        let error = repo
            .commit_dir(&tree, &CommitOptions::default(), &Silent)
            .unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    };
    refused("neither a regular file");
    fs::remove_file(tree.join("socket")).unwrap();
    use std::os::unix::ffi::OsStrExt;
    let odd = tree.join(std::ffi::OsStr::from_bytes(b"\xff"));
    write(&odd, b"", 0o644);
    refused("not UTF-8");
    fs::remove_file(odd).unwrap();
    std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(b"\xfe"), tree.join("link")).unwrap();
    refused("not UTF-8");
    let missing = repo.commit_dir(&sandbox.path("nope"), &CommitOptions::default(), &Silent);
    assert!(missing.unwrap_err().to_string().contains("nope"));
}

#[test]
fn checkouts() {
    let sandbox = Sandbox::new();
    let tree = sandbox.tree("tree");
    let repo = sandbox.repo("repo", RepoMode::BareUser);
    let rev = commit(&repo, &tree);
    let user = CheckoutOptions {
        user_mode: true,
        ..CheckoutOptions::default()
    };
    let out = sandbox.path("out");
    let linked = repo.checkout(&rev, &out, &user, &Silent).unwrap();
    assert!(linked.linked > 300 && linked.copied < 10, "{linked:?}");
    let again = repo.checkout(&rev, &out, &user, &Silent);
    assert!(matches!(again, Err(Error::Exists { .. })));

    let part = CheckoutOptions {
        subpath: Some("/a/b".into()),
        links: Links::Never,
        ..user.clone()
    };
    repo.checkout(&rev, &sandbox.path("part"), &part, &Silent)
        .unwrap();
    assert_eq!(fs::read(sandbox.path("part/two")).unwrap(), b"content 1\n");
    let one = CheckoutOptions {
        subpath: Some("a/b/two".into()),
        ..user.clone()
    };
    repo.checkout(&rev, &sandbox.path("one"), &one, &Silent)
        .unwrap();
    assert_eq!(fs::read(sandbox.path("one/two")).unwrap(), b"content 1\n");
    let none = CheckoutOptions {
        subpath: Some("a/nope".into()),
        ..user.clone()
    };
    let none = repo.checkout(&rev, &sandbox.path("none"), &none, &Silent);
    assert!(matches!(none, Err(Error::NoSuchPath { .. })));

    // A symlink in the way is not followed.
    let fill = CheckoutOptions {
        into_existing: true,
        ..user.clone()
    };
    fs::create_dir(sandbox.path("fill")).unwrap();
    std::os::unix::fs::symlink("/tmp", sandbox.path("fill/a")).unwrap();
    let error = repo
        .checkout(&rev, &sandbox.path("fill"), &fill, &Silent)
        .unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");

    let archive = sandbox.repo("archive", RepoMode::Archive);
    archive
        .pull_local(&repo, &["main".into()], &PullOptions::default(), &Silent)
        .unwrap();
    let need = CheckoutOptions {
        links: Links::Require,
        ..user
    };
    let error = archive
        .checkout(&rev, &sandbox.path("x"), &need, &Silent)
        .unwrap_err();
    assert!(matches!(error, Error::NoHardLinks { .. }));
}

#[test]
fn one_file_of_a_commit() {
    let sandbox = Sandbox::new();
    let tree = sandbox.tree("tree");
    let repo = sandbox.repo("repo", RepoMode::Archive);
    let rev = commit(&repo, &tree);
    let read = |path: &str, limit| repo.read_file(&rev, Path::new(path), limit);
    assert_eq!(read("/a/one", 10).unwrap().unwrap(), b"content 0\n");
    assert_eq!(read("a/empty", 0).unwrap().unwrap(), b"");
    assert!(read("/a/none", 10).unwrap().is_none());
    assert!(read("/a/one/x", 10).unwrap().is_none());
    assert!(read("/../etc/passwd", 1 << 20).unwrap().is_none());
    assert!(matches!(
        read("/a/one", 9),
        Err(Error::TooLong { limit: 9, .. })
    ));
    assert!(matches!(read("/a", 9), Err(Error::WrongKind { .. })));
    assert!(matches!(
        read("/absolute", 99),
        Err(Error::WrongKind { .. })
    ));
}

#[test]
fn pulling() {
    let sandbox = Sandbox::new();
    let (from, revs) = three(&sandbox);
    let pull = |name: &str, options: PullOptions| {
        let to = sandbox.repo(name, RepoMode::BareUser);
        let summary = to
            .pull_local(&from, &["main".into()], &options, &Silent)
            .unwrap();
        (to, summary)
    };
    let depth = |depth| PullOptions {
        depth,
        ..PullOptions::default()
    };
    let (all, summary) = pull("all", depth(None));
    assert_eq!(summary.commits, [("main".to_owned(), revs[2])]);
    assert_eq!(all.history(&revs[2], 9).unwrap().commits.len(), 3);
    assert_eq!(pull("all", depth(None)).1.objects_written, 0);
    let (one, _) = pull("one", depth(Some(0)));
    assert!(one.history(&revs[2], 9).unwrap().cut);
    assert!(
        one.fsck(&FsckOptions::default(), &Silent)
            .unwrap()
            .is_clean()
    );
    let (two, _) = pull(
        "two",
        PullOptions {
            remote: Some("o".into()),
            ..depth(Some(1))
        },
    );
    assert_eq!(two.resolve("o:main").unwrap(), revs[2]);
    assert_eq!(two.history(&revs[2], 9).unwrap().commits.len(), 2);
    assert!(two.read_ref("main").unwrap().is_none());
    let two_names = |files: PullFiles, name: &str| {
        use std::os::unix::fs::MetadataExt;
        let (to, _) = pull(
            name,
            PullOptions {
                files,
                ..depth(None)
            },
        );
        let file = to
            .list(&revs[2], Path::new("/changes"), false)
            .unwrap()
            .remove(0);
        let ostree::Item::File { checksum, .. } = file.item else {
            panic!("not a file");
        };
        let object = ostree::ObjectName::new(checksum, ostree::ObjectKind::File);
        fs::metadata(to.object_path(&object)).unwrap().nlink() > 1
    };
    assert!(!two_names(PullFiles::Copies, "copies"));
    assert!(two_names(PullFiles::Verified, "verified"));
    assert!(two_names(PullFiles::TrustedLinks, "trusted"));
    let missing = all.pull_local(&from, &["nope".into()], &depth(None), &Silent);
    assert!(matches!(missing, Err(Error::NoSuchRev(_))));
}

#[test]
fn a_repository_of_another_mode_is_not_taken_over() {
    let sandbox = Sandbox::new();
    sandbox.repo("repo", RepoMode::BareUser);
    let again = Repo::create(Arc::new(RealFs), &sandbox.path("repo"), RepoMode::BareUser);
    assert!(again.is_ok());
    let other = Repo::create(Arc::new(RealFs), &sandbox.path("repo"), RepoMode::Archive);
    assert!(matches!(other, Err(Error::OtherMode { .. })));
}

#[test]
fn a_commit_of_a_checkout_is_the_same_tree() {
    let mode = if is_root() {
        RepoMode::Bare
    } else {
        RepoMode::BareUser
    };
    let sandbox = Sandbox::new();
    let tree = sandbox.tree("tree");
    let repo = sandbox.repo("repo", mode);
    let first = commit(&repo, &tree);
    if mode == RepoMode::Bare {
        let out = sandbox.path("out");
        repo.checkout(&first, &out, &CheckoutOptions::default(), &Silent)
            .unwrap();
        assert_same_trees(&out, &tree, "checkout");
        let second = commit(&repo, &out);
        let trees = [first, second].map(|c| repo.load_commit(&c).unwrap().content_checksum());
        assert_eq!(trees[0], trees[1]);
    }
}

#[test]
fn remotes_of_a_deployment() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("root/ostree/repo", RepoMode::Bare);
    let (physical, deployment) = (sandbox.path("root"), sandbox.path("deployment"));
    fs::create_dir_all(deployment.join("sysroot")).unwrap();
    let config = || fs::read_to_string(repo.path().join("config")).unwrap();
    let add = |repo: &Repo, name, url| {
        let remote = ostree::Remote::new(name, url).unwrap();
        repo.add_remote(&remote, IfExists::Replace).unwrap();
        repo.remote(name).unwrap().url().unwrap().to_owned()
    };
    // The root that holds the repository has no /etc of its own.
    add(&repo.clone().of_system(&physical), "a", "http://a");
    assert!(config().contains("http://a") && !physical.join("etc").exists());

    let own = repo.clone().of_system(&deployment);
    let file = deployment.join("etc/ostree/remotes.d/b.conf");
    assert_eq!(add(&own, "b", "http://b"), "http://b");
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        "[remote \"b\"]\nurl=http://b\n"
    );
    assert!(!config().contains("http://b") && repo.remote("b").is_err());
    // It goes where new ones go, and is then nowhere else.
    assert_eq!(add(&own, "a", "http://a2"), "http://a2");
    assert!(!config().contains("http://a"));
    assert_eq!(add(&own, "b", "http://b2"), "http://b2");
    assert!(own.delete_remote("b").unwrap() && !file.exists());

    let (group, key) = ("core", "add-remotes-config-dir");
    own.set_config(group, key, Some("false")).unwrap();
    add(&own, "c", "http://c");
    assert!(config().contains("http://c"));
}

/// Directories of objects belong to the group that `objects` gives them, whether they
/// were moved there whole or not.
#[test]
fn a_group_that_shares_a_repository_gets_its_directories() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    if !testing::as_root() {
        return;
    }
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("repo", RepoMode::Archive);
    let objects = sandbox.path("repo/objects");
    chown(&objects, None, Some(44)).unwrap();
    fs::set_permissions(&objects, PermissionsExt::from_mode(0o2775)).unwrap();
    let tree = sandbox.tree("tree");
    commit(&repo, &tree);
    for dir in fs::read_dir(&objects).unwrap() {
        let found = dir.unwrap().metadata().unwrap();
        assert_eq!((found.gid(), found.mode() & 0o7777), (44, 0o2755));
    }
}
