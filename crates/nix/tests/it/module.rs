//! The NixOS module, evaluated by `nix` alone.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// The repository's `nix` directory.
fn dir() -> PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../nix")
}

/// What the module makes of `services.backstop`; what Nix says if it refuses.
fn evaluate(services: &str) -> Option<Result<Value, String>> {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new("nix-instantiate")
        .args(["--eval", "--strict", "--json"])
        .arg(dir().join("check.nix"))
        .args(["--arg", "services", services])
        .env("HOME", home.path())
        // A store of its own: nothing is written to that of the machine.
        .env("NIX_REMOTE", "dummy://")
        .output();
    let Ok(output) = output else {
        let _ = testing::nothing_lacks(&["nix-bin"]);
        return None;
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Some(Err(said));
    }
    Some(Ok(serde_json::from_slice(&output.stdout).unwrap()))
}

fn config(services: &str) -> Option<Value> {
    Some(evaluate(services)?.unwrap())
}

/// A generated file's content.
fn file<'a>(config: &'a Value, name: &str) -> &'a Value {
    &config["environment"]["etc"][format!("backstop/{name}")]["source"]["value"]
}

#[test]
fn nothing_is_there_unless_enabled() {
    let Some(config) = config("{ }") else { return };
    assert_eq!(config, serde_json::json!({}));
}

#[test]
fn what_is_enabled_without_a_timer() {
    let Some(config) = config("{ enable = true; checks.web.http.url = \"http://x\"; }") else {
        return;
    };
    let services = &config["systemd"]["services"];
    let settle = &services["backstop-settle"];
    assert_eq!(
        settle["serviceConfig"]["ExecStart"],
        "/nix/store/backstop/bin/backstop settle"
    );
    for unit in ["backstop-settle", "backstop-health", "backstop-deadline"] {
        let unit = &services[unit];
        assert_eq!(unit["restartIfChanged"], false, "{unit}");
        assert_eq!(unit["stopIfChanged"], false, "{unit}");
    }
    assert!(services["backstop-upgrade"].is_null());
    assert!(config["systemd"]["timers"]["backstop-upgrade"].is_null());
    assert_eq!(
        file(&config, "checks.d/web.toml")["http"]["url"],
        "http://x"
    );
    assert_eq!(config["boot"]["kernelParams"][0], "panic=60");
    let policy = file(&config, "backstop.toml");
    assert_eq!(policy["upgrade"]["kind"], "live");
    assert_eq!(policy["reboot"]["when"], "never");
}

#[test]
fn options_become_the_policy_that_backstop_reads() {
    let table = [
        (
            "operation = \"boot\"; allowReboot = true;",
            "kind = \"boot\"\nif_refused = \"boot\"\n[reboot]\nwhen = \"now\"",
        ),
        (
            "allowReboot = true; rebootWindow = { lower = \"01:00\"; upper = \"05:00\"; };",
            "kind = \"live\"\nif_refused = \"boot\"\n[reboot]\nwindows = [\"01:00-05:00\"]",
        ),
        (
            "flags = [ \"--impure\" ];",
            "flags = [\"--impure\"]\nkind = \"live\"\nif_refused = \"stage\"\n[reboot]\nwhen = \"never\"",
        ),
    ];
    for (options, expected) in table {
        let services = format!(
            "{{ enable = true; autoUpgrade = {{ enable = true; flake = \"x#web\"; {options} }}; }}"
        );
        let Some(config) = config(&services) else {
            return;
        };
        let text = format!("[upgrade]\nflake = \"x#web\"\nconfirm = \"checks\"\n{expected}\n");
        let expected: toml::Table = toml::from_str(&text).unwrap();
        let expected = serde_json::to_value(expected).unwrap();
        assert_eq!(file(&config, "backstop.toml"), &expected, "{options}");
        let timer = &config["systemd"]["timers"]["backstop-upgrade"]["timerConfig"];
        assert_eq!(timer["OnCalendar"], "04:40");
        assert_eq!(timer["Persistent"], true);
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let table = [
        ("{ enabled = true; }", "enabled is no option"),
        ("{ enable = true; confirm.by = \"luck\"; }", "confirm.by"),
        (
            "{ enable = true; autoUpgrade.enable = true; }",
            "either a flake or a path",
        ),
        (
            "{ enable = true; autoUpgrade = { allowReboot = true; rebootWindow = { lower = \"1\"; upper = \"05:00\"; }; }; }",
            "rebootWindow.lower",
        ),
    ];
    for (services, why) in table {
        let Some(result) = evaluate(services) else {
            return;
        };
        let said = result.unwrap_err();
        assert!(said.contains(why), "{services}: {said}");
    }
}

#[test]
fn the_other_files_are_nix() {
    for name in ["../flake.nix", "package.nix", "module.nix"] {
        let parsed = Command::new("nix-instantiate")
            .arg("--parse")
            .arg(dir().join(name))
            .env("NIX_REMOTE", "dummy://")
            .output();
        let Ok(parsed) = parsed else { return };
        let said = String::from_utf8_lossy(&parsed.stderr).into_owned();
        assert!(parsed.status.success(), "{name}: {said}");
    }
}
