//! From activation to the decision.

use super::prepare::reject;
use super::rollback::{put_back, put_back_unrun};
use super::{Step, not_on_trial, stale, todo, too_late, unexpected};
use crate::action::{Action, Wait};
use crate::event::Event;
use crate::knowledge::Learned;
use crate::reason::{Failure, Outcome, Reason};
use crate::refusal::Refusal;
use crate::request::{Confirm, TrialKind};
use crate::state::{Open, Phase, Then, Trial};
use crate::version::Now;

/// While the version is being activated.
pub(super) fn activating(
    open: &Open,
    now: &Now,
    reboot: bool,
    again: bool,
    event: &Event,
) -> Result<Step, Refusal> {
    let live = open.transaction.request.kind == TrialKind::Live;
    let reason = match event {
        Event::Activated { .. } if live => {
            let trial = Trial {
                since_ms: now.uptime_ms,
                healthy: false,
                confirmed_by: None,
                boots: 0,
            };
            return Ok(Step::to(open.transaction.clone(), now, Phase::Trial(trial)));
        }
        Event::Activated { .. } => {
            let phase = Phase::AwaitingBoot { reboot };
            return Ok(Step::to(open.transaction.clone(), now, phase));
        }
        Event::ActivateFailed { error, fault, .. } => Reason::ActivateFailed {
            error: error.clone(),
            fault: *fault,
        },
        Event::NotActivated { error, fault, .. } => {
            let (error, fault) = (error.clone(), *fault);
            let reason = Reason::NotActivated { error, fault };
            return Ok(match again {
                true => put_back_unrun(open, now, reason),
                false => unbegun(open, reason),
            });
        }
        Event::Unguarded { error, .. } => {
            let error = error.clone();
            return Ok(put_back_unrun(open, now, Reason::Unguarded { error }));
        }
        Event::Aborted { by, .. } => Reason::Aborted { by: by.clone() },
        Event::SupervisorLost { .. } => Reason::SupervisorLost,
        Event::Deadline { deadman } if live && deadman.wait == Wait::Checks => {
            let wait = deadman.wait;
            Reason::Deadline { wait }
        }
        Event::Deadline { .. } => return Err(stale(open)),
        Event::Confirmed { .. } => return Err(not_on_trial(open)),
        _ => return Err(unexpected(open, event)),
    };
    if live {
        return Ok(put_back(open, now, reason, Then::Verify));
    }
    Ok(put_back_unrun(open, now, reason))
}

/// Ends a transaction whose activation did not begin: there is nothing to put
/// back, and nothing to hold against the version.
fn unbegun(open: &Open, reason: Reason) -> Step {
    let mut step = reject(open, reason);
    step.actions.insert(0, Action::DisarmDeadman);
    step
}

/// While the entry on trial waits for a boot.
pub(super) fn awaiting_boot(
    open: &Open,
    now: &Now,
    reboot: bool,
    event: &Event,
) -> Result<Step, Refusal> {
    match event {
        Event::GoAhead { reboot: true, .. } if !reboot => {
            let phase = Phase::AwaitingBoot { reboot: true };
            Ok(Step::to(open.transaction.clone(), now, phase))
        }
        Event::Aborted { by, .. } => {
            let by = by.clone();
            Ok(put_back_unrun(open, now, Reason::Aborted { by }))
        }
        Event::Deadline { deadman } if reboot && deadman.wait == Wait::Reboot => {
            let force = Action::Reboot { force: true };
            Ok(Step::stay(open.clone(), vec![force]))
        }
        Event::RebootFailed { .. } => Ok(Step::stay(open.clone(), Vec::new())),
        Event::Deadline { .. } => Err(stale(open)),
        Event::Confirmed { .. } => Err(not_on_trial(open)),
        _ => Err(unexpected(open, event)),
    }
}

