//! Rows on real machines that GRUB boots, by a BIOS, with a menu as NixOS writes it.

use testbed::nixos::{BootLoader, Fault, Toplevel};

use crate::machine::{
    STUCK, Story, UNHURRIED, a_power_cut_in_a_boot_trial, a_power_cut_in_the_window,
    a_reboot_in_the_window, all_rows, back_by_the_loader, boots_once, sound, stage,
};

/// Its versions know nothing of backstop, which looks after the trials' boots itself.
#[test]
fn boot_trials_by_grub() {
    let Some(stage) = stage() else {
        return;
    };
    let mut story = Story::begin(&stage, "nickel", BootLoader::Grub, &Toplevel::new("1"));
    a_kernel_panics(&mut story);
    if all_rows() {
        kept(&mut story, Toplevel::new("2").specialised());
        a_power_cut_in_a_boot_trial(&mut story);
        a_check_fails(&mut story);
        the_start_is_stuck(&mut story);
        the_initramfs_hangs(&mut story);
        an_older_generation(&mut story);
    }
}

#[test]
fn live_trials_by_grub() {
    // The boot trials show each time that GRUB starts such a machine.
    if !all_rows() {
        return;
    }
    let Some(stage) = stage() else {
        return;
    };
    let mut story = Story::begin(&stage, "zinc", BootLoader::Grub, &sound("1"));
    let boots = story.machine.boots();
    story.keeps(UNHURRIED, sound("2"));
    assert_eq!(story.machine.boots(), boots);
    story.done("all well: kept");
    a_reboot_in_the_window(&mut story);
    a_power_cut_in_the_window(&mut story);
    a_generation_chosen_by_hand(&mut story);
    a_container_first(&mut story);
}

fn a_kernel_panics(story: &mut Story<'_>) {
    let boots = story.machine.boots();
    boots_once(story, Toplevel::new("panics").with(Fault::Panics), "");
    let row = "a boot trial, a kernel panic: back";
    back_by_the_loader(story, boots, &["attempts-used-up"], row);
}

fn kept(story: &mut Story<'_>, version: Toplevel) {
    let boots = story.machine.boots();
    story.keeps(&format!("{UNHURRIED}trial = \"boot\"\n"), version);
    assert_eq!(story.machine.boots(), boots + 1);
    assert!(!story.machine.boots_something_once().unwrap());
    story.done("a boot trial: kept");
}

fn a_check_fails(story: &mut Story<'_>) {
    let boots = story.machine.boots();
    let version = Toplevel::new("unwell").with(Fault::UnitFails);
    boots_once(story, version, "");
    let row = "a boot trial, a unit fails: back";
    back_by_the_loader(story, boots, &["checks-failed"], row);
}

/// Its systemd runs, and so does the timer that ends the trial.
fn the_start_is_stuck(story: &mut Story<'_>) {
    let boots = story.machine.boots();
    let stuck = Toplevel::new("waits").unit("stuck.service", STUCK);
    boots_once(story, stuck, "--boot-deadline 60s");
    let row = "a boot trial, a unit that never ends: back by itself";
    back_by_the_loader(story, boots, &["deadline"], row);
}

/// Nothing of backstop runs then: somebody has to switch it off and on.
fn the_initramfs_hangs(story: &mut Story<'_>) {
    let boots = story.machine.boots();
    let hangs = Toplevel::new("hangs").with(Fault::InitramfsHangs);
    boots_once(story, hangs, "");
    let machine = &story.machine;
    machine.wait_until("the initramfs", || machine.showed("TESTBED-HANGS"));
    machine.power_off();
    machine.power_on().unwrap();
    let row = "a boot trial, the initramfs hangs, a power cut: back";
    back_by_the_loader(story, boots, &["attempts-used-up"], row);
}

/// GRUB finds the entry among many: it is not the first of its submenu, and in one
/// of its own.
fn an_older_generation(story: &mut Story<'_>) {
    let older = story.good.clone();
    kept(story, Toplevel::new("3"));
    let boots = story.machine.boots();
    story.upgrades += 1;
    let (_, said) = story
        .machine
        .tries(&format!("backstop switch {older} --boot --detach"));
    story
        .machine
        .wait_until(&format!("the reboot, after: {said}"), || {
            story.machine.boots() > boots
        });
    assert_eq!(story.machine.wait_for_ending(story.upgrades).end, "kept");
    story.machine.assert_kept(&older);
    story.generations += 1;
    story.good = older;
    story.done("a boot trial of an older generation: kept");
}

/// With `boot.loader.grub.default = "saved"`, what somebody chose in the menu is the
/// default until a version is kept.
fn a_generation_chosen_by_hand(story: &mut Story<'_>) {
    story.keeps(UNHURRIED, sound("saves").saves_default());
    let first = story.machine.first().to_owned();
    choose(story, &first);
    let boots = story.machine.boots();
    story.machine.tries("systemctl reboot");
    story.machine.wait_for_boot(boots + 1).unwrap();
    assert_eq!(story.machine.active().unwrap(), first);
    story.keeps(UNHURRIED, sound("later").saves_default());
    story.machine.tries("systemctl reboot");
    story.machine.wait_for_boot(boots + 2).unwrap();
    let good = story.good.clone();
    story.machine.assert_kept(&good);
    story.done("a generation chosen by hand, then an upgrade: kept");
}

/// The host has cgroups of version 2, as those of today have.
fn a_container_first(story: &mut Story<'_>) {
    let told = "[container]\nstart = \"activation\"\nshows = [\"/usr\"]\n";
    let script = format!(
        "stat -f -c %T /sys/fs/cgroup; mkdir -p /etc/backstop; printf '%s' '{told}' >/etc/backstop/nix.toml"
    );
    assert_eq!(story.machine.run(&script).unwrap().trim(), "cgroup2fs");
    let bad = story.copy(sound("boxed").with(Fault::ActivateFails));
    story.upgrades += 1;
    let machine = &story.machine;
    let (code, said) = machine.tries(&format!("backstop switch {bad} --live --wait"));
    let ending = machine.wait_for_ending(story.upgrades);
    assert_eq!(ending.end, "rejected", "{said}\n{}", machine.testimony());
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("snippet `testbed` failed"), "{said}");
    machine.assert_back_on(&story.good);
    let left = "systemctl list-units --all --plain --no-legend 'backstop-preflight*'; pgrep -a nspawn; ls /var/lib/backstop/container";
    assert_eq!(machine.tries(left).1, "");
    story.done("a container first, its activation fails there: rejected");
    story.keeps(UNHURRIED, sound("unboxed"));
    story.done("a container first, all well: kept");
}

/// Does what GRUB does when somebody chooses the oldest generation in its menu.
fn choose(story: &Story<'_>, version: &str) {
    let script = format!(
        "set -e
title=$(sed -n 's/^menuentry \"\\(NixOS - Configuration 1 .*\\)\" .*/\\1/p' /boot/grub/grub.cfg)
grep -A 5 -F \"$title\" /boot/grub/grub.cfg | grep -q {version}/init
printf '# GRUB Environment Block\\nsaved_entry=NixOS - All configurations>%s\\n' \"$title\" >/root/block
head -c $((1024 - $(stat -c %s /root/block))) /dev/zero | tr '\\0' '#' >>/root/block
dd if=/root/block of=/boot/grub/grubenv conv=notrunc,fsync status=none"
    );
    story.machine.run(&script).unwrap();
}
