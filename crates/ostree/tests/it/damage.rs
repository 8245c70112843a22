//! Every kind of damage to every kind of object: what fsck, checkout and pull say.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use monitor::Silent;
use ostree::{
    CheckoutOptions, Checksum, Error, FsckOptions, Item, Links, ObjectKind, ObjectName, PullFiles,
    PullOptions, Repo, RepoMode,
};

use crate::sandbox::{Sandbox, commit, write};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Damage {
    Delete,
    Truncate,
    Flip,
    Grow,
}

const ALL: [Damage; 4] = [Damage::Delete, Damage::Truncate, Damage::Flip, Damage::Grow];

fn inflict(damage: Damage, path: &Path) {
    if damage == Damage::Delete {
        return fs::remove_file(path).unwrap();
    }
    let mode = fs::metadata(path).unwrap().permissions().mode();
    fs::set_permissions(path, PermissionsExt::from_mode(mode | 0o200)).unwrap();
    let mut content = fs::read(path).unwrap();
    match damage {
        Damage::Truncate => content.truncate(content.len() / 2),
        Damage::Flip => {
            let at = content.len() / 2;
            content[at] ^= 0x10;
        }
        Damage::Grow => content.push(0),
        Damage::Delete => {}
    }
    // Written in place, so that attributes stay.
    fs::write(path, content).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// The object behind a path of the commit.
fn object(repo: &Repo, rev: &Checksum, path: &str, meta: bool) -> ObjectName {
    let entries = repo.list(rev, Path::new(path), false).unwrap();
    match &entries[0].item {
        Item::File { checksum, .. } => ObjectName::new(*checksum, ObjectKind::File),
        Item::Dir { meta: m, .. } if meta => ObjectName::new(*m, ObjectKind::DirMeta),
        Item::Dir { tree, .. } => ObjectName::new(*tree, ObjectKind::DirTree),
    }
}

/// Objects of each kind, and where in the tree they are needed.
fn victims(repo: &Repo, rev: &Checksum) -> Vec<(ObjectName, Option<PathBuf>)> {
    let at = |path: &str, meta| (object(repo, rev, path, meta), Some(PathBuf::from(path)));
    vec![
        (ObjectName::new(*rev, ObjectKind::Commit), None),
        at("/a/b/c", false),
        at("/private", true),
        at("/a/b/two", false),
        at("/a/big", false),
        at("/dangling", false),
    ]
}

/// A tree with one object of each kind, and few others.
fn small_tree(sandbox: &Sandbox) -> PathBuf {
    let tree = sandbox.path("tree");
    if !tree.exists() {
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        fs::create_dir_all(tree.join("private")).unwrap();
        for (name, content) in [
            ("a/one", "content 0\n"),
            ("a/b/two", "2"),
            ("a/b/c/three", "3"),
        ] {
            write(&tree.join(name), content.as_bytes(), 0o644);
        }
        let big: Vec<u8> = (0..5u32 << 20)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        write(&tree.join("a/big"), &big, 0o644);
        fs::set_permissions(tree.join("private"), PermissionsExt::from_mode(0o750)).unwrap();
        std::os::unix::fs::symlink("a/missing", tree.join("dangling")).unwrap();
    }
    tree
}

#[test]
fn of_objects() {
    for mode in [RepoMode::BareUser, RepoMode::Archive] {
        let sandbox = Sandbox::new();
        let tree = small_tree(&sandbox);
        let whole = sandbox.repo("whole", mode);
        let rev = commit(&whole, &tree);
        for (i, (victim, path)) in victims(&whole, &rev).into_iter().enumerate() {
            for damage in ALL {
                let name = format!("{mode}-{i}-{damage:?}");
                let repo = sandbox.repo(&name, mode);
                let copies = PullOptions {
                    files: PullFiles::Copies,
                    ..PullOptions::default()
                };
                repo.pull_local(&whole, &["main".into()], &copies, &Silent)
                    .unwrap();
                inflict(damage, &repo.object_path(&victim));
                check(
                    &sandbox,
                    &repo,
                    &rev,
                    (victim, damage),
                    path.as_deref(),
                    &name,
                );
                fs::remove_dir_all(sandbox.path(&name)).unwrap();
            }
        }
    }
}

/// The damage is found by all that reads the object, and named by its name.
fn check(
    sandbox: &Sandbox,
    repo: &Repo,
    rev: &Checksum,
    (victim, damage): (ObjectName, Damage),
    path: Option<&Path>,
    what: &str,
) {
    let report = repo.fsck(&FsckOptions::default(), &Silent).unwrap();
    let text: Vec<_> = report
        .problems
        .iter()
        .map(|p| p.error.to_string())
        .collect();
    assert!(
        text.iter()
            .any(|t| t.contains(&victim.checksum.to_string())),
        "{what}: {text:?}"
    );
    assert!(
        report.problems.iter().all(|p| p.error.is_damage()),
        "{what}"
    );
    // One damage is one problem, however many see it.
    assert_eq!(report.problems.len(), 1, "{what}: {text:?}");
    if let Some(path) = path {
        let needed = report.problems[0].needed_by.as_ref().unwrap();
        assert_eq!((needed.0, needed.1.as_path()), (*rev, path), "{what}");
    }

    let dest = sandbox.path(&format!("{what}-out"));
    let options = CheckoutOptions {
        user_mode: true,
        links: Links::Never,
        ..CheckoutOptions::default()
    };
    let error = repo.checkout(rev, &dest, &options, &Silent).unwrap_err();
    assert_damage(&error, victim, damage, what);

    let to = sandbox.repo(&format!("{what}-to"), RepoMode::BareUser);
    let error = to.pull_local(repo, &[rev.to_string()], &PullOptions::default(), &Silent);
    assert_damage(&error.unwrap_err(), victim, damage, what);
    // Of a failed pull, whole files may be left, and nothing that needs others.
    let report = to.fsck(&FsckOptions::default(), &Silent).unwrap();
    assert!(
        report.is_clean() && to.refs(None).unwrap().is_empty(),
        "{what}"
    );
    let commit = ObjectName::new(*rev, ObjectKind::Commit);
    assert!(!to.has(&commit).unwrap(), "{what}");
    assert_eq!(
        fs::read_dir(sandbox.path(&format!("{what}-to/tmp")))
            .unwrap()
            .count(),
        1,
        "{what}"
    );
    let _ = fs::remove_dir_all(dest);
    fs::remove_dir_all(to.path()).unwrap();
}

fn assert_damage(error: &Error, victim: ObjectName, damage: Damage, what: &str) {
    assert!(error.is_damage(), "{what}: {error}");
    assert_eq!(
        matches!(error, Error::Missing(_)),
        damage == Damage::Delete,
        "{what}: {error}"
    );
    assert!(
        error.to_string().contains(&victim.to_string()),
        "{what}: {error}"
    );
}

#[test]
fn of_attributes() {
    let sandbox = Sandbox::new();
    let tree = small_tree(&sandbox);
    let repo = sandbox.repo("repo", RepoMode::BareUser);
    let rev = commit(&repo, &tree);
    let victim = object(&repo, &rev, "/a/one", false);
    let path = repo.object_path(&victim);
    rustix::fs::lremovexattr(&path, "user.ostreemeta").unwrap();
    let report = repo.fsck(&FsckOptions::default(), &Silent).unwrap();
    assert_eq!(report.problems.len(), 1);
    assert!(matches!(report.problems[0].error, Error::Damaged { object, .. } if object == victim));
}

#[test]
fn of_refs() {
    let sandbox = Sandbox::new();
    let tree = small_tree(&sandbox);
    let repo = sandbox.repo("repo", RepoMode::BareUser);
    let rev = commit(&repo, &tree);
    let path = sandbox.path("repo/refs/heads/main");
    for damage in ALL {
        fs::write(&path, format!("{rev}\n")).unwrap();
        inflict(damage, &path);
        let resolved = repo.resolve("main");
        let report = repo.fsck(&FsckOptions::default(), &Silent).unwrap();
        let problems: Vec<_> = report
            .problems
            .iter()
            .map(|p| p.error.to_string())
            .collect();
        match damage {
            Damage::Delete => {
                assert!(matches!(resolved, Err(Error::NoSuchRev(_))));
                assert!(report.is_clean());
            }
            Damage::Truncate | Damage::Grow => {
                assert!(matches!(resolved, Err(Error::DamagedRef(_))), "{damage:?}");
                assert!(
                    problems[0].contains("the ref main is damaged"),
                    "{problems:?}"
                );
            }
            // One digit is another: to no commit, or no digit at all.
            Damage::Flip => assert!(problems[0].contains("main"), "{problems:?}"),
        }
    }
}

#[test]
fn of_the_config() {
    let cases: [(&[u8], &str); 7] = [
        (b"", "no [core] repo_version"),
        (b"[core]\nrepo_version=2\nmode=bare\n", "use a newer one"),
        (
            b"[core]\nrepo_version=1\nmode=bare-split-xattrs\n",
            "bare-split-xattrs",
        ),
        (b"[core]\nrepo_version=1\n", "no [core] mode"),
        (b"[core\nrepo_version=1\nmode=bare\n", "line 1"),
        (b"[core]\nrepo_ver", "line 2"),
        (b"\xff\xfe", "text"),
    ];
    for (content, says) in cases {
        let sandbox = Sandbox::new();
        sandbox.repo("repo", RepoMode::BareUser);
        fs::write(sandbox.path("repo/config"), content).unwrap();
        let fs = std::sync::Arc::new(durable::RealFs);
        let error = Repo::open(fs, &sandbox.path("repo")).unwrap_err();
        let chain = match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        assert!(
            chain.contains(says) && chain.contains("repo"),
            "{content:?}: {chain}"
        );
    }
    let sandbox = Sandbox::new();
    let fs = std::sync::Arc::new(durable::RealFs);
    let error = Repo::open(fs, &sandbox.path("nothing")).unwrap_err();
    assert!(error.to_string().contains("is not a repository"));
}

#[test]
fn a_hostile_tree_cannot_lead_out() {
    use ostree::{DirRef, DirTree, FileRef};
    for name in ["..", ".", "", "a/b", "../x", "/etc"] {
        let sandbox = Sandbox::new();
        let repo = sandbox.repo("repo", RepoMode::BareUser);
        let rev = commit(&repo, &small_tree(&sandbox));
        let root = repo.load_commit(&rev).unwrap();
        let mut hostile = DirTree::default();
        let dir = repo.load_dirtree(&root.root_tree).unwrap().dirs[0].clone();
        hostile.dirs.push(DirRef {
            name: name.into(),
            ..dir
        });
        put(&repo, ObjectKind::DirTree, &hostile.encode());
        let mut files = DirTree::default();
        files.files.push(FileRef {
            name: name.into(),
            checksum: Checksum::of(b""),
        });
        put(&repo, ObjectKind::DirTree, &files.encode());
        for tree in [hostile, files] {
            let root_tree = Checksum::of(&tree.encode());
            let commit = ostree::Commit {
                root_tree,
                ..root.clone()
            };
            let rev = put(&repo, ObjectKind::Commit, &commit.encode());
            let dest = sandbox.path("out");
            let options = CheckoutOptions {
                user_mode: true,
                ..CheckoutOptions::default()
            };
            let error = repo.checkout(&rev, &dest, &options, &Silent).unwrap_err();
            assert!(error.is_damage(), "{name:?}: {error}");
            let to = sandbox.repo("to", RepoMode::BareUser);
            let what = [rev.to_string()];
            let error = to
                .pull_local(&repo, &what, &PullOptions::default(), &Silent)
                .unwrap_err();
            assert!(error.is_damage(), "{name:?}: {error}");
        }
    }
}

/// Puts an object into a repository behind its back.
fn put(repo: &Repo, kind: ObjectKind, data: &[u8]) -> Checksum {
    let object = ObjectName::new(Checksum::of(data), kind);
    let path = repo.object_path(&object);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, data).unwrap();
    object.checksum
}
