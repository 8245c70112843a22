//! Taking a host of `ostree` over, and handing it back, cut off anywhere: whatever GRUB
//! finds leads to the deployment that was the default, with its kernel arguments.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use boot::BlsEntry;
use boot::grub::{StatePlace, StaticConfig, static_config};
use durable::sim::{Crashes, SimFs, View};
use durable::{FileKind, Fs};
use monitor::Silent;
use ostree::RepoMode;
use sysroot::{Adoption, BootSettings, DeploymentId, Loader, PlainOrder, Sysroot};

use crate::sim_host::{Expected, commit, open, stage, tree, write};

const VIEWS: [View; 3] = [View::Ordered, View::Relaxed, View::BootLoader];
const REPO_CONFIG: &str = "/sysroot/ostree/repo/config";
const GRUB_CONFIG: &str = "/sysroot/boot/grub/grub.cfg";
const KEPT: &str = "/sysroot/boot/grub/grub.cfg.before-backstop";
const BY_HAND: &str = "# by hand\nblscfg\n";

/// A host as `ostree admin` leaves it: entries without a script, and GRUB going by them.
fn host_of_ostree() -> (SimFs, DeploymentId) {
    let fs = SimFs::new();
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let sysroot = Sysroot::create(shared, Path::new("/sysroot"), RepoMode::Bare).unwrap();
    sysroot.add_stateroot("debian").unwrap();
    let config = durable::read_to_string(&fs, Path::new(REPO_CONFIG)).unwrap();
    let more = "min-free-space-size=0MB\n[sysroot]\nbootloader=none\n";
    write(&fs, REPO_CONFIG, &format!("{config}{more}"));
    let version = commit(&fs, "1");
    let good = stage(&fs, version, None).unwrap();
    let order = PlainOrder {
        deployments: vec![good.clone()],
        ..PlainOrder::default()
    };
    open(&fs).publish_plain(&order, &Silent).unwrap();
    write(&fs, GRUB_CONFIG, BY_HAND);
    (fs, good)
}

fn adoption() -> Adoption {
    let script = static_config(&StaticConfig {
        boot_uuid: "0f".into(),
        boot_dir: "/boot".into(),
        state: StatePlace::Boot("/backstop/state".into()),
        serial: None,
        before: Some("/grub/grub.cfg.before-backstop".into()),
    });
    Adoption {
        grub_config: "boot/grub/grub.cfg".into(),
        script: script.unwrap(),
        settings: BootSettings {
            state_sector: "boot/backstop/state".into(),
            loader: Loader::Grub,
            without_digests: false,
        },
    }
}

fn adopt(fs: &SimFs) {
    open(fs).adopt(&adoption(), &Silent).unwrap();
}

fn hand_back(fs: &SimFs) {
    let config = adoption().grub_config;
    open(fs).hand_back(&config, &Silent).unwrap();
}

/// What GRUB goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goes {
    /// The boot entries, by the configuration from before.
    Entries,
    /// The same, by way of backstop's configuration.
    Kept,
    /// A script that backstop published.
    Script,
}

/// The set of boot files that does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    /// Its script is whole or not there.
    Whole,
    /// It is of an earlier time.
    Old,
}

fn text(fs: &SimFs, path: &str) -> Option<String> {
    let bytes = durable::read(fs, Path::new(path)).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned()).filter(|t| !t.is_empty())
}

/// Reads a disk as GRUB does; everything that it finds must be whole.
fn grub_goes_by(fs: &SimFs, published: &Expected, other: Other) -> Goes {
    let config = text(fs, GRUB_CONFIG).expect("no grub.cfg");
    if config == BY_HAND {
        first_entry(fs, published);
        return Goes::Entries;
    }
    assert_eq!(config, adoption().script, "a grub.cfg that nobody wrote");
    let script = |loader: &str| text(fs, &format!("/sysroot/boot/{loader}/backstop.cfg"));
    if let Some(script) = script("loader") {
        published.is_script(fs, &script);
        return Goes::Script;
    }
    // Where there is no configuration from before, the other sets are looked at.
    if other == Other::Whole {
        for script in ["loader.0", "loader.1"].into_iter().filter_map(script) {
            published.is_script(fs, &script);
        }
    }
    assert_eq!(text(fs, KEPT).as_deref(), Some(BY_HAND));
    first_entry(fs, published);
    Goes::Kept
}

