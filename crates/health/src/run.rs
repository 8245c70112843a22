//! Running checks.

use std::collections::BTreeSet;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use monitor::{Monitor, Progress, Unit};

use crate::check::{Check, Probe};
use crate::http;
use crate::load::{Checks, Problem};
use crate::process::{self, Ran};
use crate::report::{Baseline, CheckResult, Listener, Need, Report, Stage, Status, Verdict};
use crate::round::Round;
use crate::{sockets, units};

/// So many checks run at once.
const AT_ONCE: usize = 8;
/// How soon the state of something is looked at again.
const FIRST_LOOK: Duration = Duration::from_millis(50);
/// After a live activation, a failure that nothing is about to mend counts after so long.
const LASTING: Duration = Duration::from_secs(1);
/// How long systemctl and its like may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs checks on one system.
#[derive(Debug, Clone)]
pub struct Runner {
    root: PathBuf,
    launcher: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Runner {
    /// For the system below `root`; `/` is the running one. Commands run there,
    /// with `BACKSTOP_ROOT` set to it, and a program with an absolute name is
    /// looked for below it first.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            launcher: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Puts these words before each command, such as a container's.
    #[must_use]
    pub fn launched_by(mut self, launcher: Vec<String>) -> Self {
        self.launcher = launcher;
        self
    }

    /// Sets a variable for each command.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// How the system is now: what a failure after the activation is compared
    /// with. A check that passes within a few tries was not broken.
    #[must_use]
    pub fn baseline(&self, checks: &Checks, monitor: &dyn Monitor) -> Baseline {
        let wanted = |c: &&Check| !compares(c) && c.stages.iter().any(|s| *s != Stage::Preflight);
        let mut few: Vec<Check> = checks.checks.iter().filter(wanted).cloned().collect();
        for check in &mut few {
            check.retries = check.retries.min(2);
        }
        let nothing = Baseline::default();
        let round = Round::patient(few.len());
        let results = self.run_all(&few, Stage::Live, &nothing, &round, monitor);
        let facts = self.facts();
        Baseline {
            results: results.into_iter().map(|r| (r.name, r.status)).collect(),
            failed_units: facts.failed_units,
            listeners: facts.listeners,
        }
    }

    /// Runs a stage's checks and judges them by the baseline.
    #[must_use]
    pub fn run(
        &self,
        checks: &Checks,
        stage: Stage,
        baseline: &Baseline,
        monitor: &dyn Monitor,
    ) -> Report {
        let started = Instant::now();
        // Before the activation, one that is for a container is asked nowhere else.
        let elsewhere = |c: &Check| c.container && stage == Stage::Preflight;
        let of_stage = |c: &&Check| c.stages.contains(&stage) && !elsewhere(c);
        let chosen: Vec<Check> = checks.checks.iter().filter(of_stage).cloned().collect();
        let round = Round::new(chosen.iter().filter(|c| !watches(c)).count());
        let mut results = self.run_all(&chosen, stage, baseline, &round, monitor);
        if !round.is_decided() {
            self.look_again(&chosen, &mut results, stage, baseline, monitor);
        }
        results.extend(checks.problems.iter().map(|p| unusable(p, stage)));
        Report {
            stage,
            results,
            took_ms: millis(started.elapsed()),
        }
    }

    /// Runs several checks at once; the results are in the order of the checks.
    fn run_all(
        &self,
        checks: &[Check],
        stage: Stage,
        baseline: &Baseline,
        round: &Round,
        monitor: &dyn Monitor,
    ) -> Vec<CheckResult> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::new());
        let work = || {
            while let Some((i, check)) = {
                let i = next.fetch_add(1, Ordering::Relaxed);
                checks.get(i).map(|check| (i, check))
            } {
                let result = self.run_one(check, stage, baseline, round, monitor);
                round.end(watches(check), result.verdict == Verdict::Counts);
                let mut done = done.lock().unwrap_or_else(|e| e.into_inner());
                done.push((i, result));
                monitor.progress(Progress {
                    step: "checking",
                    done: done.len() as u64,
                    total: Some(checks.len() as u64),
                    unit: Unit::Items,
                });
            }
        };
        std::thread::scope(|scope| {
            // Those that watch wait for the others, and so must not keep them waiting.
            let watching = checks.iter().filter(|c| watches(c)).count();
            for _ in 0..(AT_ONCE + watching).min(checks.len()) {
                scope.spawn(work);
            }
        });
        let mut done = done.into_inner().unwrap_or_else(|e| e.into_inner());
        done.sort_by_key(|(i, _)| *i);
        done.into_iter().map(|(_, result)| result).collect()
    }

    /// Looks once more at what has a state of its own: while other checks were waited
    /// for, a unit that was still starting may have failed.
    fn look_again(
        &self,
        checks: &[Check],
        results: &mut [CheckResult],
        stage: Stage,
        baseline: &Baseline,
        monitor: &dyn Monitor,
    ) {
        let round = Round::new(0);
        let pairs = checks.iter().zip(results);
        for (check, result) in pairs.filter(|(c, r)| has_state(c) && r.status.passed()) {
            let again = self.run_one(check, stage, baseline, &round, monitor);
            *result = CheckResult {
                tries: result.tries + again.tries,
                took_ms: result.took_ms + again.took_ms,
                ..again
            };
        }
    }

    /// Runs one check, with its retries. One that watches goes on as long as others are
    /// waited for: a unit may fail meanwhile that was still starting.
    fn run_one(
        &self,
        check: &Check,
        stage: Stage,
        baseline: &Baseline,
        round: &Round,
        monitor: &dyn Monitor,
    ) -> CheckResult {
        let started = Instant::now();
        let (mut ran, mut tries) = self.tries(check, stage, baseline, round, monitor);
        let mut pause = FIRST_LOOK;
        while watches(check) && ran.status.passed() && round.goes_on() {
            round.watch(pause);
            pause = (pause * 2).min(check.interval);
            (ran, tries) = self.tries(check, stage, baseline, round, monitor);
        }
        CheckResult {
            name: check.name.clone(),
            need: check.need,
            verdict: judge(check, &ran.status, baseline),
            status: ran.status,
            output: ran.output,
            tries,
            took_ms: millis(started.elapsed()),
        }
    }

    /// Probes until it passes, its tries are used up, or it does not matter any longer;
    /// how often it was tried.
    fn tries(
        &self,
        check: &Check,
        stage: Stage,
        baseline: &Baseline,
        round: &Round,
        monitor: &dyn Monitor,
    ) -> (Ran, u32) {
        let mut tries = 1;
        let mut ran = self.probe(check, stage, baseline);
        // What had failed before anyway is not waited for.
        let matters = |status: &Status| {
            let verdict = judge(check, status, baseline);
            !matches!(verdict, Verdict::Passed | Verdict::FailedBefore)
        };
        let since = Instant::now();
        let lasts = |ran: &Ran| ran.lasting && check.gives_up(stage) && since.elapsed() >= LASTING;
        let enough = |ran: &Ran| !matters(&ran.status) || lasts(ran) || round.is_decided();
        while !enough(&ran) && tries <= check.retries_at(stage) {
            if tries == 1 {
                monitor.note(&format!("{}: {}; trying again", check.name, ran.status));
            }
            tries += 1;
            ran = self.probe_again(check, stage, baseline, round, &enough);
        }
        (ran, tries)
    }

    /// Probes once more when the interval is over; the state of something meanwhile too.
    fn probe_again(
        &self,
        check: &Check,
        stage: Stage,
        baseline: &Baseline,
        round: &Round,
        enough: &dyn Fn(&Ran) -> bool,
    ) -> Ran {
        let until = Instant::now() + check.interval;
        let mut pause = first_pause(check);
        loop {
            round.pause(pause.min(until.saturating_duration_since(Instant::now())));
            let ran = self.probe(check, stage, baseline);
            if enough(&ran) || Instant::now() >= until {
                return ran;
            }
            pause *= 2;
        }
    }

    /// Looks once.
    fn probe(&self, check: &Check, stage: Stage, baseline: &Baseline) -> Ran {
        let timeout = check.timeout;
        let nothing = Baseline::default();
        let baseline = if check.always { &nothing } else { baseline };
        match &check.probe {
            Probe::Command { argv } => process::run(self.command(argv, stage), timeout),
            Probe::Unit { unit } => units::is_active(unit, timeout),
            Probe::NoNewFailedUnits => no_new_failed_units(baseline, timeout),
            Probe::Tcp { address } => tcp(address, timeout),
            Probe::Http(probe) => http::ask(probe, &self.root, timeout),
            Probe::Listening => still_listening(baseline),
            Probe::DefaultRoute => default_route(),
        }
    }

    fn command(&self, argv: &[String], stage: Stage) -> Command {
        let mut words: Vec<PathBuf> = self.launcher.iter().map(PathBuf::from).collect();
        let mut own = argv.iter().map(PathBuf::from);
        if self.launcher.is_empty() {
            words.extend(own.next().map(|program| self.program(program)));
        }
        words.extend(own);
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command.current_dir(&self.root);
        command.env("BACKSTOP_ROOT", &self.root);
        command.env("BACKSTOP_STAGE", stage.to_string());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A program's path: below the root, if it is there.
    fn program(&self, program: PathBuf) -> PathBuf {
        let Ok(relative) = program.strip_prefix("/") else {
            return program;
        };
        let below = self.root.join(relative);
        if below.exists() { below } else { program }
    }

    /// What the built-in checks compare with. What cannot be known is empty: it
    /// excuses nothing.
    fn facts(&self) -> Facts {
        let systemd = units::systemd_runs();
        let failed = systemd.then(|| units::failed(PATIENCE).ok()).flatten();
        let listeners = sockets::listeners(Path::new("/proc"), systemd);
        Facts {
            failed_units: failed.unwrap_or_default().into_keys().collect(),
            listeners: listeners.unwrap_or_default(),
        }
    }
}

