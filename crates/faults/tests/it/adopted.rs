//! A machine that `ostree admin` made, taken over while it runs.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use faults::Disk;
use provision::disk::{DEFAULT_IMAGE_SIZE, Layout};
use sysroot::Loader;
use testbed::versions::Recipe;
use testbed::{Firmware, Fixture, Machine, fixture, packages, program};

const LIMIT: Duration = Duration::from_secs(900);
const UUID: &str = "b0b5cf62-8ad6-4ac5-a6a4-1f6d3fe0b7bb";
/// Stands for `grub-mkconfig`, which can only configure a running system: the first boot
/// entry as GRUB's commands.
const GENERATOR: &str = r#"#!/bin/sh
set -eu
dir=$(dirname "$2")
first=$dir/entries/$(ls -r "$dir/entries" | head -n 1)
value() { sed -n "s/^$1 //p" "$first"; }
cat > "$2" <<END
serial --unit=0 --speed=115200
terminal_output serial
echo 'by the configuration of ostree'
linux /boot$(value linux) $(value options)
initrd /boot$(value initrd)
boot
END
"#;
/// What Debian puts beside GRUB on the EFI system partition.
const STUB: &str = "search --no-floppy --fs-uuid --set=root UUID
set prefix=($root)'/boot/grub'
configfile $prefix/grub.cfg
";

fn ostree(args: &[&str], dir: &Path, generator: &Path) -> String {
    let dir = dir.to_str().unwrap();
    let args = args.iter().map(|a| a.replace("ROOT", dir));
    let mut ostree = Command::new("ostree");
    ostree.args(args).env("OSTREE_GRUB2_EXEC", generator);
    program::run(&mut ostree).unwrap()
}

/// The root of a host as `ostree admin` makes it of the fixture's first version.
fn sysroot(fixture: &Fixture, dir: &Path) -> PathBuf {
    let generator = dir.join("generator");
    std::fs::write(&generator, GENERATOR).unwrap();
    program::run(Command::new("chmod").arg("+x").arg(&generator)).unwrap();
    let root = dir.join("by-ostree");
    std::fs::create_dir(&root).unwrap();
    let run = |args: &[&str]| ostree(args, &root, &generator);
    run(&["admin", "init-fs", "ROOT"]);
    run(&["admin", "os-init", "--sysroot=ROOT", fixture::STATEROOT]);
    let from = fixture.repo().path().to_str().unwrap();
    run(&[
        "pull-local",
        "--repo=ROOT/ostree/repo",
        from,
        fixture::BRANCH,
    ]);
    let grub = root.join("boot/grub");
    std::fs::create_dir_all(&grub).unwrap();
    std::fs::write(grub.join("grub.cfg"), "").unwrap();
    let uuid = format!("--karg=root=UUID={UUID}");
    run(&[
        "admin",
        "deploy",
        "--sysroot=ROOT",
        "--os=debian",
        &uuid,
        "--karg=rw",
        "--karg=console=ttyS0",
        "--karg=systemd.gpt_auto=0",
        "--karg=no_timer_check",
        fixture::BRANCH,
    ]);
    std::fs::remove_file(grub.join("grub.cfg")).unwrap();
    symlink("../loader/grub.cfg", grub.join("grub.cfg")).unwrap();
    root
}

/// A disk of that host: GRUB is on it as `backstop install` puts it there, and goes by
/// the configuration in `/boot/grub`.
fn image(fixture: &Fixture, dir: &Path) -> PathBuf {
    let image = fixture
        .image(fixture::BRANCH, "adopted.img", &monitor::Silent)
        .unwrap();
    let root = sysroot(fixture, dir);
    let layout = Layout::for_size(DEFAULT_IMAGE_SIZE, Loader::Grub).unwrap();
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args([
        "-q",
        "-F",
        "-U",
        UUID,
        "-O",
        "^metadata_csum_seed,^orphan_file",
    ])
    .args([
        "-E",
        &format!("offset={},nodiscard", layout.root.start),
        "-d",
    ])
    .args([&root, &image])
    .arg(format!("{}k", layout.root.size / 1024));
    program::run(&mut mkfs).unwrap();
    durable::remove_tree(&durable::RealFs, &root).unwrap();
    let disk = Disk::open(&image, Loader::Grub, dir).unwrap();
    let stub = STUB.replace("UUID", UUID);
    disk.write_esp("/grub/grub.cfg", stub.as_bytes()).unwrap();
    image
}

/// The kernel's arguments, without the link to the deployment.
fn kargs(machine: &Machine) -> Vec<String> {
    let cmdline = machine.run("cat /proc/cmdline").unwrap();
    let words = cmdline.split_whitespace().map(str::to_owned);
    words
        .filter(|w| !w.starts_with("ostree=") && !w.starts_with("BOOT_IMAGE="))
        .collect()
}

