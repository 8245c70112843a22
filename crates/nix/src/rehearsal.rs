//! What is found out about a version by starting it in a container.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Instant;

use health::{
    Baseline, BuiltIns, Check, CheckResult, Checks, Need, Probe, Report, Runner, Stage, Status,
    Verdict,
};
use monitor::Monitor;
use serde::Serialize;

use crate::NixHost;
use crate::config::ContainerStart;
use crate::container::{Container, Inside};
use crate::error::{Error, Result};
use crate::program::{Ended, Ran};
use crate::store::StorePath;

/// What the result is called, and how the names of the checks inside begin.
const NAME: &str = "container";

/// Whether a host starts a version in a container before it activates it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rehearsal {
    /// What is started.
    pub start: ContainerStart,
    /// Why it cannot be, if it cannot.
    pub impossible: Option<String>,
}

impl fmt::Display for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.start {
            ContainerStart::Nothing => return f.write_str("no container"),
            ContainerStart::Activation => "the activation script runs in a container",
            ContainerStart::System => "the version starts in a container",
        };
        match &self.impossible {
            None => write!(f, "{what}"),
            Some(why) => write!(f, "{what}: not possible here, {why}"),
        }
    }
}

/// Something that goes wrong with a system in a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// A part of the activation script fails.
    Snippet(String),
    /// A unit fails.
    Unit(String),
    /// A unit never gets started.
    Starting(String),
    /// All of a step.
    Whole(String),
}

impl Trouble {
    /// Whether nothing more can be said of the system.
    fn is_the_end(&self) -> bool {
        matches!(self, Self::Starting(_) | Self::Whole(_))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snippet(name) => write!(f, "activation snippet `{name}` failed"),
            Self::Unit(unit) => write!(f, "{unit} failed"),
            Self::Starting(unit) => write!(f, "{unit} is still being started"),
            Self::Whole(what) => f.write_str(what),
        }
    }
}

/// What came of one system in a container.
#[derive(Debug, Default)]
struct Run {
    troubles: BTreeSet<Trouble>,
    /// The end of what it printed.
    output: String,
    /// The results of its checks inside.
    checks: Vec<CheckResult>,
}

impl Run {
    fn ended(&self) -> bool {
        self.troubles.iter().any(Trouble::is_the_end)
    }
}

impl NixHost {
    /// Whether it starts versions in a container, if it is told to.
    #[must_use]
    pub fn rehearsal(&self) -> Option<Rehearsal> {
        let start = self.config.container.start;
        let impossible = match self.runs_systemd() {
            true => Container::why_not(),
            false => Some("systemd does not run here".to_owned()),
        };
        let wanted = start != ContainerStart::Nothing;
        wanted.then_some(Rehearsal { start, impossible })
    }

    /// Starts a version in a container, where the host is told to. What goes wrong with
    /// the running version there, too, does not count.
    pub(crate) fn rehearse(
        &self,
        target: &StorePath,
        previous: &StorePath,
        monitor: &dyn Monitor,
    ) -> Result<Vec<CheckResult>> {
        let Some(rehearsal) = self.rehearsal() else {
            return Ok(Vec::new());
        };
        if let Some(why) = rehearsal.impossible {
            return Err(Error::NoContainer(why));
        }
        let started = Instant::now();
        let own = Checks::load(target.path(), BuiltIns::Without).in_container();
        let new = self.start_contained(target, &own, monitor)?;
        let mut known = BTreeSet::new();
        if !new.troubles.is_empty() {
            monitor.note("something fails in the container: starting the running version in one");
            let old = self.start_contained(previous, &Checks::default(), monitor)?;
            known = old.troubles;
        }
        let mut results = vec![judge(&new, &known)?];
        results.extend(new.checks);
        if let Some(result) = results.first_mut() {
            let took = started.elapsed().as_millis();
            result.took_ms = u64::try_from(took).unwrap_or(u64::MAX);
            tell(monitor, result, &rehearsal.start);
        }
        Ok(results)
    }

