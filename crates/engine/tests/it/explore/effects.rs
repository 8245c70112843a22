//! What effects do to the world, and every way in which they can fail.

use engine::{Action, Event, Failure, Fault, Phase};
use health::{CheckResult, Need, Report, Stage, Status, Verdict};

use super::loader::Sector;
use super::world::{Rules, V, World};

/// How an effect goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goes {
    /// Well.
    Well,
    /// It fails and has done nothing.
    Fails,
    /// It has done everything, or half of it, and reports a failure.
    FailsLate,
    /// Half of a boot configuration is written: the sector, and nothing more.
    FailsHalfway,
    /// The host says that it did not begin.
    DoesNotBegin,
    /// The running system cannot become this version without a reboot.
    RefusesLive,
}

impl World {
    /// The next action of the worker is done. Returns whether it could go so.
    pub fn act(&mut self, rules: Rules<'_>, goes: Goes) -> bool {
        let Some(worker) = &self.worker else {
            return false;
        };
        let Some(action) = worker.todo.first().copied() else {
            return false;
        };
        if !self.can_go(action, goes) {
            return false;
        }
        let Some(worker) = &mut self.worker else {
            return false;
        };
        worker.todo.remove(0);
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

    /// Whether this action can go so.
    fn can_go(&self, action: Action, goes: Goes) -> bool {
        let boot = !self.live();
        match goes {
            Goes::Well | Goes::Fails | Goes::FailsLate => true,
            Goes::FailsHalfway => {
                let trial = self.loader.trial.is_some();
                boot && matches!(action, Action::Activate)
                    || matches!(action, Action::RollBack) && trial
            }
            Goes::DoesNotBegin => matches!(action, Action::Preflight | Action::Activate),
            Goes::RefusesLive => !boot && matches!(action, Action::Preflight),
        }
    }

    fn effect(&mut self, action: Action, goes: Goes) -> Option<Event> {
        let tx = self.tx;
        let done = matches!(goes, Goes::Well | Goes::FailsLate);
        let well = goes == Goes::Well;
        let error = "an error".to_owned();
        let result = |good: Event, bad: Event| Some(if well { good } else { bad });
        match action {
            Action::Stage => {
                self.staged |= done;
                result(Event::StageDone { tx }, Event::StageFailed { tx, error })
            }
            Action::Preflight => Some(self.preflight(goes)),
            Action::ArmDeadman { deadman, .. } => {
                if done {
                    // The new timer first, then the others are stopped.
                    self.deadmen.insert(deadman);
                    self.deadmen.retain(|d| *d == deadman);
                }
                (!well).then(|| self.unarmed()).flatten()
            }
            Action::Activate if goes == Goes::DoesNotBegin => Some(self.not_begun()),
            Action::Activate => {
                self.activate(goes);
                let fault = None;
                let failed = Event::ActivateFailed { tx, error, fault };
                result(Event::Activated { tx }, failed)
            }
            Action::RunChecks { stage } => {
                let report = report(stage);
                let failed = match goes {
                    Goes::Fails => Event::ChecksFailed { tx, report },
                    _ => Event::ChecksBroken { tx, error },
                };
                result(Event::ChecksPassed { tx }, failed)
            }
            Action::Keep => {
                if done {
                    self.default = V::New;
                    self.loader.publish(None, None);
                    self.loader.bad_listed = false;
                }
                result(Event::Kept { tx }, Event::KeepFailed { tx, error })
            }
            Action::RollBack => {
                self.roll_back(goes);
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

    fn preflight(&self, goes: Goes) -> Event {
        let tx = self.tx;
        let baseline = health::Baseline::default();
        let error = "an error".to_owned();
        match goes {
            Goes::Well => Event::PreflightDone { tx, baseline },
            Goes::DoesNotBegin => self.not_begun(),
            Goes::RefusesLive => Event::LiveRefused {
                tx,
                why: "a new kernel".to_owned(),
                baseline,
            },
            Goes::FailsLate => Event::PreflightBroken { tx, error },
            _ => Event::PreflightFailed {
                tx,
                failures: Failure::of(&report(Stage::Preflight)),
            },
        }
    }

    fn not_begun(&self) -> Event {
        Event::NotActivated {
            tx: self.tx,
            error: "somebody else is at it".to_owned(),
            fault: Fault::Busy,
        }
    }

    fn activate(&mut self, goes: Goes) {
        if self.live() {
            self.ran = true;
            self.active = (goes == Goes::Well).then_some(V::New);
            return;
        }
        let attempts = self.open().map(|o| o.transaction.request.attempts);
        match goes {
            Goes::Well | Goes::FailsLate => self.loader.publish(attempts, attempts),
            Goes::FailsHalfway => {
                let left = attempts.unwrap_or(0);
                self.loader.sector = Sector::Foreign { left };
            }
            _ => {}
        }
    }

    fn roll_back(&mut self, goes: Goes) {
        match goes {
            Goes::Well | Goes::FailsLate => {
                self.default = V::Old;
                self.loader.publish(None, None);
                self.loader.bad_listed = self.staged;
            }
            Goes::FailsHalfway => {
                let (left, failed) = (0, self.loader.load_failure());
                self.loader.sector = Sector::Ours { left, failed };
            }
            _ => {}
        }
        if self.running == V::Old {
            let stuck = self.active.filter(|active| *active == V::Old);
            let well = goes == Goes::Well;
            self.active = if well { Some(V::Old) } else { stuck };
        }
    }

    fn discard(&mut self) {
        // A deployment that stands in the menu is not removed.
        if self.loader.bad_listed {
            return;
        }
        let boots = self.default == V::New || self.loader.trial.is_some();
        let runs = self.running == V::New || self.active != Some(V::Old);
        self.removed_in_use |= boots || runs;
        self.staged = false;
    }

    /// As `Driver` does it: nothing unproven runs without a timer.
    fn unarmed(&self) -> Option<Event> {
        let (tx, error) = (self.tx, "cannot arm".to_owned());
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
