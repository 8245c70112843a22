//! A machine with a simulated disk: it boots what the rule decides, and one of
//! its versions may be unhealthy.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use durable::Fs;
use durable::sim::SimFs;
use engine::{
    Deadman, DriveError, Driver, Event, Host, HostResult, Job, Journal, Memory, Now, Observer,
    Pause, Preflight, Record, Request, Running, Scope, Transaction, TrialKind, VersionId,
};
use health::{Baseline, CheckResult, Need, Report, Stage, Status, Verdict};
use image::ImageHost;
use machine::{LiveSwitch, Machine, Result};
use monitor::{Monitor, Silent};
use ostree::{Checksum, CommitOptions, Repo, RepoMode};
use sysroot::{BootOrder, Origin, StageKargs, StageRequest, Sysroot};

pub const ROOT: &str = "/host";
const MEMORY: &str = "/host/ostree/backstop";
/// What a person adds.
pub const EDITED: &str = "etc/added/mine";
/// A kernel argument with which nothing is healthy.
pub const BAD_ARG: &str = "bad=1";
pub const RELEASES: &str = "/releases";
/// More starts than any transaction needs.
const MOST_BOOTS: usize = 20;

/// What the kernel of a simulated machine would tell.
#[derive(Debug, Default)]
struct Kernel {
    boot: u32,
    cmdline: String,
    root: PathBuf,
    /// What a live switch made active, until the next boot.
    active: Option<PathBuf>,
}

#[derive(Debug, Clone)]
struct SimMachine(Arc<Mutex<Kernel>>);

impl Machine for SimMachine {
    fn boot_id(&self) -> Result<String> {
        Ok(self.0.lock().unwrap().boot.to_string())
    }
    fn uptime(&self) -> Result<Duration> {
        Ok(Duration::from_secs(1))
    }
    fn cmdline(&self) -> Result<String> {
        Ok(self.0.lock().unwrap().cmdline.clone())
    }
    fn start(&mut self, _: &str, _: Option<Duration>, _: &[&str]) -> Result<()> {
        Ok(())
    }
    fn cancel(&mut self, _: &str, _: Option<&str>) -> Result<()> {
        Ok(())
    }
    fn refuses_live(&self, _: &LiveSwitch<'_>) -> Option<String> {
        None
    }
    fn switch_live(&mut self, switch: &LiveSwitch<'_>) -> Result<()> {
        self.0.lock().unwrap().active = Some(switch.to.to_owned());
        Ok(())
    }
    fn revert_live(&mut self, _: &LiveSwitch<'_>) -> Result<()> {
        self.0.lock().unwrap().active = None;
        Ok(())
    }
    fn reboot(&mut self, _: bool) -> Result<()> {
        Ok(())
    }
    fn booted_root(&self) -> Result<PathBuf> {
        Ok(self.0.lock().unwrap().root.clone())
    }
    fn active_root(&self) -> Result<PathBuf> {
        let kernel = self.0.lock().unwrap();
        Ok(kernel.active.clone().unwrap_or(kernel.root.clone()))
    }
}

/// The real host, whose checks find what they are told to.
struct Checked {
    host: ImageHost,
    unhealthy: Option<VersionId>,
}

impl Checked {
    fn report(&mut self, stage: Stage) -> HostResult<Report> {
        let mut results = Vec::new();
        let active = self.host.machine().active_root()?;
        let unhealthy = self.unhealthy.as_ref().map(VersionId::as_str);
        let bad_args = self.host.machine().cmdline()?.contains(BAD_ARG);
        if bad_args || unhealthy.is_some_and(|v| active.to_string_lossy().contains(v)) {
            let why = "no answer".to_owned();
            results.push(CheckResult {
                name: "web".to_owned(),
                need: Need::Required,
                status: Status::Failed { why },
                verdict: Verdict::Counts,
                output: String::new(),
                tries: 1,
                took_ms: 1,
            });
        }
        Ok(Report {
            stage,
            results,
            took_ms: 1,
        })
    }
}

