//! The same from afar, by the deployer; and the deployer itself is killed, its
//! machine cut off, its terminal closed, in the middle of a copy or of a trial: the
//! host decides alone, and a second deployment works.

use std::process::{Child, Stdio};

use proof::{Actor, Fleet, Stage, installed};
use testbed::nixos::{Fault, HostOptions, Toplevel, Within};

/// Nobody waits for long here.
const QUICK: &str = "[defaults]
target_user = \"root\"
connect_timeout = \"5s\"
reconnect_timeout = \"6s\"
confirm_timeout = \"8s\"
activation_timeout = \"40s\"
";

/// What is to go well may take its time.
const UNHURRIED: &str = "[defaults]
target_user = \"root\"
connect_timeout = \"60s\"
reconnect_timeout = \"60s\"
confirm_timeout = \"120s\"
activation_timeout = \"120s\"
";

/// The deployer takes its time before it confirms, so that it is lost before that.
const PATIENT: &str = "[defaults.checks.patience]
command = [\"sleep\", \"4\"]
timeout = \"30s\"
";

fn fleet<'a>(stage: &'a Stage, host: &Actor, version: &str) -> Fleet<'a> {
    let hosts = [(host.name(), version)];
    Fleet::describe(stage, host.name(), UNHURRIED, &hosts).unwrap()
}

#[test]
fn all_well_on_a_host_with_nothing_installed() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let host = stage.host("bare", &HostOptions::default()).unwrap();
    let second = stage.build(&Toplevel::new("2")).unwrap();
    let fleet = Fleet::describe(&stage, "bare", UNHURRIED, &[("bare", &second)]).unwrap();
    let rollout = fleet.deploy("").unwrap();
    assert_eq!(rollout.code, Some(0), "{}", rollout.said);
    assert_eq!(rollout.end("bare"), "kept");
    assert_eq!(rollout.logins, 2, "to work, to confirm: {}", rollout.said);
    assert_eq!(host.active().unwrap(), second);
    assert_eq!(host.default().unwrap(), second);
    let first = stage.first().to_owned();
    assert_eq!(host.generations(), [(1, first), (2, second.clone())]);
    // Nothing is left running. Whoever wrote the end down may need a moment to leave.
    let left = "pgrep -x backstop; systemctl list-units --plain --no-legend 'backstop*'; true";
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while host.run(left).unwrap() != "" && std::time::Instant::now() < patience {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(host.run(left).unwrap(), "");
    let again = fleet.deploy("").unwrap();
    assert_eq!(
        (again.code, again.end("bare")),
        (Some(0), "unchanged"),
        "{}",
        again.said
    );
    assert_eq!(again.logins, 1, "{}", again.said);
    assert_eq!(host.generations().len(), 2);
}

/// The way to the host is cut by what is deployed to it.
fn cut_off(stage: &Stage, name: &str, fault: Fault) {
    let host = stage.actor(name).unwrap();
    let version = stage.build(&installed(name).with(fault)).unwrap();
    let hosts = [(name, version.as_str())];
    let cut = Fleet::describe(stage, name, QUICK, &hosts).unwrap();
    let rollout = cut.deploy("").unwrap();
    assert!(!matches!(rollout.code, Some(0)), "{}", rollout.said);
    let end = rollout.end(name).to_owned();
    assert!(
        ["rolled-back", "left-alone"].contains(&end.as_str()),
        "{}",
        rollout.said
    );
    let ending = host.wait_for_ending(1);
    assert_eq!(ending.end, "rolled-back", "{ending:?}");
    host.assert_back();
    assert_eq!(host.boots(), 1, "{}", host.testimony());
    // A sound version gets through again.
    let good = stage.build(&installed("good")).unwrap();
    let rollout = fleet(stage, &host, &good).deploy("").unwrap();
    assert_eq!(rollout.end(name), "kept", "{}", rollout.said);
    host.assert_kept(&good);
}

#[test]
fn the_deployer_is_cut_off_by_what_it_deploys() {
    let Some(stage) = crate::stage() else {
        return;
    };
    crate::together(&[
        &|| cut_off(&stage, "far-cut", Fault::NetworkCut),
        &|| cut_off(&stage, "far-refuses", Fault::SshRefuses),
        &|| cut_off(&stage, "far-sshless", Fault::SshFails),
    ]);
}

