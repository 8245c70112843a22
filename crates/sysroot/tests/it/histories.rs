//! Every history of a small host, up to a length: upgrades that are kept and that
//! are not, boots, pins, removals by hand and cleanings, in any order. After each step
//! there is one whole choice to boot (P1), attempts only go down (P3), and nothing
//! took the last good deployment, a pinned one, or one that boots (P5).

use std::collections::{BTreeMap, HashSet};

use durable::sim::SimFs;
use monitor::Silent;
use sysroot::{BootOrder, DeploymentId, Standing};

use crate::host::order;
use crate::sim_host::{Expected, commit, grub_boots, host, open, publish, stage};

/// Steps of a history.
const LENGTH: usize = 5;

/// What may happen.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A version is published for a trial.
    Try(usize),
    /// The machine starts.
    Boot,
    /// The version on trial proved itself; the newest two good ones stay.
    Keep,
    /// It did not.
    PutBack,
    Pin(usize),
    Unpin(usize),
    /// Somebody removes a deployment by hand.
    Remove(usize),
    CleanUp,
}

fn events() -> Vec<Event> {
    let mut all = vec![Event::Boot, Event::Keep, Event::PutBack, Event::CleanUp];
    for n in 0..3 {
        all.extend([
            Event::Try(n),
            Event::Pin(n),
            Event::Unpin(n),
            Event::Remove(n),
        ]);
    }
    all
}

/// Does it; `None` where it cannot happen, or was refused.
fn happen(fs: &SimFs, event: Event, all: &[DeploymentId]) -> Option<()> {
    let sysroot = open(fs);
    let now = sysroot.published().unwrap().order;
    match event {
        Event::Try(n) => {
            let new = &all[n];
            let good: Vec<&DeploymentId> = now.good.iter().collect();
            if now.good.contains(new) || sysroot.deployment(new).is_err() {
                return None;
            }
            let mut trial = order(&good, Some(new));
            trial.bad = now.bad.iter().filter(|id| *id != new).cloned().collect();
            publish(fs, &trial).ok().map(drop)
        }
        Event::Boot => sysroot.simulate_boot().ok().map(drop),
        Event::Keep => {
            let new = now.trial?.deployment;
            let mut good = vec![new];
            good.extend(now.good.into_iter().take(1));
            let (bad, trial) = (now.bad, None);
            publish(fs, &BootOrder { good, bad, trial }).ok().map(drop)
        }
        Event::PutBack => {
            let mut bad = now.bad;
            bad.push(now.trial?.deployment);
            let (good, trial) = (now.good, None);
            publish(fs, &BootOrder { good, bad, trial }).ok().map(drop)
        }
        Event::Pin(n) => sysroot.set_pinned(&all[n], true).ok(),
        Event::Unpin(n) => sysroot.set_pinned(&all[n], false).ok(),
        Event::Remove(n) => sysroot.undeploy(&all[n]).ok(),
        Event::CleanUp => sysroot.cleanup(&[], &Silent).ok().map(drop),
    }
}

/// All that tells one state of the host from another.
fn name(fs: &SimFs) -> String {
    let sysroot = open(fs);
    let found = sysroot.deployments().unwrap();
    let deployments: Vec<_> = found
        .iter()
        .map(|d| (&d.id, d.standing, d.origin.is_pinned()))
        .collect();
    let published = sysroot.published().unwrap().order;
    let left = sysroot.state_sector().map(|s| s.left).ok();
    format!("{deployments:?} {published:?} {left:?}")
}

/// The deployments that must stay: those in the order, and pinned ones.
fn kept(fs: &SimFs) -> BTreeMap<DeploymentId, bool> {
    let found = open(fs).deployments().unwrap();
    let stays = |standing| standing != Standing::Unlisted;
    found
        .into_iter()
        .map(|d| (d.id, stays(d.standing) || d.origin.is_pinned()))
        .collect()
}

fn check(before: &SimFs, event: Event, fs: &SimFs) {
    let here = Expected::of(fs);
    here.is_deployed(fs);
    grub_boots(fs, &[&here]);
    let published = open(fs).published().unwrap().order;
    assert!(!published.good.is_empty(), "no way back");
    let (was, is) = (kept(before), kept(fs));
    let lost = was
        .iter()
        .find(|(id, stays)| **stays && !is.contains_key(*id));
    assert!(lost.is_none(), "{event:?} took {lost:?}");
    let left = |fs: &SimFs| open(fs).state_sector().map_or(0, |s| s.left);
    let again = matches!(event, Event::Try(_));
    assert!(again || left(fs) <= left(before), "attempts came back");
}

#[test]
fn no_history_takes_the_way_back() {
    let (start, good, two) = host();
    let three = commit(&start, "3");
    let new = [two, three].map(|version| stage(&start, version, Some(&good)).unwrap());
    let [two, three] = new;
    let all = [good, two, three];
    let mut seen = HashSet::from([name(&start)]);
    let mut here = vec![start];
    let mut steps = 0;
    for _ in 0..LENGTH {
        let mut next = Vec::new();
        for before in &here {
            for event in events() {
                let fs = before.snapshot();
                if happen(&fs, event, &all).is_none() {
                    continue;
                }
                steps += 1;
                check(before, event, &fs);
                if seen.insert(name(&fs)) {
                    next.push(fs);
                }
            }
        }
        here = next;
    }
    println!("{} states of a host, {steps} steps", seen.len());
    assert!(seen.len() > 200);
}