impl Host for Checked {
    fn describe(&self) -> String {
        self.host.describe()
    }
    fn now(&mut self) -> HostResult<Now> {
        let mut now = self.host.now()?;
        // The same records in every run.
        now.time = 1;
        Ok(now)
    }
    fn running(&mut self) -> HostResult<Running> {
        self.host.running()
    }
    fn stage(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> HostResult<()> {
        self.host.stage(job, monitor)
    }
    fn preflight(&mut self, _: Job<'_>, _: &dyn Monitor) -> HostResult<Preflight> {
        let report = Report {
            stage: Stage::Preflight,
            results: Vec::new(),
            took_ms: 1,
        };
        let baseline = Baseline::default();
        let refuses_live = None;
        Ok(Preflight {
            report,
            baseline,
            refuses_live,
        })
    }
    fn activate(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> HostResult<()> {
        self.host.activate(job, monitor)
    }
    fn run_checks(&mut self, _: Job<'_>, stage: Stage, _: &dyn Monitor) -> HostResult<Report> {
        self.report(stage)
    }
    fn keep(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> HostResult<()> {
        self.host.keep(job, monitor)
    }
    fn roll_back(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> HostResult<()> {
        self.host.roll_back(job, monitor)
    }
    fn discard(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> HostResult<()> {
        self.host.discard(job, monitor)
    }
    fn reboot(&mut self, force: bool) -> HostResult<()> {
        self.host.reboot(force)
    }
    fn arm_deadman(&mut self, deadman: Deadman, after: Duration) -> HostResult<()> {
        self.host.arm_deadman(deadman, after)
    }
    fn disarm_deadman(
        &mut self,
        transaction: &Transaction,
        except: Option<Deadman>,
    ) -> HostResult<()> {
        self.host.disarm_deadman(transaction, except)
    }
    fn evict_worker(&mut self) -> HostResult<()> {
        self.host.evict_worker()
    }
}

/// Marks on the disk's record what the world was told of.
struct Marks<'a>(&'a SimFs);

impl Observer for Marks<'_> {
    fn recorded(&self, record: &Record) {
        if record.outcome.is_some() {
            self.0.mark("the end");
        }
    }
    fn acting(&self, _: &engine::Action) {}
    fn note(&self, _: &str) {}
}

/// A host on a simulated disk.
pub struct Simulated<'a> {
    fs: &'a SimFs,
    kernel: Arc<Mutex<Kernel>>,
    unhealthy: Option<VersionId>,
    /// How versions are tried.
    pub kind: TrialKind,
    /// Where versions are to go, if not into the stateroot that runs.
    pub stateroot: Option<&'static str>,
    /// Whether a person edits `/etc` while a version is ready and waits.
    pub edits: bool,
    /// Boots of a version on trial since this was made.
    pub trial_boots: usize,
}

/// A boot order with one good deployment.
fn only(good: sysroot::DeploymentId) -> BootOrder {
    BootOrder {
        good: vec![good],
        ..BootOrder::default()
    }
}

pub fn write(fs: &SimFs, path: &str, content: &str) {
    let path = Path::new(path);
    durable::create_dir_all(fs, path.parent().unwrap(), 0o755).unwrap();
    durable::publish_file(fs, path, content.as_bytes(), 0o644).unwrap();
}

fn commit(fs: &SimFs, repo: &Repo, name: &str) -> Checksum {
    let tree = format!("/trees/{name}");
    for (path, what) in [
        ("usr/lib/modules/1/vmlinuz", "kernel"),
        ("usr/lib/modules/1/initramfs.img", "initramfs"),
        ("usr/lib/version", "version"),
        ("usr/etc/default", "default"),
    ] {
        write(fs, &format!("{tree}/{path}"), &format!("{what} {name}"));
    }
    let options = CommitOptions {
        branch: Some("stable".to_owned()),
        timestamp: Some(1),
        ..CommitOptions::default()
    };
    let summary = repo.commit_dir(Path::new(&tree), &options, &Silent);
    summary.unwrap().checksum
}

fn no_reserve(fs: &SimFs, repo: &str) {
    let path = format!("{repo}/config");
    let config = durable::read_to_string(fs, Path::new(&path)).unwrap();
    write(fs, &path, &format!("{config}min-free-space-size=0MB\n"));
}

/// A disk with version 1 deployed and published, and 2 released.
pub fn disk() -> (SimFs, VersionId, VersionId) {
    let fs = SimFs::new();
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    Sysroot::create(shared.clone(), Path::new(ROOT), RepoMode::Bare).unwrap();
    no_reserve(&fs, "/host/ostree/repo");
    Repo::create(shared.clone(), Path::new(RELEASES), RepoMode::Archive).unwrap();
    no_reserve(&fs, RELEASES);
    let sysroot = open(&fs);
    sysroot.add_stateroot("debian").unwrap();
    sysroot.set_boot_settings(&Default::default()).unwrap();
    let one = commit(&fs, sysroot.repo(), "one");
    let request = StageRequest {
        stateroot: "debian".into(),
        commit: one,
        merge_from: None,
        origin: Origin::following("stable"),
        kargs: StageKargs::Local("ro".parse().unwrap()),
    };
    let good = sysroot.stage(&request, &Silent).unwrap().deployment;
    sysroot.publish(&only(good), &Silent).unwrap();
    let releases = Repo::open(shared, Path::new(RELEASES)).unwrap();
    let two = commit(&fs, &releases, "two");
    let version = |c: Checksum| VersionId::new(c.to_string());
    (fs, version(one), version(two))
}

/// The sysroot of a simulated disk.
pub fn open(fs: &SimFs) -> Sysroot {
    Sysroot::open(Arc::new(fs.clone()), Path::new(ROOT)).unwrap()
}

impl<'a> Simulated<'a> {
    /// The machine of this disk, switched off. `boot` is more than any boot
    /// before had.
    pub fn new(fs: &'a SimFs, boot: u32, unhealthy: Option<&VersionId>) -> Self {
        let kernel = Kernel {
            boot,
            ..Kernel::default()
        };
        Self {
            fs,
            kernel: Arc::new(Mutex::new(kernel)),
            unhealthy: unhealthy.cloned(),
            kind: TrialKind::Boot,
            stateroot: None,
            edits: false,
            trial_boots: 0,
        }
    }

    /// Starts the machine, as far as its kernel.
    pub fn boot(&mut self) {
        let sysroot = open(self.fs);
        let start = sysroot.simulate_boot().unwrap();
        if start.attempts_left.is_some() {
            self.trial_boots += 1;
            self.fs.mark(&format!("trial boot {}", self.trial_boots));
        }
        let mut kernel = self.kernel.lock().unwrap();
        kernel.boot += 1;
        kernel.root = sysroot.layout().deployment(&start.deployment);
        kernel.cmdline = start.cmdline;
        kernel.active = None;
    }

    /// The version that was booted.
    pub fn running(&self) -> VersionId {
        let mut host = self.host();
        host.running().unwrap().version
    }

    fn host(&self) -> ImageHost {
        let machine = Box::new(SimMachine(Arc::clone(&self.kernel)));
        ImageHost::over(Arc::new(self.fs.clone()), Path::new(ROOT), machine).unwrap()
    }

    pub fn journal(&self) -> Journal {
        Journal::new(Arc::new(self.fs.clone()), Path::new(MEMORY))
    }

    pub fn memory(&self) -> Memory {
        self.journal().load().unwrap()
    }

    fn drive(
        &self,
        what: &dyn Fn(&mut Driver<'_>) -> std::result::Result<Pause, DriveError>,
    ) -> std::result::Result<Pause, DriveError> {
        let mut host = Checked {
            host: self.host(),
            unhealthy: self.unhealthy.clone(),
        };
        let journal = self.journal();
        let mut driver = Driver {
            host: &mut host,
            journal: &journal,
            observer: &Marks(self.fs),
            monitor: &Silent,
            scope: Scope::All,
            patience: Duration::ZERO,
        };
        what(&mut driver)
    }

    /// Asks for a version.
    pub fn request(&self, target: &VersionId) -> std::result::Result<Pause, DriveError> {
        let mut request = Request::new(target.clone());
        request.source = format!("{RELEASES}:stable");
        request.kind = self.kind;
        if let Some(name) = self.stateroot {
            let asked = self.host().ask_for_stateroot(&mut request, name);
            asked.map_err(|e| DriveError::Host(Box::new(e)))?;
        }
        self.drive(&move |driver| driver.request(request.clone()))
    }

    /// Asks for the version that runs, with these kernel arguments.
    pub fn request_kargs(&self, kargs: &str) -> std::result::Result<Pause, DriveError> {
        let host = self.host();
        let mut request = Request::new(self.running());
        let asked = host.ask_for_kargs(&mut request, &kargs.parse().unwrap());
        asked.map_err(|e| DriveError::Host(Box::new(e)))?;
        self.drive(&move |driver| driver.request(request.clone()))
    }

    /// The command line of the kernel that runs.
    pub fn cmdline(&self) -> String {
        self.kernel.lock().unwrap().cmdline.clone()
    }

    /// Goes on with what is open in the boot that is, as another process does
    /// after one was killed.
    pub fn go_on(&mut self) {
        let pause = self.drive(&|driver| driver.resume()).unwrap();
        self.run(pause);
    }

    /// Lets the machine run, and boot as often as it has to, until no transaction
    /// is open. A process that fails ends, and the machine is started again.
    pub fn run(&mut self, first: Pause) {
        self.run_until_killed(first, usize::MAX);
    }

    /// The same, until the process is killed at a call.
    pub fn run_until_killed(&mut self, first: Pause, call: usize) {
        let mut pause = first;
        for _ in 0..MOST_BOOTS {
            if self.fs.call_count() > call {
                return;
            }
            pause = match pause {
                Pause::Idle(_) => return,
                Pause::Ready => {
                    if self.edits {
                        self.edit();
                    }
                    let tx = self.memory().state.open().unwrap().transaction.id;
                    let go = Event::GoAhead {
                        tx,
                        reboot: true,
                        baseline: None,
                    };
                    let gone = self.drive(&move |driver| driver.feed(go.clone()));
                    gone.unwrap_or(Pause::AwaitingBoot)
                }
                Pause::Rebooting | Pause::AwaitingBoot => self.power_on(),
                other => panic!("it hangs: {other:?}"),
            };
        }
        panic!("it never comes to an end");
    }

    /// Adds a file to the `/etc` of what runs.
    fn edit(&self) {
        let root = self.kernel.lock().unwrap().root.clone();
        write(self.fs, root.join(EDITED).to_str().unwrap(), "mine");
        self.fs.mark("edited");
    }

    /// Boots and settles what is open.
    pub fn power_on(&mut self) -> Pause {
        self.boot();
        let settled = self.drive(&|driver| driver.settle());
        settled.unwrap_or(Pause::AwaitingBoot)
    }
}