/// The first boot entry: it loads the default's kernel, with its arguments.
fn first_entry(fs: &SimFs, published: &Expected) -> String {
    let dir = PathBuf::from("/sysroot/boot/loader/entries");
    let names = fs.read_dir(&dir).expect("no boot entries");
    assert_eq!(names.len(), 1);
    let file = dir.join(&names[0].name);
    let entry = BlsEntry::parse(&durable::read_to_string(fs, &file).unwrap()).unwrap();
    let wanted = &published.config.entries()[0];
    assert_eq!(entry.get("linux"), Some(&*wanted.linux));
    published.loads(fs);
    let mut options = entry.options().unwrap();
    let link = options.get("ostree").unwrap();
    options.delete("ostree");
    let mut expected = wanted.options.clone();
    expected.delete("ostree");
    assert_eq!(options, expected);
    link
}

/// Cuts `operation` off anywhere on `start`; a reboot lands on the same deployment, and
/// the operation goes on from there.
fn same_default(name: &str, start: &SimFs, done: Goes, operation: fn(&SimFs)) {
    let (good, published) = {
        let end = host_of_ostree();
        adopt(&end.0);
        (end.1, Expected::of(&end.0))
    };
    let dir = open(start).layout().deployment(&good);
    let whole = tree(start, &dir);
    for view in VIEWS {
        let crashes = Crashes::from(start).view(view).per_point(24);
        let report = crashes.check(operation, |fs, when| {
            let goes = grub_goes_by(fs, &published, Other::Whole);
            assert!(!when.finished || goes == done, "{goes:?}");
            if when.view == View::BootLoader {
                return;
            }
            assert_eq!(tree(fs, &dir), whole);
            let listed = open(fs).published().unwrap().order.good;
            assert_eq!(listed, std::slice::from_ref(&good));
            let booted = open(fs).booted_by(&format!("ostree={}", first_entry(fs, &published)));
            assert_eq!(booted.unwrap().as_ref(), Some(&good));
            operation(fs);
            assert_eq!(grub_goes_by(fs, &published, Other::Whole), done);
        });
        println!("{name}, {view:?}: {report}");
        assert!(report.images > 50, "{report}");
    }
}

#[test]
fn taking_over_boots_the_same_at_any_instant() {
    let (fs, _) = host_of_ostree();
    same_default("adopt", &fs, Goes::Script, adopt);
}

#[test]
fn handing_back_boots_the_same_at_any_instant() {
    let (fs, _) = host_of_ostree();
    adopt(&fs);
    same_default("hand back", &fs, Goes::Entries, hand_back);
}

/// What was left of an earlier time may not boot.
#[test]
fn a_script_of_an_earlier_time_does_not_count() {
    let (fs, good) = host_of_ostree();
    adopt(&fs);
    hand_back(&fs);
    let left = |fs: &SimFs| {
        let found = ["loader.0", "loader.1"].map(|d| format!("/sysroot/boot/{d}/backstop.cfg"));
        found.iter().filter(|p| text(fs, p).is_some()).count()
    };
    assert_eq!(
        left(&fs),
        1,
        "the set of before is left until the next cleaning"
    );
    let two = commit(&fs, "2");
    let new = stage(&fs, two, Some(&good)).unwrap();
    // As `ostree` would, where it was killed before it cleaned up.
    let order = PlainOrder {
        deployments: vec![new.clone()],
        ..PlainOrder::default()
    };
    open(&fs).publish_plain(&order, &Silent).unwrap();
    write(
        &fs,
        "/sysroot/boot/loader.0/backstop.cfg",
        "of an earlier time",
    );
    write(
        &fs,
        "/sysroot/boot/loader.1/backstop.cfg",
        "of an earlier time",
    );
    let current = fs.read_link(Path::new("/sysroot/boot/loader")).unwrap();
    let current = Path::new("/sysroot/boot")
        .join(current)
        .join("backstop.cfg");
    fs.remove_file(&current).unwrap();
    let published = {
        let end = fs.snapshot();
        adopt(&end);
        Expected::of(&end)
    };
    let crashes = Crashes::from(&fs).view(View::BootLoader).per_point(12);
    let report = crashes.check(adopt, |fs, _| {
        let _ = grub_goes_by(fs, &published, Other::Old);
    });
    println!("adopt over an old script: {report}");
    assert_eq!(open(&fs).published().unwrap().order.good, [new]);
}

#[test]
fn what_it_was_is_kept_as_it_was() {
    let (fs, _) = host_of_ostree();
    let config = Path::new(GRUB_CONFIG);
    fs.remove_file(config).unwrap();
    fs.symlink(Path::new("../loader/grub.cfg"), config).unwrap();
    adopt(&fs);
    assert_eq!(fs.metadata(config).unwrap().kind, FileKind::File);
    let kept = fs.read_link(Path::new(KEPT)).unwrap();
    assert_eq!(kept, Path::new("../loader/grub.cfg"));
}
