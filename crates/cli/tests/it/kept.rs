//! Versions that are kept: pins, going back by name, and a host that is off.

use std::process::Command;

use crate::host::{BACKSTOP, DemoHost, text};

const GOOD: usize = 2;
/// Healthy, too, where nobody's word is needed.
const ANOTHER: usize = 5;

fn versions(status: &serde_json::Value) -> Vec<String> {
    let rows = status["deployments"].as_array().unwrap();
    let name = |row: &serde_json::Value| row["version"].as_str().unwrap().to_owned();
    rows.iter().map(name).collect()
}

fn running(host: &DemoHost) -> String {
    host.status()["running"].as_str().unwrap().to_owned()
}

#[test]
fn a_pinned_version_outlives_cleaning_up() {
    let host = DemoHost::new();
    let first = running(&host);
    let said = host.run(&["pin", &first[..10]], 0);
    assert!(said.contains("pinned"), "{said}");
    for number in [GOOD, ANOTHER] {
        host.release(number);
        host.run(&["upgrade", "--boot", "--wait"], 0);
    }
    // The newest two are kept by themselves.
    assert_eq!(versions(&host.status()).len(), 3);
    assert!(versions(&host.status()).contains(&first));
    let row = |host: &DemoHost| host.status()["deployments"][2].clone();
    assert_eq!(row(&host)["pinned"], true);
    assert!(host.run(&["status"], 0).contains("as a fall-back, pinned"));
    host.run(&["unpin", &first[..10]], 0);
    assert_eq!(row(&host)["pinned"], false);
    let unknown = host.run(&["pin", "0000"], 1);
    assert!(unknown.contains("no version on this host"), "{unknown}");
}

#[test]
fn a_person_goes_back_to_a_version_by_name() {
    let host = DemoHost::new();
    let first = running(&host);
    host.run(&["pin", &first], 0);
    for number in [GOOD, ANOTHER] {
        host.release(number);
        host.run(&["upgrade", "--boot", "--wait"], 0);
    }
    let newest = running(&host);
    let same = host.run(&["rollback", &newest[..10]], 1);
    assert!(same.contains("the one to go back from"), "{same}");
    host.run(&["rollback", &first[..10], "--boot", "--wait"], 0);
    assert_eq!(running(&host), first);
    let back = host.run(&["rollback", &newest[..10], "--boot", "--wait"], 1);
    assert!(back.contains("known to be bad"), "{back}");
    assert_eq!(running(&host), first, "a refused rollback changes nothing");
}

/// What was condemned took the place of a good version among those that are kept.
#[test]
fn going_back_loses_no_good_version() {
    let host = DemoHost::new();
    let first = running(&host);
    let second = host.release(GOOD);
    host.run(&["upgrade", "--boot", "--wait"], 0);
    host.run(&["pin", &first], 0);
    let third = host.release(ANOTHER);
    host.run(&["upgrade", "--boot", "--wait"], 0);
    host.run(&["unpin", &first], 0);
    host.run(&["rollback", &first, "--boot", "--wait"], 0);
    let status = host.status();
    assert_eq!(versions(&status), [first, second, third]);
    assert_eq!(status["deployments"][1]["boots"], "as a fall-back");
    assert_eq!(status["deployments"][2]["boots"], "by hand only");
}

/// The supervisor may have begun with the checks of a boot. Where these took longer than
/// the patience with another process, the health unit failed, and what waits for a good
/// boot did not start, although the version was kept.
#[test]
fn a_boot_is_healthy_whoever_runs_its_checks() {
    let host = DemoHost::new();
    let first = running(&host);
    let dir = host.dir().join("ostree/deploy/shop/deploy");
    let checks = dir.join(format!("{first}.0/etc/backstop/checks.d"));
    std::fs::create_dir_all(&checks).unwrap();
    let machine = host.dir().join("machine").display().to_string();
    let slow = format!(
        "command = \"if grep -q backstop.trial '{machine}/cmdline'; then \
         touch '{machine}/checking'; sleep 13; fi\"\n"
    );
    std::fs::write(checks.join("slow.toml"), slow).unwrap();
    host.release(ANOTHER);
    host.run(&["upgrade", "--boot", "--detach"], 0);
    let checking = host.dir().join("machine/checking");
    host.wait_until("its checks", |_| checking.exists());
    host.run(&["health"], 0);
    assert!(host.status()["under_way"].is_null());
    assert_eq!(host.history().last().unwrap()["outcome"]["end"], "kept");
}

