//! Commit, pull and refs, cut off anywhere.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use durable::sim::{Crashes, SimFs, View, When};
use durable::{Attributes, FileKind, Fs};
use monitor::Silent;
use ostree::{
    CheckoutOptions, Checksum, CommitOptions, Links, PullFiles, PullOptions, Repo, RepoMode,
};

const MODES: [RepoMode; 3] = [RepoMode::Bare, RepoMode::BareUser, RepoMode::Archive];

/// What a tree holds: content, or a symlink's target.
pub type Files = BTreeMap<&'static str, Result<Vec<u8>, &'static str>>;

pub fn old_files() -> Files {
    BTreeMap::from([
        ("empty", Ok(Vec::new())),
        ("bin/tool", Ok(vec![b't'; 900])),
        ("bin/same", Ok(vec![b't'; 900])),
        ("link", Err("bin/tool")),
    ])
}

pub fn new_files() -> Files {
    let mut files = old_files();
    files.insert("bin/tool", Ok(vec![b'n'; 1400]));
    files.insert("etc/conf", Ok(b"new\n".to_vec()));
    files.insert("etc/link", Err("conf"));
    files
}

/// Puts these files below `/src`, and nothing else.
fn write_source(fs: &SimFs, files: &Files) {
    let src = Path::new("/src");
    durable::remove_tree(fs, src).unwrap();
    durable::create_dir_all(fs, src, 0o755).unwrap();
    for (name, content) in files {
        let path = src.join(name);
        durable::create_dir_all(fs, path.parent().unwrap(), 0o755).unwrap();
        match content {
            Ok(bytes) => {
                let mut file = fs.create(&path, 0o644).unwrap();
                file.write_all(bytes).unwrap();
                let xattrs = vec![(b"user.colour".to_vec(), b"blue".to_vec())];
                let attributes = Attributes {
                    xattrs,
                    ..Attributes::default()
                };
                file.set(&attributes).unwrap();
            }
            Err(target) => fs.symlink(Path::new(target), &path).unwrap(),
        }
    }
}

pub fn open(fs: &SimFs, path: &str) -> Repo {
    Repo::open(Arc::new(fs.clone()), Path::new(path)).unwrap()
}

pub fn commit(fs: &SimFs, repo: &str, timestamp: u64) -> ostree::Result<Checksum> {
    let options = CommitOptions {
        branch: Some("main".to_owned()),
        timestamp: Some(timestamp),
        ..CommitOptions::default()
    };
    let repo = Repo::open(Arc::new(fs.clone()), Path::new(repo))?;
    Ok(repo
        .commit_dir(Path::new("/src"), &options, &Silent)?
        .checksum)
}

/// A disk with a source tree, and a repository that holds the tree before it.
pub fn start(mode: RepoMode) -> (SimFs, Checksum) {
    let fs = SimFs::new();
    write_source(&fs, &old_files());
    Repo::create(Arc::new(fs.clone()), Path::new("/repo"), mode).unwrap();
    // Not kept back, for the free space of a simulated disk is what a test says.
    let config = durable::read_to_string(&fs, Path::new("/repo/config")).unwrap();
    let config = format!("{config}min-free-space-size=0MB\n");
    durable::publish_file(&fs, Path::new("/repo/config"), config.as_bytes(), 0o644).unwrap();
    let old = commit(&fs, "/repo", 1).unwrap();
    write_source(&fs, &new_files());
    (fs, old)
}

/// Everything of the commit is there and is what its digests say: a checkout by
/// copying verifies all of it.
pub fn is_whole(fs: &SimFs, repo: &str, commit: &Checksum, files: &Files) {
    let options = CheckoutOptions {
        links: Links::Never,
        ..CheckoutOptions::default()
    };
    let dest = Path::new("/check");
    durable::remove_tree(fs, dest).unwrap();
    let checked_out = open(fs, repo).checkout(commit, dest, &options, &Silent);
    checked_out.unwrap_or_else(|e| panic!("{commit} is not whole: {e:?}"));
    for (name, content) in files {
        let path = dest.join(name);
        match content {
            Ok(bytes) => assert_eq!(durable::read(fs, &path).unwrap(), *bytes, "{name}"),
            Err(target) => assert_eq!(fs.read_link(&path).unwrap(), Path::new(target)),
        }
    }
}

/// All commit objects of a repository, whether a ref leads to them or not.
pub fn commits(fs: &SimFs, repo: &str) -> Vec<Checksum> {
    let objects = Path::new(repo).join("objects");
    let mut found = Vec::new();
    for dir in fs.read_dir(&objects).unwrap() {
        if dir.kind != FileKind::Dir {
            continue;
        }
        for object in fs.read_dir(&objects.join(&dir.name)).unwrap() {
            let name = object.name.into_string().unwrap();
            if let Some(rest) = name.strip_suffix(".commit") {
                let hex = format!("{}{rest}", dir.name.to_string_lossy());
                found.push(hex.parse().unwrap());
            }
        }
    }
    found
}

