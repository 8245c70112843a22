//! What activating a version would do is told, and nothing of it is done.

use proof::{Actor, Stage, installed};
use testbed::nixos::{Fault, Toplevel};

fn planned(stage: &Stage, host: &Actor, version: &Toplevel, code: i32, words: &[&str]) {
    let version = stage.bring_version(version, host).unwrap();
    for ask in ["plan", "nix dry-activate"] {
        let (ended, said) = host.tries(&format!("backstop {ask} {version}"));
        assert_eq!(ended, Some(code), "{ask}: {said}");
        for word in words {
            assert!(said.contains(word), "{ask}: {word}\n{said}");
        }
    }
    let plan = host.json(&format!("backstop --json plan {version}"));
    assert_eq!(plan["version"], version);
    assert_eq!(plan["running"], host.first_version());
}

#[test]
fn a_plan_changes_nothing() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let host = stage.actor("planned").unwrap();
    let unit = "[Unit]\nDescription=More\n[Service]\nExecStart=/bin/sleep 1000\n";
    let sound = installed("2").unit("more.service", unit);
    let units = [
        "would stop the following units: app.service",
        "more.service",
    ];
    planned(&stage, &host, &sound, 0, &units);
    let critical = installed("3").with(Fault::CriticalChange);
    planned(&stage, &host, &critical, 9, &["It needs a reboot"]);
    let refused = installed("4").with(Fault::CheckFails);
    planned(&stage, &host, &refused, 6, &["It would be rejected"]);
    host.assert_back();
    assert_eq!(host.ending(1), None);
    assert_eq!(host.generations().len(), 1);
    let (code, said) = host.tries(&format!("backstop plan {}", host.first_version()));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("nothing would change"), "{said}");
}
