//! What is left of a host's life, cut off anywhere: the installation, pins, ending a
//! trial by its sector, and removing a deployment.

use std::path::Path;
use std::sync::Arc;

use boot::Choice;
use durable::sim::{Crashes, Report, SimFs, View};
use durable::{FileKind, Fs};
use ostree::{Checksum, RepoMode};
use sysroot::{DeploymentId, Standing, Sysroot};

use crate::host::order;
use crate::sim_host::{Expected, commit, grub_boots, host, open, publish, stage, write};

const SCRIPT: &str = "/sysroot/boot/loader/backstop.cfg";
const CONFIG: &str = "/sysroot/ostree/repo/config";

/// Every way in which the rest of a disk may be seen.
const VIEWS: [View; 3] = [View::Ordered, View::Relaxed, View::BootLoader];

/// What `backstop install` does below the root of the new disk.
fn install(fs: &SimFs) -> (DeploymentId, Checksum) {
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let sysroot = Sysroot::create(shared, Path::new("/sysroot"), RepoMode::Bare).unwrap();
    sysroot.add_stateroot("debian").unwrap();
    let config = durable::read_to_string(fs, Path::new(CONFIG)).unwrap();
    write(fs, CONFIG, &format!("{config}min-free-space-size=0MB\n"));
    sysroot.set_boot_settings(&Default::default()).unwrap();
    let version = commit(fs, "1");
    let good = stage(fs, version, None).unwrap();
    publish(fs, &order(&[&good], None)).unwrap();
    (good, version)
}

/// Until the very end there is nothing that a boot loader would start; then it is
/// whole, and says so.
#[test]
fn an_installation_boots_wholly_or_not_at_all() {
    let done = SimFs::new();
    install(&done);
    let after = Expected::of(&done);
    for view in VIEWS {
        let crashes = Crashes::from(&SimFs::new()).view(view).per_point(4);
        let report = crashes.check(
            |fs| drop(install(fs)),
            |fs, when| {
                let begun = durable::read(fs, Path::new(SCRIPT)).is_ok();
                assert!(!when.finished || begun, "the installation is lost");
                if !begun {
                    return;
                }
                grub_boots(fs, &[&after]);
                if when.view != View::BootLoader {
                    after.is_deployed(fs);
                }
            },
        );
        println!("install, {view:?}: {report}");
        assert!(report.images > 300, "{report}");
    }
}

/// Cuts `operation` off anywhere on a host where version 1 is good and 2 is as
/// `start` has it; what boots stays whole, and the operation works afterwards.
pub fn harmless(
    name: &str,
    start: &SimFs,
    operation: &dyn Fn(&SimFs),
    holds: &dyn Fn(&SimFs, bool),
) -> Vec<Report> {
    let before = Expected::of(start);
    let reports = VIEWS.map(|view| {
        let crashes = Crashes::from(start).view(view).per_point(40);
        crashes.check(operation, |fs, when| {
            grub_boots(fs, &[&before]);
            if when.view == View::BootLoader {
                return;
            }
            before.is_deployed(fs);
            holds(fs, when.finished);
            operation(fs);
            before.is_deployed(fs);
            holds(fs, true);
        })
    });
    for (view, report) in VIEWS.iter().zip(&reports) {
        println!("{name}, {view:?}: {report}");
    }
    reports.into()
}

/// Version 1 is good, 2 is staged.
fn staged() -> (SimFs, DeploymentId, DeploymentId) {
    let (fs, good, two) = host();
    let new = stage(&fs, two, Some(&good)).unwrap();
    (fs, good, new)
}

#[test]
fn a_pin_is_set_or_not() {
    let (fs, good, new) = staged();
    for id in [&good, &new] {
        for pinned in [true, false] {
            let start = fs.snapshot();
            open(&start).set_pinned(id, !pinned).unwrap();
            let set = |fs: &SimFs| open(fs).set_pinned(id, pinned).unwrap();
            let name = format!("pin {pinned}, in the order: {}", *id == good);
            harmless(&name, &start, &set, &|fs, finished| {
                let origin = open(fs).deployment(id).unwrap().origin;
                assert_eq!(origin.refspec(), Some("debian/main"), "the origin is lost");
                assert!(!finished || origin.is_pinned() == pinned, "the pin is lost");
            });
        }
    }
}

#[test]
fn a_trial_that_is_ended_by_its_sector_stays_ended() {
    let (fs, good, new) = staged();
    publish(&fs, &order(&[&good], Some(&new))).unwrap();
    let attempts = open(&fs).state_sector().unwrap().left;
    let end = |fs: &SimFs| open(fs).set_attempts(0).unwrap();
    harmless("end a trial", &fs, &end, &|fs, finished| {
        let left = open(fs).state_sector().unwrap().left;
        assert!(left == 0 || (left == attempts && !finished), "{left} left");
        let choice = grub_boots(fs, &[&Expected::of(fs)]).1;
        assert_eq!(choice == Choice::Trial, left > 0);
    });
}

#[test]
fn a_deployment_is_removed_wholly_or_still_there() {
    let (fs, _, new) = staged();
    let dir = open(&fs).layout().deployment(&new);
    let kernel = dir.join("usr/lib/modules/1/vmlinuz");
    let remove = |fs: &SimFs| {
        if open(fs).deployment(&new).is_ok() {
            open(fs).undeploy(&new).unwrap();
        }
    };
    harmless("undeploy", &fs, &remove, &|fs, finished| {
        let sysroot = open(fs);
        let found = sysroot.deployments().unwrap();
        let found = found.iter().find(|d| d.id == new);
        assert!(!(finished && found.is_some()), "it is still there");
        if let Some(deployment) = found {
            assert_eq!(deployment.standing, Standing::Unlisted);
            assert!(
                fs.metadata(&kernel).is_ok(),
                "it has a name and is not whole"
            );
        }
    });
}

/// Where nothing of it was to be kept, nothing is: a removal that was cut off is
/// finished by the next cleaning.
#[test]
fn what_a_removal_left_is_cleaned_away() {
    let (fs, _, new) = staged();
    let parent = Path::new("/sysroot/ostree/backstop/staging");
    let report = Crashes::from(&fs).per_point(20).check(
        |fs| open(fs).undeploy(&new).unwrap(),
        |fs, _| {
            open(fs).cleanup(&[], &monitor::Silent).unwrap();
            let left = fs.metadata(parent).is_ok_and(|m| m.kind == FileKind::Dir)
                && !fs.read_dir(parent).unwrap().is_empty();
            assert!(!left, "something lies in {}", parent.display());
            assert_eq!(open(fs).deployments().unwrap().len(), 1);
        },
    );
    println!("undeploy, then a cleaning: {report}");
}
