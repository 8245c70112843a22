//! Hosts that imitate NixOS: what they do must be what NixOS does.

use std::time::{Duration, Instant};

use testbed::nixos::{Fault, HostOptions, NixHost, Site, Toplevel, Within};
use testbed::{fixture, packages};

use crate::support;

const LIMIT: Duration = Duration::from_secs(60);

/// The page of a host's application, as the operator sees it.
fn page(site: &Site, host: &NixHost) -> String {
    site.page(host, "/version").unwrap().unwrap_or_default()
}

fn status(host: &NixHost, toplevel: &str, action: &str) -> i32 {
    let command = format!("{toplevel}/bin/switch-to-configuration {action}");
    host.output(&command).unwrap().status.code().unwrap()
}

#[test]
fn a_host_imitates_nixos() {
    if !support::able(&[packages::NIX, packages::CONTAINER]) {
        return;
    }
    let _one = support::one_at_a_time();
    let tmp = fixture::work_dir().unwrap();
    let started = Instant::now();
    let site = Site::new(tmp.path(), &std::env::current_exe().unwrap()).unwrap();
    println!("a site after {:.1} s", started.elapsed().as_secs_f64());
    let host = site.host("web", &HostOptions::default()).unwrap();
    println!("a host after {:.1} s", started.elapsed().as_secs_f64());
    it_is_reached_and_serves(&site, &host);
    exit_codes(&site, &host);
    versions_cut_the_way_to_it(&site, &host);
    it_boots_its_default(&site, &host);
    its_power_goes_all_at_once(&host);
}

fn it_is_reached_and_serves(site: &Site, host: &NixHost) {
    let said = site.ssh(host, "readlink /run/current-system").unwrap();
    assert!(said.status.success(), "{said:?}");
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), site.first());
    assert_eq!(page(site, host), "1");
    assert_eq!(host.generations(), [(1, site.first().to_owned())]);
    let failed = "systemctl list-units --failed --plain --no-legend";
    assert_eq!(host.run(failed).unwrap(), "");
    host.run("systemd-run --quiet --collect --unit=own touch /run/done && while [ ! -e /run/done ]; do sleep 0.1; done").unwrap();
    assert!(host.run("journalctl -u sshd").unwrap().contains("Accepted"));
}

fn exit_codes(site: &Site, host: &NixHost) {
    let table: &[(&[Fault], &str, i32)] = &[
        (&[], "nonsense", 1),
        (&[], "check", 0),
        (&[], "dry-activate", 0),
        (&[Fault::CheckFails], "check", 1),
        (&[Fault::CheckFails], "test", 1),
        (&[Fault::CriticalChange], "test", 1),
        (&[Fault::InitChanged], "test", 100),
        (&[Fault::Ends("test", 42)], "test", 42),
        (&[Fault::ActivateFails], "test", 2),
        (&[Fault::UnitFails], "test", 4),
        (&[Fault::ActivateFails, Fault::UnitFails], "test", 4),
        (&[], "test", 0),
    ];
    for (number, (faults, action, expected)) in table.iter().enumerate() {
        let version = Toplevel::new(&format!("code-{number}"));
        let version = faults.iter().cloned().fold(version, Toplevel::with);
        let path = site.build(&version).unwrap();
        site.bring(&path, host).unwrap();
        assert_eq!(
            status(host, &path, action),
            *expected,
            "{faults:?} {action}"
        );
        let active = matches!(expected, 0 | 2 | 4) && *action == "test";
        assert_eq!(host.active().unwrap() == path, active, "{faults:?}");
        // Neither the profile nor the boot loader is touched by any of these.
        assert_eq!(host.profile().as_deref(), Some(site.first()));
        assert_eq!(host.default().unwrap(), site.first());
        if active {
            assert_eq!(page(site, host), version.version());
            assert_eq!(status(host, site.first(), "test"), 0);
        }
    }
    the_lock_is_held_by_one_that_hangs(site, host);
}

fn the_lock_is_held_by_one_that_hangs(site: &Site, host: &NixHost) {
    let version = Toplevel::new("hangs").with(Fault::Hangs(Within::Activate));
    let path = site.build(&version).unwrap();
    site.bring(&path, host).unwrap();
    let start = "systemd-run --quiet --collect --unit=hangs";
    host.run(&format!("{start} {path}/bin/switch-to-configuration test"))
        .unwrap();
    until("the version to hang", || page(site, host).is_empty());
    assert_eq!(status(host, site.first(), "test"), 11);
    host.run("systemctl kill --signal=KILL hangs.service; while systemctl is-active -q hangs; do sleep 0.1; done")
        .unwrap();
    assert_eq!(host.active().unwrap(), site.first());
    // The interrupted run's list starts the application again.
    assert_eq!(status(host, site.first(), "test"), 0);
    until("the application", || page(site, host) == "1");
}

