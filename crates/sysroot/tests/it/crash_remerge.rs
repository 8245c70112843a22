//! `/etc` merged again, cut off anywhere: the version has the old one or the new one.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use boot::Choice;
use durable::Fs;
use durable::sim::{Crashes, SimFs, View, each_failure};
use sysroot::DeploymentId;

use crate::host::order;
use crate::sim_host::{Expected, grub_boots, host, open, publish, stage, tree, write};

const STAGING: &str = "/sysroot/ostree/backstop/staging";

/// Version 1 is good; 2 is staged, or on trial, and `/etc` was edited since.
struct Start {
    fs: SimFs,
    good: DeploymentId,
    new: DeploymentId,
}

impl Start {
    fn new(on_trial: bool) -> Self {
        let (fs, good, two) = host();
        let new = stage(&fs, two, Some(&good)).unwrap();
        if on_trial {
            publish(&fs, &order(&[&good], Some(&new))).unwrap();
        }
        let start = Self { fs, good, new };
        let etc = open(&start.fs).layout().deployment(&start.good).join("etc");
        for (name, content) in [("hostname", "mine\n"), ("d/added", "mine\n")] {
            write(&start.fs, etc.join(name).to_str().unwrap(), content);
        }
        start
    }

    fn etc(&self, fs: &SimFs) -> PathBuf {
        open(fs).layout().deployment(&self.new).join("etc")
    }

    fn merge(&self, fs: &SimFs) -> sysroot::Result<()> {
        open(fs).remerge_etc(&self.good, &self.new).map(drop)
    }

    /// The new version's `/etc` before, and as it is to be.
    fn trees(&self) -> [Vec<String>; 2] {
        let before = tree(&self.fs, &self.etc(&self.fs));
        let done = self.fs.snapshot();
        self.merge(&done).unwrap();
        let after = tree(&done, &self.etc(&done));
        assert_ne!(before, after);
        [before, after]
    }

    /// Whether `/etc` is one of the two, and which.
    fn is_new(&self, fs: &SimFs, trees: &[Vec<String>; 2]) -> bool {
        let found = tree(fs, &self.etc(fs));
        assert!(trees.contains(&found), "neither the old /etc nor the new");
        found == trees[1]
    }
}

#[test]
fn a_merge_that_is_cut_off_leaves_the_old_etc_or_the_new() {
    for (on_trial, view) in [
        (false, View::Ordered),
        (false, View::Relaxed),
        (true, View::Ordered),
        (true, View::Relaxed),
        (true, View::BootLoader),
    ] {
        let start = Start::new(on_trial);
        let trees = start.trees();
        let published = Expected::of(&start.fs);
        let crashes = Crashes::from(&start.fs).view(view).per_point(40);
        let report = crashes.check(
            |fs| start.merge(fs).unwrap(),
            |fs, when| {
                let choice = grub_boots(fs, &[&published]).1;
                assert_eq!(choice == Choice::Trial, on_trial);
                if when.view == View::BootLoader {
                    return;
                }
                let new = start.is_new(fs, &trees);
                assert!(new || !when.finished, "the merge is lost");
                start.merge(fs).unwrap();
                assert!(start.is_new(fs, &trees));
                publish(fs, &order(&[&start.good], Some(&start.new))).unwrap();
                Expected::of(fs).is_deployed(fs);
            },
        );
        println!("merge /etc again, on trial: {on_trial}, {view:?}: {report}");
        assert!(report.images > 20, "{report}");
    }
}

