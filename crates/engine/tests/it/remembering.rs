//! The journal on a disk that loses power, fills up, and fails.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use durable::sim::{Crashes, SimFs, each_failure};
use engine::{
    Action, Confirm, DriveError, Driver, Event, Journal, JournalError, Observer, Outcome, Pause,
    Record, Request, Scope, TrialKind, Unwatched, VersionId,
};
use monitor::Silent;

use crate::simulated::Simulated;

const DIR: &str = "/memory";
const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// Marks the disk's record whenever something must be durable from now on.
struct Marks<'a>(&'a SimFs);

impl Observer for Marks<'_> {
    fn recorded(&self, record: &Record) {
        self.0.mark(&format!("record {}", record.seq));
    }
    fn acting(&self, _: &Action) {}
    fn note(&self, _: &str) {}
}

fn drive<T>(
    fs: &SimFs,
    host: &mut Simulated,
    scope: Scope,
    drive: impl FnOnce(&mut Driver<'_>) -> Result<T, DriveError>,
) -> Result<T, DriveError> {
    let journal = Journal::new(Arc::new(fs.clone()), Path::new(DIR));
    let marks = Marks(fs);
    drive(&mut Driver {
        host,
        journal: &journal,
        observer: &marks,
        monitor: &Silent,
        scope,
        patience: Duration::ZERO,
    })
}

fn live(version: &str) -> Request {
    let within = Duration::from_secs(60);
    Request {
        kind: TrialKind::Live,
        confirm: Confirm::Person { within },
        ..Request::new(VersionId::new(version))
    }
}

/// A live trial up to the point where it is kept.
fn upgrade(fs: &SimFs, host: &mut Simulated) -> Result<Pause, DriveError> {
    drive(fs, host, Scope::All, |d| d.request(live("v2")))?;
    let tx = Journal::new(Arc::new(fs.clone()), Path::new(DIR))
        .load()?
        .state
        .tx();
    let tx = tx.expect("the upgrade is open");
    let (by, connected_ms) = ("alice".to_owned(), None);
    let (reboot, baseline) = (false, None);
    drive(fs, host, Scope::All, |d| {
        d.feed(Event::GoAhead {
            tx,
            reboot,
            baseline,
        })
    })?;
    drive(fs, host, Scope::All, |d| {
        d.feed(Event::Confirmed {
            tx,
            by,
            connected_ms,
        })
    })
}

/// After a reboot, whatever was open is seen through, and the next upgrade works.
fn goes_on(fs: &SimFs, mut host: Simulated) {
    host.wrong.clear();
    host.boot();
    let journal = Journal::new(Arc::new(fs.clone()), Path::new(DIR));
    drive(fs, &mut host, Scope::Short, |d| d.settle()).unwrap();
    drive(fs, &mut host, Scope::All, |d| d.resume()).unwrap();
    let memory = journal.load().unwrap();
    if let Some(tx) = memory.state.tx() {
        // Never activated before the cut.
        let by = "test".to_owned();
        let stop = |d: &mut Driver<'_>| d.feed(Event::Aborted { tx, by });
        drive(fs, &mut host, Scope::All, stop).unwrap();
    }
    let kept = memory.knowledge.is_good(&VersionId::new("v2"));
    assert_eq!(host.default.as_str(), if kept { "v2" } else { "v1" });
    drive(fs, &mut host, Scope::All, |d| d.request(live("v9"))).unwrap();
}

#[test]
fn a_power_cut_loses_nothing_that_was_acted_upon() {
    let start = SimFs::new();
    let report = Crashes::from(&start).check(
        |fs| upgrade(fs, &mut Simulated::new()).unwrap(),
        |disk, when| {
            let journal = Journal::new(Arc::new(disk.clone()), Path::new(DIR));
            let memory = journal.load().unwrap();
            let next = format!("record {}", memory.seq + 1);
            assert!(!when.passed(&next), "{next} is lost");
            // What the host had done follows from the last record.
            let mut host = Simulated::new();
            let kept = memory.knowledge.is_good(&VersionId::new("v2"));
            if kept {
                host.default = VersionId::new("v2");
            }
            goes_on(disk, host);
        },
    );
    println!("{report}");
    assert!(report.images > 20, "{report}");
}

#[test]
fn a_failing_disk_never_leads_to_what_was_not_written_down() {
    for errno in [ENOSPC, EIO] {
        let calls = each_failure(
            &SimFs::new(),
            errno,
            |fs| {
                let mut host = Simulated::new();
                let result = upgrade(fs, &mut host);
                (host, result.is_ok())
            },
            |fs, (host, _), _| {
                let journal = Journal::new(Arc::new(fs.clone()), Path::new(DIR));
                let records = journal.records().unwrap();
                let seen = |name: &str| records.iter().any(|r| r.event.name() == name);
                assert!(host.active.as_str() == "v1" || seen("go ahead"));
                assert!(host.default.as_str() == "v1" || seen("confirmed"));
                goes_on(fs, host);
            },
        );
        println!("{calls} calls failed with {errno}");
        assert!(calls > 10);
    }
}

#[test]
fn a_full_disk_does_not_keep_the_host_on_an_unhealthy_version() {
    let fs = SimFs::new();
    let mut host = Simulated::new();
    drive(&fs, &mut host, Scope::All, |d| d.request(live("v2"))).unwrap();
    host.wrong.insert("check".to_owned(), "broken".to_owned());
    let full = fs.clone();
    host.meanwhile.0 = Some(Box::new(move || full.set_space(Some(0))));
    let tx = engine::TxId(1);
    let (reboot, baseline) = (false, None);
    let go = Event::GoAhead {
        tx,
        reboot,
        baseline,
    };
    let error = drive(&fs, &mut host, Scope::All, |d| d.feed(go)).unwrap_err();
    assert!(
        matches!(error, DriveError::Journal(JournalError::Disk { .. })),
        "{error}"
    );
    assert_eq!(host.reboots_asked, 1);
    // The default was never changed, so the reboot leads back, full disk or not.
    host.boot();
    assert_eq!(host.running.as_str(), "v1");
    fs.set_space(None);
    let pause = drive(&fs, &mut host, Scope::Short, |d| d.settle()).unwrap();
    assert!(
        matches!(pause, Pause::Idle(Some(Outcome::RolledBack { .. }))),
        "{pause:?}"
    );
}

/// Adds a record as a newer backstop would.
fn append_newer(fs: &SimFs, json: &str) {
    let path = Path::new(DIR).join("journal");
    let frame = format!(
        "backstop1 {:08x} {:08x} {json}\n",
        json.len(),
        crc32(json.as_bytes())
    );
    durable::append_record(fs, &path, frame.as_bytes()).unwrap();
}

/// Written again from the format's description, as another program would.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let odd = crc & 1 == 1;
            crc >>= 1;
            if odd {
                crc ^= 0xedb8_8320;
            }
        }
    }
    !crc
}