fn versions_cut_the_way_to_it(site: &Site, host: &NixHost) {
    for fault in [Fault::SshRefuses, Fault::SshFails, Fault::NetworkCut] {
        let version = Toplevel::new(&format!("{fault:?}")).with(fault.clone());
        let path = site.build(&version).unwrap();
        site.bring(&path, host).unwrap();
        let expected = if fault == Fault::SshFails { 4 } else { 0 };
        assert_eq!(status(host, &path, "test"), expected, "{fault:?}");
        let said = site.ssh(host, "true").unwrap();
        assert_eq!(said.status.code(), Some(255), "{fault:?}");
        assert_eq!(status(host, site.first(), "test"), 0);
        until("ssh", || site.ssh(host, "true").unwrap().status.success());
    }
}

fn it_boots_its_default(site: &Site, host: &NixHost) {
    let path = site.build(&Toplevel::new("2")).unwrap();
    site.bring(&path, host).unwrap();
    let set = format!("nix-env -p /nix/var/nix/profiles/system --set {path}");
    host.run(&set).unwrap();
    let ids = || host.run("cat /proc/sys/kernel/random/boot_id").unwrap();
    let id = ids();
    host.run("systemctl reboot").unwrap();
    host.wait_for_boot(2).unwrap();
    assert_eq!(host.active().unwrap(), site.first());
    assert_ne!(ids(), id);
    assert_eq!(status(host, &path, "boot"), 0);
    assert_eq!(host.default().unwrap(), path);
    host.power_off();
    host.power_on().unwrap();
    host.wait_for_boot(3).unwrap();
    assert_eq!(host.active().unwrap(), path);
    assert_eq!(page(site, host), "2");
    assert!(host.run("cat /proc/cmdline").unwrap().contains(&path));
    // For one boot it boots another one.
    host.run("bootctl set-oneshot nixos-generation-1.conf")
        .unwrap();
    let listed = host.run("bootctl list --json=short").unwrap();
    assert!(listed.contains(&format!("init={path}/init")), "{listed}");
    host.run("systemctl reboot").unwrap();
    host.wait_for_boot(4).unwrap();
    assert_eq!(host.active().unwrap(), site.first());
    host.run("systemctl reboot --force").unwrap();
    host.wait_for_boot(5).unwrap();
    assert_eq!(host.active().unwrap(), path);
    site.cable(host, false).unwrap();
    assert_eq!(site.ssh(host, "true").unwrap().status.code(), Some(255));
    site.cable(host, true).unwrap();
    until("ssh", || site.ssh(host, "true").unwrap().status.success());
}

/// Nothing on the host may live on without its PID 1, and write down what it saw.
fn its_power_goes_all_at_once(host: &NixHost) {
    let witness =
        "while systemctl is-active --quiet app; do :; done; echo lived on >/var/tmp/witness-$1";
    for _ in 0..4 {
        for n in 1..=4 {
            host.run(&format!(
                "systemd-run --quiet --collect /bin/sh -c '{witness}' sh {n}"
            ))
            .unwrap();
        }
        let boots = host.boots();
        host.power_off();
        for n in 1..=4 {
            let word = host.root().join(format!("var/tmp/witness-{n}"));
            assert!(!word.exists(), "a process outlived PID 1");
        }
        host.power_on().unwrap();
        host.wait_for_boot(boots + 1).unwrap();
    }
}

#[track_caller]
fn until(what: &str, reached: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !reached() {
        assert!(Instant::now() < end, "waited for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn many_hosts_are_made_quickly() {
    if !support::able(&[packages::NIX, packages::CONTAINER]) {
        return;
    }
    let _one = support::one_at_a_time();
    let tmp = fixture::work_dir().unwrap();
    let site = Site::new(tmp.path(), &std::env::current_exe().unwrap()).unwrap();
    let started = Instant::now();
    let names: Vec<String> = (1..=8).map(|n| format!("h{n}")).collect();
    let hosts = site.hosts(&names, &HostOptions::default()).unwrap();
    println!("8 hosts in {:.1} s", started.elapsed().as_secs_f64());
    for host in &hosts {
        assert_eq!(page(&site, host), "1", "{}", host.name());
    }
}
