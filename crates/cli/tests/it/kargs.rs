//! Kernel arguments on trial: kept when they prove themselves, else the old ones return.

use std::fs;

use serde_json::Value;

use crate::host::DemoHost;

/// Fails to come up with one argument, hangs with another.
const INIT: &str = r#"
case " $(cat "MACHINE/cmdline") " in
*" root=typo "*) exit 1 ;;
*" hang=1 "*) sleep 600 ;;
esac
exec /bin/sh "$ROOT/OWN"
"#;

/// A host whose boot may fail for its kernel arguments.
fn host() -> DemoHost {
    let host = DemoHost::new();
    let machine = host.dir().join("machine");
    let config = machine.join("machine.toml");
    let text = fs::read_to_string(&config).unwrap();
    let line = text.lines().find(|l| l.starts_with("init = ")).unwrap();
    let own = line.trim_start_matches("init = ").trim_matches('"');
    let init = machine.join("init");
    let script = INIT
        .replace("MACHINE", machine.to_str().unwrap())
        .replace("OWN", own);
    fs::write(&init, script).unwrap();
    let other = format!("init = \"{}\"", init.display());
    fs::write(&config, text.replace(line, &other)).unwrap();
    host
}

fn all(host: &DemoHost) -> Value {
    let text = host.run(&["--json", "kargs"], 0);
    serde_json::from_str::<Value>(&text).unwrap()["all"].clone()
}

fn cmdline(host: &DemoHost) -> String {
    fs::read_to_string(host.dir().join("machine/cmdline")).unwrap()
}

/// How the last upgrade ended, and why.
fn last(host: &DemoHost) -> (String, String) {
    let last = host.history().pop().unwrap();
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let outcome = &last["outcome"];
    (word(&outcome["end"]), word(&outcome["reason"]["why"]))
}

fn ended(end: &str, why: &str) -> (String, String) {
    (end.to_owned(), why.to_owned())
}

#[test]
fn arguments_that_prove_themselves_are_kept() {
    let host = host();
    let first = host.status()["running"].clone();
    let try_it = ["kargs", "--append=quiet", "--append=x=1", "--try", "--wait"];
    host.run(&try_it, 0);
    assert_eq!(last(&host), ended("kept", "-"));
    assert!(cmdline(&host).contains("backstop.trial="));
    let kept = all(&host);
    assert!(kept.to_string().contains("\"x=1\""), "{kept}");
    assert_eq!(host.status()["running"], first, "it is the same version");
    assert_eq!(host.status()["deployments"].as_array().unwrap().len(), 1);
    host.run(&["power-cycle", "--force"], 0);
    let line = cmdline(&host);
    assert!(
        line.contains("x=1") && !line.contains("backstop."),
        "{line}"
    );
    // What is left out is tried too; and the next version takes over what was kept.
    host.run(&["kargs", "--delete=quiet", "--try", "--wait"], 0);
    assert!(!cmdline(&host).contains("quiet"));
    host.release(2);
    host.run(&["upgrade", "--boot", "--wait"], 0);
    let line = cmdline(&host);
    assert!(line.contains("x=1") && !line.contains("quiet"), "{line}");
}

/// What runs is not what was booted.
#[test]
fn after_a_live_upgrade_they_are_tried_with_what_was_kept() {
    let host = host();
    let version = host.release(2);
    host.run(&["upgrade", "--live", "--wait"], 0);
    for (arg, code) in [("root=typo", 4), ("x=1", 0)] {
        let arg = format!("--append={arg}");
        host.run(&["kargs", &arg, "--try", "--wait"], code);
        assert_eq!(host.status()["running"].as_str().unwrap(), version);
    }
    assert!(cmdline(&host).contains("x=1"));
    let first = &host.status()["deployments"][0];
    assert_eq!(first["version"].as_str().unwrap(), version);
    assert_eq!(all(&host), serde_json::json!(["x=1"]));
}

#[test]
fn after_arguments_that_do_not_boot_the_old_ones_return() {
    let host = host();
    let before = all(&host);
    let first = host.status()["running"].clone();
    for (arg, attempts) in [("root=typo", "2"), ("hang=1", "1")] {
        let attempts = format!("--attempts={attempts}");
        let try_it = ["kargs", "--append", arg, "--try", "--wait", &attempts];
        let said = host.run(&try_it, 4);
        assert!(said.contains("attempt"), "{said}");
        assert_eq!(last(&host), ended("rolled-back", "attempts-used-up"));
        assert_eq!(all(&host), before);
        assert!(!cmdline(&host).contains(arg), "{}", cmdline(&host));
        assert_eq!(host.status()["running"], first);
        // They are remembered, by a name that can be typed; the version is still good.
        let refused = host.run(&try_it, 5);
        let name = refused.split("backstop forgive ").nth(1).unwrap();
        let name = name.split('`').next().unwrap().to_owned();
        assert!(name.starts_with("kargs-"), "{refused}");
        host.run(&["forgive", &name], 0);
    }
    let known = host.status()["deployments"][0]["known"].clone();
    assert!(known.as_str().unwrap().starts_with("good"), "{known}");
}

#[test]
fn arguments_that_boot_and_are_not_wanted_go_again() {
    let host = host();
    let before = all(&host);
    let try_it = ["kargs", "--append=x=1", "--try", "--confirm-within=60s"];
    // Nobody confirms, and the plug is pulled: attempts are left, so it is tried on.
    host.run(&try_it, 0);
    let healthy = |status: &Value| status["under_way"]["phase"]["healthy"] == true;
    host.wait_until("healthy and unconfirmed", healthy);
    assert_eq!(
        all(&host),
        before,
        "they are the default before they are kept"
    );
    let busy = host.run(&["kargs", "--append=y=1"], 1);
    assert!(busy.contains("is under way"), "{busy}");
    host.run(&["power-cycle", "--force"], 0);
    host.wait_until("healthy in the second boot", healthy);
    assert!(cmdline(&host).contains("x=1"));
    // A person changes his mind.
    host.run(&["rollback"], 0);
    host.wait_until_idle();
    assert_eq!(last(&host), ended("rolled-back", "aborted"));
    assert!(!cmdline(&host).contains("x=1"), "{}", cmdline(&host));
    assert_eq!(all(&host), before);
}

#[test]
fn what_cannot_be_tried_is_said() {
    let host = DemoHost::new();
    host.run(&["kargs", "--append=a=1"], 0);
    let own = all(&host);
    let table = [
        (vec!["kargs", "--append=x", "--attempts=2"], 1, "--try"),
        (vec!["kargs", "--append=x", "--try", "--once"], 2, "--once"),
        (vec!["kargs", "--append=x", "--try", "--live"], 2, "--live"),
        (
            vec!["kargs", "--replace=a=1", "--try"],
            1,
            "has these kernel arguments already",
        ),
    ];
    for (line, code, said) in table {
        let found = host.run(&line, code);
        assert!(found.contains(said), "{line:?}: {found}");
    }
    assert_eq!(all(&host), own);
    assert!(host.history().is_empty());
}
