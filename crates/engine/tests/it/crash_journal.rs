//! The journal cut off anywhere while a transaction is driven.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use durable::sim::{Crashes, SimFs, When};
use engine::{
    Action, BootId, Deadman, Driver, Event, Host, HostResult, Job, Journal, Memory, Now, Observer,
    Pause, Phase, Preflight, Record, Request, Running, Scope, Standing, State, Transaction,
    TrialKind, VersionId,
};
use health::{Baseline, CheckResult, Need, Report, Stage, Status, Verdict};
use monitor::{Monitor, Silent};

const DIR: &str = "/ostree/backstop";

fn old() -> VersionId {
    VersionId::new("old")
}

fn new() -> VersionId {
    VersionId::new("new")
}

fn journal(fs: &SimFs) -> Journal {
    Journal::new(Arc::new(fs.clone()), Path::new(DIR))
}

/// A host without a disk, whose every effect works; the checks may fail.
struct Steady {
    boot: u32,
    healthy: bool,
}

impl Steady {
    fn report(&self, stage: Stage) -> Report {
        let mut results = Vec::new();
        if !self.healthy {
            results.push(CheckResult {
                name: "web".to_owned(),
                need: Need::Required,
                status: Status::Failed {
                    why: "no answer".to_owned(),
                },
                verdict: Verdict::Counts,
                output: String::new(),
                tries: 1,
                took_ms: 1,
            });
        }
        Report {
            stage,
            results,
            took_ms: 1,
        }
    }
}

impl Host for Steady {
    fn describe(&self) -> String {
        "a steady host".to_owned()
    }
    fn now(&mut self) -> HostResult<Now> {
        Ok(Now {
            time: 1,
            uptime_ms: 1,
            boot: BootId::new(self.boot.to_string()),
        })
    }
    fn running(&mut self) -> HostResult<Running> {
        Ok(Running {
            version: old(),
            attempts_left: None,
            load_failure: None,
        })
    }
    fn stage(&mut self, _: Job<'_>, _: &dyn Monitor) -> HostResult<()> {
        Ok(())
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
    fn activate(&mut self, _: Job<'_>, _: &dyn Monitor) -> HostResult<()> {
        Ok(())
    }
    fn run_checks(&mut self, _: Job<'_>, stage: Stage, _: &dyn Monitor) -> HostResult<Report> {
        Ok(self.report(stage))
    }
    fn keep(&mut self, _: Job<'_>, _: &dyn Monitor) -> HostResult<()> {
        Ok(())
    }
    fn roll_back(&mut self, _: Job<'_>, _: &dyn Monitor) -> HostResult<()> {
        self.healthy = true;
        Ok(())
    }
    fn discard(&mut self, _: Job<'_>, _: &dyn Monitor) -> HostResult<()> {
        Ok(())
    }
    fn reboot(&mut self, _: bool) -> HostResult<()> {
        Ok(())
    }
    fn arm_deadman(&mut self, _: Deadman, _: Duration) -> HostResult<()> {
        Ok(())
    }
    fn disarm_deadman(&mut self, _: &Transaction, _: Option<Deadman>) -> HostResult<()> {
        Ok(())
    }
    fn evict_worker(&mut self) -> HostResult<()> {
        Ok(())
    }
}

/// Marks on the simulated disk what the world was told of.
struct Marks<'a>(&'a SimFs);

impl Observer for Marks<'_> {
    fn recorded(&self, record: &Record) {
        self.0.mark(&format!("record {}", record.seq));
        if record.outcome.is_some() {
            self.0.mark("the end");
        }
    }
    fn acting(&self, action: &Action) {
        self.0.mark(&format!("{action:?} begins"));
        let seq = journal(self.0).load().map_or(0, |memory| memory.seq);
        self.0.mark(&format!("acting on record {seq}"));
    }
    fn note(&self, _: &str) {}
}