#[test]
fn a_host_that_is_off_is_put_back_from_its_disk() {
    let host = DemoHost::new();
    let first = running(&host);
    let second = host.release(GOOD);
    host.run(&["upgrade", "--boot", "--wait"], 0);
    // Its disk in another system: all of it, but no machine.
    let machine = host.dir().join("machine/machine.toml");
    let aside = host.dir().join("machine/machine.aside");
    std::fs::rename(&machine, &aside).unwrap();

    let status = host.status();
    assert_eq!(status["offline"], true);
    assert_eq!(status["running"], second);
    assert!(host.run(&["status"], 0).contains("which is off"));
    assert_eq!(host.history().len(), 1);
    let refused = host.run(&["switch", &first, "--boot"], 1);
    assert!(refused.contains("not running"), "{refused}");
    let said = host.run(&["rollback", "--reason", "no network"], 0);
    assert!(said.contains(&first[..10]), "{said}");
    assert_eq!(versions(&host.status()), [first.clone(), second.clone()]);

    std::fs::rename(&aside, &machine).unwrap();
    host.run(&["power-cycle", "--force"], 0);
    assert_eq!(running(&host), first);
    let known = host.status()["deployments"][1]["known"].clone();
    assert!(known.as_str().unwrap().contains("no network"), "{known}");
}

#[test]
fn a_trial_of_a_host_that_is_off_is_ended_from_its_disk() {
    let host = DemoHost::new();
    let first = running(&host);
    host.release(GOOD);
    host.run(&["upgrade", "--boot", "--confirm-within=60s"], 0);
    host.wait_until("healthy and unconfirmed", |status| {
        status["under_way"]["phase"]["healthy"] == true
    });
    let machine = host.dir().join("machine/machine.toml");
    let aside = host.dir().join("machine/machine.aside");
    std::fs::rename(&machine, &aside).unwrap();
    let alone = host.run(&["rollback"], 1);
    assert!(alone.contains("no other good version"), "{alone}");
    let status = host.status();
    assert!(status["under_way"].is_null(), "{status}");
    assert_eq!(versions(&status)[0], first);
    let ended = host.history();
    assert_eq!(ended.last().unwrap()["outcome"]["end"], "rolled-back");
    std::fs::rename(&aside, &machine).unwrap();
    let output = Command::new(BACKSTOP)
        .arg("--sysroot")
        .arg(host.dir())
        .args(["power-cycle", "--force"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(running(&host), first);
}

#[test]
fn kernel_arguments_change_without_a_new_deployment() {
    let host = DemoHost::new();
    let first = running(&host);
    let kargs = |host: &DemoHost| -> serde_json::Value {
        serde_json::from_str(&host.run(&["--json", "kargs"], 0)).unwrap()
    };
    let before = kargs(&host)["all"].clone();
    // Once: tried by the next boot, and by no other.
    host.run(&["kargs", "--append", "maybe=1", "--once"], 0);
    assert_eq!(kargs(&host)["all"], before);
    let cmdline = || std::fs::read_to_string(host.dir().join("machine/cmdline")).unwrap();
    host.run(&["power-cycle", "--force"], 0);
    assert!(cmdline().contains("maybe=1"), "{}", cmdline());
    host.run(&["power-cycle", "--force"], 0);
    assert!(!cmdline().contains("maybe=1"), "{}", cmdline());
    // For good.
    host.run(&["kargs", "--append", "quiet", "--append", "x=1"], 0);
    host.run(&["kargs", "--replace", "x=2", "--delete", "quiet"], 0);
    assert_eq!(
        kargs(&host)["added"].as_array().unwrap().last().unwrap(),
        "x=2"
    );
    host.run(&["power-cycle", "--force"], 0);
    assert!(cmdline().contains("x=2") && !cmdline().contains("quiet"));
    assert_eq!(running(&host), first);
    assert_eq!(host.status()["deployments"].as_array().unwrap().len(), 1);
    let unknown = host.run(&["kargs", "--delete", "nothing"], 1);
    assert!(unknown.contains("there is no kernel argument"), "{unknown}");
    // An upgrade takes them along.
    host.release(GOOD);
    host.run(&["upgrade", "--boot", "--wait"], 0);
    assert!(cmdline().contains("x=2"), "{}", cmdline());
}
