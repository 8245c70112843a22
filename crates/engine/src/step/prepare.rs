//! Before anything is activated.

use super::{Step, not_on_trial, stale, unexpected};
use crate::event::Event;
use crate::knowledge::{Knowledge, Learned};
use crate::reason::{Outcome, Reason};
use crate::refusal::Refusal;
use crate::request::{IfRefused, Request, Transaction, TrialKind};
use crate::state::{Open, Phase};
use crate::version::{Now, TxId, VersionId};

/// Takes on a request, unless the version is known to be bad.
pub(super) fn request(
    knowledge: &Knowledge,
    now: &Now,
    id: TxId,
    request: &Request,
    previous: &VersionId,
) -> Result<Step, Refusal> {
    if request.target == *previous {
        return Err(Refusal::AlreadyRunning(previous.clone()));
    }
    if request.kind == TrialKind::Boot && request.attempts == 0 {
        return Err(Refusal::NoAttempts);
    }
    if let (Some(reason), false) = (knowledge.bad(&request.target), request.forced) {
        return Err(Refusal::KnownBad {
            version: request.target.clone(),
            reason: reason.clone(),
        });
    }
    let transaction = Transaction {
        id,
        request: request.clone(),
        previous: previous.clone(),
        started_at: now.time,
        baseline: health::Baseline::default(),
        live_refused: None,
    };
    let step = Step::to(transaction, now, Phase::Requested);
    if knowledge.standing(previous).is_some() {
        return Ok(step);
    }
    // It runs, and it is what the host will come back to.
    let version = previous.clone();
    Ok(step.learning(Learned::Good { version }))
}

/// From `Requested` to `Ready`, and on.
pub(super) fn step(open: &Open, now: &Now, event: &Event) -> Result<Step, Refusal> {
    let to = |phase| Ok(Step::to(open.transaction.clone(), now, phase));
    match (&open.phase, event) {
        (_, Event::Aborted { by, .. }) => {
            let by = by.clone();
            Ok(reject(open, Reason::Aborted { by }))
        }
        (_, Event::SupervisorLost { .. }) => Ok(reject(open, Reason::SupervisorLost)),
        (_, Event::Confirmed { .. }) => Err(not_on_trial(open)),
        (_, Event::Deadline { .. }) => Err(stale(open)),
        (Phase::Requested, Event::StageDone { .. }) => to(Phase::Staged),
        (Phase::Requested, Event::StageFailed { error, .. }) => {
            let error = error.clone();
            Ok(reject(open, Reason::StageFailed { error }))
        }
        (Phase::Staged, event) => preflight(open, now, event),
        (
            Phase::Ready { .. },
            Event::GoAhead {
                reboot, baseline, ..
            },
        ) => {
            let mut transaction = open.transaction.clone();
            if let Some(baseline) = baseline {
                transaction.baseline = baseline.clone();
            }
            let reboot = *reboot;
            let again = false;
            let phase = Phase::Activating { reboot, again };
            Ok(Step::to(transaction, now, phase))
        }
        (Phase::Ready { .. }, Event::Postponed { why, .. }) => {
            let postponed = Some(why.clone());
            to(Phase::Ready { postponed })
        }
        _ => Err(unexpected(open, event)),
    }
}

/// What the version's own checks said. Only their failure makes it bad: that
/// they could not be run says nothing about it.
fn preflight(open: &Open, now: &Now, event: &Event) -> Result<Step, Refusal> {
    match event {
        Event::PreflightDone { baseline, .. } => {
            let mut transaction = open.transaction.clone();
            transaction.baseline = baseline.clone();
            let postponed = None;
            Ok(Step::to(transaction, now, Phase::Ready { postponed }))
        }
        Event::NotActivated { error, fault, .. } => {
            let (error, fault) = (error.clone(), *fault);
            Ok(reject(open, Reason::NotActivated { error, fault }))
        }
        Event::LiveRefused { why, baseline, .. } => Ok(live_refused(open, now, why, baseline)),
        Event::PreflightFailed { failures, .. } => {
            let failures = failures.clone();
            let reason = Reason::PreflightFailed { failures };
            let version = open.transaction.target().clone();
            let learned = Learned::Bad {
                version,
                reason: reason.clone(),
            };
            Ok(reject(open, reason).learning(learned))
        }
        Event::PreflightBroken { error, .. } => {
            let error = error.clone();
            Ok(reject(open, Reason::PreflightBroken { error }))
        }
        _ => Err(unexpected(open, event)),
    }
}

/// A live trial is not possible: the version is tried by a boot instead, unless
/// that is not wanted. Nobody who asked for a live trial expects a reboot, so it
/// waits for one that somebody else asks for.
fn live_refused(open: &Open, now: &Now, why: &str, baseline: &health::Baseline) -> Step {
    let mut transaction = open.transaction.clone();
    let request = &mut transaction.request;
    match request.if_refused {
        IfRefused::Reject => {
            let error = why.to_owned();
            return reject(open, Reason::LiveRefused { error });
        }
        IfRefused::Stage => request.await_reboot = true,
        IfRefused::Boot => {}
    }
    request.kind = TrialKind::Boot;
    request.attempts = request.attempts.max(1);
    transaction.baseline = baseline.clone();
    transaction.live_refused = Some(why.to_owned());
    let postponed = None;
    Step::to(transaction, now, Phase::Ready { postponed })
}

/// Ends a transaction whose version was never activated.
pub(super) fn reject(open: &Open, reason: Reason) -> Step {
    Step::end(open.transaction.clone(), Outcome::Rejected { reason })
}
