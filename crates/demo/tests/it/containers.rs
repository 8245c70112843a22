//! Upgrades under real systemd, with every reboot taking half a second.

use testbed::versions::Recipe;
use testbed::{Fixture, fixture, packages};

use crate::able;
use crate::container::Host;
use crate::stateroots::two_systems;

/// One fixture for all, since making it takes longer than any story.
fn with_fixture(tell: impl FnOnce(&Fixture)) {
    if !able(&[packages::ROOT, packages::CONTAINER]) {
        return;
    }
    let dir = fixture::work_dir().unwrap();
    let binary = fixture::binary().unwrap();
    let cache = testbed::cache::Cache::from_env();
    let fixture = Fixture::new(
        &cache,
        &dir.path().join("fixture"),
        &binary,
        &monitor::Silent,
    );
    let fixture = fixture.unwrap();
    for (number, recipe) in [
        (2, Recipe::Good),
        (3, Recipe::SshdBroken),
        (4, Recipe::StuckAtBoot),
        (5, Recipe::Configured),
        (6, Recipe::Misconfigured),
        (7, Recipe::Configured),
        (8, Recipe::Good),
        (9, Recipe::Good),
    ] {
        let branch = format!("v{number}");
        fixture
            .add(number, recipe, &branch, &monitor::Silent)
            .unwrap();
    }
    tell(&fixture);
}

fn end(end: &str, why: &str) -> (String, String) {
    (end.to_owned(), why.to_owned())
}

#[test]
fn upgrades_under_systemd_end_as_they_should() {
    with_fixture(|fixture| {
        healthy_is_kept(fixture);
        broken_sshd_is_put_back(fixture);
        stuck_boots_use_up_the_attempts(fixture);
        the_supervisor_may_be_killed(fixture);
        a_person_confirms_or_not(fixture);
        the_timer_follows_and_does_not_try_twice(fixture);
        configuration_is_tried_live(fixture);
        two_systems(fixture, [2, 8, 9]);
    });
}

fn healthy_is_kept(fixture: &Fixture) {
    let mut host = Host::new(fixture, "healthy");
    let said = host.run("backstop switch /sysroot/releases:v2 --boot --no-reboot");
    host.wait_until("waiting for somebody's reboot", |host| {
        host.status()["under_way"]["phase"]["phase"] == "awaiting-boot"
    });
    // It is published already; the shutdown takes this along (P11).
    host.run("echo 'a late note' >/etc/motd; rm /etc/issue");
    host.run("systemctl reboot");
    assert_eq!(host.wait_for_end(1), end("kept", ""), "{said}");
    assert_eq!(host.version(), "2");
    assert_eq!(
        host.run("cat /etc/motd; ls /etc/issue"),
        "a late note\nls: cannot access '/etc/issue': No such file or directory\n"
    );
    host.wait_until("boot-complete.target", |host| {
        host.run("systemctl is-active boot-complete.target").trim() == "active"
    });
    // A good system may lose power as often as it likes (P6).
    for _ in 0..3 {
        host.power_cut();
        host.wait_until("version 2 again", |host| host.version() == "2");
    }
    assert!(host.status()["attempts_left"].is_null());
}

fn broken_sshd_is_put_back(fixture: &Fixture) {
    let mut host = Host::new(fixture, "sshd");
    host.run("backstop switch /sysroot/releases:v3 --boot");
    assert_eq!(host.wait_for_end(1), end("rolled-back", "checks-failed"));
    assert_eq!(host.version(), "1");
    let history = host.run("backstop history");
    assert!(history.contains("ssh.service"), "{history}");
    let refused = host.run("backstop switch /sysroot/releases:v3 --boot");
    assert!(refused.contains("backstop forgive"), "{refused}");
}

fn stuck_boots_use_up_the_attempts(fixture: &Fixture) {
    let mut host = Host::new(fixture, "stuck");
    host.run("backstop switch /sysroot/releases:v4 --boot --attempts 2 --boot-deadline 5s");
    let (how, _) = host.wait_for_end(1);
    assert_eq!(how, "rolled-back");
    host.wait_until("version 1", |host| host.version() == "1");
}

fn the_supervisor_may_be_killed(fixture: &Fixture) {
    let mut host = Host::new(fixture, "killed");
    host.run("backstop switch /sysroot/releases:v2 --boot --detach");
    host.run("systemctl kill -s KILL backstop-supervise.service");
    // systemd starts it again, and it carries on.
    assert_eq!(host.wait_for_end(1), end("kept", ""));
    assert_eq!(host.version(), "2");
}