/// What holds of `/repo` at any time: the ref leads to the old commit or the new
/// one, and every commit that is there is whole.
fn repo_holds(fs: &SimFs, when: &When, old: Checksum) {
    let repo = open(fs, "/repo");
    let current = repo.read_ref("main").unwrap().expect("the ref is gone");
    assert!(!when.finished || current != old, "the new commit is lost");
    is_whole(fs, "/repo", &old, &old_files());
    for commit in commits(fs, "/repo") {
        let files = if commit == old {
            old_files()
        } else {
            new_files()
        };
        is_whole(fs, "/repo", &commit, &files);
    }
    let there = commits(fs, "/repo").contains(&current);
    assert!(there, "the ref leads to no commit");
}

#[test]
fn a_commit_is_there_whole_or_not_at_all() {
    for mode in MODES {
        let (fs, old) = start(mode);
        let crashes = Crashes::from(&fs).per_point(20);
        let report = crashes.check(
            |fs| commit(fs, "/repo", 2).unwrap(),
            |fs, when| {
                repo_holds(fs, when, old);
                // Whatever was left does not stand in the way.
                let new = commit(fs, "/repo", 2).unwrap();
                assert_eq!(open(fs, "/repo").read_ref("main").unwrap(), Some(new));
                is_whole(fs, "/repo", &new, &new_files());
                // What this run could not tell from a living process's work, the
                // next one can.
                commit(fs, "/repo", 2).unwrap();
                let tmp = fs.read_dir(Path::new("/repo/tmp")).unwrap();
                assert_eq!(tmp.len(), 1, "left in tmp: {tmp:?}");
            },
        );
        println!("commit to {mode:?}: {report}");
        assert!(report.images > 250, "{report}");
    }
}

/// `kill -9` in the middle, the same again, and then the power fails: the second
/// run may not rely on what the first never synced.
#[test]
fn a_commit_after_a_killed_one_is_durable() {
    let (fs, old) = start(RepoMode::BareUser);
    let probe = fs.snapshot();
    commit(&probe, "/repo", 2).unwrap();
    let mut images = 0;
    for call in 0..probe.call_count() {
        let crashes = Crashes::from(&fs).view(View::Relaxed).only_finished();
        let crashes = crashes.per_point(50);
        let run = |fs: &SimFs| {
            fs.die_at(call);
            // Killed at the very end it may have succeeded.
            let _ = commit(fs, "/repo", 2);
            fs.heal();
            commit(fs, "/repo", 2).unwrap();
        };
        let report = crashes.check(run, |fs, when| repo_holds(fs, when, old));
        images += report.images;
    }
    println!("killed commit, again: {images} disks");
}

#[test]
fn a_pull_is_there_whole_or_not_at_all() {
    for (from, to) in [
        (RepoMode::Archive, RepoMode::Bare),
        (RepoMode::BareUser, RepoMode::BareUser),
    ] {
        let (fs, old) = start(to);
        Repo::create(Arc::new(fs.clone()), Path::new("/from"), from).unwrap();
        let new = commit(&fs, "/from", 2).unwrap();
        let pull = |fs: &SimFs| {
            let options = PullOptions {
                files: if from == to {
                    PullFiles::TrustedLinks
                } else {
                    PullFiles::Verified
                },
                ..PullOptions::default()
            };
            let what = ["main".to_owned()];
            open(fs, "/repo").pull_local(&open(fs, "/from"), &what, &options, &Silent)
        };
        let crashes = Crashes::from(&fs).per_point(20);
        let report = crashes.check(
            |fs| pull(fs).unwrap(),
            |fs, when| {
                repo_holds(fs, when, old);
                pull(fs).unwrap();
                is_whole(fs, "/repo", &new, &new_files());
            },
        );
        println!("pull from {from:?} to {to:?}: {report}");
    }
}

#[test]
fn a_failing_disk_loses_no_commit() {
    for errno in [5, 28] {
        let (fs, old) = start(RepoMode::Bare);
        let failures = durable::sim::each_failure(
            &fs,
            errno,
            |fs| commit(fs, "/repo", 2),
            |fs, result, call| {
                let repo = open(fs, "/repo");
                let current = repo.read_ref("main").unwrap().unwrap();
                is_whole(fs, "/repo", &old, &old_files());
                if let Ok(new) = result {
                    assert_eq!(current, new, "call {call}");
                    is_whole(fs, "/repo", &new, &new_files());
                }
                let new = commit(fs, "/repo", 2).unwrap();
                is_whole(fs, "/repo", &new, &new_files());
            },
        );
        println!("commit with errno {errno}: {failures} calls failed");
        assert!(failures > 30);
    }
}

#[test]
fn a_full_disk_stops_a_commit_and_nothing_else() {
    let (fs, old) = start(RepoMode::Bare);
    let mut refused = 0;
    for space in (0..6000).step_by(150) {
        let fs = fs.snapshot();
        fs.set_space(Some(space));
        let result = commit(&fs, "/repo", 2);
        let repo = open(&fs, "/repo");
        let current = repo.read_ref("main").unwrap().unwrap();
        fs.heal();
        is_whole(&fs, "/repo", &old, &old_files());
        match result {
            Ok(new) => assert_eq!(current, new),
            Err(e) => {
                refused += 1;
                assert_eq!(current, old);
                let text = format!("{e} {e:?}");
                assert!(text.contains("space") || text.contains("Full"), "{text}");
            }
        }
        let new = commit(&fs, "/repo", 2).unwrap();
        is_whole(&fs, "/repo", &new, &new_files());
    }
    assert!((5..35).contains(&refused), "{refused}");
}
