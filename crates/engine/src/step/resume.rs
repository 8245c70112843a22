//! Somebody came to look after a transaction: after a crash, or a reboot.

use super::prepare::reject;
use super::rollback::{put_back, put_back_unrun};
use super::{Step, todo};
use crate::event::Running;
use crate::reason::{Outcome, Reason};
use crate::request::TrialKind;
use crate::state::{Cause, Open, Phase, Then, Trial};
use crate::version::Now;

/// Goes on. In the same boot, the phase's actions are done again; after a
/// reboot, what came up decides.
pub(super) fn resumed(open: &Open, now: &Now, running: &Running) -> Step {
    if open.boot == now.boot {
        return taken_up(open);
    }
    let to = |phase| Step::to(open.transaction.clone(), now, phase);
    let on_target = running.version == *open.transaction.target();
    let live = open.transaction.request.kind == TrialKind::Live;
    match &open.phase {
        Phase::Requested | Phase::Staged | Phase::Ready { .. } => prepared(open, now, running),
        Phase::Activating { .. } | Phase::Trial(_) if live => {
            put_back(open, now, Reason::Rebooted, then(on_target))
        }
        Phase::Activating { .. } | Phase::AwaitingBoot { .. } if on_target => to(first_boot(now)),
        Phase::Trial(trial) if on_target => to(another_boot(trial, now)),
        Phase::Activating { .. } | Phase::AwaitingBoot { .. } | Phase::Trial(_) => {
            came_up_elsewhere(open, now, running)
        }
        // Everybody agreed before power was lost: what was decided is done.
        Phase::Keeping { confirmed_by, .. } => to(Phase::Keeping {
            confirmed_by: confirmed_by.clone(),
            then: then(on_target),
        }),
        Phase::Verifying { cause } | Phase::RebootingToGood { cause, .. } if on_target => {
            back_in_the_bad_one(open, now, running, cause)
        }
        // Once more, even if the host is where it should be: an earlier rollback
        // may have failed, and the trial still be in the boot order.
        Phase::RollingBack { cause, .. }
        | Phase::Verifying { cause }
        | Phase::RebootingToGood { cause, .. } => to(Phase::RollingBack {
            cause: cause.clone(),
            then: then(on_target),
        }),
    }
}

/// Goes on in the same boot: what was begun is done again.
fn taken_up(open: &Open) -> Step {
    let mut open = open.clone();
    if let Phase::Activating { again, .. } = &mut open.phase {
        *again = true;
    }
    let actions = todo::actions(&open);
    Step::stay(open, actions)
}

/// What follows a rollback in a boot in which nothing was activated live.
fn then(on_target: bool) -> Then {
    if on_target { Then::Reboot } else { Then::End }
}

/// A reboot before the activation changes nothing, if it led to the same
/// version.
fn prepared(open: &Open, now: &Now, running: &Running) -> Step {
    if running.version != open.transaction.previous {
        let running = running.version.clone();
        return reject(open, Reason::BaseChanged { running });
    }
    Step::to(open.transaction.clone(), now, open.phase.clone())
}

/// The version came up for the first time.
fn first_boot(now: &Now) -> Phase {
    Phase::Trial(Trial {
        since_ms: now.uptime_ms,
        healthy: false,
        confirmed_by: None,
        boots: 1,
    })
}

/// The version came up again: its checks must pass in this boot, too.
fn another_boot(trial: &Trial, now: &Now) -> Phase {
    Phase::Trial(Trial {
        since_ms: now.uptime_ms,
        healthy: false,
        confirmed_by: trial.confirmed_by.clone(),
        boots: trial.boots.saturating_add(1),
    })
}

/// The boot trial is over: another version came up. Says why as well as can be
/// known.
fn came_up_elsewhere(open: &Open, now: &Now, running: &Running) -> Step {
    let boots_seen = match &open.phase {
        Phase::Trial(trial) => trial.boots,
        _ => 0,
    };
    let reason = match (&running.load_failure, running.attempts_left) {
        (Some(error), _) => Reason::LoadFailed {
            error: error.clone(),
        },
        (None, Some(0)) => Reason::AttemptsUsedUp {
            attempts: open.transaction.request.attempts,
            boots_seen,
        },
        // The entry may never have been published, or nobody ever started it.
        (None, left) if matches!(open.phase, Phase::Activating { .. }) && !started(open, left) => {
            return put_back_unrun(open, now, Reason::Interrupted);
        }
        (None, attempts_left) => Reason::NotTried {
            attempts_left,
            running: running.version.clone(),
        },
    };
    put_back(open, now, reason, Then::End)
}

/// Whether a start of the entry on trial was counted.
fn started(open: &Open, attempts_left: Option<u8>) -> bool {
    attempts_left.is_some_and(|left| left < open.transaction.request.attempts)
}

/// The reboot led back into the bad version. Tries again, but not for ever.
fn back_in_the_bad_one(open: &Open, now: &Now, running: &Running, cause: &Cause) -> Step {
    if cause.reboots >= open.transaction.request.attempts {
        let outcome = Outcome::Stranded {
            reason: cause.reason.clone(),
            running: running.version.clone(),
        };
        return Step::end(open.transaction.clone(), outcome);
    }
    let cause = Cause {
        reboots: cause.reboots.saturating_add(1),
        ..cause.clone()
    };
    let then = Then::Reboot;
    let phase = Phase::RollingBack { cause, then };
    Step::to(open.transaction.clone(), now, phase)
}
