//! What effects do to the world, and every way in which they can fail.

use engine::{Action, Event, Failure, Phase};
use health::{CheckResult, Need, Report, Stage, Status, Verdict};

use super::world::{Rules, TX, V, World};

/// How an effect goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goes {
    /// Well.
    Well,
    /// It fails and has done nothing.
    Fails,
    /// It has done everything, or half of it, and reports a failure.
    FailsLate,
}

impl World {
    /// The next action of the worker is done. Returns whether it could go so.
    pub fn act(&mut self, rules: Rules, goes: Goes) -> bool {
        let Some(worker) = &mut self.worker else {
            return false;
        };
        let action = worker.todo.remove(0);
        if goes != Goes::Well {
            if self.luck.errors == 0 {
                return false;
            }
            self.luck.errors -= 1;
        }
        let result = self.effect(action, goes);
        if let (Some(worker), true) = (&mut self.worker, result.is_some()) {
            worker.todo.clear();
            worker.result = result;
        }
        self.let_go(rules);
        true
    }

    fn effect(&mut self, action: Action, goes: Goes) -> Option<Event> {
        let tx = TX;
        let done = goes != Goes::Fails;
        let well = goes == Goes::Well;
        let error = "an error".to_owned();
        let result = |good: Event, bad: Event| Some(if well { good } else { bad });
        match action {
            Action::Stage => {
                self.staged |= done;
                result(Event::StageDone { tx }, Event::StageFailed { tx, error })
            }
            Action::Preflight => {
                let baseline = health::Baseline::default();
                let failures = Failure::of(&report(Stage::Preflight));
                let failed = Event::PreflightFailed { tx, failures };
                result(Event::PreflightDone { tx, baseline }, failed)
            }
            Action::ArmDeadman { deadman, .. } => {
                if done {
                    // The new timer first, then the others are stopped.
                    self.deadmen.insert(deadman);
                    self.deadmen.retain(|d| *d == deadman);
                }
                (!well).then(|| self.unarmed()).flatten()
            }
            Action::Activate => {
                self.activate(done, well);
                result(
                    Event::Activated { tx },
                    Event::ActivateFailed {
                        tx,
                        error,
                        fault: None,
                    },
                )
            }
            Action::RunChecks { stage } => {
                let failed = Event::ChecksFailed {
                    tx,
                    report: report(stage),
                };
                result(Event::ChecksPassed { tx }, failed)
            }
            Action::Keep => {
                if done {
                    self.default = V::New;
                    self.trial = None;
                }
                result(Event::Kept { tx }, Event::KeepFailed { tx, error })
            }
            Action::RollBack => {
                self.roll_back(done, well);
                result(
                    Event::RolledBack { tx },
                    Event::RollbackFailed { tx, error },
                )
            }
            Action::Reboot { .. } => {
                self.rebooting |= done;
                (!well).then_some(Event::RebootFailed { tx, error })
            }
            Action::DisarmDeadman => {
                self.deadmen.clear();
                None
            }
            Action::Discard => {
                self.discard();
                None
            }
        }
    }

    fn activate(&mut self, done: bool, well: bool) {
        if self.live() {
            self.ran = true;
            self.active = if well { Some(V::New) } else { None };
        } else if done {
            let attempts = |o: &engine::Open| o.transaction.request.attempts;
            self.trial = self.open().map(attempts);
        }
    }

    fn roll_back(&mut self, done: bool, well: bool) {
        if done {
            self.default = V::Old;
            self.trial = None;
        }
        if self.running == V::Old {
            let stuck = if self.active == Some(V::Old) {
                self.active
            } else {
                None
            };
            self.active = if well { Some(V::Old) } else { stuck };
        }
    }

    fn discard(&mut self) {
        let boots = self.default == V::New || self.trial.is_some();
        let runs = self.running == V::New || self.active != Some(V::Old);
        self.removed_in_use |= boots || runs;
        self.staged = false;
    }

    /// As `Driver` does it: nothing unproven runs without a timer.
    fn unarmed(&self) -> Option<Event> {
        let (tx, error) = (TX, "cannot arm".to_owned());
        let guarded = matches!(
            self.open()?.phase,
            Phase::Activating { .. } | Phase::Trial(_)
        );
        guarded.then_some(Event::Unguarded { tx, error })
    }
}

fn report(stage: Stage) -> Report {
    let why = "broken".to_owned();
    Report {
        stage,
        results: vec![CheckResult {
            name: "service".to_owned(),
            need: Need::Required,
            status: Status::Failed { why },
            verdict: Verdict::Counts,
            output: String::new(),
            tries: 1,
            took_ms: 0,
        }],
        took_ms: 0,
    }
}
