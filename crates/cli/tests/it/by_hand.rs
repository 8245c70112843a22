//! What a person does with a host: confirm, roll back, forgive, pull the plug.

use crate::host::DemoHost;

const GOOD: usize = 2;
const WRONG_ANSWER: usize = 3;

fn running(host: &DemoHost) -> String {
    host.status()["running"].as_str().unwrap().to_owned()
}

fn last_end(host: &DemoHost) -> (String, String) {
    let history = host.history();
    let outcome = &history.last().unwrap()["outcome"];
    let word = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
    (word(&outcome["end"]), word(&outcome["reason"]["why"]))
}

fn end(end: &str, why: &str) -> (String, String) {
    (end.to_owned(), why.to_owned())
}

#[test]
fn a_person_confirms_in_time() {
    let host = DemoHost::new();
    let version = host.release(GOOD);
    let said = host.run(&["upgrade", "--boot", "--confirm-within=60s"], 0);
    host.wait_until("healthy and unconfirmed", |status| {
        status["under_way"]["phase"]["healthy"] == true
    });
    assert!(!said.contains("rolled back"), "{said}");
    // Not yet the default: a power cut would lead back (P2).
    let first = host.status()["deployments"][0]["version"].clone();
    assert_ne!(first.as_str().unwrap(), version);
    assert!(host.run(&["confirm"], 0).contains("kept"));
    assert_eq!(running(&host), version);
    assert_eq!(last_end(&host), end("kept", "-"));
    assert!(host.run(&["confirm"], 1).contains("nothing is on trial"));
}

#[test]
fn a_power_cut_in_a_live_trial_leads_back() {
    let host = DemoHost::new();
    let before = running(&host);
    host.release(GOOD);
    host.run(&["upgrade", "--live", "--confirm-within=60s"], 0);
    host.run(&["power-cycle", "--force"], 0);
    host.wait_until_idle();
    assert_eq!(running(&host), before);
    assert_eq!(last_end(&host), end("rolled-back", "rebooted"));
}

#[test]
fn power_cuts_of_a_good_system_use_up_nothing() {
    let host = DemoHost::new();
    let version = host.release(GOOD);
    host.run(&["upgrade", "--boot", "--wait"], 0);
    for _ in 0..5 {
        host.run(&["power-cycle", "--force"], 0);
        assert_eq!(running(&host), version);
    }
}

#[test]
fn a_bad_version_is_refused_until_it_is_forgiven() {
    let host = DemoHost::new();
    let version = host.release(WRONG_ANSWER);
    host.run(&["upgrade", "--live", "--wait"], 4);
    let refused = host.run(&["upgrade", "--live", "--wait"], 5);
    assert!(refused.contains("backstop forgive"), "{refused}");
    assert!(host.run(&["upgrade", "--check"], 0).contains("failed here"));
    host.run(&["upgrade", "--unattended"], 0);
    assert_eq!(host.history().len(), 1);
    host.run(&["forgive", &version[..8]], 0);
    host.run(&["upgrade", "--live", "--wait"], 4);
    assert_eq!(host.history().len(), 2);
}

#[test]
fn a_person_goes_back_to_the_version_before() {
    let host = DemoHost::new();
    let before = running(&host);
    let version = host.release(GOOD);
    host.run(&["upgrade", "--boot", "--wait"], 0);
    host.run(&["rollback", "--boot", "--wait"], 0);
    assert_eq!(running(&host), before);
    // The timer does not bring the condemned version again (P4).
    host.run(&["upgrade", "--unattended"], 0);
    assert_eq!(running(&host), before);
    let refused = host.run(&["switch", &version, "--wait"], 5);
    assert!(refused.contains("declared bad"), "{refused}");
}

#[test]
fn a_person_stops_a_trial() {
    let host = DemoHost::new();
    let before = running(&host);
    host.release(GOOD);
    host.run(&["upgrade", "--live", "--confirm-within=60s"], 0);
    host.run(&["rollback"], 0);
    host.wait_until_idle();
    assert_eq!(running(&host), before);
    assert_eq!(last_end(&host), end("rolled-back", "aborted"));
    // The checks after going back are run at once: no timer has to step in.
    let history = host.history();
    assert_eq!(history.last().unwrap()["outcome"]["escalated"], false);
}

#[test]
fn going_back_after_a_live_upgrade_leaves_it_and_nothing_else_bad() {
    let host = DemoHost::new();
    let before = running(&host);
    let version = host.release(GOOD);
    host.run(&["upgrade", "--live"], 0);
    assert_eq!(last_end(&host), end("kept", "-"));
    host.run(&["rollback", "--live", "--wait"], 0);
    assert_eq!(last_end(&host), end("kept", "-"));
    assert_eq!(host.history().last().unwrap()["request"]["target"], before);
    let refused = host.run(&["upgrade", "--live"], 5);
    assert!(refused.contains(&version[..10]), "{refused}");
}

