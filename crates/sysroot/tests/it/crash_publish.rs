//! Publishing cut off anywhere: what GRUB sees of the disk without the journal must
//! fit what Linux then sees with it.

use boot::Choice;
use durable::Fs;
use durable::sim::{Crashes, Report, SimFs, View, When};
use monitor::Silent;
use sysroot::{BootOrder, DeploymentId};

use crate::host::order;
use crate::sim_host::{Expected, grub_boots, host, open, publish, stage, tree};

/// Whether the operation got as far as switching the boot order, so that GRUB
/// may see the new one.
fn may_have_switched(when: &When) -> bool {
    when.called(|call| call.ends_with("-> /sysroot/boot/loader"))
}

/// Publishes `new` on `start` and cuts it off anywhere. GRUB must find the old
/// order or the new one, whole; and whichever it finds, the running system that
/// replayed its journal must hold the deployments that this one boots.
fn check_publishing(name: &str, start: &SimFs, new: &BootOrder) -> [Report; 2] {
    let done = start.snapshot();
    publish(&done, new).unwrap();
    let (before, after) = (Expected::of(start), Expected::of(&done));
    let grub = Crashes::from(start)
        .view(View::BootLoader)
        .per_point(30)
        .check(
            |fs| publish(fs, new).unwrap(),
            |fs, when| {
                let (found, _) = grub_boots(fs, &[&before, &after]);
                let is_new = found.config.id() == after.config.id();
                assert!(!when.finished || is_new, "the new order is lost");
                assert!(!is_new || may_have_switched(when), "switched too early");
            },
        );
    let linux = Crashes::from(start).per_point(15).check(
        |fs| publish(fs, new).unwrap(),
        |fs, when| {
            before.is_deployed(fs);
            if may_have_switched(when) {
                after.is_deployed(fs);
            }
            let (found, _) = grub_boots(fs, &[&before, &after]);
            let order = open(fs).published().unwrap().order;
            assert_eq!(order == *new, found.config.id() == after.config.id());
            // Nothing that was left stands in the way of doing it again.
            publish(fs, new).unwrap();
            let again = Expected::of(fs);
            again.is_deployed(fs);
            grub_boots(fs, &[&again]);
        },
    );
    println!("{name}, as GRUB sees it: {grub}");
    println!("{name}, after the journal was replayed: {linux}");
    [grub, linux]
}

/// Version 1 is good, 2 is staged.
fn staged() -> (SimFs, DeploymentId, DeploymentId) {
    let (fs, good, two) = host();
    let new = stage(&fs, two, Some(&good)).unwrap();
    (fs, good, new)
}

/// Version 1 is good, 2 is on trial, and one attempt was made.
fn on_trial() -> (SimFs, DeploymentId, DeploymentId) {
    let (fs, good, new) = staged();
    publish(&fs, &order(&[&good], Some(&new))).unwrap();
    let boot = open(&fs).simulate_boot().unwrap();
    assert_eq!(boot.deployment, new);
    (fs, good, new)
}

#[test]
fn putting_a_version_on_trial() {
    let (fs, good, new) = staged();
    let trial = order(&[&good], Some(&new));
    let [grub, linux] = check_publishing("trial", &fs, &trial);
    assert!(grub.images > 400 && linux.images > 400, "{grub}; {linux}");
}

#[test]
fn marking_a_version_good() {
    let (fs, good, new) = on_trial();
    check_publishing("good", &fs, &order(&[&new, &good], None));
}

#[test]
fn rolling_back() {
    let (fs, good, new) = on_trial();
    let back = BootOrder {
        good: vec![good],
        bad: vec![new],
        trial: None,
    };
    check_publishing("roll back", &fs, &back);
}

/// Until the trial is published, a reboot lands on the good version; from then
/// on it may be tried.
#[test]
fn nothing_unproven_boots_before_it_is_published() {
    let (fs, good, new) = staged();
    let before = Expected::of(&fs);
    let trial = order(&[&good], Some(&new));
    let done = fs.snapshot();
    publish(&done, &trial).unwrap();
    let after = Expected::of(&done);
    Crashes::from(&fs)
        .view(View::BootLoader)
        .per_point(15)
        .check(
            |fs| publish(fs, &trial).unwrap(),
            |fs, when| {
                let (_, choice) = grub_boots(fs, &[&before, &after]);
                if choice == Choice::Trial {
                    assert!(may_have_switched(when));
                }
                assert!(!when.finished || choice == Choice::Trial);
            },
        );
}

