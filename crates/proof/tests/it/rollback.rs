//! The rollback itself fails, or its result stays unhealthy: a reboot into the
//! default, and it is recorded (P7).

use proof::{Stage, installed};
use testbed::nixos::{Fault, HostOptions, Toplevel};

fn escalates(stage: &Stage, name: &str, first: &Toplevel, second: &Toplevel) {
    let options = HostOptions {
        system: Some(stage.build(first).unwrap()),
        ..HostOptions::default()
    };
    let host = stage.actor_with(name, options).unwrap();
    let version = stage.bring_version(second, &host).unwrap();
    // Whoever waits for it is cut off by the reboot.
    host.tries(&format!(
        "backstop switch {version} --live --confirm-within 2s --detach"
    ));
    host.wait_for_boot(2).unwrap();
    let ending = host.wait_for_ending(1);
    assert_eq!(ending.end, "rolled-back", "{ending:?}");
    assert_eq!(ending.record["outcome"]["escalated"], true, "{ending:?}");
    host.assert_back();
    assert_eq!(host.boots(), 2, "{}", host.testimony());
}

#[test]
fn a_rollback_that_fails_or_does_not_help() {
    let Some(stage) = crate::stage() else {
        return;
    };
    // Sound until something is left in /run, which a reboot clears.
    let fragile = |text: &str| {
        format!("[Unit]\nDescription={text}\n[Service]\nType=oneshot\nRemainAfterExit=yes\n")
    };
    let sound = fragile("Sound") + "ExecStart=/bin/sh -c 'test ! -e /run/spoilt'\n";
    let spoils = fragile("Spoils") + "ExecStart=/bin/touch /run/spoilt\n";
    crate::together(&[
        &|| {
            let first = installed("1").with(Fault::Ends("test", 3));
            escalates(&stage, "stuck", &first, &installed("2"));
        },
        &|| {
            let first = installed("1").unit("fragile.service", &sound);
            let second = installed("2").unit("fragile.service", &spoils);
            escalates(&stage, "spoilt", &first, &second);
        },
    ]);
}