fn a_person_confirms_or_not(fixture: &Fixture) {
    let mut host = Host::new(fixture, "person");
    let healthy = |host: &Host<'_>| host.status()["under_way"]["phase"]["healthy"] == true;
    host.run("backstop switch /sysroot/releases:v2 --boot --confirm-within 2s");
    assert_eq!(host.wait_for_end(1), end("rolled-back", "deadline"));
    host.wait_until("version 1", |host| host.version() == "1");
    host.run("backstop forgive $(backstop --json history | sed 's/.*\"target\":\"\\([0-9a-f]*\\).*/\\1/')");
    host.run("backstop switch /sysroot/releases:v2 --boot --confirm-within 100s");
    host.wait_until("a healthy trial", healthy);
    // Until then the default is the version before (P2).
    let first = host.status()["deployments"][0]["known"].clone();
    assert_ne!(first, "untried");
    let said = host.run("backstop confirm");
    assert!(said.contains("kept"), "said: {said:?}");
    assert_eq!(host.wait_for_end(2), end("kept", ""));
}

fn the_timer_follows_and_does_not_try_twice(fixture: &Fixture) {
    let mut host = Host::new(fixture, "timer");
    let timer = host.run("systemctl is-active backstop-upgrade.timer");
    assert_eq!(timer.trim(), "active");
    host.run(
        "mkdir -p /etc/backstop && printf '[upgrade]\\nsource = \"/sysroot/releases\"\\nref = \"v3\"\\n' \
         >/etc/backstop/backstop.toml",
    );
    host.run("systemctl start backstop-upgrade.service");
    assert_eq!(host.wait_for_end(1), end("rolled-back", "checks-failed"));
    host.wait_until("version 1", |host| host.version() == "1");
    let again = host.run("systemctl start backstop-upgrade.service && echo fine");
    assert!(again.contains("fine"), "{again}");
    assert!(host.status()["under_way"].is_null());
    // A new version is tried at once (P4).
    host.run("sed -i s/v3/v2/ /etc/backstop/backstop.toml");
    host.run("systemctl start backstop-upgrade.service");
    assert_eq!(host.wait_for_end(2), end("kept", ""));
    assert_eq!(host.version(), "2");
}

/// A live trial under systemd: what runs is restarted with the new configuration, and
/// with the old one again when that fails; the machine is never rebooted.
fn configuration_is_tried_live(fixture: &Fixture) {
    let mut host = Host::new(fixture, "live");
    let drop_in = format!("cat /etc/{}", testbed::versions::SSHD_DROP_IN);
    let active = |host: &Host<'_>| host.run("systemctl is-active ssh.service").trim() == "active";
    host.wait_until("sshd", active);
    host.run("backstop switch /sysroot/releases:v5 --live");
    let ended = host.wait_for_end(1);
    assert_eq!(ended, end("kept", ""), "{}", host.run("backstop history"));
    assert_eq!(host.run(&drop_in), "# version 5\n");

    host.run("echo 'a note of the admin' >/etc/motd");
    host.run("backstop switch /sysroot/releases:v6 --live");
    let (how, why) = host.wait_for_end(2);
    assert_eq!(how, "rolled-back", "{why}");
    assert_eq!(host.run(&drop_in), "# version 5\n");
    host.wait_until("sshd with the old configuration", active);
    assert_eq!(host.run("sshd -t"), "");
    // Local changes survive (P11).
    assert_eq!(host.run("cat /etc/motd"), "a note of the admin\n");

    // What is changed during a trial survives its end as well.
    host.run("backstop switch /sysroot/releases:v7 --live --confirm-within 5s");
    assert_eq!(host.run(&drop_in), "# version 7\n");
    host.run("echo 'another note' >/etc/motd; rm /etc/issue");
    assert_eq!(host.wait_for_end(3), end("rolled-back", "deadline"));
    assert_eq!(host.run(&drop_in), "# version 5\n");
    assert_eq!(
        host.run("cat /etc/motd; ls /etc/issue"),
        "another note\nls: cannot access '/etc/issue': No such file or directory\n"
    );
    host.run("backstop switch /sysroot/releases:v2 --live");
    let refused = host.run("backstop history");
    assert!(refused.contains("outside /etc"), "{refused}");
    assert_eq!(host.boots, 1, "nothing of this needs a reboot");

    // What was kept live is what boots.
    host.power_cut();
    host.wait_until("a new boot", |host| host.version() == "1");
    assert_eq!(host.run(&drop_in), "# version 5\n");
    assert_eq!(host.run("cat /etc/motd"), "another note\n");
}