#[test]
fn staging_leaves_what_boots_alone_and_no_half_deployment() {
    let (fs, good, two) = host();
    let before = Expected::of(&fs);
    let done = fs.snapshot();
    let new = stage(&done, two, Some(&good)).unwrap();
    let whole = tree(&done, &open(&done).layout().deployment(&new));
    let report = Crashes::from(&fs).per_point(15).check(
        |fs| stage(fs, two, Some(&good)).unwrap(),
        |fs, when| {
            grub_boots(fs, &[&before]);
            before.is_deployed(fs);
            let dir = open(fs).layout().deployment(&new);
            let found = fs.metadata(&dir).is_ok();
            assert!(!when.finished || found, "the deployment is lost");
            if found {
                assert_eq!(tree(fs, &dir), whole, "it has a name and is not whole");
                let all = open(fs).deployments().unwrap();
                let origin = &all.iter().find(|d| d.id == new).unwrap().origin;
                assert_eq!(origin.refspec(), Some("debian/main"), "no origin");
            }
            let again = stage(fs, two, Some(&good)).unwrap();
            publish(fs, &order(&[&good], Some(&again))).unwrap();
            Expected::of(fs).is_deployed(fs);
        },
    );
    println!("stage: {report}");
    assert!(report.images > 150, "{report}");
}

/// `kill -9` in the middle, the same again, and then the power fails: what the
/// second run says is published must be so for GRUB too.
#[test]
fn publishing_after_a_killed_publication_is_durable() {
    let (fs, good, new) = on_trial();
    let kept = order(&[&new, &good], None);
    let done = fs.snapshot();
    publish(&done, &kept).unwrap();
    let (after, calls) = (Expected::of(&done), done.call_count());
    for call in 0..calls {
        let again = |fs: &SimFs| {
            fs.die_at(call);
            let _ = publish(fs, &kept);
            fs.heal();
            publish(fs, &kept).unwrap();
        };
        let crashes = Crashes::from(&fs).only_finished().per_point(30);
        let grub = crashes.clone().view(View::BootLoader);
        grub.check(again, |fs, _| {
            let config = grub_boots(fs, &[&after]).0.config.id();
            assert_eq!(config, after.config.id());
        });
        crashes.check(again, |fs, _| after.is_deployed(fs));
    }
}

/// `kill -9` in the middle of a publication, then another one, and the power fails
/// somewhere in that: it may not write over the set that GRUB still goes by.
#[test]
fn another_publication_spares_what_grub_goes_by() {
    let (fs, good, new) = staged();
    let trial = order(&[&good], Some(&new));
    let (once, twice) = (fs.snapshot(), fs.snapshot());
    publish(&once, &trial).unwrap();
    publish(&twice, &trial).unwrap();
    publish(&twice, &trial).unwrap();
    let known = [Expected::of(&fs), Expected::of(&once), Expected::of(&twice)];
    let known: Vec<&Expected> = known.iter().collect();
    let mut images = 0;
    // The calls around the switch, which is near the end.
    for call in once.call_count() - 20..once.call_count() {
        for cleans in [false, true] {
            let again = |fs: &SimFs| {
                fs.die_at(call);
                let _ = publish(fs, &trial);
                fs.heal();
                fs.mark("killed");
                if cleans {
                    open(fs).cleanup(&[], &Silent).unwrap();
                } else {
                    publish(fs, &trial).unwrap();
                }
            };
            let crashes = Crashes::from(&fs).view(View::BootLoader).per_point(2);
            let report = crashes.check(again, |fs, when| {
                if when.passed("killed") {
                    grub_boots(fs, &known);
                }
            });
            images += report.images;
        }
    }
    println!("killed, then another publication or a cleaning: {images} disks");
}

/// A publication that fails, for a full disk or a broken one, leaves the order
/// that was; once it worked, the new one counts.
#[test]
fn a_failing_disk_leaves_the_old_order_or_the_new_one() {
    let (fs, good, new) = staged();
    let trial = order(&[&good], Some(&new));
    let before = Expected::of(&fs);
    let done = fs.snapshot();
    publish(&done, &trial).unwrap();
    let after = Expected::of(&done);
    for errno in [5, 28] {
        let failures = durable::sim::each_failure(
            &fs,
            errno,
            |fs| publish(fs, &trial),
            |fs, result, call| {
                let (found, _) = grub_boots(fs, &[&before, &after]);
                let is_new = found.config.id() == after.config.id();
                assert!(result.is_err() || is_new, "call {call}");
                before.is_deployed(fs);
                publish(fs, &trial).unwrap();
                grub_boots(fs, &[&Expected::of(fs)]);
            },
        );
        println!("publish with errno {errno}: {failures} calls failed");
    }
}
