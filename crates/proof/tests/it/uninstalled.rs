//! A host that has nothing of backstop's but the program itself.

use proof::{Actor, Stage};
use testbed::nixos::{HostOptions, Toplevel};

/// Where backstop leaves units for the time of a trial.
const UNITS: &str = "ls /etc/systemd/system.control/*.service 2>/dev/null | wc -l";

fn bare(stage: &Stage, name: &str) -> (Actor, String) {
    let options = HostOptions {
        system: Some(stage.build(&Toplevel::new("bare")).unwrap()),
        ..HostOptions::default()
    };
    let host = stage.actor_with(name, options).unwrap();
    let version = stage.bring_version(&Toplevel::new("2"), &host).unwrap();
    (host, version)
}

#[test]
fn a_power_cut_in_the_window_is_settled_at_boot() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let (host, version) = bare(&stage, "unplugged");
    let (code, said) = host.tries(&format!(
        "backstop switch {version} --live --confirm-within 10m --detach"
    ));
    assert_eq!(code, Some(0), "{said}");
    host.wait_until("a healthy trial", || {
        host.status()["under_way"]["phase"]["healthy"] == true
    });
    assert_eq!(host.tries(UNITS).1.trim(), "2", "{}", host.testimony());
    host.power_off();
    host.power_on().unwrap();
    host.wait_for_boot(2).unwrap();
    let ending = host.wait_for_ending(1);
    assert_eq!(
        (ending.end.as_str(), ending.why.as_str()),
        ("rolled-back", "rebooted"),
        "{}",
        host.testimony()
    );
    host.assert_back();
    host.wait_until("the units to be gone", || host.tries(UNITS).1.trim() == "0");
}

#[test]
fn a_boot_trial_is_checked_and_kept() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let (host, version) = bare(&stage, "booted");
    let (code, said) = host.tries(&format!("backstop switch {version} --boot"));
    assert_eq!(code, Some(0), "{said}");
    host.wait_for_boot(2).unwrap();
    let ending = host.wait_for_ending(1);
    assert_eq!(ending.end, "kept", "{}", host.testimony());
    host.assert_kept(&version);
    host.wait_until("the units to be gone", || host.tries(UNITS).1.trim() == "0");
}
