//! A Nix host's checks: before the activation, and of what runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use engine::{Preflight, Transaction, TrialKind};
use health::{
    Baseline, BuiltIns, Check, CheckResult, Checks, Need, Probe, Report, Runner, Stage, Status,
    Verdict,
};
use monitor::Monitor;

use crate::NixHost;
use crate::error::Result;
use crate::store::StorePath;
use crate::switch::{Action, SwitchEnd, Switched, Switcher};

/// What runs a version's own programs before the version runs: without network,
/// and with its processes and mounts kept apart.
const APART: [&str; 6] = [
    "unshare",
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
];

/// What the version's own programs said of it.
#[derive(Debug, Default)]
struct Opinion {
    failures: Vec<CheckResult>,
    /// A live trial is not possible.
    refused: Option<(Action, Switched)>,
}

/// What is known before an activation.
#[derive(Debug)]
struct Seen {
    opinion: Opinion,
    /// Of the version's own checks, and of the version in a container.
    own: Vec<CheckResult>,
    baseline: Baseline,
}

impl NixHost {
    /// The checks of what runs now: the host's own, and those that the version
    /// brings in `etc/backstop/checks.d`.
    ///
    /// # Errors
    /// It can't be told what runs.
    pub fn checks(&self) -> Result<Checks> {
        let built_ins = if self.runs_systemd() {
            BuiltIns::With
        } else {
            BuiltIns::Without
        };
        let host = Checks::load(self.layout.root(), built_ins);
        let version = Checks::load(self.active_system()?.path(), BuiltIns::Without);
        Ok(merge(host, version))
    }

    /// Runs a stage's checks on what runs now, judged by a baseline.
    ///
    /// # Errors
    /// It can't be told what runs.
    pub fn check(
        &self,
        stage: Stage,
        baseline: &Baseline,
        monitor: &dyn Monitor,
    ) -> Result<Report> {
        let runner = Runner::new(self.layout.root());
        Ok(runner.run(&self.checks()?, stage, baseline, monitor))
    }

    /// How what runs now is: what a version on trial is compared with.
    ///
    /// # Errors
    /// It can't be told what runs.
    pub fn baseline(&self, monitor: &dyn Monitor) -> Result<Baseline> {
        let runner = Runner::new(self.layout.root());
        Ok(runner.baseline(&self.checks()?, monitor))
    }

    /// As [`NixHost::check`], with what the activation itself found.
    pub(crate) fn check_trial(
        &self,
        transaction: &Transaction,
        stage: Stage,
        monitor: &dyn Monitor,
    ) -> Result<Report> {
        let mut report = self.check(stage, &transaction.baseline, monitor)?;
        let failed = self.failed_units(transaction)?;
        if stage == Stage::Live && !failed.is_empty() {
            let why = format!("failed: {}", failed.join(", "));
            let output = "`switch-to-configuration test` ended with status 4".to_owned();
            report.results.push(failure("failed-units", why, output));
        }
        Ok(report)
    }

