//! What systemd-boot reads, cut off anywhere, as FAT may leave it: which entry it boots,
//! and that the kernel of that is whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use boot::systemd_boot::{self, ENTRIES_DIR, ONE_SHOT};
use boot::{BootConfig, Choice};
use durable::Fs;
use durable::sim::{Crashes, SimFs, View, When, each_failure};
use ostree::RepoMode;
use sysroot::{BootOrder, BootSettings, DeploymentId, Loader, Sysroot, TrialEntry};

use crate::sim_host::{Expected, commit, open, publish, stage, write};

const ESP: &str = "/sysroot/boot/efi";
const VARIABLES: &str = "/sysroot/sys/firmware/efi/efivars";
const REPO_CONFIG: &str = "/sysroot/ostree/repo/config";

fn on_esp(path: &str) -> PathBuf {
    Path::new(ESP).join(path.trim_start_matches('/'))
}

/// Version 1 is good, 2 is staged.
fn host() -> (SimFs, DeploymentId, DeploymentId) {
    let fs = SimFs::new();
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let sysroot = Sysroot::create(shared, Path::new("/sysroot"), RepoMode::Bare).unwrap();
    sysroot.add_stateroot("debian").unwrap();
    durable::create_dir_all(&fs, Path::new(VARIABLES), 0o755).unwrap();
    let config = durable::read_to_string(&fs, Path::new(REPO_CONFIG)).unwrap();
    write(
        &fs,
        REPO_CONFIG,
        &format!("{config}min-free-space-size=0MB\n"),
    );
    let settings = BootSettings {
        state_sector: "boot/efi/backstop/state".into(),
        loader: Loader::SystemdBoot,
        without_digests: false,
    };
    sysroot.set_boot_settings(&settings).unwrap();
    let good = stage(&fs, commit(&fs, "1"), None).unwrap();
    publish(&fs, &order(&[&good], None)).unwrap();
    let new = stage(&fs, commit(&fs, "2"), Some(&good)).unwrap();
    (fs, good, new)
}

fn order(good: &[&DeploymentId], trial: Option<&DeploymentId>) -> BootOrder {
    BootOrder {
        good: good.iter().map(|id| (*id).clone()).collect(),
        bad: Vec::new(),
        trial: trial.map(|id| TrialEntry {
            deployment: id.clone(),
            attempts: 1,
            kargs: boot::KernelArgs::new(),
        }),
    }
}

/// The entry that systemd-boot boots: the one of the variable, which it then deletes, if
/// there is such a file; else the one that `loader.conf` names.
fn entry(fs: &SimFs) -> String {
    let variable = Path::new(VARIABLES).join(ONE_SHOT);
    let once = durable::read(fs, &variable).ok();
    let once = once.and_then(|bytes| systemd_boot::one_shot_id(&bytes));
    let there = |id: &String| fs.metadata(&on_esp(ENTRIES_DIR).join(id)).is_ok();
    if let Some(id) = once.filter(there) {
        return id;
    }
    let config = durable::read(fs, &on_esp(systemd_boot::CONFIG_PATH)).expect("no loader.conf");
    assert_eq!(config.len(), systemd_boot::CONFIG_SIZE);
    let config = String::from_utf8_lossy(&config).into_owned();
    let default = config.lines().find_map(|l| l.strip_prefix("default "));
    default.expect("loader.conf names no default").to_owned()
}

/// What systemd-boot boots on this disk: of which configuration, and which entry. All
/// that it reads of it is whole.
fn boots<'e>(fs: &SimFs, known: &[&'e Expected]) -> (&'e Expected, Choice) {
    let id = entry(fs);
    let of = |config: &BootConfig| {
        let trial = systemd_boot::entry_id(config.id(), None);
        let default = systemd_boot::entry_id(config.id(), Some(0));
        match () {
            () if id == default => Some(Choice::Entry(0)),
            () if id == trial && config.trial().is_some() => Some(Choice::Trial),
            () => None,
        }
    };
    let found = known.iter().find_map(|e| Some((*e, of(&e.config)?)));
    let (expected, choice) = found.unwrap_or_else(|| panic!("{id}, that nobody published"));
    let files = systemd_boot::entry_files(&expected.config);
    let file = files.iter().find(|f| f.name == id).unwrap();
    let read = durable::read(fs, &on_esp(ENTRIES_DIR).join(&id)).expect("no such entry");
    assert_eq!(String::from_utf8_lossy(&read), file.content);
    for (path, content) in expected.boot_files() {
        let on_disk = durable::read(fs, &on_esp(&systemd_boot::kernel_path(path))).ok();
        let needed = file.content.contains(&systemd_boot::kernel_path(path));
        assert!(!needed || on_disk.as_ref() == Some(content), "{path}");
    }
    (expected, choice)
}

