//! Two systems side by side in one container, each with its own `/var`.

use serde_json::Value;
use testbed::cache::Cache;
use testbed::versions::Recipe;
use testbed::{Fixture, Release, fixture, packages};

use crate::able;
use crate::container::Host;

/// The stateroot of the second system.
const OTHER: &str = "other";
/// Data of the first one.
const MARKER: &str = "/var/lib/precious";
/// What is the host's own, in `/etc`.
const OWN: &str = "cat /etc/machine-id /etc/motd";

/// The version and the stateroot that run; no unit failed, and `/var` is that one's own.
#[track_caller]
fn runs(host: &mut Host<'_>, version: u32, stateroot: &str, own: &str) {
    host.wait_until("the end of the boot", |host| {
        let state = host.run("systemctl is-system-running");
        host.version() == version.to_string() && ["running", "degraded"].contains(&state.trim())
    });
    // Nothing leads out of a container, and outside a trial that is a failed check.
    let failed = host.run("systemctl --failed --no-legend --plain | grep -v ^backstop-health");
    assert_eq!(failed.trim(), "");
    let status = host.status();
    let rows = status["deployments"].as_array().unwrap();
    let booted = rows.iter().find(|row| row["booted"] == true).unwrap();
    assert_eq!(booted["stateroot"], stateroot, "{status}");
    assert_eq!(host.run(OWN), own);
    let data = host.run(&format!("cat {MARKER}"));
    assert_eq!(data.trim() == "precious", stateroot != OTHER, "{data}");
    let var = host.run("test -d /var/lib/systemd && test -k /var/tmp && echo whole");
    assert_eq!(var.trim(), "whole");
}

/// The stateroots of what boots by itself, in order.
fn kept(status: &Value) -> Vec<&str> {
    let rows = status["deployments"].as_array().unwrap();
    let good = rows.iter().filter(|row| row["boots"] != "by hand only");
    good.map(|row| row["stateroot"].as_str().unwrap()).collect()
}

/// A host goes to a stateroot of its own with `versions`: it comes back from the first,
/// keeps the second and the third, and goes back from that.
pub fn two_systems(fixture: &Fixture, versions: [u32; 3]) {
    let [unconfirmed, second, third] = versions;
    let mut host = Host::new(fixture, "two-systems");
    host.run(&format!("echo precious >{MARKER}; echo mine >/etc/motd"));
    let own = host.run(OWN);
    runs(&mut host, 1, fixture::STATEROOT, &own);
    let to = |version: u32, more: &str| {
        format!("backstop switch /sysroot/releases:v{version} --stateroot {OTHER} {more}")
    };

    let live = host.run(&to(second, "--live"));
    assert!(live.contains("that takes a reboot: --boot"), "{live}");

    let confirm = "--boot --detach --confirm-within 2s";
    host.run(&to(unconfirmed, confirm));
    let ended = host.wait_for_end(1);
    assert_eq!(ended, ("rolled-back".into(), "deadline".into()));
    runs(&mut host, 1, fixture::STATEROOT, &own);

    host.run(&to(second, "--boot --detach"));
    assert_eq!(host.wait_for_end(2), ("kept".into(), String::new()));
    runs(&mut host, second, OTHER, &own);
    assert_eq!(kept(&host.status()), [OTHER, fixture::STATEROOT]);

    // It goes on in the stateroot that runs, and the first system stays.
    host.run(&format!(
        "backstop switch /sysroot/releases:v{third} --boot --detach"
    ));
    assert_eq!(host.wait_for_end(3), ("kept".into(), String::new()));
    runs(&mut host, third, OTHER, &own);
    assert_eq!(kept(&host.status()), [OTHER, OTHER, fixture::STATEROOT]);

    let first = host.status()["deployments"][2]["version"].clone();
    let first = first.as_str().unwrap();
    host.run(&format!("backstop rollback {first} --boot --detach"));
    assert_eq!(host.wait_for_end(4), ("kept".into(), String::new()));
    runs(&mut host, 1, fixture::STATEROOT, &own);
    assert_eq!(kept(&host.status()), [fixture::STATEROOT, OTHER]);
}

#[test]
fn two_releases_of_debian_stand_side_by_side() {
    if !testing::all_releases() {
        return;
    }
    if !able(&[packages::ROOT, packages::CONTAINER]) {
        return;
    }
    let dir = fixture::work_dir().unwrap();
    let cache = Cache::from_env();
    let binary = fixture::binary().unwrap();
    let at = dir.path().join("f");
    let fixture = Fixture::new(&cache, &at, &binary, &monitor::Silent).unwrap();
    let other = Release::Trixie;
    fixture
        .add_release(2, other, "v2", &monitor::Silent)
        .unwrap();
    for number in [3, 4] {
        let branch = format!("v{number}");
        let added = fixture.add_to(2, number, Recipe::Good, &branch, &monitor::Silent);
        added.unwrap();
    }
    two_systems(&fixture, [2, 3, 4]);
}
