//! A hundred hosts, three of them bad, two unreachable, in waves of one, ten, and
//! the rest: it stops where told, and says the truth about each.

use proof::Fleet;
use testbed::nixos::{Fault, HostOptions, Toplevel};

const HOSTS: usize = 100;
const BAD: [usize; 3] = [20, 50, 80];
const AWAY: [usize; 2] = [30, 60];

const SETTINGS: &str = "[rollout]
waves = [1, 10, \"rest\"]
[defaults]
target_user = \"root\"
connect_timeout = \"60s\"
reconnect_timeout = \"60s\"
confirm_timeout = \"180s\"
";

#[test]
fn a_hundred_hosts() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let names: Vec<String> = (0..HOSTS).map(|n| format!("n{n:02}")).collect();
    let hosts = stage.hosts(&names, &HostOptions::default()).unwrap();
    let good = stage.build(&Toplevel::new("2")).unwrap();
    let bad = stage
        .build(&Toplevel::new("bad").with(Fault::UnitFails))
        .unwrap();
    let version = |n: usize| {
        if BAD.contains(&n) {
            bad.as_str()
        } else {
            good.as_str()
        }
    };
    let described: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(n, name)| (name.as_str(), version(n)))
        .collect();

    // Too many failures in the second wave: the third one never begins.
    let mut early = described.clone();
    early[5].1 = &bad;
    let fleet = Fleet::describe(&stage, "early", SETTINGS, &early).unwrap();
    let rollout = fleet.deploy("--max-failures 0").unwrap();
    assert_eq!(rollout.code, Some(4), "{}", rollout.said);
    assert_eq!(rollout.end("n05"), "rolled-back");
    assert_eq!(rollout.ends.len(), HOSTS);
    assert_eq!(rollout.count("skipped"), HOSTS - 11);
    let untouched = |n: usize| hosts[n].profile().as_deref() == Some(stage.first());
    assert!((11..HOSTS).all(untouched));

    for away in AWAY {
        hosts[away].power_off();
    }
    // Five may fail: all others arrive.
    let fleet = Fleet::describe(&stage, "hundred", SETTINGS, &described).unwrap();
    let started = std::time::Instant::now();
    let rollout = fleet.deploy("--max-failures 5").unwrap();
    println!(
        "{HOSTS} hosts in {:.1} s, {} logins",
        started.elapsed().as_secs_f64(),
        rollout.logins
    );
    assert_eq!(rollout.code, Some(1), "{}", rollout.said);
    for (n, host) in hosts.iter().enumerate() {
        let end = rollout.end(host.name());
        if AWAY.contains(&n) {
            assert_eq!(end, "unreachable", "{n}");
        } else if BAD.contains(&n) {
            assert_eq!(end, "rolled-back", "{n}");
            assert_eq!(host.active().unwrap(), stage.first());
            assert_eq!(host.default().unwrap(), stage.first());
        } else {
            assert!(
                ["kept", "unchanged"].contains(&end),
                "{n}: {end}\n{}",
                rollout.said
            );
            assert_eq!(host.active().unwrap(), good);
            assert_eq!(host.default().unwrap(), good);
        }
    }
    // Those that were away come back, and the rollout is taken up again.
    for away in AWAY {
        hosts[away].power_on().unwrap();
        hosts[away].wait_ready().unwrap();
    }
    let rollout = fleet.deploy("--resume --max-failures 5").unwrap();
    for away in AWAY {
        assert_eq!(rollout.end(hosts[away].name()), "kept", "{}", rollout.said);
    }
}
