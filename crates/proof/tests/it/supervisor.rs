//! The supervisor is killed: the deadman rolls back.

use proof::installed;

/// Keeps the supervisor busy with the trial.
const SLOW: &str = "command = [\"sleep\", \"60\"]\ntimeout = \"90s\"\n";

#[test]
fn the_supervisor_is_killed_and_stays_dead() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let host = stage.actor("orphan").unwrap();
    let version = installed("2").etc("backstop/checks.d/slow.toml", SLOW);
    let version = stage.bring_version(&version, &host).unwrap();
    let (code, said) = host.tries(&format!(
        "backstop switch {version} --live --check-deadline 8s --detach"
    ));
    assert_eq!(code, Some(0), "{said}");
    host.wait_until("the trial", || host.active().is_ok_and(|a| a == version));
    host.run("systemctl kill --signal=KILL backstop-supervise.service; systemctl stop backstop-supervise.service")
        .unwrap();
    let ending = host.wait_for_ending(1);
    assert_eq!(ending.end, "rolled-back", "{ending:?}");
    assert!(
        ["deadline", "supervisor-lost"].contains(&ending.why.as_str()),
        "{ending:?}"
    );
    host.assert_back();
    assert_eq!(host.generations().len(), 1);
}

#[test]
fn the_supervisor_is_killed_and_carries_on() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let host = stage.actor("stubborn").unwrap();
    let version = stage.bring_version(&installed("2"), &host).unwrap();
    let (code, said) = host.tries(&format!("backstop switch {version} --live --detach"));
    assert_eq!(code, Some(0), "{said}");
    // At whatever it does just then.
    host.tries("systemctl kill --signal=KILL backstop-supervise.service");
    let ending = host.wait_for_ending(1);
    assert_eq!(ending.end, "kept", "{ending:?}\n{}", host.testimony());
    host.assert_kept(&version);
}