/// What the built-in checks compare with.
struct Facts {
    failed_units: BTreeSet<String>,
    listeners: BTreeSet<Listener>,
}

/// Whether a check compares with the baseline by itself, thing by thing.
fn compares(check: &Check) -> bool {
    matches!(check.probe, Probe::NoNewFailedUnits | Probe::Listening)
}

/// Whether a check is asked as long as others are waited for.
fn watches(check: &Check) -> bool {
    matches!(check.probe, Probe::NoNewFailedUnits)
}

/// How soon it is asked again. The state of something is looked at sooner, and again
/// within the interval: a service that was restarted is there after an instant, most
/// often.
fn first_pause(check: &Check) -> Duration {
    match has_state(check) {
        true => FIRST_LOOK,
        false => check.interval,
    }
}

/// Whether a check asks for the state of something, so that asking again costs nothing.
fn has_state(check: &Check) -> bool {
    compares(check) || matches!(check.probe, Probe::Unit { .. })
}

/// What a status means for the version on trial.
fn judge(check: &Check, status: &Status, baseline: &Baseline) -> Verdict {
    let failed_before = baseline
        .results
        .get(&check.name)
        .is_some_and(|before| !before.passed());
    match (status, check.need) {
        (Status::Passed, _) => Verdict::Passed,
        (_, Need::Wanted) => Verdict::OnlyWanted,
        _ if failed_before && !check.always && !compares(check) => Verdict::FailedBefore,
        _ => Verdict::Counts,
    }
}

