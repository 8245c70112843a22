//! Real systemd-boot, by OVMF, against the rule: for everything that its variables may
//! hold it must start the entry that the rule names, and forget the version on trial
//! before it starts it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use boot::systemd_boot::{self, entry_files, entry_id, one_shot, one_shot_id};
use boot::{BootConfig, ConfigId, Entry, Trial};
use testing::have;

use crate::efi_variables::Store;
use crate::machine::run;

const PROGRAM: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
const GRUB: &str = "/usr/lib/grub/x86_64-efi/halt.mod";
const PROGRAMS: [&str; 4] = ["grub-mkimage", "qemu-system-x86_64", "mkfs.vfat", "mcopy"];
/// Nothing takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(150);

fn entry(name: &str) -> Entry {
    Entry {
        name: name.into(),
        title: name.into(),
        linux: format!("/ostree/{name}/vmlinuz"),
        initrds: Vec::new(),
        options: "ro".parse().unwrap(),
    }
}

fn config(on_trial: bool) -> BootConfig {
    let trial = on_trial.then(|| Trial {
        entry: entry("new"),
        attempts: 1,
        digests: Vec::new(),
    });
    BootConfig::new(vec![entry("good"), entry("older")], trial).unwrap()
}

/// An EFI program that says its name, and then switches off or restarts.
fn kernel(dir: &Path, name: &str, then: &str) {
    let script = dir.join("script");
    fs::write(&script, format!("echo KERNEL {name}:\n{then}\n")).unwrap();
    let to = dir.join("EFI/backstop").join(name);
    fs::create_dir_all(&to).unwrap();
    let (script, image) = (script.to_str().unwrap(), to.join("vmlinuz"));
    let mut args = vec!["-O", "x86_64-efi", "-p", "/nowhere", "-c", script];
    args.extend(["-o", image.to_str().unwrap()]);
    args.extend(["normal", "echo", "halt", "reboot"]);
    run("grub-mkimage", &args);
}

/// The EFI system partition of a configuration: its default and the one before switch
/// off, its trial restarts the machine.
fn partition(dir: &Path, config: &BootConfig, without: Option<&str>) {
    let tree = dir.join("tree");
    for at in ["EFI/BOOT", "EFI/backstop", systemd_boot::ENTRIES_DIR] {
        fs::create_dir_all(tree.join(at)).unwrap();
    }
    for (name, then) in [("good", "halt"), ("older", "halt"), ("new", "reboot")] {
        kernel(&tree, name, then);
    }
    if let Some(name) = without {
        fs::remove_file(tree.join("EFI/backstop").join(name).join("vmlinuz")).unwrap();
    }
    fs::copy(PROGRAM, tree.join("EFI/BOOT/BOOTX64.EFI")).unwrap();
    for file in entry_files(config) {
        let at = tree.join(systemd_boot::ENTRIES_DIR).join(file.name);
        fs::write(at, file.content).unwrap();
    }
    let loader = systemd_boot::loader_config(config.id());
    fs::write(tree.join(systemd_boot::CONFIG_PATH), loader).unwrap();
    let image = dir.join("esp");
    let image = image.to_str().unwrap();
    run("mkfs.vfat", &["-C", image, "16384"]);
    for part in ["EFI", "loader"] {
        let part = tree.join(part);
        run("mcopy", &["-s", "-i", image, part.to_str().unwrap(), "::/"]);
    }
}

