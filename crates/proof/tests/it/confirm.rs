//! A confirmation that never comes; a network that the new version cuts; an sshd
//! that it breaks: back on the old, old units running, the reason recorded.

use proof::{Stage, installed};
use testbed::nixos::Fault;

/// Tries a version that nobody confirms.
fn unconfirmed(stage: &Stage, name: &str, faults: &[Fault], reasons: &[&str]) {
    let host = stage.actor(name).unwrap();
    let version = faults
        .iter()
        .cloned()
        .fold(installed(name), |v, f| v.with(f));
    let version = stage.bring_version(&version, &host).unwrap();
    let command = format!("backstop switch {version} --live --confirm-within 4s --wait");
    let (code, said) = host.tries(&command);
    assert!(
        matches!(code, Some(4 | 24)),
        "{code:?} {said}\n{}",
        host.testimony()
    );
    let ending = host.wait_for_ending(1);
    assert_eq!(ending.end, "rolled-back", "{ending:?}");
    assert!(reasons.contains(&ending.why.as_str()), "{ending:?}");
    host.assert_back();
    assert_eq!(host.boots(), 1, "{}", host.testimony());
    assert_eq!(host.generations().len(), 1);
    host.wait_until("ssh", || stage.ssh(&host, "true").unwrap().status.success());
    assert_eq!(stage.page(&host, "/version").unwrap().as_deref(), Some("1"));
}

#[test]
fn a_confirmation_that_never_comes() {
    let Some(stage) = crate::stage() else {
        return;
    };
    unconfirmed(&stage, "silent", &[], &["deadline"]);
}

#[test]
fn the_new_version_cuts_the_way_to_it() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let seen = ["checks-failed", "deadline"];
    crate::together(&[
        &|| unconfirmed(&stage, "cut", &[Fault::NetworkCut], &seen),
        &|| unconfirmed(&stage, "refuses", &[Fault::SshRefuses], &seen),
        &|| unconfirmed(&stage, "sshless", &[Fault::SshFails], &seen),
    ]);
}
