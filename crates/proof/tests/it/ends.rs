//! Activation hangs; the lock is held by another; a unit fails; only a reboot leads
//! there; a live switch is refused: as documented, never a half state.

use proof::{Actor, Stage, installed};
use testbed::nixos::{Fault, HostOptions, Within};

/// Exit codes as `backstop help` documents them.
const STAGED: i32 = 7;
const BUSY: i32 = 8;
const NEEDS_REBOOT: i32 = 9;
const GAVE_UP: i32 = 21;
const SCRIPT: i32 = 22;
const UNITS: i32 = 24;
const HUNG: i32 = 25;
const REJECTED: i32 = 3;

fn tried(stage: &Stage, name: &str, faults: &[Fault], options: &str) -> (Actor, i32, String) {
    let host = stage.actor(name).unwrap();
    let version = faults
        .iter()
        .cloned()
        .fold(installed(name), |v, f| v.with(f));
    let version = stage.bring_version(&version, &host).unwrap();
    let (code, said) = host.tries(&format!("backstop switch {version} --live {options}"));
    println!("{name}: {code:?}\n{said}");
    (host, code.unwrap(), version)
}

/// It ends with this code, and the host is as before.
fn ended(stage: &Stage, name: &str, faults: &[Fault], options: &str, expected: i32) -> Actor {
    let (host, code, _) = tried(stage, name, faults, options);
    assert_eq!(code, expected, "{name}\n{}", host.testimony());
    assert!(["rolled-back", "rejected"].contains(&host.wait_for_ending(1).end.as_str()));
    host.assert_back();
    assert_eq!(host.boots(), 1, "{name}");
    let lists = "cat /run/nixos/start-list /run/nixos/restart-list 2>/dev/null";
    assert_eq!(
        host.tries(lists).1,
        "",
        "{name}: nothing is left to be done"
    );
    host
}

/// How often the failed units were looked for until they counted.
fn looks_at_units(host: &Actor) -> u64 {
    let (_, journal) = host.tries("backstop --json follow 1");
    let records = journal.lines().filter_map(|l| serde_json::from_str(l).ok());
    let results = records.flat_map(|record: serde_json::Value| {
        let results = record["report"]["results"].as_array();
        results.cloned().unwrap_or_default()
    });
    let of_units = |r: &serde_json::Value| r["name"] == "failed-units" && r["verdict"] == "counts";
    let mut tries = results.filter(of_units).filter_map(|r| r["tries"].as_u64());
    tries
        .next()
        .unwrap_or_else(|| panic!("no such check: {journal}"))
}

#[test]
fn activations_that_go_wrong() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let (wait, short) = ("--wait", "--wait --check-deadline 8s");
    let ends = |name, fault, options, code| drop(ended(&stage, name, &[fault], options, code));
    // Nothing is about to start it: its service is away for no longer than it must be.
    let fails = || {
        let host = ended(&stage, "unit", &[Fault::UnitFails], wait, UNITS);
        assert!(looks_at_units(&host) <= 2, "{}", host.testimony());
    };
    crate::together(&[
        &|| ends("hangs-early", Fault::Hangs(Within::Activate), short, HUNG),
        &|| ends("hangs-late", Fault::Hangs(Within::Units), short, HUNG),
        &fails,
        &|| ends("script", Fault::ActivateFails, wait, SCRIPT),
    ]);
    crate::together(&[
        &|| ends("check", Fault::CheckFails, wait, REJECTED),
        &|| ends("odd", Fault::Ends("test", 1), wait, GAVE_UP),
        &|| {
            ends(
                "reboots",
                Fault::InitChanged,
                "--wait --if-refused reject",
                NEEDS_REBOOT,
            )
        },
    ]);
}

#[test]
fn a_lock_that_another_holds() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let patient = installed("1").etc("backstop/nix.toml", "lock_wait = \"2s\"\n");
    let options = HostOptions {
        system: Some(stage.build(&patient).unwrap()),
        ..HostOptions::default()
    };
    let host = stage.actor_with("busy", options).unwrap();
    let version = stage.bring_version(&installed("2"), &host).unwrap();
    host.run("mkdir -p /run/nixos; systemd-run --quiet --collect --unit=holder flock /run/nixos/switch-to-configuration.lock sleep 1000")
        .unwrap();
    host.wait_until("the lock to be held", || {
        host.tries("flock -n /run/nixos/switch-to-configuration.lock true")
            .0
            == Some(1)
    });
    let (code, said) = host.tries(&format!("backstop switch {version} --live --wait"));
    assert_eq!(code, Some(BUSY), "{said}\n{}", host.testimony());
    host.assert_back();
    host.run("systemctl stop holder").unwrap();
    let (code, said) = host.tries(&format!("backstop switch {version} --live --wait"));
    assert_eq!(code, Some(0), "{said}\n{}", host.testimony());
    host.assert_kept(&version);
}

#[test]
fn a_live_switch_that_is_refused_is_staged_for_boot() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let (host, code, version) = tried(
        &stage,
        "critical",
        &[Fault::CriticalChange],
        "--if-refused stage",
    );
    assert_eq!(code, STAGED, "{}", host.testimony());
    assert_eq!(host.active().unwrap(), host.first_version());
    assert_eq!(host.default().unwrap(), host.first_version(), "P2");
    host.run("systemctl reboot").unwrap();
    host.wait_for_boot(2).unwrap();
    let ending = host.wait_for_ending(1);
    assert_eq!(ending.end, "kept", "{ending:?}\n{}", host.testimony());
    host.assert_kept(&version);
}
