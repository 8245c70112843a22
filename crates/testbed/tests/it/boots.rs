//! Hosts that boot: in a container, and as machines with BIOS and UEFI.

use std::path::Path;
use std::time::Duration;

use monitor::Silent;
use testbed::machine::DirectKernel;
use testbed::versions::Recipe;
use testbed::{Container, Firmware, Fixture, Machine, Release, fixture, packages};

use crate::support;

const LIMIT: Duration = Duration::from_secs(180);

fn new(dir: &Path) -> Fixture {
    let binary = fixture::binary().unwrap();
    Fixture::new(&support::cache(), &dir.join("fixture"), &binary, &Silent).unwrap()
}

#[test]
fn a_container_boots_what_the_sysroot_says() {
    if !support::able(&[packages::ROOT, packages::CONTAINER]) {
        return;
    }
    let _one = support::one_at_a_time();
    let tmp = fixture::work_dir().unwrap();
    let fixture = new(tmp.path());
    let sysroot = fixture.sysroot(fixture::BRANCH, "host", &Silent).unwrap();
    let log = tmp.path().join("console.log");
    let mut container = fixture.boot_container(&sysroot, &log).unwrap();
    container.wait_ready(LIMIT).unwrap();
    let cmdline = container.run("cat /proc/cmdline").unwrap();
    assert!(cmdline.contains("ostree=/ostree/boot."), "{cmdline}");
    container.run("test -e /run/ostree-booted").unwrap();
    let touch = container.output("touch /usr/x").unwrap();
    assert!(!touch.status.success(), "/usr is read-only");
    let cycles = "journalctl -b | grep -c 'ordering cycle' || true";
    assert_eq!(container.run(cycles).unwrap(), "0\n");
    let units = "cd /usr/lib/systemd/system && systemd-analyze verify backstop-* boot.mount 2>&1";
    assert_eq!(container.run(units).unwrap(), "");
    container.run("echo kept >/var/kept").unwrap();
    assert!(sysroot.join("ostree/deploy/debian/var/kept").exists());
    container.run("systemctl --no-block reboot").unwrap();
    assert_eq!(container.wait_end(LIMIT).unwrap(), testbed::End::Reboot);
    let mut container = fixture.boot_container(&sysroot, &log).unwrap();
    container.wait_ready(LIMIT).unwrap();
    container.run("systemctl --no-block poweroff").unwrap();
    assert_eq!(container.wait_end(LIMIT).unwrap(), testbed::End::PowerOff);

    // One that is dropped leaves nothing behind.
    let container = fixture.boot_container(&sysroot, &log).unwrap();
    container.wait_ready(LIMIT).unwrap();
    let name = container.name().to_owned();
    drop(container);
    for hierarchy in ["", "systemd", "unified"] {
        let group = Path::new("/sys/fs/cgroup").join(hierarchy).join(&name);
        assert!(!group.exists(), "{} is left", group.display());
    }
}

#[test]
fn a_trial_that_is_stuck_before_it_is_settled_is_rebooted() {
    if !support::able(&[packages::ROOT, packages::CONTAINER]) {
        return;
    }
    let _one = support::one_at_a_time();
    let tmp = fixture::work_dir().unwrap();
    // A backstop that never settles anything.
    let binary = tmp.path().join("backstop");
    std::fs::write(&binary, "#!/bin/sh\nexec sleep infinity\n").unwrap();
    let dir = tmp.path().join("fixture");
    let fixture = Fixture::new(&support::cache(), &dir, &binary, &Silent).unwrap();
    let timer = "usr/lib/systemd/system/backstop-deadline.timer.d";
    let timer = fixture.tree(1).join(timer);
    std::fs::create_dir_all(&timer).unwrap();
    let sooner = "[Timer]\nOnActiveSec=\nOnActiveSec=2s\n";
    std::fs::write(timer.join("sooner.conf"), sooner).unwrap();
    fixture.add(2, Recipe::Good, "v2", &Silent).unwrap();
    let sysroot = fixture.sysroot("v2", "host", &Silent).unwrap();
    let log = tmp.path().join("console.log");
    let mut boot = fixture.next_boot(&sysroot, &log).unwrap();
    boot.cmdline
        .push_str(" backstop.trial=00112233445566778899aabbccddeeff");
    let mut container = Container::boot(&boot).unwrap();
    assert_eq!(container.wait_end(LIMIT).unwrap(), testbed::End::Reboot);
    let said = container.console().find("the boot of this trial is stuck");
    assert!(said.is_some(), "{}", container.console().tail());
}