/// What is done with a driver.
type Doing<'d> = &'d dyn Fn(&mut Driver<'_>) -> Result<Pause, engine::DriveError>;

fn drive(fs: &SimFs, host: Steady, what: Doing<'_>) -> Pause {
    try_drive(fs, host, what).unwrap()
}

fn try_drive(fs: &SimFs, mut host: Steady, what: Doing<'_>) -> Result<Pause, engine::DriveError> {
    let journal = journal(fs);
    let mut driver = Driver {
        host: &mut host,
        journal: &journal,
        observer: &Marks(fs),
        monitor: &Silent,
        scope: Scope::All,
        patience: Duration::ZERO,
    };
    what(&mut driver)
}

/// A whole live trial.
fn upgrade(fs: &SimFs, healthy: bool) {
    let paused = try_upgrade(fs, healthy).unwrap();
    assert!(matches!(paused, Pause::Idle(Some(_))), "{paused:?}");
}

fn try_upgrade(fs: &SimFs, healthy: bool) -> Result<Pause, engine::DriveError> {
    try_drive(fs, Steady { boot: 1, healthy }, &|driver| {
        let mut request = Request::new(new());
        request.kind = TrialKind::Live;
        driver.request(request)?;
        let memory = driver.journal.load()?;
        let tx = memory.state.open().unwrap().transaction.id;
        driver.feed(Event::GoAhead {
            tx,
            reboot: false,
            baseline: None,
        })
    })
}

/// Comes up after the power cut, on the version that was good before.
fn settle(fs: &SimFs) -> Memory {
    let host = Steady {
        boot: 2,
        healthy: true,
    };
    drive(fs, host, &|driver| driver.settle());
    journal(fs).load().unwrap()
}

/// The number of the last record that the world was told of.
fn told(when: &When) -> u64 {
    let passed = |seq: &u64| when.passed(&format!("record {seq}"));
    (1..100).take_while(passed).last().unwrap_or(0)
}

#[test]
fn what_was_told_is_in_the_journal_whatever_happens() {
    for healthy in [true, false] {
        let report = Crashes::from(&SimFs::new()).check(
            |fs| upgrade(fs, healthy),
            |fs, when| {
                let memory = journal(fs).load().unwrap();
                assert!(memory.seq >= told(when), "a record is lost");
                assert!(memory.seq <= told(when) + 1);
                let standing = memory.knowledge.standing(&new());
                if when.passed("the end") {
                    let good = matches!(standing, Some(Standing::Good { .. }));
                    assert_eq!(good, healthy, "{standing:?}");
                    assert!(standing.is_some(), "what was learned is forgotten");
                }
            },
        );
        println!("a live trial, healthy: {healthy}: {report}");
        assert!(report.images > 150, "{report}");
    }
}

#[test]
fn every_cut_is_settled_at_the_next_boot() {
    for healthy in [true, false] {
        let crashes = Crashes::from(&SimFs::new()).per_point(60);
        crashes.check(
            |fs| upgrade(fs, healthy),
            |fs, when| {
                let before = journal(fs).load().unwrap();
                let after = settle(fs);
                // Staging goes on; what was activated live is gone by the reboot.
                let phase = after.state.open().map(|open| &open.phase);
                let ready = matches!(phase, Some(Phase::Ready { .. }));
                assert!(ready || after.state == State::Idle, "{phase:?}");
                assert!(!ready || !when.passed("Activate begins"));
                assert!(after.seq >= told(when));
                let good = |m: &Memory| {
                    let standing = m.knowledge.standing(&new());
                    matches!(standing, Some(Standing::Good { .. }))
                };
                assert!(!good(&before) || good(&after));
                assert!(healthy || !good(&after), "it never proved itself");
                // A torn tail is gone: what is appended now can be read.
                assert_eq!(journal(fs).load().unwrap(), settle(fs));
            },
        );
    }
}

/// A process is killed, another goes on from what it finds, and then the power
/// fails: no effect begins before the record that it follows from is on the disk,
/// whoever wrote that.
#[test]
fn what_a_killed_process_wrote_is_synced_before_it_is_acted_on() {
    let start = SimFs::new();
    durable::create_dir_all(&start, Path::new(DIR), 0o755).unwrap();
    let probe = start.snapshot();
    upgrade(&probe, true);
    let mut images = 0;
    for call in 0..probe.call_count() {
        let run = |fs: &SimFs| {
            fs.die_at(call);
            let _ = try_upgrade(fs, true);
            fs.heal();
            fs.mark("killed");
            let host = Steady {
                boot: 1,
                healthy: true,
            };
            drive(fs, host, &|driver| driver.resume());
        };
        let report = Crashes::from(&start).check(run, |fs, when| {
            let seq = journal(fs).load().unwrap().seq;
            let acted = (0..100).filter(|n| when.passed(&format!("acting on record {n}")));
            assert!(acted.max().unwrap_or(0) <= seq, "acted on a lost record");
        });
        images += report.images;
    }
    println!("killed, resumed, cut: {images} disks");
}

/// A journal that cannot be read is set aside; what it knew stays known, also
/// when that is cut off (P4).
#[test]
fn setting_a_journal_aside_forgets_nothing() {
    let fs = SimFs::new();
    upgrade(&fs, false);
    let path = Path::new(DIR).join("journal");
    let mut bytes = durable::read(&fs, &path).unwrap();
    // The first record; what was learned stands in the last.
    bytes[40] ^= 1;
    durable::publish_file(&fs, &path, &bytes, 0o644).unwrap();
    assert!(journal(&fs).load().unwrap_err().is_content());
    let report = Crashes::from(&fs).check(settle, |fs, when| {
        if !when.finished {
            settle(fs);
        }
        let memory = journal(fs).load().unwrap();
        let standing = memory.knowledge.standing(&new());
        assert!(matches!(standing, Some(Standing::Bad { .. })), "forgotten");
        let names = fs.read_dir_names(DIR);
        assert!(names.contains(&"journal.aside-1".to_owned()), "{names:?}");
    });
    println!("set aside: {report}");
}

trait Names {
    fn read_dir_names(&self, dir: &str) -> Vec<String>;
}

impl Names for SimFs {
    fn read_dir_names(&self, dir: &str) -> Vec<String> {
        let entries = durable::Fs::read_dir(self, Path::new(dir)).unwrap();
        let name = |e: durable::DirEntry| e.name.into_string().unwrap();
        entries.into_iter().map(name).collect()
    }
}
