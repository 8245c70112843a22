//! Every operation cut off anywhere, and failing anywhere, on a simulated disk.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use boot::{BootConfig, Choice, StateSector, decide};
use durable::Fs;
use durable::sim::{Crashes, SimFs, View, When, each_failure};
use monitor::Silent;
use ostree::{Checksum, CommitOptions, RepoMode};
use sysroot::{
    BootOrder, DeploymentId, Origin, Published, StageKargs, StageRequest, Standing, Sysroot,
    TrialEntry,
};

const ROOT: &str = "/host";
const ENOSPC: i32 = 28;

fn open(fs: &SimFs) -> Sysroot {
    Sysroot::open(Arc::new(fs.clone()), Path::new(ROOT)).unwrap()
}

fn write(fs: &SimFs, path: &Path, text: &str) {
    durable::create_dir_all(fs, path.parent().unwrap(), 0o755).unwrap();
    durable::remove_tree(fs, path).unwrap();
    let mut file = fs.create(path, 0o644).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn commit(fs: &SimFs, name: &str) -> Checksum {
    let tree = Path::new("/trees").join(name);
    let files = [
        ("usr/lib/modules/1.0/vmlinuz", "kernel"),
        ("usr/lib/modules/1.0/initramfs.img", "initramfs"),
        ("usr/etc/default", "default"),
        ("usr/etc/shared", "shared"),
    ];
    for (path, what) in files {
        write(fs, &tree.join(path), &format!("{what} of {name}"));
    }
    let options = CommitOptions {
        timestamp: Some(1),
        ..CommitOptions::default()
    };
    let summary = open(fs).repo().commit_dir(&tree, &options, &Silent);
    summary.unwrap().checksum
}

fn request(commit: Checksum, from: Option<&DeploymentId>) -> StageRequest {
    StageRequest {
        stateroot: "debian".into(),
        commit,
        merge_from: from.cloned(),
        origin: Origin::following("debian/main"),
        kargs: StageKargs::CarryOver,
    }
}

fn order(good: &[&DeploymentId], trial: Option<&DeploymentId>) -> BootOrder {
    BootOrder {
        good: good.iter().map(|id| (*id).clone()).collect(),
        bad: Vec::new(),
        trial: trial.map(|id| TrialEntry {
            deployment: id.clone(),
            attempts: 2,
            kargs: boot::KernelArgs::new(),
        }),
    }
}

/// A host with two versions: the first runs and is published, the second is
/// staged.
struct Start {
    fs: SimFs,
    good: DeploymentId,
    new: DeploymentId,
}

fn start() -> Start {
    let fs = SimFs::new();
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let sysroot = Sysroot::create(shared, Path::new(ROOT), RepoMode::Bare).unwrap();
    let config = sysroot.repo().path().join("config");
    let text = durable::read_to_string(&fs, &config).unwrap();
    let text = format!("{text}min-free-space-size=0MB\n");
    durable::publish_file(&fs, &config, text.as_bytes(), 0o644).unwrap();
    let sysroot = open(&fs);
    sysroot.add_stateroot("debian").unwrap();
    sysroot
        .set_boot_settings(&sysroot.boot_settings().unwrap())
        .unwrap();
    let first = commit(&fs, "1");
    let good = sysroot
        .stage(&request(first, None), &Silent)
        .unwrap()
        .deployment;
    sysroot.publish(&order(&[&good], None), &Silent).unwrap();
    let etc = sysroot.layout().deployment(&good).join("etc/default");
    write(&fs, &etc, "mine");
    let second = commit(&fs, "2");
    let new = sysroot
        .stage(&request(second, Some(&good)), &Silent)
        .unwrap()
        .deployment;
    Start { fs, good, new }
}

fn read(fs: &SimFs, path: &Path) -> String {
    durable::read_to_string(fs, path).unwrap_or_else(|e| panic!("{e:?}"))
}

/// What the kernel is handed is the version's own, whole.
fn loads(fs: &SimFs, entry: &boot::Entry, name: &str) {
    let boot = Path::new(ROOT).join("boot");
    let at = |path: &str| boot.join(path.trim_start_matches('/'));
    assert_eq!(read(fs, &at(&entry.linux)), format!("kernel of {name}"));
    assert_eq!(entry.initrds.len(), 1);
    assert_eq!(
        read(fs, &at(&entry.initrds[0])),
        format!("initramfs of {name}")
    );
}

/// What an initramfs finds by the command line is a whole deployment.
fn starts(fs: &SimFs, entry: &boot::Entry, id: &DeploymentId, name: &str) {
    let sysroot = open(fs);
    let cmdline = entry.options.to_string();
    assert_eq!(sysroot.booted_by(&cmdline).unwrap().as_ref(), Some(id));
    is_whole(fs, id, name);
}

fn is_whole(fs: &SimFs, id: &DeploymentId, name: &str) {
    let dir = open(fs).layout().deployment(id);
    let kernel = read(fs, &dir.join("usr/lib/modules/1.0/vmlinuz"));
    assert_eq!(kernel, format!("kernel of {name}"));
    assert_eq!(read(fs, &dir.join("etc/default")), "mine");
    assert_eq!(
        read(fs, &dir.join("etc/shared")),
        format!("shared of {name}")
    );
}

/// The configuration that counts, and what a bootloader decides on it.
fn chosen(fs: &SimFs) -> (Published, BootConfig, Choice) {
    let sysroot = open(fs);
    let published = sysroot.published().unwrap_or_else(|e| panic!("{e:?}"));
    let config = sysroot.boot_config().unwrap_or_else(|e| panic!("{e:?}"));
    let sector = sysroot.state_sector().ok();
    let choice = decide(&config, sector.as_ref(), true).entry;
    (published, config, choice)
}

/// One clear, complete choice (P1), after any cut of a publication.
fn one_choice(fs: &SimFs, start: &Start, before: &BootOrder, after: &BootOrder, when: &When) {
    let (published, config, choice) = chosen(fs);
    assert!(published.order == *before || published.order == *after);
    assert!(!when.finished || published.order == *after);
    let id = match choice {
        Choice::Trial => &published.order.trial.as_ref().unwrap().deployment,
        Choice::Entry(at) => &published.order.good[at],
    };
    let name = if *id == start.good { "1" } else { "2" };
    let entry = match choice {
        Choice::Trial => &config.trial().unwrap().entry,
        Choice::Entry(at) => &config.entries()[at],
    };
    loads(fs, entry, name);
    if when.view == View::BootLoader {
        return;
    }
    starts(fs, entry, id, name);
    // The bootloader may have seen more of /boot than the kernel does: then the
    // sector is on the disk, and what it belongs to must be complete as well.
    is_whole(fs, &start.good, "1");
    // And the machine can go on from here.
    let sysroot = open(fs);
    sysroot.publish(after, &Silent).unwrap();
    assert_eq!(sysroot.published().unwrap().order, *after);
    assert!(sysroot.simulate_boot().is_ok());
}

const VIEWS: [View; 3] = [View::Ordered, View::Relaxed, View::BootLoader];

fn publication_holds(start: &Start, before: &BootOrder, after: &BootOrder) {
    let fs = start.fs.snapshot();
    open(&fs).publish(before, &Silent).unwrap();
    for view in VIEWS {
        let crashes = Crashes::from(&fs).view(view).per_point(24);
        let report = crashes.check(
            |fs| open(fs).publish(after, &Silent).unwrap(),
            |fs, when| one_choice(fs, start, before, after, when),
        );
        println!("publish, {view:?}: {report}");
        assert!(report.images > 50, "{report}");
    }
}

#[test]
fn publishing_a_trial_is_all_or_nothing() {
    let start = start();
    let before = order(&[&start.good], None);
    let after = order(&[&start.good], Some(&start.new));
    publication_holds(&start, &before, &after);
}

#[test]
fn confirming_is_all_or_nothing() {
    let start = start();
    let before = order(&[&start.good], Some(&start.new));
    let after = order(&[&start.new, &start.good], None);
    publication_holds(&start, &before, &after);
}

#[test]
fn giving_a_trial_up_is_all_or_nothing() {
    let start = start();
    let before = order(&[&start.good], Some(&start.new));
    let mut after = order(&[&start.good], None);
    after.bad.push(start.new.clone());
    publication_holds(&start, &before, &after);
}

/// An attempt is counted once and for all, wherever the power is cut.
#[test]
fn attempts_never_come_back() {
    let start = start();
    let fs = start.fs.snapshot();
    let sysroot = open(&fs);
    sysroot
        .publish(&order(&[&start.good], Some(&start.new)), &Silent)
        .unwrap();
    let left = |sector: sysroot::Result<StateSector>| sector.unwrap().left;
    for view in VIEWS {
        Crashes::from(&fs).view(view).check(
            |fs| open(fs).simulate_boot().unwrap(),
            |fs, when| {
                let now = left(open(fs).state_sector());
                assert!(now == 1 || (now == 2 && !when.finished));
            },
        );
    }
}

#[test]
fn what_is_staged_is_whole_or_not_there() {
    let start = start();
    let (old, third) = (
        open(&start.fs).deployments().unwrap(),
        commit(&start.fs, "3"),
    );
    let stage = |fs: &SimFs| open(fs).stage(&request(third, Some(&start.good)), &Silent);
    let crashes = Crashes::from(&start.fs).per_point(16);
    let report = crashes.check(
        |fs| stage(fs).unwrap(),
        |fs, when| {
            let all = open(fs).deployments().unwrap();
            assert!(!when.finished || all.len() == old.len() + 1);
            for deployment in all.iter().filter(|d| d.id.checksum == third) {
                is_whole(fs, &deployment.id, "3");
                assert_eq!(deployment.standing, Standing::Unlisted);
                assert_eq!(deployment.origin.refspec(), Some("debian/main"));
            }
            assert!(old.iter().all(|d| all.contains(d)));
            let again = stage(fs).unwrap().deployment;
            is_whole(fs, &again, "3");
            open(fs).cleanup(&[], &Silent).unwrap();
            assert_eq!(open(fs).deployments().unwrap().len(), 1);
        },
    );
    println!("stage: {report}");
    assert!(report.images > 100, "{report}");
}

#[test]
fn a_full_disk_leaves_the_old_order() {
    let start = start();
    let third = commit(&start.fs, "3");
    let before = chosen(&start.fs).0;
    let old = open(&start.fs).deployments().unwrap();
    let upgrade = |fs: &SimFs| -> sysroot::Result<()> {
        let sysroot = open(fs);
        let staged = sysroot.stage(&request(third, Some(&start.good)), &Silent)?;
        let order = order(&[&start.good], Some(&staged.deployment));
        sysroot.publish(&order, &Silent).map(drop)
    };
    let calls = each_failure(&start.fs, ENOSPC, upgrade, |fs, result, call| {
        let (published, config, _) = chosen(fs);
        loads(fs, &config.entries()[0], "1");
        assert_eq!(published.order.good[0], start.good);
        // What failed once and was done over, or did not matter, may be fine.
        if let Err(e) = result {
            let text = format!("call {call}: {e:?}");
            assert!(e.is_full(), "{text}");
            // The last syncs fail after the switch.
            let switched = published.order.trial.is_some();
            assert!(switched || published == before, "{text}");
        }
        let all = open(fs).deployments().unwrap();
        assert!(old.iter().all(|d| all.iter().any(|a| a.id == d.id)));
        for deployment in all.iter().filter(|d| d.id.checksum == third) {
            is_whole(fs, &deployment.id, "3");
            assert_eq!(deployment.origin.refspec(), Some("debian/main"));
        }
        // Nothing without a deployment is kept.
        let refs = open(fs).repo().refs(Some("backstop/deployed")).unwrap();
        assert_eq!(refs.len(), all.len(), "call {call}");
        upgrade(fs).unwrap();
    });
    println!("{calls} calls failed");
    assert!(calls > 100);
    // And really full, at any moment.
    for space in (0..12_000).step_by(250) {
        let fs = start.fs.snapshot();
        fs.set_space(Some(space));
        let result = upgrade(&fs);
        fs.heal();
        let (published, config, _) = chosen(&fs);
        loads(&fs, &config.entries()[0], "1");
        assert!(result.is_ok() || published == before);
    }
}

#[test]
fn cleaning_up_never_takes_what_boots() {
    let start = start();
    let fs = start.fs.snapshot();
    let third = commit(&fs, "3");
    let sysroot = open(&fs);
    let third = sysroot
        .stage(&request(third, Some(&start.good)), &Silent)
        .unwrap()
        .deployment;
    let after = order(&[&start.good], Some(&start.new));
    sysroot
        .publish(&order(&[&third, &start.good], None), &Silent)
        .unwrap();
    sysroot.publish(&after, &Silent).unwrap();
    for view in VIEWS {
        let report = Crashes::from(&fs).view(view).per_point(24).check(
            |fs| open(fs).cleanup(&[], &Silent).unwrap(),
            |fs, when| {
                one_choice(fs, &start, &after, &after, when);
                if view == View::BootLoader {
                    return;
                }
                open(fs).cleanup(&[], &Silent).unwrap();
                let left = open(fs).deployments().unwrap();
                assert_eq!(left.len(), 2);
                open(fs).repo().load_commit(&start.good.checksum).unwrap();
            },
        );
        println!("cleanup, {view:?}: {report}");
    }
}