#[test]
fn one_image_boots_with_both_firmwares() {
    let needs = [packages::ROOT, packages::DISK, packages::MACHINE];
    if !support::able(&needs) {
        return;
    }
    let _one = support::one_at_a_time();
    let tmp = fixture::work_dir().unwrap();
    let fixture = new(tmp.path());
    fixture.add(2, Recipe::Good, "v2", &Silent).unwrap();
    let image = fixture.image(fixture::BRANCH, "disk.img", &Silent).unwrap();
    let mut options = fixture.machine(&image, Firmware::Bios).unwrap();
    options
        .more_disks
        .push(fixture.repo_disk("repo.img").unwrap());
    let mut machine = Machine::boot(options).unwrap();
    machine.wait_ready(LIMIT).unwrap();
    is_deployed(&machine);
    let refs = "mount -o ro LABEL=repo /mnt && ls /mnt/refs/heads";
    assert!(machine.run(refs).unwrap().contains("v2"));

    // A reboot is followed by a boot from the same disk.
    machine
        .run("echo kept >/var/kept; systemctl reboot")
        .unwrap();
    let again = |m: &mut Machine| Ok((m.boots() == 2 && m.ssh().answers()).then_some(()));
    machine.run_until("the second boot", LIMIT, again).unwrap();
    assert_eq!(machine.run("cat /var/kept").unwrap(), "kept\n");
    machine.run("systemctl poweroff").unwrap();
    assert_eq!(machine.wait_end(LIMIT).unwrap(), testbed::End::PowerOff);

    let options = fixture.machine(&image, Firmware::Efi).unwrap();
    let machine = Machine::boot(options).unwrap();
    machine.wait_ready(LIMIT).unwrap();
    machine.run("test -d /sys/firmware/efi").unwrap();
    is_deployed(&machine);
}

#[test]
fn another_release_boots_too() {
    let needs = [packages::ROOT, packages::DISK, packages::MACHINE];
    if !testing::all_releases() || !support::able(&needs) {
        return;
    }
    let _one = support::one_at_a_time();
    let tmp = fixture::work_dir().unwrap();
    let fixture = new(tmp.path());
    fixture
        .add_release(2, Release::Trixie, "v2", &Silent)
        .unwrap();
    fixture.add_to(2, 3, Recipe::Good, "v3", &Silent).unwrap();
    let image = fixture.image("v3", "disk.img", &Silent).unwrap();
    let options = fixture.machine(&image, Firmware::Efi).unwrap();
    let machine = Machine::boot(options).unwrap();
    machine.wait_ready(LIMIT).unwrap();
    is_deployed(&machine);
    let says = machine.run("cat /etc/debian_version /usr/lib/testbed-version; uname -r");
    let says = says.unwrap();
    let lines: Vec<&str> = says.lines().collect();
    assert!(lines[0].starts_with("13."), "{says}");
    assert_eq!(lines[1], "3", "{says}");
    assert!(lines[2].starts_with("6.12."), "{says}");
}

#[test]
fn a_trial_without_its_deployment_is_rebooted_by_the_initramfs() {
    let needs = [packages::ROOT, packages::DISK, packages::MACHINE];
    if !support::able(&needs) {
        return;
    }
    let _one = support::one_at_a_time();
    let tmp = fixture::work_dir().unwrap();
    let fixture = new(tmp.path());
    let image = fixture.image(fixture::BRANCH, "disk.img", &Silent).unwrap();
    let kernel = fixture.kernel().unwrap();
    let mut options = fixture.machine(&image, Firmware::Bios).unwrap();
    options.direct = Some(DirectKernel {
        kernel: kernel.join("vmlinuz"),
        initrd: kernel.join("initramfs.img"),
        cmdline: "console=ttyS0 quiet root=LABEL=root ostree=/ostree/none backstop.trial=00".into(),
    });
    let mut machine = Machine::boot(options).unwrap();
    let said = "backstop: there is no deployment at /ostree/none";
    machine.console().wait_for(said, LIMIT).unwrap();
    assert_eq!(machine.wait_end(LIMIT).unwrap(), testbed::End::Reboot);
}

/// The running system is a deployment, mounted as one.
fn is_deployed(machine: &Machine) {
    let root = machine.run("findmnt -no SOURCE /").unwrap();
    assert!(root.contains("[/ostree/deploy/debian/deploy/"), "{root}");
    let usr = machine.run("findmnt -no OPTIONS /usr").unwrap();
    assert!(usr.starts_with("ro,"), "{usr}");
    let var = machine.run("findmnt -no SOURCE /var").unwrap();
    assert!(var.contains("[/ostree/deploy/debian/var]"), "{var}");
    machine
        .run("test -e /run/ostree-booted && test -d /sysroot/ostree/repo")
        .unwrap();
    let sector = "stat -c %s /sysroot/boot/efi/backstop/state";
    assert_eq!(machine.run(sector).unwrap(), "512\n");
    let state = machine.run("systemctl is-system-running --wait || systemctl --failed");
    assert_eq!(state.unwrap(), "running\n");
    machine
        .run("systemctl is-active boot-complete.target")
        .unwrap();
    machine
        .run("test -s /boot/loader/backstop.cfg && dpkg-query -W systemd")
        .unwrap();
}
