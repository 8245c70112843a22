//! Two operating systems side by side, each with its own `/var`.

use std::path::PathBuf;

use crate::host::DemoHost;

const GOOD: usize = 2;
/// Starts, and its web server does not answer.
const BROKEN: usize = 3;
/// Healthy, too, where nobody's word is needed.
const ANOTHER: usize = 5;
/// The stateroot that the host begins with.
const FIRST: &str = "shop";

fn running(host: &DemoHost) -> (String, String) {
    let status = host.status();
    let rows = status["deployments"].as_array().unwrap();
    let row = rows.iter().find(|row| row["booted"] == true).unwrap();
    let text = |name: &str| row[name].as_str().unwrap().to_owned();
    (text("version"), text("stateroot"))
}

/// Versions in the boot order and the stateroot of each.
fn kept(host: &DemoHost) -> Vec<(String, String)> {
    let status = host.status();
    let rows = status["deployments"].as_array().unwrap();
    let text = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap().to_owned();
    let good = rows.iter().filter(|row| row["boots"] != "by hand only");
    good.map(|row| (text(row, "version"), text(row, "stateroot")))
        .collect()
}

fn var(host: &DemoHost, stateroot: &str) -> PathBuf {
    host.dir().join("ostree/deploy").join(stateroot).join("var")
}

/// What `switch` is told, with the ref that the demonstration releases to.
fn switch(host: &DemoHost, more: &[&str], code: i32) -> String {
    let source = host.dir().join("releases").display().to_string() + ":shop/stable";
    let mut arguments = vec!["switch", &source, "--stateroot", "other"];
    arguments.extend(more);
    host.run(&arguments, code)
}

#[test]
fn a_version_in_another_stateroot_is_kept_and_the_first_one_stays() {
    let host = DemoHost::new();
    let first = running(&host);
    assert_eq!(first.1, FIRST);
    let marker = var(&host, FIRST).join("lib/marker");
    std::fs::write(&marker, "precious").unwrap();
    let edited = |host: &DemoHost, (version, stateroot): &(String, String)| {
        let dir = host.dir().join("ostree/deploy").join(stateroot);
        dir.join(format!("deploy/{version}.0/etc/mine"))
    };
    std::fs::write(edited(&host, &first), "edited").unwrap();

    let second = (host.release(GOOD), "other".to_owned());
    let source = host.dir().join("releases").display().to_string() + ":shop/stable";
    let plan = host.run(&["plan", &source, "--stateroot", "other"], 0);
    let why = "needs a reboot: it is for the stateroot other, whose /var";
    assert!(plan.contains(why), "{plan}");
    switch(&host, &["--boot", "--wait"], 0);
    assert_eq!(running(&host), second);
    assert_eq!(kept(&host), [second.clone(), first.clone()]);
    // /etc comes along, and /var does not.
    assert_eq!(
        std::fs::read_to_string(edited(&host, &second)).unwrap(),
        "edited"
    );
    assert!(!var(&host, "other").join("lib/marker").exists());
    assert!(var(&host, "other").join("lib").is_dir());

    // It follows what it was given, stays where it is, and the first system is kept
    // although two newer versions are.
    let third = (host.release(ANOTHER), "other".to_owned());
    host.run(&["upgrade", "--boot", "--wait"], 0);
    assert_eq!(running(&host), third);
    assert_eq!(kept(&host), [third.clone(), second.clone(), first.clone()]);

    // A live way back is none, and changes nothing.
    let live = host.run(&["rollback", &first.0, "--live", "--wait"], 1);
    assert!(live.contains("the stateroot shop, whose /var"), "{live}");
    assert_eq!(host.status()["deployments"][0]["known"], "good");
    assert_eq!(running(&host), third);
    host.run(&["rollback", &first.0, "--boot", "--wait"], 0);
    assert_eq!(running(&host), first);
    assert_eq!(std::fs::read_to_string(&marker).unwrap(), "precious");
    assert_eq!(kept(&host), [first, second]);
}

#[test]
fn an_unhealthy_version_in_another_stateroot_comes_back() {
    let host = DemoHost::new();
    let first = running(&host);
    let marker = var(&host, FIRST).join("lib/marker");
    std::fs::write(&marker, "precious").unwrap();
    host.release(BROKEN);
    switch(&host, &["--boot", "--wait"], 4);
    assert_eq!(running(&host), first);
    assert_eq!(kept(&host), [first]);
    assert_eq!(std::fs::read_to_string(&marker).unwrap(), "precious");
}

#[test]
fn what_cannot_be_in_another_stateroot_is_refused() {
    let host = DemoHost::new();
    host.release(GOOD);
    let live = switch(&host, &["--live"], 1);
    assert!(live.contains("that takes a reboot: --boot"), "{live}");
    host.release(1);
    let same = switch(&host, &["--boot"], 1);
    assert!(
        same.contains("in the stateroot shop of this host already"),
        "{same}"
    );
    let source = host.dir().join("releases").display().to_string() + ":shop/all";
    let planned = host.run(&["plan", &source, "--stateroot", "../x"], 1);
    assert!(planned.contains("cannot name a stateroot"), "{planned}");
    let named = host.run(&["switch", &source, "--boot", "--stateroot", "../x"], 1);
    assert!(named.contains("cannot name a stateroot"), "{named}");
    assert!(!var(&host, "other").exists());
    assert!(host.history().is_empty());
}

/// An upgrade that the timer asks for is in the stateroot that runs, and of what that one
/// follows: not of what the policy in `/etc`, which was carried over, says.
#[test]
fn each_stateroot_follows_its_own() {
    let host = DemoHost::new();
    let second = host.release(GOOD);
    let source = host.dir().join("releases").display().to_string() + ":" + &second;
    let options = [
        "switch",
        &source,
        "--stateroot",
        "other",
        "--boot",
        "--wait",
    ];
    host.run(&options, 0);
    assert_eq!(running(&host).0, second);
    host.release(ANOTHER);
    let said = host.run(&["upgrade", "--boot", "--wait"], 0);
    assert!(said.contains("which is running"), "{said}");
    assert_eq!(running(&host), (second, "other".to_owned()));
}