/// Switches the machine on; gives what it said until it was switched off.
fn start(dir: &Path) -> String {
    let drive = |name: &str, more: &str| {
        let at = dir.join(name);
        format!("file={},format=raw,{more}", at.display())
    };
    let log = dir.join("serial");
    let mut qemu = Command::new("qemu-system-x86_64")
        .args(["-machine", "pc", "-accel", "tcg", "-m", "256"])
        .args(["-nodefaults", "-display", "none"])
        .args([
            "-drive",
            &format!("if=pflash,format=raw,readonly=on,file={CODE}"),
        ])
        .args(["-drive", &drive("variables", "if=pflash")])
        .args(["-drive", &drive("esp", "if=virtio")])
        .args(["-serial", &format!("file:{}", log.display())])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    let ended = loop {
        if qemu.try_wait().unwrap().is_some() {
            break true;
        }
        if began.elapsed() > PATIENCE {
            let _ = qemu.kill();
            let _ = qemu.wait();
            break false;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let said = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    assert!(ended, "it hangs: {said}");
    said
}

/// The names of the entries that ran, in order.
fn ran(log: &str) -> Vec<String> {
    let parts = log.split("KERNEL ").skip(1);
    let names = parts.filter_map(|part| part.split(':').next());
    names.map(str::to_owned).collect()
}

/// The rule: what runs until the machine is switched off, when these are the variables
/// and this kernel is missing.
fn rule(config: &BootConfig, once: Option<&[u8]>, missing: Option<&str>) -> Vec<String> {
    let there = |name: &str| missing != Some(name);
    let named = once.and_then(|data| one_shot_id(&[&[7, 0, 0, 0], data].concat()));
    let is = |index: Option<usize>| named == Some(entry_id(config.id(), index));
    let default = if there("good") { "good" } else { "older" };
    let names: &[&str] = match () {
        () if is(None) && config.trial().is_some() && there("new") => &["new", default],
        () if is(Some(1)) && there("older") => &["older"],
        () => &[default],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// One state of the machine.
struct State {
    what: &'static str,
    on_trial: bool,
    once: Option<Vec<u8>>,
    missing: Option<&'static str>,
}

/// Puts the state before systemd-boot.
fn agrees(state: &State) {
    let dir = tempfile::tempdir().unwrap();
    let config = config(state.on_trial);
    partition(dir.path(), &config, state.missing);
    let mut store = Store(fs::read(VARIABLES).unwrap());
    if let Some(data) = &state.once {
        store.add("LoaderEntryOneShot", data);
        assert_eq!(store.get("LoaderEntryOneShot"), Some(&data[..]));
    }
    // What somebody chose for good in an older configuration's menu.
    let stale = one_shot(&entry_id(ConfigId::of(b"older"), Some(0)));
    store.add("LoaderEntryDefault", &stale[4..]);
    fs::write(dir.path().join("variables"), &store.0).unwrap();
    let said = start(dir.path());
    let expected = rule(&config, state.once.as_deref(), state.missing);
    assert_eq!(ran(&said), expected, "{}: {said}", state.what);
    let after = Store(fs::read(dir.path().join("variables")).unwrap());
    // It leaves what is no text, and heeds it no more than nothing.
    let left = state.once.as_deref().filter(|data| data.len() % 2 == 1);
    assert_eq!(after.get("LoaderEntryOneShot"), left, "{}", state.what);
}

fn states() -> Vec<State> {
    let named = |id: String| Some(one_shot(&id)[4..].to_vec());
    let id = |index| entry_id(config(true).id(), index);
    let state = |what, once| State {
        what,
        on_trial: true,
        once,
        missing: None,
    };
    let missing = |what, once, name| State {
        missing: Some(name),
        ..state(what, once)
    };
    vec![
        state("nothing named", None),
        state("the trial", named(id(None))),
        state("the version before", named(id(Some(1)))),
        state(
            "another configuration's trial",
            named(entry_id(ConfigId::of(b"x"), None)),
        ),
        state("no text", Some(vec![0xff, 0xd8, 0x01])),
        state("an empty name", Some(vec![0, 0])),
        state(
            "a name without end",
            named(id(None)).map(|d| d[..d.len() - 2].to_vec()),
        ),
        missing("the trial, its kernel missing", named(id(None)), "new"),
        missing("the trial, the default missing", named(id(None)), "good"),
        State {
            on_trial: false,
            ..state("a trial that is over", named(id(None)))
        },
    ]
}

#[test]
fn systemd_boot_does_as_the_rule_says() {
    let files = [PROGRAM, CODE, VARIABLES, GRUB];
    if !have(&PROGRAMS, &files) {
        return;
    }
    let states = states();
    let (some, others) = states.split_at(states.len() / 2);
    std::thread::scope(|scope| {
        scope.spawn(|| some.iter().for_each(agrees));
        others.iter().for_each(agrees);
    });
}