fn booted_by(machine: &Machine, what: &str) {
    let found = machine.console().find(what);
    assert!(
        found.is_some(),
        "not booted by {what}:\n{}",
        machine.console().tail()
    );
}

fn reboot(machine: &mut Machine) {
    // The connection may be cut before the answer.
    let _ = machine.run("systemctl reboot --no-block");
    machine.wait_end(LIMIT).unwrap();
    machine.boot_again().unwrap();
    machine.wait_ready(LIMIT).unwrap();
}

#[test]
fn a_machine_of_ostree_is_taken_over_and_upgraded() {
    let needs = [
        packages::ROOT,
        packages::DISK,
        packages::MACHINE,
        packages::DAMAGE,
        packages::CONFORMANCE,
    ];
    let mut lacks = packages::missing(&needs);
    if !packages::is_root() {
        lacks.push("root");
    }
    if !testing::nothing_lacks(&lacks) {
        return;
    }
    let dir = fixture::work_dir().unwrap();
    let binary = fixture::binary().unwrap();
    let cache = testbed::cache::Cache::from_env();
    let at = dir.path().join("fixture");
    let fixture = Fixture::new(&cache, &at, &binary, &monitor::Silent).unwrap();
    fixture
        .add(2, Recipe::Good, "v2", &monitor::Silent)
        .unwrap();
    let image = image(&fixture, dir.path());
    let mut options = fixture.machine(&image, Firmware::Bios).unwrap();
    options
        .more_disks
        .push(fixture.repo_disk("releases.img").unwrap());
    let mut machine = Machine::boot(options).unwrap();
    machine.wait_ready(LIMIT).unwrap();
    booted_by(&machine, "by the configuration of ostree");
    let before = kargs(&machine);

    let plan = machine.run("backstop adopt --dry-run").unwrap();
    assert!(plan.contains("state sector /boot/backstop/state"), "{plan}");
    assert!(!plan.contains("backstop's units"), "{plan}");
    machine.run("backstop adopt --serial 115200").unwrap();
    reboot(&mut machine);
    booted_by(&machine, "backstop: booting debian-");
    assert_eq!(kargs(&machine), before);
    assert_eq!(
        machine.run("cat /usr/lib/testbed-version").unwrap().trim(),
        "1"
    );

    machine.run("mount -o ro LABEL=repo /mnt").unwrap();
    machine
        .run("backstop switch /mnt:v2 --boot --no-reboot --attempts 2")
        .unwrap();
    // What is edited until the shutdown is in the version that boots then.
    machine.run("echo 'a late note' >/etc/motd").unwrap();
    reboot(&mut machine);
    booted_by(&machine, "backstop: attempt counted, 1 left");
    let end = machine
        .run_until("the end of the trial", LIMIT, |machine| {
            let text = machine
                .run("backstop --json history -n 1")
                .unwrap_or_default();
            let last: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            Ok(last["outcome"]["end"].as_str().map(str::to_owned))
        })
        .unwrap();
    assert_eq!(end, "kept");
    assert_eq!(
        machine.run("cat /usr/lib/testbed-version").unwrap().trim(),
        "2"
    );
    assert_eq!(machine.run("cat /etc/motd").unwrap().trim(), "a late note");
    let attributes = machine.run("lsattr -d /").unwrap();
    assert!(attributes.contains('i'), "it was left open: {attributes}");
    published_by_nobody(&mut machine);
}

/// What `ostree` leaves at shutdown has no script: GRUB goes by its configuration, and
/// the next boot publishes it.
fn published_by_nobody(machine: &mut Machine) {
    machine
        .run(
            "systemctl stop backstop-republish.path && cd /boot/loader && \
             rm backstop.* && cat entries/* > /tmp/entry && \
             value() { sed -n \"s/^$1 //p\" /tmp/entry | head -n 1; } && \
             printf 'serial\\nterminal_output serial\\necho by ostree again\\n\
             linux /boot%s %s\\ninitrd /boot%s\\nboot\\n' \
             \"$(value linux)\" \"$(value options)\" \"$(value initrd)\" > grub.cfg && \
             rm -rf /boot/loader.$((1 - $(readlink /boot/loader | cut -d. -f2))) && sync",
        )
        .unwrap();
    reboot(machine);
    booted_by(machine, "by ostree again");
    let published = machine
        .run_until("the publication", LIMIT, |machine| {
            Ok(machine.run("test -s /boot/loader/backstop.cfg").ok())
        })
        .is_ok();
    assert!(published);
    reboot(machine);
    booted_by(machine, "backstop: booting debian-");
}