/// Cuts a publication off anywhere. What boots is the old order's default or the new
/// one's; the new trial boots only once the publication got so far.
fn publication_holds(name: &str, start: &SimFs, new: &BootOrder) {
    let done = start.snapshot();
    publish(&done, new).unwrap();
    let (before, after) = (Expected::of(start), Expected::of(&done));
    let checked = |fs: &SimFs, when: &When| {
        let (found, choice) = boots(fs, &[&before, &after]);
        let is_new = found.config.id() == after.config.id();
        assert!(!when.finished || is_new, "the new order is lost");
        let switched = when.called(|call| call.ends_with("-> /sysroot/boot/loader"));
        assert!(!is_new || switched, "switched too early");
        assert!(choice != Choice::Trial || is_new, "a trial that is over");
    };
    let operation = |fs: &SimFs| {
        publish(fs, new).unwrap();
    };
    let crashes = Crashes::from(start).view(View::Fat).per_point(24);
    let fat = crashes.check(operation, |fs, when| checked(fs, when));
    let crashes = Crashes::from(start).view(View::Ordered).per_point(15);
    let linux = crashes.check(operation, |fs, when| {
        checked(fs, when);
        before.is_deployed(fs);
        if when.called(|call| call.ends_with("-> /sysroot/boot/loader")) {
            after.is_deployed(fs);
        }
        // The machine goes on: what counts in /boot is published again, or the new order.
        publish(fs, new).unwrap();
        let again = Expected::of(fs);
        again.is_deployed(fs);
        assert_eq!(boots(fs, &[&again]).0.config.id(), again.config.id());
        open(fs).cleanup(&[], &monitor::Silent).unwrap();
        boots(fs, &[&again]);
    });
    println!("{name}, as FAT leaves it: {fat}");
    println!("{name}, after the journal of the others was replayed: {linux}");
    assert!(fat.images > 300 && linux.images > 100, "{fat}; {linux}");
}

/// Version 2 is on trial, and systemd-boot has started its one attempt.
fn on_trial() -> (SimFs, DeploymentId, DeploymentId) {
    let (fs, good, new) = host();
    publish(&fs, &order(&[&good], Some(&new))).unwrap();
    assert_eq!(boots(&fs, &[&Expected::of(&fs)]).1, Choice::Trial);
    let variable = Path::new(VARIABLES).join(ONE_SHOT);
    fs.set_immutable(&variable, false).unwrap();
    fs.remove_file(&variable).unwrap();
    assert_eq!(boots(&fs, &[&Expected::of(&fs)]).1, Choice::Entry(0));
    (fs, good, new)
}

#[test]
fn putting_a_version_on_trial() {
    let (fs, good, new) = host();
    publication_holds("esp, trial", &fs, &order(&[&good], Some(&new)));
}

#[test]
fn marking_a_version_good() {
    let (fs, good, new) = on_trial();
    publication_holds("esp, good", &fs, &order(&[&new, &good], None));
}

#[test]
fn rolling_back() {
    let (fs, good, new) = on_trial();
    let back = BootOrder {
        good: vec![good],
        bad: vec![new],
        trial: None,
    };
    publication_holds("esp, roll back", &fs, &back);
}

/// A process is killed anywhere, the next publication is another one, and the power fails
/// in that: what boots is always one of the three, whole.
#[test]
fn another_publication_spares_what_boots() {
    let (fs, good, new) = host();
    let (trial, back) = (order(&[&good], Some(&new)), order(&[&new, &good], None));
    let done = fs.snapshot();
    publish(&done, &trial).unwrap();
    let calls = done.call_count();
    let middle = Expected::of(&done);
    publish(&done, &back).unwrap();
    let known = [Expected::of(&fs), middle, Expected::of(&done)];
    let known: Vec<&Expected> = known.iter().collect();
    let mut images = 0;
    for call in calls.saturating_sub(40)..calls {
        let again = |fs: &SimFs| {
            fs.die_at(call);
            let _ = publish(fs, &trial);
            fs.heal();
            fs.mark("killed");
            publish(fs, &back).unwrap();
        };
        let crashes = Crashes::from(&fs).view(View::Fat).per_point(2);
        let report = crashes.check(again, |fs, when| {
            if when.passed("killed") {
                whole_whoever_published(fs, &known);
            }
        });
        images += report.images;
    }
    println!("esp, killed, then another publication: {images} disks");
}