/// A deployer at work, to be interrupted.
fn at_work(stage: &Stage, fleet: &Fleet<'_>, terminal: bool) -> Child {
    let line = fleet.line("deploy");
    let line = if terminal {
        // Tests may run under `nohup`, which the deployer would inherit.
        format!("exec env --default-signal=HUP script -qec '{line}' /dev/null")
    } else {
        line
    };
    let mut command = stage.operator().command(&line).unwrap();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the deployer: the child of what entered the operator's machine.
fn kill(deployer: &mut Child) {
    let pid = deployer.id();
    let script = format!("kill -KILL $(pgrep -P {pid}) {pid}");
    let killed = std::process::Command::new("sh")
        .args(["-c", &script])
        .status();
    assert!(killed.unwrap().success());
    deployer.wait().unwrap();
}

/// A trial that does not get further by itself for a while.
fn slow(name: &str) -> Toplevel {
    let check = "command = [\"sleep\", \"4\"]\ntimeout = \"20s\"\n";
    installed(name).etc("backstop/checks.d/slow.toml", check)
}

fn on_trial(host: &Actor, version: &str) {
    host.wait_until("the trial", || host.active().is_ok_and(|a| a == version));
}

/// Nobody confirmed: the host went back by itself, and the next deployment works.
fn decides_alone(stage: &Stage, host: &Actor, version: &str) {
    let ending = host.wait_for_ending(1);
    assert_eq!(
        ending.end,
        "rolled-back",
        "{ending:?}\n{}",
        host.testimony()
    );
    host.assert_back();
    host.wait_until("ssh", || stage.ssh(host, "true").unwrap().status.success());
    let rollout = fleet(stage, host, version).deploy("--force").unwrap();
    assert_eq!(rollout.end(host.name()), "kept", "{}", rollout.said);
    host.assert_kept(version);
}

#[test]
fn the_deployer_is_lost_in_the_middle_of_the_trial() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let scene = |name: &'static str, terminal: bool, lose: &dyn Fn(&Actor, &mut Child)| {
        let host = stage.actor(name).unwrap();
        let version = stage.build(&slow(name)).unwrap();
        let settings = format!("{QUICK}{PATIENT}");
        let hosts = [(name, version.as_str())];
        let fleet = Fleet::describe(&stage, name, &settings, &hosts).unwrap();
        let mut deployer = at_work(&stage, &fleet, terminal);
        on_trial(&host, &version);
        lose(&host, &mut deployer);
        decides_alone(&stage, &host, &version);
        let _ = deployer.kill();
        let _ = deployer.wait();
    };
    crate::together(&[
        &|| {
            scene("killed", false, &|_, deployer| kill(deployer));
        },
        // With `script` goes the terminal that it made.
        &|| {
            scene("closed", true, &|_, deployer| kill(deployer));
        },
        &|| {
            scene("gone", false, &|host, deployer| {
                // From here it is the same whose cable it is.
                stage.cable(host, false).unwrap();
                host.wait_until("the end", || host.ending(1).is_some());
                kill(deployer);
                stage.cable(host, true).unwrap();
            });
        },
    ]);
}

#[test]
fn the_deployer_is_lost_in_the_middle_of_the_copy() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let host = stage.actor("copying").unwrap();
    let version = stage.build(&installed("large").payload(200 << 10)).unwrap();
    let fleet = fleet(&stage, &host, &version);
    let mut deployer = at_work(&stage, &fleet, false);
    host.wait_until("the copy", || {
        host.tries("pgrep -f 'nix-store.*--import'").0 == Some(0)
    });
    kill(&mut deployer);
    host.assert_back();
    assert!(!host.root().join(&version[1..]).join("bin").exists());
    let rollout = fleet.deploy("").unwrap();
    assert_eq!(rollout.end("copying"), "kept", "{}", rollout.said);
    host.assert_kept(&version);
}

#[test]
fn an_activation_that_hangs_is_told_truthfully() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let host = stage.actor("far-hangs").unwrap();
    let version = installed("hangs").with(Fault::Hangs(Within::Units));
    let version = stage.build(&version).unwrap();
    let settings = QUICK.replace("40s", "10s");
    let hosts = [("far-hangs", version.as_str())];
    let fleet = Fleet::describe(&stage, "far-hangs", &settings, &hosts).unwrap();
    let rollout = fleet.deploy("").unwrap();
    assert_eq!(rollout.end("far-hangs"), "rolled-back", "{}", rollout.said);
    assert_eq!(rollout.code, Some(4), "{}", rollout.said);
    host.assert_back();
}

