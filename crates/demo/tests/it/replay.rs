//! A real machine's disk, as it was at any moment of an upgrade that is kept and of one
//! that panics and is rolled back: power is taken there, and what is left is judged.
//!
//! Points: every write of the EFI system partition, and a seeded choice of flushes and
//! of moments between them, where some of the writes since the last flush are lost or
//! torn. `BACKSTOP_REPLAY=N` takes N points elsewhere; the usual run takes 8, and every
//! third write of the EFI system partition.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use monitor::Silent;
use provision::disk::{DEFAULT_IMAGE_SIZE, Layout};
use sysroot::Loader;
use testbed::cache::Cache;
use testbed::recording::{Asked, Recording, SECTOR};
use testbed::versions::Recipe;
use testbed::{Firmware, Fixture, Machine, fixture};

use crate::able;
use crate::judge::{Judge, Verdict};

const LIMIT: Duration = Duration::from_secs(900);
/// Points beyond those on the EFI system partition.
const USUAL: usize = 8;
/// Of the writes of the EFI system partition, one in so many is a point in the usual
/// run.
const ESP_EVERY: usize = 3;
/// At one of so many points the whole repository is read.
const REPOSITORY_EVERY: usize = 8;
/// Set where the mounts are this test's own.
const ALONE: &str = "BACKSTOP_REPLAY_ALONE";
/// One of so many points is booted, too.
const BOOT_EVERY: usize = 10;
/// Disks to which flushes did not matter.
const CONTROLS: usize = 6;

/// A choice that is the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // Xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What a machine asked of its disk in all its boots.
struct Life {
    recordings: Vec<Recording>,
    /// The recording and what was asked, in order.
    asked: Vec<(usize, Asked)>,
}

impl Life {
    fn of(machine: &Machine, logs: &Path) -> Self {
        let of_boot = |boot| Recording::open(&logs.join(format!("boot-{boot}.writes"))).unwrap();
        let recordings: Vec<Recording> = (1..=machine.boots()).map(of_boot).collect();
        let each = recordings.iter().enumerate();
        let asked = each
            .flat_map(|(at, r)| r.asked().iter().map(move |asked| (at, *asked)))
            .collect();
        Self { recordings, asked }
    }

    fn write(&self, at: usize, sectors: Option<u64>, image: &File) {
        let (recording, asked) = self.asked[at];
        let recording = &self.recordings[recording];
        recording.write(asked, sectors, image).unwrap();
    }

    /// Where the last flush before a point is: what follows may be lost.
    fn flushed(&self, point: usize) -> usize {
        let flush = |(_, asked): &(usize, Asked)| *asked == Asked::Flush;
        self.asked[..point].iter().rposition(flush).unwrap_or(0)
    }