/// While the version runs and must prove itself.
pub(super) fn on_trial(
    open: &Open,
    now: &Now,
    trial: &Trial,
    event: &Event,
) -> Result<Step, Refusal> {
    let reason = match event {
        Event::ChecksPassed { .. } if !trial.healthy => {
            let healthy = true;
            return Ok(decide(
                open,
                now,
                Trial {
                    healthy,
                    ..trial.clone()
                },
            ));
        }
        Event::Confirmed {
            by, connected_ms, ..
        } => return confirmed(open, now, trial, by, *connected_ms),
        Event::ChecksFailed { report, .. } if !trial.healthy => Reason::ChecksFailed {
            failures: Failure::of(report),
        },
        Event::ChecksBroken { error, .. } if !trial.healthy => Reason::ChecksBroken {
            error: error.clone(),
        },
        Event::Unguarded { error, .. } => Reason::Unguarded {
            error: error.clone(),
        },
        Event::SupervisorLost { .. } if !trial.healthy => Reason::SupervisorLost,
        Event::Aborted { by, .. } => Reason::Aborted { by: by.clone() },
        Event::Deadline { deadman } if deadman.wait == waits_for(open, trial) => {
            let wait = deadman.wait;
            Reason::Deadline { wait }
        }
        Event::Deadline { .. } => return Err(stale(open)),
        _ => return Err(unexpected(open, event)),
    };
    Ok(put_back(open, now, reason, then(open)))
}

/// Which timer guards the trial now.
fn waits_for(open: &Open, trial: &Trial) -> Wait {
    match (trial.healthy, open.transaction.request.kind) {
        (true, _) => Wait::Confirm,
        (false, TrialKind::Live) => Wait::Checks,
        (false, TrialKind::Boot) => Wait::Boot,
    }
}

/// What follows a rollback out of a trial in the boot it began in.
fn then(open: &Open) -> Then {
    match open.transaction.request.kind {
        TrialKind::Live => Then::Verify,
        TrialKind::Boot => Then::Reboot,
    }
}

/// Somebody's word: it counts if their connection is newer than the activation.
fn confirmed(
    open: &Open,
    now: &Now,
    trial: &Trial,
    by: &str,
    connected_ms: Option<u64>,
) -> Result<Step, Refusal> {
    if let Some(by) = trial.confirmed_by.clone() {
        return Err(Refusal::AlreadyConfirmed { by });
    }
    let deployer = matches!(open.transaction.request.confirm, Confirm::Deployer { .. });
    match connected_ms {
        None if deployer => return Err(Refusal::NeedsConnection),
        Some(at) if at <= trial.since_ms => return Err(Refusal::StaleConnection),
        _ => {}
    }
    let confirmed_by = Some(by.to_owned());
    let trial = Trial {
        confirmed_by,
        ..trial.clone()
    };
    Ok(decide(open, now, trial))
}

/// Keeps the version once its checks passed and whoever must agree has agreed.
fn decide(open: &Open, now: &Now, trial: Trial) -> Step {
    let agreed =
        open.transaction.request.confirm == Confirm::Checks || trial.confirmed_by.is_some();
    let phase = if trial.healthy && agreed {
        Phase::Keeping {
            confirmed_by: trial.confirmed_by,
            then: then(open),
        }
    } else {
        Phase::Trial(trial)
    };
    let waits = matches!(&phase, Phase::Trial(t) if !t.healthy);
    let mut step = Step::to(open.transaction.clone(), now, phase);
    if waits {
        // Whoever runs the checks goes on running them.
        step.actions.clear();
    }
    step
}

/// While the version is being made the default.
pub(super) fn keeping(
    open: &Open,
    now: &Now,
    confirmed_by: Option<&String>,
    then: Then,
    event: &Event,
) -> Result<Step, Refusal> {
    match event {
        Event::Kept { .. } => {
            let confirmed_by = confirmed_by.cloned();
            let version = open.transaction.target().clone();
            let step = Step::end(open.transaction.clone(), Outcome::Kept { confirmed_by });
            Ok(step.learning(Learned::Good { version }))
        }
        Event::KeepFailed { error, .. } => {
            let error = error.clone();
            Ok(put_back(open, now, Reason::KeepFailed { error }, then))
        }
        Event::Deadline { deadman } if deadman.wait == Wait::Keep => {
            let wait = deadman.wait;
            Ok(put_back(open, now, Reason::Deadline { wait }, then))
        }
        Event::Deadline { .. } | Event::SupervisorLost { .. } => {
            Ok(Step::stay(open.clone(), todo::actions(open)))
        }
        Event::Aborted { .. } => Err(too_late(open)),
        Event::Confirmed { .. } => match confirmed_by.cloned() {
            Some(by) => Err(Refusal::AlreadyConfirmed { by }),
            None => Err(too_late(open)),
        },
        _ => Err(unexpected(open, event)),
    }
}