    /// Asks the version's own programs, runs the checks that it brings for itself,
    /// and looks at how the host is before it changes.
    pub(crate) fn preflight_version(
        &self,
        transaction: &Transaction,
        monitor: &dyn Monitor,
    ) -> Result<Preflight> {
        let target = self.path(transaction.target())?;
        let live = transaction.request.kind == TrialKind::Live;
        if !live {
            self.loader()?.can_boot_once()?;
        }
        let started = Instant::now();
        let previous = self.path(&transaction.previous)?;
        let seen = self.look_at(&target, &previous, live, monitor)?;
        let Seen {
            opinion,
            own,
            baseline,
        } = seen;
        let refused = opinion.refused;
        let reject = transaction.request.if_refused == engine::IfRefused::Reject;
        if let Some((action, switched)) = refused.as_ref()
            && !reject
            && self.loader().and_then(|l| l.can_boot_once()).is_err()
        {
            // Neither live nor by a boot.
            return Err(switched.clone().failed(&target, *action));
        }
        let mut results = opinion.failures;
        results.extend(own);
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Preflight {
            report: Report {
                stage: Stage::Preflight,
                results,
                took_ms,
            },
            baseline,
            refuses_live: refused.map(|(_, switched)| switched.why()),
        })
    }

    /// All that is to be known before the activation, at the same time: nothing of it
    /// changes the host. The version's pre-switch checks come before its dry activation,
    /// which a boot trial does not need.
    fn look_at(
        &self,
        target: &StorePath,
        previous: &StorePath,
        live: bool,
        monitor: &dyn Monitor,
    ) -> Result<Seen> {
        let action = if live {
            Action::DryActivate
        } else {
            Action::Check
        };
        let log = self.log(&action.to_string())?;
        let switcher = self.asker(target, &log);
        let (switched, contained, own, baseline) = std::thread::scope(|scope| {
            let asking = scope.spawn(move || switcher.run(action, |_| Ok(())));
            let own = self.own_checks(target, monitor);
            let baseline = self.baseline(monitor);
            // Last: a baseline is of the host as it is by itself.
            let contained = self.rehearse(target, previous, monitor);
            let panicked = |panic| std::panic::resume_unwind(panic);
            let switched = asking.join().unwrap_or_else(panicked);
            (switched, contained, own, baseline)
        });
        let switched = unless_busy(switched?, target, action)?;
        if live {
            switched.output.lines().for_each(|line| monitor.note(line));
        }
        let mut opinion = Opinion::default();
        opinion.take_in(action, switched, live);
        let mut own = own.results;
        own.extend(contained?);
        Ok(Seen {
            opinion,
            own,
            baseline: baseline?,
        })
    }

    /// What runs an action that changes nothing.
    fn asker<'a>(&'a self, target: &'a StorePath, log: &'a Path) -> Switcher<'a> {
        Switcher {
            layout: &self.layout,
            toplevel: target,
            log,
            limit: self.config.command_timeout,
            lock_wait: self.config.lock_wait,
        }
    }

    /// Runs an action that changes nothing.
    pub(crate) fn ask_switcher(&self, target: &StorePath, action: Action) -> Result<Switched> {
        let log = self.log(&action.to_string())?;
        let switched = self.asker(target, &log).run(action, |_| Ok(()))?;
        unless_busy(switched, target, action)
    }

    /// The preflight checks that the version brings for itself.
    fn own_checks(&self, target: &StorePath, monitor: &dyn Monitor) -> Report {
        let mut own = Checks::load(target.path(), BuiltIns::Without);
        let mut runner = Runner::new(target.path());
        if self.runs_systemd() {
            for check in &mut own.checks {
                inside(target.path(), check);
            }
            runner = runner.launched_by(APART.map(str::to_owned).to_vec());
        }
        runner.run(&own, Stage::Preflight, &Baseline::default(), monitor)
    }
}

/// A busy host is an error: nothing can be said of the version then.
fn unless_busy(switched: Switched, target: &StorePath, action: Action) -> Result<Switched> {
    match switched.end {
        SwitchEnd::Busy => Err(switched.failed(target, action)),
        _ => Ok(switched),
    }
}

impl Opinion {
    fn take_in(&mut self, action: Action, switched: Switched, live: bool) {
        match &switched.end {
            SwitchEnd::Done | SwitchEnd::NoSuchAction => {}
            end if end.wants_boot() => {
                self.refused = live.then_some((action, switched));
            }
            end => {
                let name = match (action, end) {
                    (Action::Check, _) | (_, SwitchEnd::CheckFailed) => "pre-switch-checks",
                    _ => "dry-activate",
                };
                let why = end.to_string();
                self.failures.push(failure(name, why, switched.output));
            }
        }
    }
}

/// The host's checks, with the version's own over those of the same name.
fn merge(host: Checks, version: Checks) -> Checks {
    let mut all = BTreeMap::new();
    for check in host.checks.into_iter().chain(version.checks) {
        all.insert(check.name.clone(), check);
    }
    let mut problems = host.problems;
    problems.extend(version.problems);
    Checks {
        checks: all.into_values().collect(),
        problems,
    }
}

/// A program with an absolute name is looked for in the version first.
fn inside(toplevel: &Path, check: &mut Check) {
    let Probe::Command { argv } = &mut check.probe else {
        return;
    };
    let Some(program) = argv.first_mut() else {
        return;
    };
    if let Some(relative) = program.strip_prefix('/') {
        let below = toplevel.join(relative);
        if below.exists() {
            *program = below.to_string_lossy().into_owned();
        }
    }
}

/// A failure that counts.
fn failure(name: &str, why: String, output: String) -> CheckResult {
    CheckResult {
        name: name.to_owned(),
        need: Need::Required,
        status: Status::Failed { why },
        verdict: Verdict::Counts,
        output,
        tries: 1,
        took_ms: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_no_failure_and_matters_only_live() {
        let table = [
            (SwitchEnd::Done, true, (0, false)),
            (SwitchEnd::NoSuchAction, true, (0, false)),
            (SwitchEnd::Inhibited, true, (0, true)),
            (SwitchEnd::Inhibited, false, (0, false)),
            (SwitchEnd::NeedsReboot, true, (0, true)),
            (SwitchEnd::CheckFailed, true, (1, false)),
            (SwitchEnd::CheckFailed, false, (1, false)),
            (SwitchEnd::GaveUp, true, (1, false)),
        ];
        for (end, live, expected) in table {
            let mut opinion = Opinion::default();
            let output = String::new();
            let switched = Switched {
                end: end.clone(),
                output,
            };
            opinion.take_in(Action::Check, switched, live);
            let found = (opinion.failures.len(), opinion.refused.is_some());
            assert_eq!(found, expected, "{end}");
        }
    }
}