    fn start_contained(
        &self,
        toplevel: &StorePath,
        checks: &Checks,
        monitor: &dyn Monitor,
    ) -> Result<Run> {
        let config = &self.config.container;
        let root = self.layout.memory().join("container");
        durable::create_dir_all(&*self.fs, &root, 0o700)?;
        let container = Container {
            layout: &self.layout,
            toplevel,
            shows: &config.shows,
            limit: config.timeout,
            root,
            log: self.log("container")?,
        };
        let activated = container.activate()?;
        let mut run = Run {
            troubles: of_activation(&activated),
            output: activated.output,
            checks: Vec::new(),
        };
        if config.start == ContainerStart::System && !run.ended() {
            self.start_system(&container, &mut run, checks, monitor)?;
        }
        Ok(run)
    }

    /// Starts all of a system whose activation script ran.
    fn start_system(
        &self,
        container: &Container<'_>,
        run: &mut Run,
        checks: &Checks,
        monitor: &dyn Monitor,
    ) -> Result<()> {
        let booted = container.boot()?;
        match &booted.ended {
            Ended::Status(0) => {
                let inside = container.inside()?;
                let failed = inside.failed_units(&self.layout)?;
                run.troubles.extend(failed.into_iter().map(Trouble::Unit));
                run.checks = check_inside(&inside, checks, monitor)?;
            }
            Ended::TimedOut(limit) => {
                let starting = container.inside();
                let starting = starting.and_then(|inside| inside.starting_units(&self.layout));
                let units = starting.unwrap_or_default().into_iter();
                run.troubles.extend(units.map(Trouble::Starting));
                let late = format!("it was not up within {} s", limit.as_secs());
                run.troubles.insert(Trouble::Whole(late));
            }
            ended => {
                let why = format!("its first program {ended}");
                run.troubles.insert(Trouble::Whole(why));
            }
        }
        if !run.troubles.is_empty() {
            run.output = booted.output;
        }
        Ok(())
    }
}

/// What went wrong with an activation script. NixOS's names the parts of it that failed.
fn of_activation(ran: &Ran) -> BTreeSet<Trouble> {
    let whole = |what: String| BTreeSet::from([Trouble::Whole(what)]);
    let named = || ran.output.lines().filter_map(failed_snippet);
    match &ran.ended {
        Ended::Status(0) => BTreeSet::new(),
        Ended::Status(_) if named().next().is_some() => named()
            .map(|name| Trouble::Snippet(name.to_owned()))
            .collect(),
        Ended::TimedOut(limit) => whole(format!(
            "the activation script did not end within {} s",
            limit.as_secs()
        )),
        ended => whole(format!("the activation script {ended}")),
    }
}

/// The name in `Activation script snippet 'NAME' failed (STATUS)`.
fn failed_snippet(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("Activation script snippet '")?;
    let (name, rest) = rest.split_once('\'')?;
    rest.starts_with(" failed").then_some(name)
}

/// The version's own checks, asked inside.
fn check_inside(
    inside: &Inside,
    checks: &Checks,
    monitor: &dyn Monitor,
) -> Result<Vec<CheckResult>> {
    if checks.checks.is_empty() {
        return Ok(Vec::new());
    }
    let mut checks = checks.clone();
    checks.checks.iter_mut().for_each(ask_for_unit);
    let runner = Runner::new("/".as_ref())
        .launched_by(inside.launcher())
        .with_env("PATH", inside.path());
    // What a thread starts is in its network, so that one alone has to go there.
    let report = std::thread::scope(|scope| {
        let asking = scope.spawn(|| -> Result<Report> {
            inside.join_network()?;
            Ok(runner.run(&checks, Stage::Preflight, &Baseline::default(), monitor))
        });
        let panicked = |panic| std::panic::resume_unwind(panic);
        asking.join().unwrap_or_else(panicked)
    })?;
    let named = |result: CheckResult| CheckResult {
        name: format!("{NAME}/{}", result.name),
        ..result
    };
    Ok(report.results.into_iter().map(named).collect())
}

/// A unit's state is asked of the systemd inside.
fn ask_for_unit(check: &mut Check) {
    if let Probe::Unit { unit } = &check.probe {
        let words = ["systemctl", "is-active", "--", unit.as_str()];
        let argv = words.map(str::to_owned).to_vec();
        check.probe = Probe::Command { argv };
    }
}

