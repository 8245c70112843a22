//! An upgrade into another stateroot, beside the one that runs.

use std::path::Path;

use durable::sim::{Crashes, SimFs, View};
use engine::{Standing, State, TrialKind, VersionId};

use crate::crash_upgrade::trial_boots;
use crate::sim_machine::{ROOT, Simulated, disk, open, write};

/// The stateroot that is made.
const OTHER: &str = "trixie";
/// What somebody keeps in the `/var` of the first one.
const MARKER: &str = "/host/ostree/deploy/debian/var/lib/marker";
/// A number for boots after the cut that none before it had.
const LATER: u32 = 1000;

fn host() -> (SimFs, VersionId, VersionId) {
    let (fs, old, new) = disk();
    write(&fs, MARKER, "precious");
    (fs, old, new)
}

fn machine<'a>(fs: &'a SimFs, boot: u32, unhealthy: Option<&VersionId>) -> Simulated<'a> {
    let mut machine = Simulated::new(fs, boot, unhealthy);
    machine.stateroot = Some(OTHER);
    machine
}

fn upgrade(fs: &SimFs, new: &VersionId, unhealthy: Option<&VersionId>) -> VersionId {
    let mut machine = machine(fs, 0, unhealthy);
    machine.boot();
    let pause = machine.request(new).unwrap();
    machine.run(pause);
    machine.power_on();
    machine.running()
}

/// Every version in the boot order is in its stateroot, which is whole; the one that ran
/// is among the good ones, and its `/var` is as it was.
fn both_are_whole(fs: &SimFs, old: &VersionId) {
    let sysroot = open(fs);
    let order = sysroot.published().unwrap().order;
    let all = order.good.iter().chain(&order.bad);
    for id in all.chain(order.trial.iter().map(|t| &t.deployment)) {
        let first = id.checksum.to_string() == old.as_str();
        assert_eq!(id.stateroot, if first { "debian" } else { OTHER });
        let var = sysroot.layout().stateroot(&id.stateroot).join("var");
        for dir in ["lib", "log", "tmp"] {
            let made = durable::Fs::metadata(fs, &var.join(dir)).unwrap();
            assert_eq!(made.mode & 0o1000 != 0, dir == "tmp", "{dir}");
        }
        for link in ["run", "lock"] {
            durable::Fs::read_link(fs, &var.join(link)).unwrap();
        }
    }
    let first = |id: &sysroot::DeploymentId| id.checksum.to_string() == old.as_str();
    assert!(order.good.iter().any(first), "no way back: {order:?}");
    let marker = durable::read_to_string(fs, Path::new(MARKER)).unwrap();
    assert_eq!(marker, "precious");
    let other = sysroot.layout().stateroot(OTHER).join("var/lib/marker");
    assert!(durable::read(fs, &other).is_err(), "/var is shared");
}

#[test]
fn one_cut_off_anywhere_runs_the_one_or_the_other() {
    let (fs, old, new) = host();
    for (healthy, view) in [
        (true, View::Ordered),
        (true, View::Relaxed),
        (false, View::Ordered),
    ] {
        let unhealthy = (!healthy).then_some(&new);
        let report = Crashes::from(&fs).view(view).per_point(3).check(
            |fs| {
                let ended = upgrade(fs, &new, unhealthy);
                assert_eq!(ended, if healthy { new.clone() } else { old.clone() });
            },
            |fs, when| {
                both_are_whole(fs, &old);
                let mut machine = machine(fs, LATER, unhealthy);
                let pause = machine.power_on();
                machine.run(pause);
                assert_eq!(machine.memory().state, State::Idle);
                machine.power_on();
                let good = matches!(
                    machine.memory().knowledge.standing(&new),
                    Some(Standing::Good { .. })
                );
                let runs = machine.running();
                assert_eq!(runs, if good { new.clone() } else { old.clone() });
                assert!(!when.finished || good == healthy);
                assert!(trial_boots(when) + machine.trial_boots <= 3);
                both_are_whole(fs, &old);
            },
        );
        println!("into another stateroot on {ROOT}, healthy: {healthy}, {view:?}: {report}");
        assert!(report.images > 200, "{report}");
    }
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_done() {
    let (fs, old, new) = host();
    let refused = |change: &dyn Fn(&mut Simulated<'_>), version: &VersionId| {
        let mut machine = machine(&fs, 0, None);
        change(&mut machine);
        machine.boot();
        let mut text = String::new();
        if let Err(engine::DriveError::Host(e)) = machine.request(version) {
            text = e.to_string();
        }
        assert_eq!(open(&fs).stateroots().unwrap(), ["debian"], "{text}");
        text
    };
    let live = refused(&|machine| machine.kind = TrialKind::Live, &new);
    assert!(live.contains("takes a reboot"), "{live}");
    for name in ["", "..", "a/b", ".hidden", "a b"] {
        let named = refused(&|machine| machine.stateroot = Some(name), &new);
        assert!(named.contains("cannot name a stateroot"), "{named}");
    }
    let runs = refused(&|_| {}, &old);
    assert!(runs.contains("in the stateroot debian"), "{runs}");
}
