//! Files that did not change are not read again, and whatever changed is.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use durable::{Fs, RealFs};
use monitor::Silent;
use ostree::{CommitOptions, CommitSummary, FsckOptions, ModeChange, PruneOptions, Repo, RepoMode};

use crate::sandbox::{Sandbox, commit, set_xattr, write};

/// Whether the kernel and the filesystem tell enough; says so if not.
fn told(sandbox: &Sandbox) -> bool {
    let dir = sandbox.path("");
    let version = RealFs.metadata_and_version(&dir).unwrap().1;
    let told = version.is_some() && RealFs.tells_changes(&dir);
    if !told {
        println!("skipped: needs Linux 6.8, and ext4 or XFS for temporary files");
    }
    told
}

/// Long enough for files to be remembered when they are read then.
fn settle() {
    sleep(Duration::from_millis(2200));
}

fn options() -> CommitOptions {
    CommitOptions {
        branch: Some("main".into()),
        timestamp: Some(1_000_000_000),
        ..CommitOptions::default()
    }
}

fn again(repo: &Repo, tree: &Path) -> CommitSummary {
    repo.commit_dir(tree, &options(), &Silent).unwrap()
}

/// What the tree is when every file is read, in a repository that knows none.
fn by_reading(beside: &Path, tree: &Path) -> ostree::Checksum {
    let path = beside.join(format!("fresh-{}", rand()));
    let fresh = Repo::create(Arc::new(RealFs), &path, RepoMode::Archive).unwrap();
    let root = commit(&fresh, tree);
    fresh.load_commit(&root).unwrap().root_tree
}

fn rand() -> u32 {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    clock.unwrap().subsec_nanos()
}

fn root_of(repo: &Repo, summary: &CommitSummary) -> ostree::Checksum {
    repo.load_commit(&summary.checksum).unwrap().root_tree
}

/// A tree of five files that has been left alone, and a repository that knows it.
fn known(sandbox: &Sandbox) -> (Repo, std::path::PathBuf) {
    let repo = sandbox.repo("repo", RepoMode::BareUser);
    let tree = sandbox.path("tree");
    fs::create_dir_all(tree.join("sub")).unwrap();
    for name in ["a", "b", "c", "sub/d", "sub/e"] {
        write(
            &tree.join(name),
            format!("this is {name}").as_bytes(),
            0o644,
        );
    }
    std::os::unix::fs::symlink("a", tree.join("link")).unwrap();
    settle();
    assert_eq!(again(&repo, &tree).unread, 0);
    (repo, tree)
}

#[test]
fn a_tree_that_did_not_change_is_not_read() {
    let sandbox = Sandbox::new();
    if !told(&sandbox) {
        return;
    }
    let (repo, tree) = known(&sandbox);
    let second = again(&repo, &tree);
    assert_eq!((second.unread, second.content_written), (5, 0));
    assert_eq!(
        root_of(&repo, &second),
        by_reading(&sandbox.path(""), &tree)
    );
    let reading = CommitOptions {
        read_all: true,
        ..options()
    };
    let third = repo.commit_dir(&tree, &reading, &Silent).unwrap();
    assert_eq!(third.unread, 0);
    assert_eq!(root_of(&repo, &third), root_of(&repo, &second));
    // Another process knows as much.
    assert_eq!(again(&sandbox.open("repo"), &tree).unread, 5);
}

/// Everything that may happen to a file, with its length and modification time as
/// they were wherever that can be.
#[test]
fn every_change_is_noticed() {
    let sandbox = Sandbox::new();
    if !told(&sandbox) {
        return;
    }
    let (repo, tree) = known(&sandbox);
    let a = tree.join("a");
    let changes: [(&str, &dyn Fn()); 9] = [
        ("written", &|| fs::write(&a, "THIS is a").unwrap()),
        ("overwritten in place", &|| {
            let file = fs::OpenOptions::new().write(true).open(&a).unwrap();
            file.write_all_at(b"X", 3).unwrap();
        }),
        ("replaced", &|| {
            fs::write(tree.join(".new"), "that is a").unwrap();
            fs::rename(tree.join(".new"), &a).unwrap();
        }),
        ("exchanged with another", &|| {
            RealFs.exchange(&a, &tree.join("b")).unwrap();
        }),
        ("removed and made again", &|| {
            fs::remove_file(&a).unwrap();
            fs::write(&a, "once more").unwrap();
        }),
        ("given a mode", &|| write(&a, b"once more", 0o600)),
        ("given an attribute", &|| set_xattr(&a, "user.new", b"1")),
        ("cut off", &|| {
            let file = fs::OpenOptions::new().write(true).open(&a).unwrap();
            file.set_len(4).unwrap();
        }),
        ("turned into a symlink", &|| {
            fs::remove_file(&a).unwrap();
            std::os::unix::fs::symlink("b", &a).unwrap();
        }),
    ];
    for (what, change) in changes {
        let before = fs::symlink_metadata(&a).unwrap();
        change();
        if !fs::symlink_metadata(&a).unwrap().is_symlink() {
            let file = fs::File::options().write(true).open(&a).unwrap();
            file.set_modified(before.modified().unwrap()).unwrap();
            assert_eq!(fs::metadata(&a).unwrap().mtime(), before.mtime());
        }
        let summary = again(&repo, &tree);
        let root = root_of(&repo, &summary);
        assert_eq!(root, by_reading(&sandbox.path(""), &tree), "{what}");
        assert!(summary.unread >= 3, "{what}: {} unread", summary.unread);
    }
}

