//! A version is started in a container before anything of the host changes.

use proof::{Actor, Stage, installed};
use testbed::nixos::{Fault, HostOptions, Toplevel};

/// Exit codes as `backstop help` documents them.
const REJECTED: i32 = 3;
const KEPT: i32 = 0;

/// What a host has to be told; the rest of its programs is in `/usr`.
fn told(start: &str, timeout: &str) -> String {
    format!("[container]\nstart = '{start}'\ntimeout = '{timeout}'\nshows = ['/usr']\n")
}

fn host(stage: &Stage, name: &str, limits: &str) -> Actor {
    let first = installed("1").etc("backstop/nix.toml", limits);
    let options = HostOptions {
        system: Some(stage.build(&first).unwrap()),
        ..HostOptions::default()
    };
    stage.actor_with(name, options).unwrap()
}

/// The version is rejected for a reason with these words, and the host is as it was.
fn rejected(stage: &Stage, name: &str, limits: &str, version: &Toplevel, words: &[&str]) {
    let host = host(stage, name, limits);
    let version = version.clone().etc("backstop/nix.toml", limits);
    let version = stage.bring_version(&version, &host).unwrap();
    let (code, said) = host.tries(&format!("backstop switch {version} --live --wait"));
    println!("{name}: {code:?}\n{said}");
    let ending = host.wait_for_ending(1);
    assert_eq!(code, Some(REJECTED), "{name}\n{}", host.testimony());
    assert_eq!(
        (ending.end.as_str(), ending.why.as_str()),
        ("rejected", "preflight-failed"),
        "{name}"
    );
    let record = ending.record.to_string();
    for word in words {
        assert!(record.contains(word), "{name}: {word}\n{record}");
    }
    host.assert_back();
    assert_eq!((host.boots(), host.generations().len()), (1, 1), "{name}");
    assert_nothing_is_left(&host);
    let (code, said) = host.tries(&format!("backstop switch {version} --live --wait"));
    assert_eq!(code, Some(5), "{name}: it is known to be bad\n{said}");
}

#[track_caller]
fn assert_nothing_is_left(host: &Actor) {
    let left = "systemctl list-units --all --plain --no-legend 'backstop-preflight*'; pgrep -a nspawn; ls /var/lib/backstop/container";
    assert_eq!(host.tries(left).1, "", "{}", host.testimony());
}

#[test]
fn a_version_that_does_not_start_there_is_rejected() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let (long, short) = (told("system", "2m"), told("system", "12s"));
    let script = told("activation", "2m");
    let asked = |check: &str| installed("2").etc("backstop/checks.d/shop.toml", check);
    let stuck = "[Service]\nType=oneshot\nExecStart=/bin/sleep 100000\n";
    let rejected = |name, limits, version: Toplevel, words: &[&str]| {
        rejected(&stage, name, limits, &version, words);
    };
    crate::together(&[
        &|| {
            let version = installed("2").with(Fault::ActivateFails);
            rejected(
                "boxed-script",
                &script,
                version,
                &["container", "snippet `testbed` failed"],
            );
        },
        &|| {
            let version = installed("2").with(Fault::ActivateHangs);
            rejected("boxed-hangs", &short, version, &["did not end within 12 s"]);
        },
        &|| {
            let version = installed("2").unit("stuck.service", stuck);
            rejected(
                "boxed-stuck",
                &short,
                version,
                &["stuck.service is still being started"],
            );
        },
    ]);
    crate::together(&[
        &|| {
            let version = installed("2").with(Fault::UnitFails);
            rejected("boxed-unit", &long, version, &["broken.service failed"]);
        },
        &|| {
            let check = "container = true\nhttp = { url = 'http://localhost/version', contains = 'three' }\n";
            rejected("boxed-check", &long, asked(check), &["container/shop"]);
        },
        &|| {
            let check = "stage = 'preflight'\ncontainer = true\ncommand = 'exit 7'\n";
            rejected(
                "boxed-command",
                &long,
                asked(check),
                &["container/shop", "status 7"],
            );
        },
    ]);
}

/// What fails there with the running version, too, says nothing: the network of these
/// hosts does.
#[test]
fn a_good_version_passes_there() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let limits = told("system", "2m");
    let host = host(&stage, "boxed-good", &limits);
    let version = installed("2")
        .etc("backstop/nix.toml", &limits)
        .etc(
            "backstop/checks.d/page.toml",
            "container = true\nhttp = { url = 'http://localhost/version', contains = '2' }\n",
        )
        .etc(
            "backstop/checks.d/running.toml",
            "stage = 'preflight'\ncontainer = true\nunit = 'app.service'\n",
        )
        .etc(
            "backstop/checks.d/outside.toml",
            "stage = 'preflight'\ncommand = 'test -z \"$(cat /proc/net/route | tail -n +2)\"'\n",
        )
        .etc(
            "backstop/checks.d/apart.toml",
            "stage = 'preflight'\ncontainer = true\ncommand = 'test ! -e /root/of-the-host && touch /etc/x /var/x && ! touch /nix/store/x && readlink /run/current-system | grep -q testbed-2'\n",
        );
    let version = stage.bring_version(&version, &host).unwrap();
    host.run("touch /root/of-the-host").unwrap();
    let (_, status) = host.tries("backstop status");
    assert!(status.contains("starts in a container"), "{status}");
    let (code, plan) = host.tries(&format!("backstop plan {version}"));
    assert_eq!(code, Some(0), "{plan}");
    assert!(plan.contains("starts in a container"), "{plan}");
    let (code, said) = host.tries(&format!("backstop switch {version} --live --wait"));
    println!(
        "{said}\n{}",
        host.tries("journalctl -u backstop-supervise --no-pager").1
    );
    assert_eq!(code, Some(KEPT), "{said}\n{}", host.testimony());
    host.assert_kept(&version);
    assert_nothing_is_left(&host);
}

#[test]
fn an_activation_script_runs_there_alone() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let limits = told("activation", "2m");
    let host = host(&stage, "boxed-activation", &limits);
    // No system is started, so nobody asks this.
    let check = "stage = 'preflight'\ncontainer = true\ncommand = ['false']\n";
    let version = installed("2").etc("backstop/nix.toml", &limits);
    let version = version.etc("backstop/checks.d/not-asked.toml", check);
    let version = stage.bring_version(&version, &host).unwrap();
    let (code, said) = host.tries(&format!("backstop switch {version} --live --wait"));
    assert_eq!(code, Some(KEPT), "{said}\n{}", host.testimony());
    let (_, log) = host.tries("journalctl -u backstop-supervise --no-pager");
    assert!(log.contains("activation in a container: passed"), "{log}");
    println!("{log}");
    host.assert_kept(&version);
    assert_nothing_is_left(&host);
}

/// A host that cannot do what it is told to says so, and the version is not to blame.
#[test]
fn a_host_that_cannot_says_so() {
    let Some(stage) = crate::stage() else {
        return;
    };
    // Nothing of these systems runs without /usr.
    let limits = "[container]\nstart = 'system'\n";
    let host = host(&stage, "boxed-not", limits);
    let version = installed("2").etc("backstop/nix.toml", limits);
    let version = stage.bring_version(&version, &host).unwrap();
    let (code, said) = host.tries(&format!("backstop switch {version} --live --wait"));
    assert_ne!(code, Some(KEPT), "{said}");
    let ending = host.wait_for_ending(1);
    assert_eq!(
        (ending.end.as_str(), ending.why.as_str()),
        ("rejected", "preflight-broken"),
        "{said}\n{}",
        host.testimony()
    );
    host.assert_back();
    assert_nothing_is_left(&host);
}