#[test]
fn a_newer_journal_is_named_and_what_can_be_read_of_it_is_kept() {
    let fs = SimFs::new();
    let mut host = Simulated::new();
    upgrade(&fs, &mut host).unwrap();
    append_newer(
        &fs,
        r#"{"format":2,"seq":77,"time":9,"event":"entangled","state":{"is":"both"},
            "learned":[{"learned":"bad","version":"v3","reason":{"why":"supervisor-lost"}},
                       {"learned":"doubtful","version":"v4"}]}"#,
    );
    let journal = Journal::new(Arc::new(fs.clone()), Path::new(DIR));
    let message = journal.load().unwrap_err().to_string();
    assert!(message.contains("newer backstop (format 2"), "{message}");
    assert!(message.contains("`backstop settle`"), "{message}");
    drive(&fs, &mut host, Scope::Short, |d| d.settle()).unwrap();
    let memory = journal.load().unwrap();
    assert!(memory.knowledge.is_good(&VersionId::new("v2")));
    assert!(memory.knowledge.bad(&VersionId::new("v3")).is_some());
    assert!(memory.knowledge.standing(&VersionId::new("v4")).is_none());
    assert_eq!(memory.seq, 78);
    let newest = memory.knowledge.good_newest_first();
    assert_eq!(newest[0].as_str(), "v2");
    assert!(durable::read(&fs, Path::new("/memory/journal.aside-1")).is_ok());
    drive(&fs, &mut host, Scope::All, |d| d.request(live("v5"))).unwrap();
}

