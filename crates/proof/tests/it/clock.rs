//! The clock jumps by a day, forwards or back: no time that is given is shorter or
//! longer for it.

use std::time::{Duration, Instant};

use proof::{Actor, Fleet, Stage, installed};
use testbed::nixos::HostOptions;

/// In seconds.
const DAY: i64 = 24 * 3600;

fn host(stage: &Stage, name: &str) -> Actor {
    let options = HostOptions {
        own_clock: true,
        ..HostOptions::default()
    };
    stage.actor_with(name, options).unwrap()
}

/// Begins a trial that waits for a word, and gives its version.
fn begin(stage: &Stage, host: &Actor, within: &str) -> String {
    let version = stage.bring_version(&installed("2"), host).unwrap();
    let (code, said) = host.tries(&format!(
        "backstop switch {version} --live --confirm-within {within} --detach"
    ));
    assert_eq!(code, Some(0), "{said}");
    version
}

fn healthy(host: &Actor) {
    host.wait_until("a healthy trial", || {
        host.status()["under_way"]["phase"]["healthy"] == true
    });
}

/// How far apart upgrade 1's beginning and end are, as the host wrote them down: so
/// much did its clock jump.
fn told(host: &Actor) -> i64 {
    let record = host.wait_for_ending(1).record;
    let at = |name: &str| record[name].as_i64().unwrap();
    at("ended_at") - at("started_at")
}

/// Time goes on, and nothing happens.
fn stays(host: &Actor) {
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        assert_eq!(host.ending(1), None, "{}", host.testimony());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The time is not over when the clock says so.
fn not_sooner(stage: &Stage) {
    let host = host(stage, "forwards");
    let version = begin(stage, &host, "2m");
    healthy(&host);
    host.set_clock(DAY).unwrap();
    stays(&host);
    let (code, said) = host.tries("backstop confirm");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(host.wait_for_ending(1).end, "kept");
    host.assert_kept(&version);
    assert!(told(&host) >= DAY, "the host saw another time");
}

/// It is over, although the clock says that it has not begun.
fn not_later(stage: &Stage) {
    let host = host(stage, "backwards");
    host.set_clock(DAY).unwrap();
    begin(stage, &host, "6s");
    healthy(&host);
    host.set_clock(0).unwrap();
    let ending = host.wait_for_ending(1);
    assert_eq!(ending.end, "rolled-back", "{ending:?}");
    assert_eq!(ending.why, "deadline", "{ending:?}");
    host.assert_back();
    assert_eq!(host.boots(), 1);
    assert!(told(&host) < 0, "the host saw another time");
}

/// The same, with a deployer whose word must be newer than the activation.
fn from_afar(stage: &Stage, name: &str, before: i64, after: i64) {
    let host = host(stage, name);
    host.set_clock(before).unwrap();
    let slow = "command = [\"sleep\", \"3\"]\ntimeout = \"20s\"\n";
    let version = installed("2").etc("backstop/checks.d/slow.toml", slow);
    let version = stage.build(&version).unwrap();
    let settings = "[defaults]\ntarget_user = \"root\"\n";
    let fleet = Fleet::describe(stage, name, settings, &[(name, &version)]).unwrap();
    let rollout = std::thread::scope(|scope| {
        let deployer = scope.spawn(|| fleet.deploy("").unwrap());
        host.wait_until("the trial", || host.active().is_ok_and(|a| a == version));
        host.set_clock(after).unwrap();
        deployer.join().unwrap()
    });
    assert_eq!(rollout.end(name), "kept", "{}", rollout.said);
    host.assert_kept(&version);
    assert!(told(&host).abs() >= DAY - 120, "the host saw another time");
}

#[test]
fn a_clock_that_jumps_by_a_day() {
    let Some(stage) = crate::stage() else {
        return;
    };
    crate::together(&[
        &|| not_sooner(&stage),
        &|| not_later(&stage),
        &|| from_afar(&stage, "far-forwards", 0, DAY),
        &|| from_afar(&stage, "far-backwards", DAY, 0),
    ]);
}
