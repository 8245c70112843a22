//! Every boot state put before GRUB's own script engine and filesystem drivers: what
//! it loads, and what it leaves in the sector, must be what the rule says.
//!
//! A sample each time; all of them with `BACKSTOP_LOADER=all`, which is what
//! `cargo xtask loader-vs-model` does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Mutex;

use boot::grub::published_files;
use boot::sector::MAX_ATTEMPTS;
use boot::{
    BootConfig, Choice, ConfigId, Entry, FileDigest, LoadFailure, StateSector, Trial, decide,
    trial_did_not_load,
};
use sha2::{Digest, Sha256};

use crate::grub_emu::{Emulated, Ended, PROGRAMS, emulated};
use testing::have;

/// At once: each start waits a second for a key.
const AT_ONCE: usize = 48;
/// Of the states, one in so many is tried in every run of the tests.
const SAMPLED: usize = 37;

/// Which entries are published.
#[derive(Debug, Clone, Copy)]
struct Shape {
    goods: usize,
    bads: usize,
    attempts: Option<u8>,
}

/// What is wrong with the files of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Nothing,
    Missing(&'static str),
    Empty(&'static str),
    Flipped(&'static str),
    Cut(&'static str),
    /// The loader refuses it, though it is what was published.
    Refused(&'static str),
}

const KERNEL: &str = "vmlinuz";
const INITRD: &str = "initrd";

/// What can be wrong with the version on trial, and how that is told.
const OF_TRIAL: [(Damage, Option<LoadFailure>); 11] = [
    (Damage::Nothing, None),
    (Damage::Missing(KERNEL), Some(LoadFailure::Missing)),
    (Damage::Missing(INITRD), Some(LoadFailure::Missing)),
    (Damage::Empty(KERNEL), Some(LoadFailure::Missing)),
    (Damage::Empty(INITRD), Some(LoadFailure::Missing)),
    (Damage::Flipped(KERNEL), Some(LoadFailure::Digest)),
    (Damage::Flipped(INITRD), Some(LoadFailure::Digest)),
    (Damage::Cut(KERNEL), Some(LoadFailure::Digest)),
    (Damage::Cut(INITRD), Some(LoadFailure::Digest)),
    (Damage::Refused(KERNEL), Some(LoadFailure::Kernel)),
    (Damage::Refused(INITRD), Some(LoadFailure::Initrd)),
];

/// What can be wrong with the default so that the next entry must boot.
const OF_DEFAULT: [Damage; 5] = [
    Damage::Missing(KERNEL),
    Damage::Missing(INITRD),
    Damage::Empty(KERNEL),
    Damage::Empty(INITRD),
    Damage::Refused(KERNEL),
];

/// What is published, and what is wrong with it.
#[derive(Debug, Clone, Copy)]
struct Setting {
    shape: Shape,
    trial: (Damage, Option<LoadFailure>),
    default: Damage,
}

fn settings() -> Vec<Setting> {
    let mut all = Vec::new();
    for (goods, bads) in [(1, 0), (2, 1), (3, 2)] {
        for attempts in [None, Some(3)] {
            let shape = Shape {
                goods,
                bads,
                attempts,
            };
            let of_trial = if attempts.is_some() {
                OF_TRIAL.len()
            } else {
                1
            };
            let whole = Damage::Nothing;
            all.extend(OF_TRIAL[..of_trial].iter().map(|trial| Setting {
                shape,
                trial: *trial,
                default: whole,
            }));
            let others = goods + bads > 1;
            all.extend(OF_DEFAULT.iter().filter(|_| others).map(|d| Setting {
                shape,
                trial: OF_TRIAL[0],
                default: *d,
            }));
        }
    }
    all
}

fn entry(name: &str) -> Entry {
    Entry {
        name: name.into(),
        title: format!("It's {name}"),
        linux: format!("/ostree/{name}/{KERNEL}"),
        initrds: vec![format!("/ostree/{name}/{INITRD}")],
        options: "ro a=\"b c\" d=$e; f".parse().unwrap(),
    }
}

fn content(name: &str, file: &str) -> Vec<u8> {
    format!("{file} of {name} ").repeat(100).into_bytes()
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

/// Writes an entry's files, with what is wrong; gives the path that is refused.
fn write_files(boot: &Path, name: &str, damage: Damage) -> Option<String> {
    let dir = boot.join("ostree").join(name);
    fs::create_dir_all(&dir).unwrap();
    for file in [KERNEL, INITRD] {
        fs::write(dir.join(file), content(name, file)).unwrap();
    }
    let changed = |file: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = content(name, file);
        change(&mut bytes);
        fs::write(dir.join(file), bytes).unwrap();
    };
    match damage {
        Damage::Nothing => {}
        Damage::Missing(file) => fs::remove_file(dir.join(file)).unwrap(),
        Damage::Empty(file) => changed(file, &Vec::clear),
        Damage::Flipped(file) => changed(file, &|bytes| bytes[700] ^= 16),
        Damage::Cut(file) => changed(file, &|bytes| bytes.truncate(900)),
        Damage::Refused(file) => return Some(format!("/ostree/{name}/{file}")),
    }
    None
}

/// A setting on disks.
struct Published {
    setting: Setting,
    config: BootConfig,
    machine: Emulated,
}

impl Published {
    fn new(setting: Setting) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shape = setting.shape;
        let names = (0..shape.goods).map(|n| format!("good{n}"));
        let names: Vec<String> = names
            .chain((0..shape.bads).map(|n| format!("bad{n}")))
            .collect();
        let mut refused = None;
        for (at, name) in names.iter().enumerate() {
            let damage = if at == 0 {
                setting.default
            } else {
                Damage::Nothing
            };
            refused = refused.or(write_files(dir.path(), name, damage));
        }
        refused = refused.or(write_files(dir.path(), "new", setting.trial.0));
        let digest = |file: &str| FileDigest {
            path: format!("/ostree/new/{file}"),
            sha256: sha256(&content("new", file)),
        };
        let trial = shape.attempts.map(|attempts| Trial {
            entry: entry("new"),
            attempts,
            digests: vec![digest(KERNEL), digest(INITRD)],
        });
        let entries = names.iter().map(|name| entry(name)).collect();
        let config = BootConfig::new(entries, trial).unwrap();
        fs::create_dir(dir.path().join("loader.1")).unwrap();
        for file in published_files(&config) {
            let content = emulated(&file.content);
            fs::write(dir.path().join("loader.1").join(file.name), content).unwrap();
        }
        symlink("loader.1", dir.path().join("loader")).unwrap();
        let machine = Emulated::new(dir.path(), &refused.unwrap_or_default());
        Self {
            setting,
            config,
            machine,
        }
    }

    /// Starts it until a kernel takes over; each start must do what the rule says.
    fn agrees(&self, name: &str, what: &str, mut before: [u8; 512], writable: bool) {
        let case = format!("{:?}, {what}, writable: {writable}", self.setting);
        for start in 0..2 {
            let sector = StateSector::parse(&before).ok();
            let decision = decide(&self.config, sector.as_ref(), writable);
            let name = format!("{name}-{start}");
            let (ended, after) = self.machine.start(&name, &before, writable);
            let failed = self.setting.trial.1;
            let (expected, left) = match (decision.entry, failed) {
                (Choice::Trial, Some(failure)) => {
                    let left = trial_did_not_load(&self.config, failure);
                    (Ended::Reboot, Some(left))
                }
                (Choice::Trial, None) => (self.kernel("new"), decision.sector_after),
                (Choice::Entry(_), _) => (self.default(), None),
            };
            assert_eq!(ended, expected, "{case}");
            match left {
                Some(left) => assert_eq!(StateSector::parse(&after), Ok(left), "{case}"),
                // GRUB had written before it read back that it did not count.
                None if what == TWICE && writable => {
                    assert!(StateSector::parse(&after).is_err(), "{case}");
                }
                None => assert!(after == before, "{case}: the sector changed"),
            }
            if ended != Ended::Reboot {
                return;
            }
            before = after;
        }
        panic!("{case}: it restarts for ever");
    }

    fn kernel(&self, name: &str) -> Ended {
        Ended::Kernel(format!("/ostree/{name}/{KERNEL}"))
    }

    /// The first entry that can be loaded.
    fn default(&self) -> Ended {
        let at = usize::from(self.setting.default != Damage::Nothing);
        Ended::Kernel(self.config.entries()[at].linux.clone())
    }
}

/// The sector that has two counts.
const TWICE: &str = "a key twice";

fn noise(seed: u32) -> [u8; 512] {
    let mut out = [0; 512];
    for (at, block) in out.chunks_mut(32).enumerate() {
        block.copy_from_slice(&Sha256::digest(format!("{seed} {at}")));
    }
    out
}

/// Everything that may be in the sector of this configuration.
fn sectors(config: ConfigId) -> Vec<(String, [u8; 512])> {
    let mut all = Vec::new();
    let failures = || [None].into_iter().chain(LoadFailure::ALL.map(Some));
    for whose in [config, ConfigId::of(b"another")] {
        for (left, failed) in (0..=MAX_ATTEMPTS).flat_map(|l| failures().map(move |f| (l, f))) {
            let sector = StateSector {
                config: whose,
                left,
                failed,
            };
            let ours = whose == config;
            all.push((
                format!("ours: {ours}, {left} left, {failed:?}"),
                sector.encode(),
            ));
        }
    }
    let good = StateSector::fresh(config, 3).encode();
    let mut add = |what: &str, change: &dyn Fn(&mut [u8; 512])| {
        let mut bytes = good;
        change(&mut bytes);
        all.push((what.to_owned(), bytes));
    };
    add("zeros", &|b| b.fill(0));
    add("ones", &|b| b.fill(0xff));
    for seed in 0..4 {
        add("noise", &|b| *b = noise(seed));
        add("noise with a head", &|b| {
            b[25..].copy_from_slice(&noise(seed)[25..])
        });
    }
    for from in [26, 44, 60, 100, 120, 300, 500, 511] {
        add("zeros from there on", &|b| b[from..].fill(0));
        add("noise from there on", &|b| {
            b[from..].copy_from_slice(&noise(9)[from..])
        });
    }
    add(TWICE, &|b| {
        b[300..317].copy_from_slice(b"\nbackstop_left=7\n")
    });
    for (from, to) in [
        ("version=1", "version=2"),
        ("left=3", "left=*"),
        ("left=3", "left= "),
        ("left=3", "left=\n"),
        ("failed=------", "failed=-----x"),
        ("failed=------", "failed=kernal"),
        ("backstop_end=1", "backstop_end=0"),
        ("backstop_left", "backstop_lift"),
        ("# GRUB", "# grub"),
    ] {
        add(&format!("{from} is {to:?}"), &|b| {
            let at = b.windows(from.len()).position(|w| w == from.as_bytes());
            let at = at.unwrap();
            b[at..at + to.len()].copy_from_slice(to.as_bytes());
        });
    }
    all
}

/// All states, as numbers of the setting and of the sector, and whether it can be
/// written.
fn states(settings: &[Setting], sectors: usize) -> Vec<(usize, usize, bool)> {
    let pairs = (0..settings.len()).flat_map(|a| (0..sectors).map(move |b| (a, b)));
    pairs
        .flat_map(|(a, b)| [(a, b, true), (a, b, false)])
        .collect()
}

#[test]
fn grub_and_the_rule_agree_in_every_state() {
    if !have(&PROGRAMS, &[]) {
        return;
    }
    let settings = settings();
    let all = states(&settings, sectors(ConfigId::of(b"any")).len());
    let every = match std::env::var_os("BACKSTOP_LOADER") {
        Some(word) if word == "all" => 1,
        _ => SAMPLED,
    };
    let chosen: Vec<_> = all.iter().copied().step_by(every).collect();
    println!("GRUB: {} of {} boot states", chosen.len(), all.len());
    let wrong: Mutex<Vec<String>> = Mutex::default();
    // One setting after the other: its disks are made once.
    let mut rest = chosen.as_slice();
    let mut running = Vec::new();
    while let Some((setting, ..)) = rest.first() {
        let end = rest.partition_point(|(s, ..)| s == setting);
        running.push((settings[*setting], &rest[..end]));
        rest = &rest[end..];
    }
    let queue = Mutex::new(running.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((setting, states)) = queue.lock().unwrap().next() else {
                        return;
                    };
                    check(setting, states, &wrong);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "{} differ: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(9)]
    );
}

/// Tries the states of one setting.
fn check(setting: Setting, states: &[(usize, usize, bool)], wrong: &Mutex<Vec<String>>) {
    let published = Published::new(setting);
    let sectors = sectors(published.config.id());
    for (_, at, writable) in states {
        let (what, bytes) = &sectors[*at];
        let name = format!("{at}-{writable}");
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            published.agrees(&name, what, *bytes, *writable);
        }));
        if let Err(panic) = tried {
            let said = panic.downcast_ref::<String>().cloned();
            wrong.lock().unwrap().push(said.unwrap_or_default());
        }
    }
}