/// What the new version's troubles mean, knowing those of the running one.
fn judge(new: &Run, known: &BTreeSet<Trouble>) -> Result<CheckResult> {
    let counting: Vec<_> = new.troubles.difference(known).collect();
    let list = |troubles: &mut dyn Iterator<Item = &Trouble>| {
        let words: Vec<_> = troubles.map(ToString::to_string).collect();
        words.join(", ")
    };
    let (status, verdict) = match (new.troubles.is_empty(), counting.is_empty()) {
        (true, _) => (Status::Passed, Verdict::Passed),
        (false, false) => {
            let why = list(&mut counting.into_iter());
            (Status::Failed { why }, Verdict::Counts)
        }
        // Neither of the two can be started in one.
        (false, true) if new.ended() => {
            let why = list(&mut new.troubles.iter().filter(|t| t.is_the_end()));
            let last = new.output.lines().last().unwrap_or_default().trim();
            return Err(Error::NoContainer(match last {
                "" => format!("of the running version as well: {why}"),
                last => format!("of the running version as well: {why} ({last})"),
            }));
        }
        (false, true) => {
            let why = list(&mut new.troubles.iter());
            (Status::Failed { why }, Verdict::FailedBefore)
        }
    };
    Ok(CheckResult {
        name: NAME.to_owned(),
        need: Need::Required,
        verdict,
        output: match verdict {
            Verdict::Passed => String::new(),
            _ => new.output.clone(),
        },
        status,
        tries: 1,
        took_ms: 0,
    })
}

fn tell(monitor: &dyn Monitor, result: &CheckResult, start: &ContainerStart) {
    let seconds = std::time::Duration::from_millis(result.took_ms).as_secs_f64();
    let what = match start {
        ContainerStart::System => "start in a container",
        _ => "activation in a container",
    };
    let how = match result.verdict {
        Verdict::FailedBefore => format!("{}, as of the running version", result.status),
        _ => result.status.to_string(),
    };
    monitor.note(&format!("{what}: {how} ({seconds:.1} s)"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn unit(name: &str) -> Trouble {
        Trouble::Unit(name.to_owned())
    }

    #[test]
    fn an_activation_is_judged_by_its_end_and_the_parts_that_failed() {
        let snippets = "Activation script snippet 'agenix' failed (1)\nok\n\
                        Activation script snippet 'etc' failed (2)";
        let whole = |what: &str| vec![Trouble::Whole(what.to_owned())];
        let snippet = |name: &str| Trouble::Snippet(name.to_owned());
        let late = Ended::TimedOut(Duration::from_secs(3));
        let table = [
            (Ended::Status(0), snippets, vec![]),
            (
                Ended::Status(1),
                snippets,
                vec![snippet("agenix"), snippet("etc")],
            ),
            (
                Ended::Status(3),
                "",
                whole("the activation script ended with status 3"),
            ),
            (
                Ended::Signal(9),
                "",
                whole("the activation script was killed by signal 9"),
            ),
            (
                late,
                snippets,
                whole("the activation script did not end within 3 s"),
            ),
        ];
        for (ended, output, expected) in table {
            let output = output.to_owned();
            let ran = Ran { ended, output };
            assert_eq!(
                of_activation(&ran),
                expected.into_iter().collect(),
                "{ran:?}"
            );
        }
    }

    #[test]
    fn only_what_the_running_version_does_not_do_counts() {
        let late = Trouble::Whole("it was not up within 9 s".to_owned());
        let table = [
            (vec![], vec![], Some(Verdict::Passed)),
            (vec![unit("a")], vec![], Some(Verdict::Counts)),
            (
                vec![unit("a")],
                vec![unit("a"), unit("b")],
                Some(Verdict::FailedBefore),
            ),
            (
                vec![unit("a"), unit("b")],
                vec![unit("a")],
                Some(Verdict::Counts),
            ),
            (vec![late.clone()], vec![unit("a")], Some(Verdict::Counts)),
            (vec![late.clone()], vec![late], None),
        ];
        for (new, known, expected) in table {
            let run = Run {
                troubles: new.into_iter().collect(),
                ..Run::default()
            };
            let judged = judge(&run, &known.into_iter().collect());
            assert_eq!(judged.ok().map(|r| r.verdict), expected, "{run:?}");
        }
    }
}