/// The kernel that boots is one of these, whole. The configuration between two others has
/// a name of its own.
fn whole_whoever_published(fs: &SimFs, known: &[&Expected]) {
    let file = on_esp(ENTRIES_DIR).join(entry(fs));
    let text = durable::read_to_string(fs, &file).expect("no such entry");
    let entry = boot::BlsEntry::parse(&text).unwrap();
    for path in entry.all("linux").chain(entry.all("initrd")) {
        let read = durable::read(fs, &on_esp(path)).expect("no kernel");
        let mut files = known.iter().flat_map(|e| e.boot_files());
        assert!(
            files.any(|(_, content)| *content == read),
            "{path} is not whole"
        );
    }
}

/// A full or broken ESP leaves the old order or the new one.
#[test]
fn a_failing_disk_leaves_the_old_order_or_the_new_one() {
    let (fs, good, new) = host();
    let trial = order(&[&good], Some(&new));
    let before = Expected::of(&fs);
    let done = fs.snapshot();
    publish(&done, &trial).unwrap();
    let after = Expected::of(&done);
    for errno in [5, 28] {
        let failures = each_failure(
            &fs,
            errno,
            |fs| publish(fs, &trial),
            |fs, result, call| {
                let (found, _) = boots(fs, &[&before, &after]);
                let is_new = found.config.id() == after.config.id();
                assert!(result.is_err() || is_new, "call {call}");
                publish(fs, &trial).unwrap();
                boots(fs, &[&Expected::of(fs)]);
            },
        );
        println!("esp, publish with errno {errno}: {failures} calls failed");
    }
}

/// Where nothing is mounted, nothing that needs the partition is published, and nothing
/// is written into the mount point. Going back needs none of it.
#[test]
fn a_partition_that_is_not_mounted_is_in_the_way_of_keeping_and_not_of_going_back() {
    let away = Path::new("/esp");
    let (fs, good, new) = on_trial();
    let unmounted = || {
        fs.rename(Path::new(ESP), away).unwrap();
        durable::create_dir_all(&fs, Path::new(ESP), 0o755).unwrap();
    };
    let mounted = || {
        assert!(fs.read_dir(Path::new(ESP)).unwrap().is_empty());
        fs.remove_dir(Path::new(ESP)).unwrap();
        fs.rename(away, Path::new(ESP)).unwrap();
    };
    let before = Expected::of(&fs);
    unmounted();
    let kept = publish(&fs, &order(&[&new, &good], None));
    assert!(kept.unwrap_err().to_string().contains("not mounted"));
    let back = BootOrder {
        good: vec![good.clone()],
        bad: vec![new.clone()],
        trial: None,
    };
    // Also when the process that did it is killed before it could say so.
    for _ in 0..2 {
        publish(&fs, &back).unwrap();
        assert_eq!(open(&fs).published().unwrap().order, back);
        assert!(open(&fs).esp_stays());
    }
    // The links that it boots by would be written over.
    for another in [order(&[&good], None), order(&[&good], Some(&new))] {
        assert!(publish(&fs, &another).is_err());
    }
    assert!(open(&fs).cleanup(&[], &monitor::Silent).is_err());
    mounted();
    before.is_deployed(&fs);
    assert_eq!(boots(&fs, &[&before]).1, Choice::Entry(0));
    publish(&fs, &order(&[&good], None)).unwrap();
    let after = Expected::of(&fs);
    assert_eq!(boots(&fs, &[&after]).0.config.id(), after.config.id());
    assert!(!open(&fs).esp_stays());
}

/// One that refuses every write boots the version before all the same.
#[test]
fn a_partition_that_cannot_be_written_is_not_in_the_way_of_going_back() {
    let (fs, good, new) = on_trial();
    let before = Expected::of(&fs);
    let back = BootOrder {
        good: vec![good],
        bad: vec![new],
        trial: None,
    };
    let done = fs.snapshot();
    done.heal();
    publish(&done, &back).unwrap();
    let after = Expected::of(&done);
    let mut stayed = 0;
    for call in 0..done.call_count() {
        let fs = fs.snapshot();
        fs.fail_call(call, 30);
        let result = publish(&fs, &back);
        fs.heal();
        let why = format!("{result:?}");
        assert!(result.is_ok() || !why.contains(ESP), "call {call}: {why}");
        let (found, _) = boots(&fs, &[&before, &after]);
        found.is_deployed(&fs);
        stayed += usize::from(result.is_ok() && found.config.id() == before.config.id());
        // Asked again, as after a process was killed.
        let _ = publish(&fs, &back);
        boots(&fs, &[&before, &after]).0.is_deployed(&fs);
    }
    println!("the partition stayed as it was {stayed} times");
    assert!(stayed > 5, "{stayed}");
}
