//! The rows of the table on real machines: firmware and boot loader start Debian's kernel;
//! systemd, sshd and Nix are Debian's; the deployer comes over Ethernet, with `nix copy`.
//! Here the machines have UEFI and systemd-boot; `machine_grub` has others.
//!
//! Some rows each time; all of them with `BACKSTOP_ROWS=all`, which is what
//! `cargo xtask nix-machines` does.

use std::process::{Child, Stdio};
use std::time::Instant;

use proof::{Actor, Ending, Fleet, Stage, installed};
use testbed::nixos::{BootLoader, Fault, NixMachine, Toplevel};
use testbed::packages;

/// What is to go well may take its time.
pub const UNHURRIED: &str = "[defaults]
target_user = \"root\"
copy_with = \"nix-copy\"
connect_timeout = \"60s\"
reconnect_timeout = \"60s\"
confirm_timeout = \"180s\"
activation_timeout = \"180s\"
boot_timeout = \"300s\"
";

/// The confirmation is not waited for long, but an emulated machine needs its time.
const QUICK: &str = "[defaults]
target_user = \"root\"
copy_with = \"nix-copy\"
connect_timeout = \"60s\"
reconnect_timeout = \"8s\"
confirm_timeout = \"12s\"
activation_timeout = \"180s\"
";

/// The boot never gets as far as to be checked.
pub const STUCK: &str = "[Unit]
Description=Never ends
DefaultDependencies=no
Conflicts=shutdown.target
Before=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sleep 1000
TimeoutStartSec=infinity
TimeoutStopSec=1
";

/// The stage, if a machine can be put on it.
pub fn stage() -> Option<Stage> {
    let needs = [packages::ROOT, packages::DISK, packages::MACHINE];
    // No package brings it.
    if !std::path::Path::new("/dev/net/tun").exists() {
        println!("skipped: needs /dev/net/tun");
        return None;
    }
    testing::nothing_lacks(&packages::missing(&needs))
        .then(crate::stage)
        .flatten()
}

/// Whether all rows are wanted.
pub fn all_rows() -> bool {
    std::env::var_os("BACKSTOP_ROWS").is_some_and(|rows| rows == "all")
}

/// A version that is sound until something is left in `/run`, which a reboot clears.
pub fn sound(version: &str) -> Toplevel {
    fragile(version, "/bin/sh -c 'test ! -e /run/spoilt'")
}

fn fragile(version: &str, command: &str) -> Toplevel {
    let unit = format!(
        "[Unit]\nDescription=Fragile\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={command}\n"
    );
    installed(version).unit("fragile.service", &unit)
}

/// A machine and what it has been through.
pub struct Story<'a> {
    pub stage: &'a Stage,
    loader: BootLoader,
    pub machine: Actor<NixMachine>,
    /// What it runs when all is well.
    pub good: String,
    pub upgrades: usize,
    pub generations: usize,
    started: Instant,
}

impl<'a> Story<'a> {
    pub fn begin(stage: &'a Stage, name: &str, loader: BootLoader, first: &Toplevel) -> Self {
        let started = Instant::now();
        let machine = stage.machine(name, loader, first).unwrap();
        let good = machine.first().to_owned();
        let mut story = Self {
            stage,
            loader,
            machine,
            good,
            upgrades: 0,
            generations: 1,
            started,
        };
        story.done("made and up");
        story
    }

    /// Says how long it took since the last time.
    pub fn done(&mut self, row: &str) {
        let took = self.started.elapsed().as_secs_f64();
        println!("{:8} {took:6.1} s  {row}", self.machine.name());
        self.started = Instant::now();
    }

    pub fn build(&self, version: Toplevel) -> String {
        let version = version.on_machine(self.loader);
        self.stage.build(&version).unwrap()
    }

    /// Brings a version by `nix copy`.
    pub fn copy(&self, version: Toplevel) -> String {
        let version = self.build(version);
        let name = self.machine.name();
        let copy = format!("nix copy --no-check-sigs --to ssh://root@{name} {version}");
        self.stage.operator().run(&copy).unwrap();
        version
    }

