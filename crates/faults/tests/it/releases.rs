//! Two releases of Debian side by side on one machine, each in a stateroot of its own.
//!
//! It takes a root of the other release: with `BACKSTOP_RELEASES=all` alone.

use std::time::Duration;

use serde_json::Value;
use testbed::cache::Cache;
use testbed::versions::Recipe;
use testbed::{Firmware, Fixture, Machine, Release, fixture, packages};

const LIMIT: Duration = Duration::from_secs(900);
/// The stateroot of the other release.
const OTHER: &str = "trixie";
/// Data of the first release.
const MARKER: &str = "/var/lib/precious";
/// Identity and settings of the host.
const OWN: &str = "cat /etc/machine-id /etc/hostname /etc/motd";
/// Versions: the one installed, and two of the other release.
const FIRST: u32 = 1;
const UNCONFIRMED: u32 = 2;
const KEPT: u32 = 3;

/// A machine, followed over its boots.
struct Story {
    machine: Machine,
    own: String,
}

impl Story {
    fn begin(machine: Machine) -> Self {
        machine.wait_ready(LIMIT).unwrap();
        let mut story = Self {
            machine,
            own: String::new(),
        };
        story.run(&format!(
            "echo precious >{MARKER} && echo two-releases >/etc/hostname && \
             echo 'edited here' >/etc/motd && test -s /etc/machine-id && sync"
        ));
        story.own = story.run(OWN);
        story
    }

    fn run(&self, script: &str) -> String {
        let said = self.machine.run(script);
        said.unwrap_or_else(|e| panic!("{script}: {e}\n{}", self.machine.console().tail()))
    }

    fn last(machine: &Machine) -> Value {
        let text = machine.run("backstop --json history -n 1");
        serde_json::from_str(&text.unwrap_or_default()).unwrap_or_default()
    }

    /// Begins a trial and follows it until it has ended so, and this version runs.
    fn tries(&mut self, command: &str, end: (&str, &str), version: u32) {
        let before = Self::last(&self.machine)["id"].clone();
        self.run("mountpoint -q /mnt || mount -o ro LABEL=repo /mnt");
        self.run(&format!("backstop {command} --boot --attempts 2 --detach"));
        let seen = |machine: &Machine| {
            // While it boots nobody answers.
            machine.console().find("TESTBED-READY")?;
            let last = Self::last(machine);
            let ended = last["outcome"]["end"].as_str()?.to_owned();
            let why = last["outcome"]["reason"]["why"].as_str().unwrap_or("");
            let runs = machine.run("cat /usr/lib/testbed-version").ok()?;
            let over = last["id"] != before && runs.trim() == version.to_string();
            over.then(|| (ended, why.to_owned()))
        };
        let told = self
            .machine
            .run_until(command, LIMIT, |machine| Ok(seen(machine)));
        let (ended, why) = told.unwrap();
        assert_eq!((ended.as_str(), why.as_str()), end, "{command}");
        println!("{:>5} s  {command}", self.machine.elapsed().as_secs());
    }

    /// Which release runs, and where; what is the host's own came along, and the first
    /// release's data is there in that one alone.
    fn runs(&self, release: &str, stateroot: &str) {
        let says = self.run("cat /etc/debian_version");
        assert!(says.starts_with(release), "{says}");
        assert_eq!(self.run(OWN), self.own);
        let status = self.status();
        let rows = status["deployments"].as_array().unwrap();
        let booted = rows.iter().find(|row| row["booted"] == true).unwrap();
        assert_eq!(booted["stateroot"], stateroot, "{status}");
        let data = self.run(&format!("cat {MARKER} 2>&1 || true"));
        assert_eq!(data.trim() == "precious", stateroot != OTHER, "{data}");
        // It is whole: what its image brings is there, and can be written.
        self.run("test -d /var/lib/systemd && test -k /var/tmp && echo x >/var/lib/written");
        let failed = self.run("systemctl --failed --no-legend --plain");
        let said = self.run("journalctl -b --no-pager -u 'backstop*' | tail -n 60");
        assert_eq!(failed.trim(), "", "{said}");
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.run("backstop --json status")).unwrap()
    }

    /// The stateroots of what boots by itself, in order.
    fn kept(&self) -> Vec<String> {
        let status = self.status();
        let rows = status["deployments"].as_array().unwrap();
        let good = rows.iter().filter(|row| row["boots"] != "by hand only");
        good.map(|row| row["stateroot"].as_str().unwrap().to_owned())
            .collect()
    }

    fn reboots(&mut self) {
        // The connection may be cut before the answer.
        let _ = self.machine.run("systemctl reboot --no-block");
        self.machine.wait_end(LIMIT).unwrap();
        self.machine.boot_again().unwrap();
        self.machine.wait_ready(LIMIT).unwrap();
    }
}

fn fixture(dir: &std::path::Path) -> Fixture {
    let cache = Cache::from_env();
    let binary = fixture::binary().unwrap();
    let at = dir.join("fixture");
    let fixture = Fixture::new(&cache, &at, &binary, &monitor::Silent).unwrap();
    let other = Release::Trixie;
    let added = fixture.add_release(UNCONFIRMED, other, "v2", &monitor::Silent);
    added.unwrap();
    let added = fixture.add_to(UNCONFIRMED, KEPT, Recipe::Good, "v3", &monitor::Silent);
    added.unwrap();
    fixture
}

#[test]
fn two_releases_of_debian_stand_side_by_side() {
    if !testing::all_releases() {
        return;
    }
    let needs = [packages::ROOT, packages::DISK, packages::MACHINE];
    if !testing::nothing_lacks(&packages::lacks(&needs)) {
        return;
    }
    let dir = fixture::work_dir().unwrap();
    let fixture = fixture(dir.path());
    let image = fixture.image(fixture::BRANCH, "host.img", &monitor::Silent);
    let mut options = fixture.machine(&image.unwrap(), Firmware::Bios).unwrap();
    options
        .more_disks
        .push(fixture.repo_disk("releases.img").unwrap());
    let mut story = Story::begin(Machine::boot(options).unwrap());
    story.runs("12", fixture::STATEROOT);

    let to = |version: u32| format!("switch /mnt:v{version} --stateroot {OTHER}");
    let live = story.machine.run(&format!(
        "mount -o ro LABEL=repo /mnt && backstop {} --live",
        to(KEPT)
    ));
    let live = live.unwrap_err().to_string();
    assert!(live.contains("that takes a reboot: --boot"), "{live}");

    let unconfirmed = to(UNCONFIRMED) + " --confirm-within 5s";
    story.tries(&unconfirmed, ("rolled-back", "deadline"), FIRST);
    story.runs("12", fixture::STATEROOT);

    story.tries(&to(KEPT), ("kept", ""), KEPT);
    story.runs("13", OTHER);
    assert_eq!(story.kept(), [OTHER, fixture::STATEROOT]);
    story.reboots();
    story.runs("13", OTHER);

    story.tries("rollback", ("kept", ""), FIRST);
    story.runs("12", fixture::STATEROOT);
    story.reboots();
    story.runs("12", fixture::STATEROOT);
}