/// A process is killed at a call, another does the same again, and the power fails: what
/// it found done already is on the disk then.
#[test]
fn a_merge_after_a_killed_one_is_durable() {
    let start = Start::new(false);
    let trees = start.trees();
    let done = start.fs.snapshot();
    start.merge(&done).unwrap();
    let calls = done.call_count();
    let mut images = 0;
    for view in [View::Ordered, View::Relaxed] {
        for call in 0..calls {
            let crashes = Crashes::from(&start.fs).view(view);
            let report = crashes.only_finished().per_point(6).check(
                |fs| {
                    fs.die_at(call);
                    let _ = start.merge(fs);
                    fs.heal();
                    start.merge(fs).unwrap();
                },
                |fs, _| assert!(start.is_new(fs, &trees), "call {call}: lost"),
            );
            images += report.images;
        }
    }
    println!("merge /etc again, killed at {calls} calls and done again: {images} disks");
}

/// After an error `/etc` is whole, and nothing is left lying that the next merge does
/// not remove.
#[test]
fn a_merge_that_fails_leaves_etc_whole() {
    let start = Start::new(true);
    let trees = start.trees();
    for errno in [5, 28] {
        let run = |fs: &SimFs| start.merge(fs);
        let failures = each_failure(&start.fs, errno, run, |fs, result, call| {
            let new = start.is_new(fs, &trees);
            assert!(new || result.is_err(), "call {call}: {:?}", fs.calls());
            start.merge(fs).unwrap();
            assert!(start.is_new(fs, &trees));
            if !new {
                assert!(fs.metadata(Path::new(STAGING)).is_err(), "call {call}");
            }
        });
        assert!(failures > 20, "{failures}");
    }
}

/// A filesystem that cannot exchange two names: the version that nothing boots yet may be
/// without `/etc` after a cut, and the next merge makes it.
#[test]
fn without_exchange_what_is_cut_off_is_made_again() {
    let start = Start::new(false);
    let trees = start.trees();
    let published = Expected::of(&start.fs);
    let merge = |fs: &SimFs| {
        fs.set_exchange(false);
        start.merge(fs).unwrap();
    };
    for view in [View::Ordered, View::Relaxed] {
        let without = AtomicUsize::new(0);
        let crashes = Crashes::from(&start.fs).view(view).per_point(40);
        let report = crashes.check(merge, |fs, when| {
            assert_eq!(grub_boots(fs, &[&published]).1, Choice::Entry(0));
            if fs.metadata(&start.etc(fs)).is_err() {
                assert!(!when.finished, "/etc is lost");
                without.fetch_add(1, Relaxed);
            } else {
                assert!(start.is_new(fs, &trees) || !when.finished);
            }
            merge(fs);
            assert!(start.is_new(fs, &trees));
            publish(fs, &order(&[&start.good], Some(&start.new))).unwrap();
            Expected::of(fs).is_deployed(fs);
        });
        let without = without.into_inner();
        println!("merge /etc again without exchange, {view:?}: {report}, {without} without");
        assert!(report.images > 20 && without > 0, "{report}");
    }
}

/// Each call fails: `/etc` is whole after it, or the merge that follows makes it whole.
#[test]
fn without_exchange_a_merge_that_fails_is_mended_by_the_next() {
    let start = Start::new(false);
    let trees = start.trees();
    let run = |fs: &SimFs| {
        fs.set_exchange(false);
        start.merge(fs)
    };
    let failures = each_failure(&start.fs, 5, run, |fs, result, call| {
        assert!(result.is_err() || start.is_new(fs, &trees), "call {call}");
        run(fs).unwrap();
        assert!(start.is_new(fs, &trees), "call {call}");
    });
    assert!(failures > 20, "{failures}");
}

/// What may boot at any time keeps the `/etc` it has, and the error says why.
#[test]
fn without_exchange_what_is_on_trial_is_left_alone() {
    let start = Start::new(true);
    let trees = start.trees();
    let fs = start.fs.snapshot();
    fs.set_exchange(false);
    let error = start.merge(&fs).unwrap_err().to_string();
    assert!(error.contains("cannot exchange two names"), "{error}");
    assert!(!start.is_new(&fs, &trees));
    assert!(fs.metadata(Path::new(STAGING)).is_err());
    fs.set_exchange(true);
    start.merge(&fs).unwrap();
    assert!(start.is_new(&fs, &trees));
}