    /// One more rollout of this version.
    fn fleet(&mut self, settings: &str, version: &str) -> Fleet<'a> {
        self.upgrades += 1;
        let name = self.machine.name();
        let fleet = format!("{name}-{}", self.upgrades);
        Fleet::describe(self.stage, &fleet, settings, &[(name, version)]).unwrap()
    }

    /// The deployer does it, and it is kept.
    pub fn keeps(&mut self, settings: &str, version: Toplevel) {
        let version = self.build(version);
        let rollout = self.fleet(settings, &version).deploy("").unwrap();
        let machine = &self.machine;
        assert_eq!(
            (rollout.code, rollout.end(machine.name())),
            (Some(0), "kept"),
            "{}\n{}",
            rollout.said,
            machine.testimony()
        );
        assert_eq!(machine.wait_for_ending(self.upgrades).end, "kept");
        machine.assert_kept(&version);
        self.generations += 1;
        let generations = machine.generations().unwrap();
        let numbers: Vec<_> = generations.iter().map(|(number, _)| *number).collect();
        let all: Vec<_> = (1..).take(self.generations).collect();
        assert_eq!(numbers, all);
        assert_eq!(generations.last().map(|(_, v)| v), Some(&version));
        self.good = version;
    }

    /// It went back by itself, with one of these reasons.
    #[track_caller]
    pub fn went_back(&self, reasons: &[&str]) -> Ending {
        let machine = &self.machine;
        let ending = machine.wait_for_ending(self.upgrades);
        let said = || format!("{ending:?}\n{}\n{}", machine.console(), machine.testimony());
        assert_eq!(ending.end, "rolled-back", "{}", said());
        assert!(reasons.contains(&ending.why.as_str()), "{}", said());
        machine.assert_back_on(&self.good);
        assert_eq!(machine.generations().unwrap().len(), self.generations);
        ending
    }

    /// A deployer that does not confirm before the gate is opened.
    pub fn deployer(&mut self, settings: &str, version: &str) -> Deployer<'a> {
        let gate = format!("/root/gate-{}", self.machine.name());
        let stage = self.stage;
        stage.operator().run(&format!("rm -f {gate}")).unwrap();
        let settings = format!(
            "{settings}\n[defaults.checks.gate]\ncommand = [\"sh\", \"-c\", \"until test -e {gate}; do sleep 0.2; done\"]\ntimeout = \"600s\"\n"
        );
        let fleet = self.fleet(&settings, version);
        let mut command = stage.operator().command(&fleet.line("deploy")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        Deployer { stage, child, gate }
    }

    /// The same, once the version is on trial and healthy.
    fn in_the_window(&mut self, version: &str) -> Deployer<'a> {
        let deployer = self.deployer(UNHURRIED, version);
        self.machine.wait_until("a healthy trial", || {
            self.machine.status()["under_way"]["phase"]["healthy"] == true
        });
        assert_eq!(self.machine.active().unwrap(), version);
        assert_eq!(self.machine.default().unwrap(), self.good, "P2");
        deployer
    }
}

/// A deployer at work.
pub struct Deployer<'a> {
    stage: &'a Stage,
    child: Child,
    gate: String,
}

impl Deployer<'_> {
    /// Lets it go on; what it says of the host in the end is true.
    pub fn goes_on(self) {
        self.stage
            .operator()
            .run(&format!("touch {}", self.gate))
            .unwrap();
        let output = self.child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_ne!(output.status.code(), Some(0), "{said}");
        let ends = ["rolled-back", "left-alone", "unreachable"];
        let told = ends
            .iter()
            .any(|end| said.contains(&format!("\"end\":\"{end}\"")));
        assert!(told, "{said}");
    }
}

fn nobody_confirms(story: &mut Story<'_>) {
    let version = story.build(sound("silent"));
    let deployer = story.deployer(QUICK, &version);
    story.went_back(&["deadline"]);
    deployer.goes_on();
    story.done("nobody confirms: back");
}

fn the_way_is_cut(story: &mut Story<'_>, name: &str, fault: Fault) {
    let boots = story.machine.boots();
    let version = story.build(sound(name).with(fault));
    let rollout = story.fleet(QUICK, &version).deploy("").unwrap();
    assert_ne!(rollout.code, Some(0), "{}", rollout.said);
    story.went_back(&["checks-failed", "deadline"]);
    assert_eq!(story.machine.boots(), boots);
    story.machine.wait_until("ssh", || {
        let said = story.stage.operator().output(&format!(
            "ssh -o BatchMode=yes -o ConnectTimeout=5 {} true",
            story.machine.name()
        ));
        said.is_ok_and(|said| said.status.success())
    });
    story.done(&format!("{name}: back"));
}

fn the_supervisor_is_killed(story: &mut Story<'_>) {
    // Keeps it busy with the trial.
    let slow = "command = [\"sleep\", \"200\"]\ntimeout = \"300s\"\n";
    let version = story.copy(sound("orphan").etc("backstop/checks.d/slow.toml", slow));
    let machine = &story.machine;
    story.upgrades += 1;
    let (code, said) = machine.tries(&format!(
        "backstop switch {version} --live --check-deadline 60s --detach"
    ));
    assert_eq!(code, Some(0), "{said}");
    machine.wait_until("the trial", || machine.active().is_ok_and(|a| a == version));
    machine
        .run("systemctl kill --signal=KILL backstop-supervise.service; systemctl stop backstop-supervise.service")
        .unwrap();
    story.went_back(&["deadline", "supervisor-lost"]);
    story.done("the supervisor is killed: back");
}

pub fn a_reboot_in_the_window(story: &mut Story<'_>) {
    let boots = story.machine.boots();
    let version = story.build(sound("rebooted"));
    let deployer = story.in_the_window(&version);
    story.machine.tries("systemctl reboot");
    story.machine.wait_for_boot(boots + 1).unwrap();
    story.went_back(&["rebooted", "interrupted"]);
    assert_eq!(story.machine.boots(), boots + 1);
    deployer.goes_on();
    story.done("a reboot in the window: back");
}

