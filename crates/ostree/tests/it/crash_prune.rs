//! Pruning cut off anywhere: no commit is ever there without its content, and no
//! ref leads to one that is gone.

use durable::sim::{Crashes, SimFs, View, When};
use monitor::Silent;
use ostree::{Checksum, FsckOptions, PruneOptions, RepoMode};

use crate::crash_commit::{commit, commits, is_whole, new_files, old_files, open, start};

/// Two versions, of which the old one is kept and no ref leads to the new one,
/// save for `doomed`.
fn two_versions() -> (SimFs, Checksum) {
    let (fs, old) = start(RepoMode::BareUser);
    let new = commit(&fs, "/repo", 2).unwrap();
    let repo = open(&fs, "/repo");
    repo.set_ref("doomed", Some(&new)).unwrap();
    repo.set_ref("main", Some(&old)).unwrap();
    (fs, old)
}

fn drop_and_prune(fs: &SimFs) -> ostree::Result<()> {
    let repo = open(fs, "/repo");
    repo.set_ref("doomed", None)?;
    let options = PruneOptions {
        refs_only: true,
        ..PruneOptions::default()
    };
    repo.prune(&options, &Silent).map(drop)
}

fn holds(fs: &SimFs, when: &When, old: Checksum) {
    let repo = open(fs, "/repo");
    let found = repo.fsck(&FsckOptions::default(), &Silent).unwrap();
    assert!(found.is_clean(), "{found:?}");
    is_whole(fs, "/repo", &old, &old_files());
    for (name, commit) in repo.refs(None).unwrap() {
        let there = commits(fs, "/repo").contains(&commit);
        assert!(there, "{name} leads to no commit");
    }
    assert!(!when.finished || commits(fs, "/repo") == [old]);
    // It can be pruned again, and filled again.
    drop_and_prune(fs).unwrap();
    let new = commit(fs, "/repo", 2).unwrap();
    is_whole(fs, "/repo", &new, &new_files());
}

#[test]
fn a_prune_leaves_whole_commits_only() {
    let (fs, old) = two_versions();
    let report = Crashes::from(&fs).per_point(20).check(
        |fs| drop_and_prune(fs).unwrap(),
        |fs, when| holds(fs, when, old),
    );
    println!("prune: {report}");
    assert!(report.images > 40, "{report}");
}

/// `kill -9` in the middle, the same again, and then the power fails.
#[test]
fn a_prune_after_a_killed_one_leaves_whole_commits_only() {
    let (fs, old) = two_versions();
    let probe = fs.snapshot();
    let before = probe.call_count();
    drop_and_prune(&probe).unwrap();
    let mut images = 0;
    for call in 0..probe.call_count() - before {
        let run = |fs: &SimFs| {
            fs.die_at(call);
            let _ = drop_and_prune(fs);
            fs.heal();
            fs.mark("again");
            drop_and_prune(fs).unwrap();
        };
        let crashes = Crashes::from(&fs).view(View::Relaxed).per_point(12);
        let report = crashes.check(run, |fs, when| {
            if when.passed("again") {
                holds(fs, when, old);
            }
        });
        images += report.images;
    }
    println!("killed prune, again: {images} disks");
}
