//! A whole upgrade by boot trial, with its boots, cut off anywhere.

use durable::sim::{Crashes, SimFs, View, When};
use engine::{Memory, Standing, State, TrialKind, VersionId};

use crate::sim_machine::{EDITED, ROOT, Simulated, disk, open};

/// Attempts of a trial, unless asked otherwise.
const ATTEMPTS: usize = 3;
/// Numbers for boots after the cut that none before it had.
const LATER: u32 = 1000;

/// The upgrade from version 1 to 2, until nothing is open, and what boots then.
fn upgrade(
    fs: &SimFs,
    kind: TrialKind,
    new: &VersionId,
    unhealthy: Option<&VersionId>,
) -> VersionId {
    let mut machine = Simulated::new(fs, 0, unhealthy);
    machine.kind = kind;
    machine.boot();
    let pause = machine.request(new).unwrap();
    machine.run(pause);
    machine.power_on();
    machine.running()
}

fn is_good(memory: &Memory, version: &VersionId) -> bool {
    let standing = memory.knowledge.standing(version);
    matches!(standing, Some(Standing::Good { .. }))
}

/// Trial boots that had been made before the cut.
pub fn trial_boots(when: &When) -> usize {
    let passed = |n: &usize| when.passed(&format!("trial boot {n}"));
    (1..20).take_while(passed).count()
}

/// Every good deployment is there, with its version's own files.
fn ways_back_are_whole(fs: &SimFs, old: &VersionId) {
    let sysroot = open(fs);
    let good = sysroot.published().unwrap().order.good;
    assert!(!good.is_empty(), "no way back");
    for id in &good {
        let name = if id.checksum.to_string() == old.as_str() {
            "one"
        } else {
            "two"
        };
        let tree = sysroot.layout().deployment(id);
        for (file, content) in [("usr/lib/version", "version"), ("etc/default", "default")] {
            let found = durable::read_to_string(fs, &tree.join(file)).unwrap();
            assert_eq!(found, format!("{content} {name}"));
        }
    }
}

/// The power comes back: the machine boots until nothing is open, and what it
/// ends with must keep the promises. `tried_before` boots of the new version were
/// made before.
fn comes_to_a_good_end(
    fs: &SimFs,
    tried_before: usize,
    old: &VersionId,
    new: &VersionId,
    unhealthy: Option<&VersionId>,
) {
    ways_back_are_whole(fs, old);
    let mut machine = Simulated::new(fs, LATER, unhealthy);
    let known_before = is_good(&machine.memory(), new);
    let pause = machine.power_on();
    machine.run(pause);
    let memory = machine.memory();
    assert_eq!(memory.state, State::Idle);
    // P3: the cuts' boots counted too.
    let tried = tried_before + machine.trial_boots;
    assert!(tried <= ATTEMPTS, "it was tried {tried} times");
    // P2: only what proved itself is the default, and stays it (P6). What was
    // kept live is booted next.
    machine.power_on();
    let running = machine.running();
    if running == *new {
        assert!(is_good(&memory, new), "unproven and running");
    } else {
        assert_eq!(running, *old);
    }
    assert!(!known_before || running == *new, "a kept version is lost");
    assert!(unhealthy.is_none() || running == *old, "it is not healthy");
    ways_back_are_whole(fs, old);
    machine.power_on();
    assert_eq!(machine.running(), running, "a reboot leads elsewhere");
    assert_eq!(tried_before + machine.trial_boots, tried);
    // P4: what is bad is not tried again.
    if matches!(memory.knowledge.standing(new), Some(Standing::Bad { .. })) {
        assert!(
            machine.request(new).is_err(),
            "a bad version is tried again"
        );
    }
}

fn check(name: &str, kind: TrialKind, view: View, per_point: usize, healthy: bool) {
    let (fs, old, new) = disk();
    let unhealthy = (!healthy).then_some(&new);
    let crashes = Crashes::from(&fs).view(view).per_point(per_point);
    let report = crashes.check(
        |fs| {
            let ended = upgrade(fs, kind, &new, unhealthy);
            assert_eq!(ended, if healthy { new.clone() } else { old.clone() });
        },
        |fs, when| {
            comes_to_a_good_end(fs, trial_boots(when), &old, &new, unhealthy);
            if when.finished {
                let booted = Simulated::new(fs, 2 * LATER, unhealthy);
                let bad = booted.memory().knowledge.bad(&new).is_some();
                assert!(healthy || bad, "that it is bad was forgotten");
            }
        },
    );
    println!("{name} on {ROOT}, {view:?}: {report}");
    assert!(report.images > 200, "{report}");
}