    /// Writes that touch the EFI system partition.
    fn on_esp(&self, layout: &Layout) -> Vec<usize> {
        let (start, end) = (layout.esp.start, layout.esp.start + layout.esp.size);
        let touches = |(_, asked): &(usize, Asked)| match asked {
            Asked::Write { at, len, .. } => *at < end && at + len > start,
            Asked::Flush => false,
        };
        let all = 0..self.asked.len();
        all.filter(|at| touches(&self.asked[*at])).collect()
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp")
        .args(["--sparse=always"])
        .args([from, to])
        .status();
    assert!(status.unwrap().success());
}

fn open(image: &Path) -> File {
    File::options().write(true).open(image).unwrap()
}

/// The number of the last upgrade, and how it ended.
fn last(machine: &Machine) -> Option<(u64, Option<String>)> {
    if !machine.ssh().answers() {
        return None;
    }
    let text = machine.run("backstop --json history -n 1").ok()?;
    if text.trim().is_empty() {
        return Some((0, None));
    }
    let last: serde_json::Value = serde_json::from_str(&text).ok()?;
    let end = last["outcome"]["end"].as_str().map(str::to_owned);
    Some((last["id"].as_u64()?, end))
}

/// Upgrades to a version and waits for the end.
fn upgrade(machine: &mut Machine, branch: &str, more: &str) -> String {
    let mount = "mountpoint -q /mnt || mount -o ro LABEL=repo /mnt";
    let mounted = |m: &mut Machine| Ok(m.run(mount).ok().and_then(|_| last(m)));
    let (before, _) = machine.run_until("the repository", LIMIT, mounted).unwrap();
    // The reboot may cut it off.
    let command = format!("backstop switch /mnt:{branch} --boot {more}");
    let said = machine.ssh().output(&command).unwrap();
    let over = |m: &mut Machine| Ok(last(m).filter(|(id, _)| *id > before).and_then(|l| l.1));
    let end = machine.run_until("the upgrade's end", LIMIT, over);
    end.unwrap_or_else(|e| panic!("{command}: {said:?}: {e:?}"))
}

/// The points: numbers of what was asked before power goes.
fn points(life: &Life, layout: &Layout, asked_for: Option<usize>) -> Vec<usize> {
    let (more, esp_every) = match asked_for {
        Some(more) => (more, 1),
        None => (USUAL, ESP_EVERY),
    };
    let mut dice = Dice(0x5eed);
    let on_esp = life.on_esp(layout);
    let mut points: Vec<usize> = on_esp.iter().step_by(esp_every).map(|at| at + 1).collect();
    let flushes: Vec<usize> = (0..life.asked.len())
        .filter(|at| life.asked[*at].1 == Asked::Flush)
        .collect();
    for n in 0..more {
        let any = match n % 2 {
            0 => flushes[dice.roll(flushes.len() as u64) as usize] + 1,
            _ => dice.roll(life.asked.len() as u64) as usize + 1,
        };
        points.push(any);
    }
    points.sort_unstable();
    points.dedup();
    println!(
        "{} writes and {} flushes in {} boots; {} writes on the EFI system partition",
        life.asked.len() - flushes.len(),
        flushes.len(),
        life.recordings.len(),
        on_esp.len()
    );
    points
}

/// Some of the writes since the last flush, whole or torn.
fn lose(life: &Life, from: usize, point: usize, dice: &mut Dice, image: &File) {
    for at in from..point {
        let Asked::Write { len, fua, .. } = life.asked[at].1 else {
            continue;
        };
        match dice.roll(20) {
            0..9 if !fua => {}
            9..11 if !fua && len > SECTOR => {
                life.write(at, Some(1 + dice.roll(len / SECTOR - 1)), image);
            }
            _ => life.write(at, None, image),
        }
    }
}

/// Runs the test where nobody else sees its mounts: whoever makes a mount namespace
/// while a disk is mounted would keep that mount, and the filesystem busy.
fn alone() {
    let name = "replay::power_may_go_at_any_write_of_an_upgrade";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
}

#[test]
fn power_may_go_at_any_write_of_an_upgrade() {
    if !able(demo::vm::NEEDS) {
        return;
    }
    match std::env::var_os(ALONE) {
        None => alone(),
        Some(_) => record_and_replay(),
    }
}

fn record_and_replay() {
    let dir = fixture::work_dir().unwrap();
    let at = |name: &str| -> PathBuf { dir.path().join(name) };
    let program = fixture::binary().unwrap();
    let fixture = Fixture::new(&Cache::from_env(), &at("f"), &program, &Silent).unwrap();
    fixture.add(2, Recipe::Good, "v2", &Silent).unwrap();
    fixture.add(3, Recipe::PanicsAtBoot, "v3", &Silent).unwrap();
    let image = fixture.image(fixture::BRANCH, "disk.img", &Silent).unwrap();
    copy(&image, &at("now"));
    let mut options = fixture.machine(&image, Firmware::Bios).unwrap();
    options
        .more_disks
        .push(fixture.repo_disk("releases.img").unwrap());
    options.record = true;
    let logs = options.logs.clone();
    let mut machine = Machine::boot(options).unwrap();
    machine.wait_ready(LIMIT).unwrap();
    assert_eq!(upgrade(&mut machine, "v2", ""), "kept");
    assert_eq!(upgrade(&mut machine, "v3", "--attempts 1"), "rolled-back");
    machine.stop();
    let life = Life::of(&machine, &logs);
    drop(machine);
    replay(&life, &fixture, dir.path());
}

/// Switches a machine with this disk on: it must come to rest with nothing under way, on
/// a version that is good.
fn boots(fixture: &Fixture, image: &Path) -> Verdict {
    let options = fixture.machine(image, Firmware::Bios);
    let mut machine = options
        .and_then(Machine::boot)
        .map_err(|e| format!("cannot be booted: {e}"))?;
    let at_rest = |m: &mut Machine| {
        if !m.ssh().answers() {
            return Ok(None);
        }
        let status = m.run("backstop --json status").unwrap_or_default();
        let status: serde_json::Value = serde_json::from_str(&status).unwrap_or_default();
        let rests = status["under_way"].is_null() && status["running"].is_string();
        Ok(rests.then_some(()))
    };
    let rest = machine.run_until("the host at rest", LIMIT, at_rest);
    rest.map_err(|e| format!("booted: {e}"))?;
    let version = machine.run("cat /usr/lib/testbed-version");
    match version.as_deref().map(str::trim) {
        Ok("1" | "2") => Ok(()),
        other => Err(format!("booted: rests on {other:?}")),
    }
}

/// Judges each point, and then disks that pay flushes no heed.
fn replay(life: &Life, fixture: &Fixture, dir: &Path) {
    let layout = Layout::for_size(DEFAULT_IMAGE_SIZE, Loader::Grub).unwrap();
    let more = std::env::var("BACKSTOP_REPLAY")
        .ok()
        .and_then(|n| n.parse().ok());
    let points = points(life, &layout, more);
    let (now, image) = (dir.join("now"), dir.join("cut"));
    let base = dir.join("base");
    copy(&now, &base);
    let judge = Judge {
        image: &image,
        scratch: dir,
        layout,
    };
    let mut dice = Dice(0xd15c);
    let (mut done, mut booted, mut bad) = (0, 0, Vec::new());
    for (number, point) in points.iter().enumerate() {
        let flushed = life.flushed(*point).max(done);
        let file = open(&now);
        (done..flushed).for_each(|at| life.write(at, None, &file));
        done = flushed;
        copy(&now, &image);
        lose(life, done, *point, &mut dice, &open(&image));
        let mut verdict = judge.judge(number % REPOSITORY_EVERY == 0);
        if verdict.is_ok() && number % BOOT_EVERY == BOOT_EVERY / 2 {
            booted += 1;
            verdict = boots(fixture, &image);
        }
        if let Err(why) = verdict {
            bad.push(format!("after {point}: {why}"));
        }
    }
    let judged = points.len();
    println!(
        "{judged} disks judged, {booted} of them booted, {} bad",
        bad.len()
    );
    let caught = (0..CONTROLS).filter(|_| control(life, &base, &judge, &mut dice).is_err());
    let caught = caught.count();
    println!("{caught} of {CONTROLS} disks without flushes are bad");
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(caught * 2 >= CONTROLS, "the judge sees nothing: {caught}");
}

/// A disk that lost any of its writes, flushed or not.
fn control(life: &Life, base: &Path, judge: &Judge<'_>, dice: &mut Dice) -> Verdict {
    copy(base, judge.image);
    let half = life.asked.len() as u64 / 2;
    let point = (half + dice.roll(half)) as usize;
    lose(life, 0, point, dice, &open(judge.image));
    judge.judge(false)
}