pub fn a_power_cut_in_the_window(story: &mut Story<'_>) {
    let boots = story.machine.boots();
    let version = story.build(sound("cut-off"));
    let deployer = story.in_the_window(&version);
    story.machine.power_off();
    story.machine.power_on().unwrap();
    story.machine.wait_for_boot(boots + 1).unwrap();
    story.went_back(&["rebooted", "interrupted"]);
    assert_eq!(story.machine.boots(), boots + 1);
    deployer.goes_on();
    story.done("a power cut in the window: back");
}

/// What `spoils` does is still so when the version before is active again.
fn the_rollback_fails(story: &mut Story<'_>, name: &str, spoils: &str) {
    let boots = story.machine.boots();
    let version = story.build(fragile(name, spoils));
    let deployer = story.deployer(QUICK, &version);
    story.machine.wait_for_boot(boots + 1).unwrap();
    let ending = story.went_back(&["deadline"]);
    assert_eq!(ending.record["outcome"]["escalated"], true, "{ending:?}");
    assert_eq!(story.machine.boots(), boots + 1);
    deployer.goes_on();
    story.done(&format!("the rollback fails, {name}: the default boots"));
}

#[test]
fn trials_on_a_real_machine() {
    let Some(stage) = stage() else {
        return;
    };
    let mut story = Story::begin(&stage, "iron", BootLoader::SystemdBoot, &sound("1"));
    let boots = story.machine.boots();
    story.keeps(UNHURRIED, sound("2"));
    assert_eq!(story.machine.boots(), boots);
    story.done("all well: kept");
    the_way_is_cut(&mut story, "refuses", Fault::SshRefuses);
    a_power_cut_in_the_window(&mut story);
    let touches = "/bin/touch /run/spoilt";
    the_rollback_fails(&mut story, "unhealthy", touches);
    if all_rows() {
        nobody_confirms(&mut story);
        the_way_is_cut(&mut story, "cut", Fault::NetworkCut);
        the_supervisor_is_killed(&mut story);
        a_reboot_in_the_window(&mut story);
        let mounts = "/bin/mount -t tmpfs -o ro none /run/nixos";
        the_rollback_fails(&mut story, "refused", mounts);
    }
}

/// Asks for a boot trial and gives the version.
pub fn boots_once(story: &mut Story<'_>, version: Toplevel, options: &str) -> String {
    let version = story.copy(version);
    let boots = story.machine.boots();
    story.upgrades += 1;
    story.generations += 1;
    // Whoever waits for it is cut off by the reboot.
    let (_, said) = story.machine.tries(&format!(
        "backstop switch {version} --boot --detach {options}"
    ));
    let machine = &story.machine;
    machine.wait_until(&format!("the reboot, after: {said}"), || {
        machine.boots() > boots
    });
    version
}

/// The boot loader started the version once, and what it starts now is the default.
pub fn back_by_the_loader(story: &mut Story<'_>, boots: usize, reasons: &[&str], row: &str) {
    story.machine.wait_for_boot(boots + 2).unwrap();
    story.went_back(reasons);
    let machine = &story.machine;
    assert_eq!(machine.boots(), boots + 2, "{}", machine.testimony());
    assert!(!machine.boots_something_once().unwrap());
    story.done(row);
}

/// Its versions know nothing of backstop, which looks after the trials' boots itself.
#[test]
fn boot_trials_on_a_real_machine() {
    let Some(stage) = stage() else {
        return;
    };
    let mut story = Story::begin(
        &stage,
        "steel",
        BootLoader::SystemdBoot,
        &Toplevel::new("1"),
    );
    let boots = story.machine.boots();
    let by_boot = format!("{UNHURRIED}trial = \"boot\"\n");
    story.keeps(&by_boot, Toplevel::new("2"));
    assert_eq!(story.machine.boots(), boots + 1);
    story.done("a boot trial: kept");

    let boots = story.machine.boots();
    boots_once(&mut story, Toplevel::new("panics").with(Fault::Panics), "");
    let row = "a boot trial, a kernel panic: back";
    back_by_the_loader(&mut story, boots, &["attempts-used-up"], row);

    if all_rows() {
        a_power_cut_in_a_boot_trial(&mut story);
    }
}

pub fn a_power_cut_in_a_boot_trial(story: &mut Story<'_>) {
    let boots = story.machine.boots();
    let stuck = Toplevel::new("stuck").unit("stuck.service", STUCK);
    let version = boots_once(story, stuck, "--boot-deadline 10m");
    let machine = &story.machine;
    machine.wait_until("the boot", || machine.active().is_ok_and(|a| a == version));
    assert_eq!(machine.default().unwrap(), story.good, "P2");
    machine.power_off();
    machine.power_on().unwrap();
    let row = "a boot trial, a power cut: back";
    back_by_the_loader(story, boots, &["attempts-used-up"], row);
}