/// The result of a check file that cannot be used: it fails a new version, but
/// does not put a running one back.
fn unusable(problem: &Problem, stage: Stage) -> CheckResult {
    let name = problem.path.file_stem().unwrap_or_default();
    let (need, verdict) = match stage {
        Stage::Preflight => (Need::Required, Verdict::Counts),
        Stage::Live | Stage::Boot => (Need::Wanted, Verdict::OnlyWanted),
    };
    CheckResult {
        name: name.to_string_lossy().into_owned(),
        need,
        verdict,
        status: Status::Broken {
            why: problem.to_string(),
        },
        output: String::new(),
        tries: 0,
        took_ms: 0,
    }
}

fn no_new_failed_units(baseline: &Baseline, timeout: Duration) -> Ran {
    if !units::systemd_runs() {
        return passed("systemd does not run here");
    }
    let now = match units::failed(timeout) {
        Ok(now) => now,
        Err(status) => return silent(status),
    };
    let new: Vec<(String, bool)> = now
        .into_iter()
        .filter(|(name, _)| !baseline.failed_units.contains(name))
        .collect();
    let again = new.iter().any(|(_, again)| *again);
    let new: Vec<String> = new.into_iter().map(|(name, _)| name).collect();
    let Some(first) = new.first() else {
        return passed("");
    };
    let why = format!("failed: {}", new.join(", "));
    let last_words = units::last_words(first, timeout);
    Ran {
        lasting: !again && units::has_job(&new, timeout) == Ok(false),
        ..Ran::new(Status::Failed { why }, last_words)
    }
}

fn still_listening(baseline: &Baseline) -> Ran {
    let now = match sockets::listeners(Path::new("/proc"), false) {
        Ok(now) => now,
        Err(e) => return broken(&e),
    };
    let gone = sockets::missing(&baseline.listeners, &now);
    if gone.is_empty() {
        return passed("");
    }
    let gone: Vec<_> = gone.iter().map(ToString::to_string).collect();
    let why = format!("nothing listens any more on {}", gone.join(", "));
    silent(Status::Failed { why })
}

fn default_route() -> Ran {
    match sockets::has_default_route(Path::new("/proc")) {
        Ok(true) => passed(""),
        Ok(false) => silent(Status::Failed {
            why: "there is no default route".to_owned(),
        }),
        Err(e) => broken(&e),
    }
}

/// Connects on a thread of its own, for looking up a name knows no timeout.
fn tcp(address: &str, timeout: Duration) -> Ran {
    let (tell, told) = std::sync::mpsc::channel();
    let name = address.to_owned();
    std::thread::spawn(move || tell.send(connect(&name, timeout)));
    match told.recv_timeout(timeout + Duration::from_millis(100)) {
        Ok(Ok(())) => passed(""),
        Ok(Err(why)) => silent(Status::Failed { why }),
        Err(_) => silent(Status::TimedOut {
            after_ms: millis(timeout),
        }),
    }
}

fn connect(address: &str, timeout: Duration) -> Result<(), String> {
    let addresses = address.to_socket_addrs();
    let addresses = addresses.map_err(|e| format!("cannot look up {address}: {e}"))?;
    let mut why = format!("{address} has no address");
    for one in addresses {
        match TcpStream::connect_timeout(&one, timeout) {
            Ok(_) => return Ok(()),
            Err(e) => why = format!("cannot connect to {one}: {e}"),
        }
    }
    Err(why)
}

fn passed(output: &str) -> Ran {
    Ran::new(Status::Passed, output.to_owned())
}

fn broken(error: &std::io::Error) -> Ran {
    silent(Status::Broken {
        why: error.to_string(),
    })
}

fn silent(status: Status) -> Ran {
    Ran::new(status, String::new())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