#[test]
fn a_file_that_changed_just_now_is_read_again() {
    let sandbox = Sandbox::new();
    if !told(&sandbox) {
        return;
    }
    let (repo, tree) = known(&sandbox);
    fs::write(tree.join("a"), "one").unwrap();
    assert_eq!(again(&repo, &tree).unread, 4);
    assert_eq!(again(&repo, &tree).unread, 4);
    settle();
    assert_eq!(again(&repo, &tree).unread, 4);
    assert_eq!(again(&repo, &tree).unread, 5);
}

/// Maps the file given, stores into it, and again whenever it is told to.
const MAPPER: &str = "import mmap, sys
file = open(sys.argv[1], 'r+b')
pages = mmap.mmap(file.fileno(), 0)
for line in iter(sys.stdin.readline, ''):
    pages[0:1] = line[0:1].encode()
    print('stored', flush=True)
";

#[test]
fn a_store_into_a_mapped_file_is_noticed() {
    let sandbox = Sandbox::new();
    if !told(&sandbox) || !testing::have(&["python3"], &["/dev/shm"]) {
        return;
    }
    let (_, tree) = known(&sandbox);
    // On another filesystem, so that publishing does not sync the tree's.
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = elsewhere.path().join("repo");
    let repo = Repo::create(Arc::new(RealFs), &path, RepoMode::Archive).unwrap();
    let a = tree.join("a");
    let mut mapper = Command::new("python3")
        .args(["-c", MAPPER])
        .arg(&a)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut to, from) = (mapper.stdin.take().unwrap(), mapper.stdout.take().unwrap());
    let mut from = BufReader::new(from).lines();
    let mut store = |digit: u8| {
        writeln!(to, "{digit}").unwrap();
        assert_eq!(from.next().unwrap().unwrap(), "stored");
    };
    // The page is dirty now, and a store into a dirty page changes no time.
    store(1);
    let changed = |path: &Path| {
        let m = fs::metadata(path).unwrap();
        (m.ctime(), m.ctime_nsec())
    };
    let time = changed(&a);
    store(2);
    assert_eq!(changed(&a), time, "this kernel sets it at each store");
    settle();
    for digit in 3..6 {
        assert_eq!(
            root_of(&repo, &again(&repo, &tree)),
            by_reading(elsewhere.path(), &tree)
        );
        store(digit);
        assert_eq!(
            root_of(&repo, &again(&repo, &tree)),
            by_reading(elsewhere.path(), &tree),
            "{digit}"
        );
    }
    drop(to);
    mapper.wait().unwrap();
}

#[test]
fn another_owner_or_mode_in_the_commit_is_another_digest() {
    let sandbox = Sandbox::new();
    if !told(&sandbox) {
        return;
    }
    let (repo, tree) = known(&sandbox);
    let mut other = options();
    other.owner_uid = Some(7);
    let owned = repo.commit_dir(&tree, &other, &Silent).unwrap();
    assert_eq!(owned.unread, 0);
    other
        .modify
        .modes
        .insert("/a".into(), ModeChange::Set(0o700));
    let changed = repo.commit_dir(&tree, &other, &Silent).unwrap();
    assert_eq!(changed.unread, 4);
    let plain = again(&repo, &tree);
    assert_eq!(root_of(&repo, &plain), by_reading(&sandbox.path(""), &tree));
    assert_ne!(root_of(&repo, &owned), root_of(&repo, &changed));
}

#[test]
fn what_was_pruned_is_stored_again() {
    let sandbox = Sandbox::new();
    if !told(&sandbox) {
        return;
    }
    let (repo, tree) = known(&sandbox);
    repo.set_ref("main", None).unwrap();
    let prune = PruneOptions {
        refs_only: true,
        ..PruneOptions::default()
    };
    repo.prune(&prune, &Silent).unwrap();
    let summary = again(&repo, &tree);
    assert_eq!((summary.unread, summary.content_written), (0, 6));
    let report = repo.fsck(&FsckOptions::default(), &Silent).unwrap();
    assert!(report.problems.is_empty(), "{report:?}");
}

#[test]
fn a_damaged_table_is_as_good_as_none() {
    let sandbox = Sandbox::new();
    if !told(&sandbox) {
        return;
    }
    let (repo, tree) = known(&sandbox);
    let path = sandbox.path("repo/tmp/cache/backstop-digests");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(again(&repo, &tree).unread, 0);
    assert_eq!(again(&repo, &tree).unread, 5);
    // Nor does it matter that it cannot be written.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(again(&repo, &tree).unread, 0);
    assert_eq!(again(&repo, &tree).unread, 0);
}