/// Only a version that waits for a boot is made ready for it, and nothing is written
/// down of that.
#[test]
fn a_host_that_goes_down_makes_ready_what_boots_next() {
    let fs = SimFs::new();
    let journal = Journal::new(Arc::new(fs.clone()), Path::new(DIR));
    let mut host = Simulated::new();
    let down = |host: &mut Simulated| {
        let before = journal.records().unwrap_or_default().len();
        host.log.clear();
        drive(&fs, host, Scope::Short, |d| d.going_down()).unwrap();
        assert_eq!(journal.records().unwrap_or_default().len(), before);
        host.log.len()
    };
    assert_eq!(down(&mut host), 0, "nothing is open");
    let boot = Request::new(VersionId::new("v2"));
    drive(&fs, &mut host, Scope::All, |d| d.request(boot)).unwrap();
    assert_eq!(down(&mut host), 0, "it is ready");
    let go = Event::GoAhead {
        tx: engine::TxId(1),
        reboot: false,
        baseline: None,
    };
    let pause = drive(&fs, &mut host, Scope::All, |d| d.feed(go)).unwrap();
    assert_eq!(pause, Pause::AwaitingBoot);
    assert_eq!(down(&mut host), 1, "it waits for a boot");
    host.wrong.insert("make ready".into(), "full disk".into());
    assert_eq!(down(&mut host), 1, "that it failed stops nobody");
    host.boot();
    assert_eq!(down(&mut host), 0, "nobody has settled this boot");
    drive(&fs, &mut host, Scope::Short, |d| d.settle()).unwrap();
    assert_eq!(down(&mut host), 0, "it runs");
}

#[test]
fn one_process_works_and_the_others_leave_it_to_it() {
    let fs = SimFs::new();
    let mut host = Simulated::new();
    drive(&fs, &mut host, Scope::All, |d| d.request(live("v2"))).unwrap();
    let tx = engine::TxId(1);
    let disk = fs.clone();
    host.meanwhile.0 = Some(Box::new(move || {
        // Another process, while the first one runs the checks.
        let (mut other, by) = (Simulated::new(), "bob".to_owned());
        let stop = |d: &mut Driver<'_>| d.feed(Event::Aborted { tx, by });
        let pause = drive(&disk, &mut other, Scope::All, stop).unwrap();
        assert_eq!(pause, Pause::Elsewhere);
    }));
    let (reboot, baseline) = (false, None);
    let go = Event::GoAhead {
        tx,
        reboot,
        baseline,
    };
    let pause = drive(&fs, &mut host, Scope::All, |d| d.feed(go)).unwrap();
    let Pause::Idle(Some(outcome)) = pause else {
        panic!("{pause:?}")
    };
    assert_eq!(outcome.to_string(), "rolled back: stopped by bob");
    assert_eq!(host.active.as_str(), "v1");
}

/// Whoever waits for the right to work finds that all is done, and must not do it once
/// more: a timer that it armed now would never be stopped.
#[test]
fn what_was_done_while_it_was_waited_for_is_not_done_again() {
    let fs = SimFs::new();
    let mut host = Simulated::new();
    drive(&fs, &mut host, Scope::All, |d| d.request(live("v2"))).unwrap();
    let tx = engine::TxId(1);
    let (tell, told) = std::sync::mpsc::channel();
    let disk = fs.clone();
    host.meanwhile.0 = Some(Box::new(move || {
        let journal = Journal::new(Arc::new(disk.clone()), Path::new(DIR));
        let waits = std::thread::spawn(move || {
            let (mut other, by) = (Simulated::new(), "bob".to_owned());
            drive(&disk, &mut other, Scope::All, |d| {
                d.patience = Duration::MAX;
                d.feed(Event::Aborted { tx, by })
            })
            .unwrap();
            other.timers
        });
        let stopped = |records: Vec<Record>| records.iter().any(|r| r.event.name() == "stopped");
        while !journal.records().is_ok_and(stopped) {
            std::thread::sleep(Duration::from_millis(1));
        }
        tell.send(waits).unwrap();
    }));
    let (reboot, baseline) = (false, None);
    let go = Event::GoAhead {
        tx,
        reboot,
        baseline,
    };
    drive(&fs, &mut host, Scope::All, |d| d.feed(go)).unwrap();
    let armed = told.recv().unwrap().join().unwrap();
    assert_eq!(armed, []);
    assert_eq!(host.timers, []);
}

#[test]
fn a_torn_tail_is_cut_off_by_the_next_record() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::new(Arc::new(durable::RealFs), dir.path());
    let mut host = Simulated::new();
    let mut driver = Driver {
        host: &mut host,
        journal: &journal,
        observer: &Unwatched,
        monitor: &Silent,
        scope: Scope::All,
        patience: Duration::ZERO,
    };
    driver.request(live("v2")).unwrap();
    let whole = std::fs::read(journal.path()).unwrap();
    for torn in [
        &b"backstop1 000"[..],
        &[0; 700],
        &whole[..whole.len() / 2][..90],
    ] {
        std::fs::write(journal.path(), [&whole, torn].concat()).unwrap();
        assert_eq!(journal.load().unwrap().seq, 3);
        let version = VersionId::new("v7");
        driver.feed(Event::Pinned { version }).unwrap();
        let records = journal.records().unwrap();
        assert_eq!(records.len(), 4);
        assert!(std::fs::read(journal.path()).unwrap().starts_with(&whole));
    }
}
