//! Real GRUB against the rule: for every kind of state sector it must choose the
//! entry that `decide` chooses, and leave the sector that `decide` says.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use boot::grub::published_files;
use boot::{
    BootConfig, ConfigId, Entry, FileDigest, LoadFailure, StateSector, Trial, decide,
    trial_did_not_load,
};
use sha2::{Digest, Sha256};

use crate::fake_kernel::{Ending, image};
use crate::machine::{EFI_FILES, FILES, Firmware, Machine, PROGRAMS, grub_core, grub_efi};
use testing::have;

/// The sector that has two counts.
const TWICE: &str = "a key twice";
const INITRD: &[u8] = b"an initrd that nobody unpacks";

/// `/boot` with a good, an older and a new version, and its configuration.
struct Boot {
    dir: tempfile::TempDir,
    config: BootConfig,
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

fn entry(name: &str) -> Entry {
    Entry {
        name: name.into(),
        title: format!("It's {name}"),
        linux: format!("/ostree/{name}/vmlinuz"),
        initrds: vec![format!("/ostree/{name}/initrd")],
        // Quoting must survive GRUB: a blank, a dollar, a semicolon.
        options: "ro a=\"b c\" d=$e; f".parse().unwrap(),
    }
}

impl Boot {
    fn new(new_ends: Ending, on_trial: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let boot = dir.path();
        let kernels = [
            ("good", Ending::Exit),
            ("older", Ending::Exit),
            ("new", new_ends),
        ];
        for (name, ending) in kernels {
            let to = boot.join("ostree").join(name);
            fs::create_dir_all(&to).unwrap();
            fs::write(
                to.join("vmlinuz"),
                image(&format!("KERNEL {name}: "), ending),
            )
            .unwrap();
            fs::write(to.join("initrd"), INITRD).unwrap();
        }
        let digest = |file: &str| {
            let path = format!("/ostree/new/{file}");
            let content = fs::read(boot.join(&path[1..])).unwrap();
            let sha256 = sha256(&content);
            FileDigest { path, sha256 }
        };
        let trial = on_trial.then(|| Trial {
            entry: entry("new"),
            attempts: 3,
            digests: vec![digest("vmlinuz"), digest("initrd")],
        });
        let config = BootConfig::new(vec![entry("good"), entry("older")], trial).unwrap();
        fs::create_dir(boot.join("loader.1")).unwrap();
        for file in published_files(&config) {
            fs::write(boot.join("loader.1").join(file.name), file.content).unwrap();
        }
        symlink("loader.1", boot.join("loader")).unwrap();
        Self { dir, config }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn left(&self, left: u8) -> StateSector {
        StateSector::fresh(self.config.id(), left)
    }
}

/// The names of the entries whose kernels ran, in order.
fn booted(log: &str) -> Vec<&str> {
    let lines = log.lines().filter_map(|l| l.trim().strip_prefix("KERNEL "));
    lines.filter_map(|l| l.split(':').next()).collect()
}

/// GRUB's BIOS core with and without `hashsum`; `None` where it cannot be built.
fn core(with_hashsum: bool) -> Option<Firmware> {
    have(&PROGRAMS, &FILES).then(|| grub_core(with_hashsum))
}

/// Starts the machine once and compares with the rule.
fn agrees(core: &Firmware, boot: &Boot, what: &str, state: Option<&[u8]>, writable: bool) {
    let mut machine = Machine::new(core, boot.path(), state, false);
    machine.readonly = !writable;
    let log = machine.run(&[]);
    let sector = state.and_then(|s| StateSector::parse(s).ok());
    let decision = decide(&boot.config, sector.as_ref(), writable);
    let chosen = &decision.chosen(&boot.config).unwrap().name;
    assert_eq!(booted(&log), [chosen], "{what}: {log}");
    let Some(before) = state else { return };
    let after = machine.state();
    match decision.sector_after.filter(|_| decision.counted) {
        Some(expected) => assert_eq!(StateSector::parse(&after), Ok(expected), "{what}"),
        // GRUB had written before it read back that it did not count.
        None if what == TWICE => assert!(StateSector::parse(&after).is_err()),
        None => assert_eq!(after, before, "{what}"),
    }
}

/// Bytes without meaning, always the same.
fn noise(seed: &str, len: usize) -> Vec<u8> {
    let blocks = (0u32..).flat_map(|n| Sha256::digest(format!("{seed}{n}")).to_vec());
    blocks.take(len).collect()
}

#[test]
fn every_sector_leads_where_the_rule_says() {
    let Some(core) = core(true) else { return };
    let boot = Boot::new(Ending::Exit, true);
    let good = boot.left(3).encode();
    let mut failed = boot.left(3);
    failed.failed = Some(LoadFailure::Digest);
    let foreign = StateSector::fresh(ConfigId::of(b"other"), 3).encode();
    let mut headed = noise("a", 512);
    headed[..25].copy_from_slice(&good[..25]);
    let mut twice = good;
    twice[300..317].copy_from_slice(b"\nbackstop_left=7\n");
    let mut digitless = good;
    let at = good.windows(5).position(|w| w == b"left=").unwrap() + 5;
    digitless[at] = b'*';
    let states: Vec<(&str, Vec<u8>)> = vec![
        ("nine left", boot.left(9).encode().into()),
        ("three left", good.into()),
        ("one left", boot.left(1).encode().into()),
        ("none left", boot.left(0).encode().into()),
        ("failed to load", failed.encode().into()),
        ("another configuration's", foreign.into()),
        ("zeros", vec![0; 512]),
        ("noise", noise("b", 512)),
        ("noise with a head", headed),
        (TWICE, twice.into()),
        ("no digit", digitless.into()),
        ("cut", good[..400].into()),
        ("cut by one", good[..511].into()),
        ("empty", Vec::new()),
    ];
    for (what, state) in &states {
        agrees(&core, &boot, what, Some(state), true);
    }
    agrees(&core, &boot, "missing", None, true);
    agrees(&core, &boot, "read-only", Some(&good), false);
    let without = Boot::new(Ending::Exit, false);
    let state = without.left(3).encode();
    agrees(&core, &without, "no trial", Some(&state), true);
}

#[test]
fn attempts_run_out_and_arguments_arrive() {
    let Some(core) = core(true) else { return };
    let boot = Boot::new(Ending::Reset, true);
    let state = boot.left(2).encode();
    for state_in_boot in [false, true] {
        let machine = Machine::new(&core, boot.path(), Some(&state), state_in_boot);
        let log = machine.run(&[]);
        assert_eq!(booted(&log), ["new", "new", "good"], "{log}");
        assert_eq!(StateSector::parse(&machine.state()), Ok(boot.left(0)));
        let id = boot.config.id();
        let line = |name: &str, options: &str| {
            let start = format!("KERNEL {name}: BOOT_IMAGE=");
            let lines = log.lines().filter(|l| l.starts_with(&start));
            assert!(
                lines.map(str::trim).all(|l| l.ends_with(options)),
                "{options}: {log}"
            );
        };
        line("good", " ro \"a=b c\" d=$e; f");
        line(
            "new",
            &format!(" ro \"a=b c\" d=$e; f panic=5 backstop.trial={id}"),
        );
    }
}

#[test]
fn it_is_the_same_by_uefi() {
    if !have(&PROGRAMS, &EFI_FILES) {
        return;
    }
    let grub = grub_efi();
    let boot = Boot::new(Ending::Reset, true);
    let state = boot.left(1).encode();
    let machine = Machine::new(&grub, boot.path(), Some(&state), false);
    let log = machine.run(&[]);
    assert_eq!(booted(&log), ["new", "good"], "{log}");
    assert_eq!(StateSector::parse(&machine.state()), Ok(boot.left(0)));
    let damaged = boot.path().join("ostree/new/initrd");
    fs::write(damaged, "another").unwrap();
    let machine = Machine::new(&grub, boot.path(), Some(&state), false);
    let log = machine.run(&[]);
    assert_eq!(booted(&log), ["good"], "{log}");
    let expected = trial_did_not_load(&boot.config, LoadFailure::Digest);
    assert_eq!(StateSector::parse(&machine.state()), Ok(expected));
}

#[test]
fn a_trial_that_does_not_load_is_ended() {
    let Some(with) = core(true) else { return };
    let Some(without) = core(false) else { return };
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[20_000] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    type Damage<'a> = &'a dyn Fn(&Path);
    let empty: Damage = &|new| fs::write(new.join("initrd"), b"").unwrap();
    let table: [(&str, &Firmware, Damage, LoadFailure); 6] = [
        (
            "no kernel",
            &with,
            &|new| fs::remove_file(new.join("vmlinuz")).unwrap(),
            LoadFailure::Missing,
        ),
        (
            "no initrd",
            &with,
            &|new| fs::remove_file(new.join("initrd")).unwrap(),
            LoadFailure::Missing,
        ),
        ("empty initrd", &without, empty, LoadFailure::Missing),
        (
            "flipped kernel",
            &with,
            &|new| flip(&new.join("vmlinuz")),
            LoadFailure::Digest,
        ),
        (
            "cut initrd",
            &with,
            &|new| fs::write(new.join("initrd"), &INITRD[..9]).unwrap(),
            LoadFailure::Digest,
        ),
        (
            "no kernel at all",
            &without,
            &|new| fs::write(new.join("vmlinuz"), "x").unwrap(),
            LoadFailure::Kernel,
        ),
    ];
    for (what, core, damage, failure) in table {
        let boot = Boot::new(Ending::Exit, true);
        damage(&boot.path().join("ostree/new"));
        let machine = Machine::new(core, boot.path(), Some(&boot.left(3).encode()), false);
        let log = machine.run(&[]);
        assert_eq!(booted(&log), ["good"], "{what}: {log}");
        let expected = trial_did_not_load(&boot.config, failure);
        assert_eq!(
            StateSector::parse(&machine.state()),
            Ok(expected),
            "{what}: {log}"
        );
    }
    // Without `hashsum` a whole version is tried all the same.
    let boot = Boot::new(Ending::Exit, true);
    let machine = Machine::new(&without, boot.path(), Some(&boot.left(1).encode()), false);
    let log = machine.run(&[]);
    assert_eq!(booted(&log), ["new"], "{log}");
    assert!(log.contains("not verified"), "{log}");
}

#[test]
fn the_next_entry_boots_when_the_default_does_not_load() {
    let Some(core) = core(true) else { return };
    for missing in ["vmlinuz", "initrd"] {
        let boot = Boot::new(Ending::Exit, false);
        fs::remove_file(boot.path().join("ostree/good").join(missing)).unwrap();
        let machine = Machine::new(&core, boot.path(), None, false);
        let log = machine.run(&[]);
        assert_eq!(booted(&log), ["older"], "{log}");
        assert!(log.contains("backstop: cannot load good"), "{log}");
    }
    // The symlink is gone: what it pointed to is found all the same.
    let boot = Boot::new(Ending::Exit, true);
    fs::remove_file(boot.path().join("loader")).unwrap();
    let machine = Machine::new(&core, boot.path(), Some(&boot.left(1).encode()), false);
    assert_eq!(booted(&machine.run(&[])), ["new"]);
}

#[test]
fn a_choice_by_hand_changes_nothing() {
    let Some(core) = core(true) else { return };
    let boot = Boot::new(Ending::Exit, true);
    let state = boot.left(3).encode();
    let machine = Machine::new(&core, boot.path(), Some(&state), false);
    // Escape, then two lines down: the older one.
    let log = machine.run(&[
        ("backstop: sector", "\x1b"),
        ("Start as usual", "\x0e\x0e\r"),
    ]);
    assert_eq!(booted(&log), ["older"], "{log}");
    assert_eq!(machine.state(), state);
}
