//! Boot trials, by an entry that systemd-boot starts once: the default stays, and is
//! what every start but that one leads to.

use proof::{Actor, Stage, installed};
use testbed::nixos::{Fault, Toplevel};

/// As the firmware keeps it.
const ONCE: &str = "firmware/efi/efivars/LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// The boot never gets as far as to be checked.
const STUCK: &str = "[Unit]
Description=Never ends
DefaultDependencies=no
Conflicts=shutdown.target
Before=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sleep 1000
TimeoutStartSec=infinity
TimeoutStopSec=1
";

/// Asks for the trial; whoever waits would be cut off by the reboot.
fn begin(stage: &Stage, name: &str, version: &Toplevel, options: &str) -> (Actor, String) {
    let host = stage.actor(name).unwrap();
    let version = stage.bring_version(version, &host).unwrap();
    let (_, said) = host.tries(&format!(
        "backstop switch {version} --boot --detach {options}"
    ));
    host.wait_until(&format!("the reboot, after: {said}"), || host.boots() >= 2);
    (host, version)
}

/// It ran once, and the host is back on its default.
fn back(host: &Actor, reasons: &[&str]) {
    host.wait_for_boot(3).unwrap();
    let ending = host.wait_for_ending(1);
    assert_eq!(
        ending.end,
        "rolled-back",
        "{ending:?}\n{}",
        host.testimony()
    );
    assert!(reasons.contains(&ending.why.as_str()), "{ending:?}");
    host.assert_back();
    assert_eq!(host.boots(), 3, "{}", host.testimony());
    assert!(!host.root().join(ONCE).exists());
    assert_eq!(host.profile().as_deref(), Some(host.first_version()));
}

#[test]
fn a_boot_trial_that_fails_leads_back() {
    let Some(stage) = crate::stage() else {
        return;
    };
    crate::together(&[
        &|| {
            let sick = installed("sick").with(Fault::UnitFails);
            let (host, _) = begin(&stage, "boot-sick", &sick, "");
            back(&host, &["checks-failed"]);
        },
        &|| {
            let stuck = installed("stuck").unit("stuck.service", STUCK);
            let (host, _) = begin(&stage, "boot-stuck", &stuck, "--boot-deadline 10s");
            back(&host, &["deadline"]);
        },
    ]);
    crate::together(&[
        &|| {
            let (host, _) = begin(
                &stage,
                "boot-silent",
                &installed("2"),
                "--confirm-within 3s",
            );
            back(&host, &["deadline"]);
        },
        &|| {
            let stuck = installed("stuck").unit("stuck.service", STUCK);
            let (host, version) = begin(&stage, "boot-dark", &stuck, "--boot-deadline 10m");
            host.wait_until("the boot", || host.active().is_ok_and(|a| a == version));
            // The entry to boot once is forgotten already.
            assert!(!host.root().join(ONCE).exists());
            assert_eq!(host.default().unwrap(), host.first_version());
            host.power_off();
            host.power_on().unwrap();
            back(&host, &["attempts-used-up"]);
        },
    ]);
}

#[test]
fn a_boot_trial_that_does_well_is_kept() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let (host, version) = begin(&stage, "boot-well", &installed("2"), "--confirm-within 2m");
    host.wait_for_boot(2).unwrap();
    host.wait_until("a healthy boot", || {
        host.status()["under_way"]["phase"]["healthy"] == true
    });
    assert_eq!(host.active().unwrap(), version);
    assert_eq!(host.default().unwrap(), host.first_version(), "P2");
    let (code, said) = host.tries("backstop confirm");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(host.wait_for_ending(1).end, "kept");
    host.assert_kept(&version);
    assert_eq!(host.generations().len(), 2);
    host.run("systemctl reboot").unwrap();
    host.wait_for_boot(3).unwrap();
    host.assert_kept(&version);
}