#[test]
fn a_disk_that_is_full_in_the_copy() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let options = HostOptions {
        room: Some(24 << 20),
        ..HostOptions::default()
    };
    let host = stage.actor_with("cramped", options).unwrap();
    let version = stage.build(&installed("large").payload(64 << 10)).unwrap();
    let rollout = fleet(&stage, &host, &version).deploy("").unwrap();
    assert_eq!(rollout.end("cramped"), "failed", "{}", rollout.said);
    assert_eq!(rollout.code, Some(1));
    assert!(rollout.said.contains("No space left"), "{}", rollout.said);
    host.assert_back();
    // Nix leaves what it had unpacked for its own collector.
    host.run("nix-store --gc").unwrap();
    let small = stage.build(&installed("2")).unwrap();
    let rollout = fleet(&stage, &host, &small).deploy("").unwrap();
    assert_eq!(rollout.end("cramped"), "kept", "{}", rollout.said);
}

#[test]
fn two_deployers_have_one_winner() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let host = stage.actor("wanted").unwrap();
    let versions = ["left", "right"].map(|name| stage.build(&slow(name)).unwrap());
    let rollouts = std::thread::scope(|scope| {
        let deploy = |number: usize| {
            let hosts = [("wanted", versions[number].as_str())];
            let name = format!("wanted-{number}");
            let fleet = Fleet::describe(&stage, &name, UNHURRIED, &hosts).unwrap();
            fleet.deploy("").unwrap()
        };
        let deployers = [0, 1].map(|number| scope.spawn(move || deploy(number)));
        deployers.map(|deployer| deployer.join().unwrap())
    });
    let ends = rollouts.each_ref().map(|r| r.end("wanted").to_owned());
    let won = ends.iter().position(|end| end == "kept").unwrap();
    let lost = &rollouts[1 - won];
    assert_eq!(
        (lost.code, ends[1 - won].as_str()),
        (Some(5), "refused"),
        "{}",
        lost.said
    );
    // Seen by the deployer, or by the host itself, if it came that close.
    let words = ["cannot begin: its upgrade 1 to", "transaction 1 is"];
    assert!(
        words.iter().any(|words| lost.said.contains(words)),
        "{}",
        lost.said
    );
    host.assert_kept(&versions[won]);
    assert_eq!(host.generations().len(), 2);
}

#[test]
fn a_host_that_is_busy_refuses() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let patient = installed("1").etc("backstop/nix.toml", "lock_wait = \"2s\"\n");
    let options = HostOptions {
        system: Some(stage.build(&patient).unwrap()),
        ..HostOptions::default()
    };
    let host = stage.actor_with("occupied", options).unwrap();
    let theirs = stage.bring_version(&installed("theirs"), &host).unwrap();
    let ours = stage.build(&installed("ours")).unwrap();
    let fleet = fleet(&stage, &host, &ours);
    let refused = |why: &str| {
        let rollout = fleet.deploy("").unwrap();
        assert_eq!(rollout.end("occupied"), "refused", "{}", rollout.said);
        assert_eq!(rollout.code, Some(5), "{}", rollout.said);
        assert!(rollout.said.contains(why), "{}", rollout.said);
    };
    // Somebody at the host tries a version.
    let (code, said) = host.tries(&format!(
        "backstop switch {theirs} --live --confirm-within 10m --detach"
    ));
    assert_eq!(code, Some(0), "{said}");
    on_trial(&host, &theirs);
    refused("cannot begin: its upgrade 1");
    assert_eq!(host.active().unwrap(), theirs);
    host.run("backstop rollback --wait").unwrap();
    host.assert_back();
    // Somebody else's `nixos-rebuild` is at work.
    host.run("systemd-run --quiet --collect --unit=holder flock /run/nixos/switch-to-configuration.lock sleep 1000")
        .unwrap();
    host.wait_until("the lock to be held", || {
        host.tries("flock -n /run/nixos/switch-to-configuration.lock true")
            .0
            == Some(1)
    });
    refused("not activated");
    host.assert_back();
    host.run("systemctl stop holder").unwrap();
    let rollout = fleet.deploy("").unwrap();
    assert_eq!(rollout.end("occupied"), "kept", "{}", rollout.said);
    host.assert_kept(&ours);
}
