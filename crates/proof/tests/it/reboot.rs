//! A reboot or a power cut in the window: boots the old version, and says why.

use proof::{Actor, Stage, installed};
use testbed::nixos::{Fault, Within};

fn back_after(host: &Actor, generations: usize) {
    host.wait_for_boot(2).unwrap();
    let ending = host.wait_for_ending(1);
    assert_eq!(ending.end, "rolled-back", "{ending:?}");
    assert!(
        ["rebooted", "interrupted"].contains(&ending.why.as_str()),
        "{ending:?}"
    );
    host.assert_back();
    assert_eq!(host.generations().len(), generations);
    assert_eq!(host.boots(), 2, "{}", host.testimony());
}

fn on_trial(stage: &Stage, name: &str) -> Actor {
    let host = stage.actor(name).unwrap();
    let version = stage.bring_version(&installed("2"), &host).unwrap();
    let (code, said) = host.tries(&format!(
        "backstop switch {version} --live --confirm-within 10m --detach"
    ));
    assert_eq!(code, Some(0), "{said}");
    host.wait_until("a healthy trial", || {
        host.status()["under_way"]["phase"]["healthy"] == true
    });
    assert_eq!(host.active().unwrap(), version);
    host
}

#[test]
fn a_reboot_or_power_cut_in_the_window() {
    let Some(stage) = crate::stage() else {
        return;
    };
    crate::together(&[
        &|| {
            let host = on_trial(&stage, "rebooted");
            host.run("systemctl reboot").unwrap();
            back_after(&host, 1);
        },
        &|| {
            let host = on_trial(&stage, "cutoff");
            host.power_off();
            host.power_on().unwrap();
            back_after(&host, 1);
        },
    ]);
}

#[test]
fn a_power_cut_in_the_middle_of_the_activation() {
    let Some(stage) = crate::stage() else {
        return;
    };
    for (name, within) in [("midway", Within::Activate), ("nearly", Within::Units)] {
        let host = stage.actor(name).unwrap();
        let version = installed(name).with(Fault::Hangs(within));
        let version = stage.bring_version(&version, &host).unwrap();
        let (code, said) = host.tries(&format!("backstop switch {version} --live --detach"));
        assert_eq!(code, Some(0), "{said}");
        host.wait_until("the activation to hang", || {
            host.tries("pgrep -x sleep").0 == Some(0)
        });
        host.power_off();
        host.power_on().unwrap();
        back_after(&host, 1);
    }
}