#[test]
fn a_healthy_upgrade_cut_off_anywhere_comes_to_a_good_end() {
    check("a healthy upgrade", TrialKind::Boot, View::Ordered, 4, true);
}

#[test]
fn an_unhealthy_upgrade_cut_off_anywhere_comes_to_a_good_end() {
    check(
        "an unhealthy upgrade",
        TrialKind::Boot,
        View::Ordered,
        4,
        false,
    );
}

#[test]
fn a_live_upgrade_cut_off_anywhere_comes_to_a_good_end() {
    for healthy in [true, false] {
        check("a live upgrade", TrialKind::Live, View::Ordered, 3, healthy);
    }
}

#[test]
fn no_order_of_names_is_relied_on() {
    check("a healthy upgrade", TrialKind::Boot, View::Relaxed, 3, true);
}

/// What is edited while the version waits for somebody's word is there when it is kept.
#[test]
fn an_edit_while_a_version_waits_is_not_lost() {
    let (fs, old, new) = disk();
    for kind in [TrialKind::Boot, TrialKind::Live] {
        let report = Crashes::from(&fs).per_point(2).check(
            |fs| {
                let mut machine = Simulated::new(fs, 0, None);
                (machine.kind, machine.edits) = (kind, true);
                machine.boot();
                let pause = machine.request(&new).unwrap();
                machine.run(pause);
            },
            |fs, when| {
                comes_to_a_good_end(fs, trial_boots(when), &old, &new, None);
                let sysroot = open(fs);
                let first = &sysroot.published().unwrap().order.good[0];
                let edited = sysroot.layout().deployment(first).join(EDITED);
                if when.passed("edited") {
                    let found = durable::read_to_string(fs, &edited).expect("the edit is lost");
                    assert_eq!(found, "mine");
                }
            },
        );
        println!("an edit while it waits, {kind}: {report}");
        assert!(report.images > 200, "{report}");
    }
}

/// Calls of a whole upgrade.
fn calls_of_an_upgrade(start: &SimFs, new: &VersionId) -> usize {
    let fs = start.snapshot();
    upgrade(&fs, TrialKind::Boot, new, None);
    fs.call_count()
}

/// `kill -9` at one call, another process goes on in the same boot, and in the end
/// the power fails.
#[test]
fn a_killed_process_is_followed_by_another() {
    let (fs, old, new) = disk();
    let mut images = 0;
    for call in (0..calls_of_an_upgrade(&fs, &new)).step_by(5) {
        let crashes = Crashes::from(&fs).only_finished().per_point(4);
        let report = crashes.check(
            |fs| {
                let mut machine = Simulated::new(fs, 0, None);
                machine.boot();
                fs.die_at(call);
                if let Ok(pause) = machine.request(&new) {
                    machine.run_until_killed(pause, call);
                }
                fs.heal();
                machine.go_on();
            },
            |fs, when| comes_to_a_good_end(fs, trial_boots(when), &old, &new, None),
        );
        images += report.images;
    }
    println!("killed, gone on, cut: {images} disks");
}

/// One call fails, for a broken disk or a full one: the upgrade goes through, or
/// ends where it began.
#[test]
fn a_call_that_fails_anywhere_comes_to_a_good_end() {
    let (start, old, new) = disk();
    let calls = calls_of_an_upgrade(&start, &new);
    let mut kept = 0;
    for call in 0..calls {
        let fs = start.snapshot();
        let mut machine = Simulated::new(&fs, 0, None);
        machine.boot();
        fs.fail_call(call, [5, 28][call % 2]);
        if let Ok(pause) = machine.request(&new) {
            machine.run(pause);
        }
        fs.heal();
        comes_to_a_good_end(&fs, machine.trial_boots, &old, &new, None);
        kept += usize::from(is_good(&machine.memory(), &new));
    }
    println!("{kept} of {calls} upgrades in which one call failed were kept");
    assert!(kept > calls / 10 && kept < calls);
}