#[test]
fn an_upgrade_waits_for_its_window() {
    let host = DemoHost::new();
    let version = host.release(GOOD);
    let root = std::fs::read_to_string(host.dir().join("machine/booted_root")).unwrap();
    let drop_ins = std::path::Path::new(root.trim()).join("etc/backstop/backstop.toml.d");
    std::fs::create_dir_all(&drop_ins).unwrap();
    let policy = |text: &str| std::fs::write(drop_ins.join("90-test.toml"), text).unwrap();
    let hour = (jiff::Zoned::now().hour() + 6) % 24;
    policy(&format!(
        "[reboot]\nwindows = ['{hour:02}:00-{hour:02}:30']"
    ));
    let said = host.run(&["upgrade", "--boot"], 0);
    assert!(said.contains("waits: reboots are allowed from"), "{said}");
    assert_ne!(running(&host), version);
    // It is staged, and what is edited from now on is not lost.
    greet(&host, "Closed on Monday.\n");
    // The timer looks again, and the window is open.
    policy("[reboot]\nwhen = 'now'");
    host.run(&["upgrade", "--unattended"], 0);
    host.wait_until_idle();
    assert_eq!(running(&host), version);
    assert_eq!(last_end(&host), end("kept", "-"));
    assert_eq!(greeting(&host), "Closed on Monday.\n");
    assert!(console(&host).contains("/etc/shop/greeting: changed since staging"));
}

fn greeting_file(host: &DemoHost) -> std::path::PathBuf {
    let root = std::fs::read_to_string(host.dir().join("machine/booted_root")).unwrap();
    std::path::Path::new(root.trim()).join("etc/shop/greeting")
}

/// Edits a file in `/etc` of what runs.
fn greet(host: &DemoHost, text: &str) {
    std::fs::write(greeting_file(host), text).unwrap();
}

fn greeting(host: &DemoHost) -> String {
    std::fs::read_to_string(greeting_file(host)).unwrap()
}

fn console(host: &DemoHost) -> String {
    std::fs::read_to_string(host.dir().join("machine/console.log")).unwrap()
}

/// Published, and rebooted by somebody else, by whatever means.
#[test]
fn edits_until_the_shutdown_are_in_the_version_that_boots_next() {
    for (reboot, expected) in [
        (&["power-cycle"][..], "Closed on Monday.\n"),
        // Nobody could take it along: it is where it was made.
        (&["power-cycle", "--force"], "Welcome.\n"),
    ] {
        let host = DemoHost::new();
        let version = host.release(GOOD);
        host.run(&["upgrade", "--boot", "--no-reboot"], 0);
        host.wait_until("waiting for a reboot", |status| {
            status["under_way"]["phase"]["phase"] == "awaiting-boot"
        });
        let before = greeting_file(&host);
        greet(&host, "Closed on Monday.\n");
        host.run(reboot, 0);
        host.wait_until_idle();
        assert_eq!(running(&host), version);
        assert_eq!(greeting(&host), expected, "{reboot:?}");
        let made = std::fs::read_to_string(before).unwrap();
        assert_eq!(made, "Closed on Monday.\n");
    }
}

/// Going back leads to the version before with its own `/etc`; what is left behind is
/// named (P11).
#[test]
fn going_back_names_the_edits_that_it_leaves_behind() {
    let told = |host: &DemoHost| {
        let console = console(host);
        let line = console.lines().find(|l| l.contains("not taken over"));
        line.map(str::to_owned).unwrap_or_default()
    };
    // In a trial that is stopped.
    let host = DemoHost::new();
    host.release(GOOD);
    host.run(&["upgrade", "--boot", "--confirm-within=60s"], 0);
    host.wait_until("healthy and unconfirmed", |status| {
        status["under_way"]["phase"]["healthy"] == true
    });
    let tried = greeting_file(&host);
    greet(&host, "Closed on Monday.\n");
    let said = host.run(&["rollback"], 0);
    host.wait_until_idle();
    let all = format!("{said}{}", console(&host));
    assert!(all.contains("/etc/shop/greeting: changed in"), "{all}");
    assert_eq!(greeting(&host), "Welcome.\n");
    assert_eq!(
        std::fs::read_to_string(tried).unwrap(),
        "Closed on Monday.\n"
    );
    // From a version that was kept.
    let host = DemoHost::new();
    host.release(GOOD);
    host.run(&["upgrade", "--boot", "--wait"], 0);
    assert_eq!(told(&host), "");
    greet(&host, "Closed on Monday.\n");
    let said = host.run(&["rollback", "--boot", "--wait"], 0);
    assert!(said.contains("/etc/shop/greeting: changed in"), "{said}");
    assert_eq!(greeting(&host), "Welcome.\n");
    assert!(
        told(&host).contains("/etc/shop/greeting"),
        "{}",
        console(&host)
    );
}

#[test]
fn local_changes_in_etc_survive_an_upgrade() {
    let host = DemoHost::new();
    let deployment = || {
        let root = std::fs::read_to_string(host.dir().join("machine/booted_root")).unwrap();
        std::path::PathBuf::from(root)
    };
    std::fs::write(
        deployment().join("etc/shop/greeting"),
        "Closed on Monday.\n",
    )
    .unwrap();
    host.release(GOOD);
    host.run(&["upgrade", "--boot", "--wait"], 0);
    let greeting = std::fs::read_to_string(deployment().join("etc/shop/greeting")).unwrap();
    assert_eq!(greeting, "Closed on Monday.\n");
}

#[test]
fn a_host_that_is_none_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(crate::host::BACKSTOP)
        .arg("--sysroot")
        .arg(dir.path())
        .arg("status")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = crate::host::text(&output);
    assert!(text.contains("is no host with deployments"), "{text}");
}
