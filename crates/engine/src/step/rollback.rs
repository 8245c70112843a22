//! The way back.

use super::{Step, todo, too_late, unexpected};
use crate::action::{Action, Wait};
use crate::event::Event;
use crate::knowledge::Learned;
use crate::reason::{Outcome, Reason};
use crate::refusal::Refusal;
use crate::request::TrialKind;
use crate::state::{Cause, Open, Phase, Then};
use crate::version::Now;

/// Puts the version before back, and remembers that the one tried is bad: from
/// now on, whatever happens, it is not tried again by itself.
pub(super) fn put_back(open: &Open, now: &Now, reason: Reason, then: Then) -> Step {
    let version = open.transaction.target().clone();
    let learned = Learned::Bad {
        version,
        reason: reason.clone(),
    };
    go_back(open, now, reason, then).learning(learned)
}

/// Puts everything back for a version that never ran, of which nothing is known.
/// (A live activation that was broken off and could not be taken up again may
/// have left it half active.)
pub(super) fn put_back_unrun(open: &Open, now: &Now, reason: Reason) -> Step {
    let then = match open.transaction.request.kind {
        TrialKind::Live => Then::Verify,
        TrialKind::Boot => Then::End,
    };
    go_back(open, now, reason, then)
}

fn go_back(open: &Open, now: &Now, reason: Reason, then: Then) -> Step {
    let cause = Cause {
        reason,
        escalated: false,
        reboots: 0,
    };
    let phase = Phase::RollingBack { cause, then };
    Step::to(open.transaction.clone(), now, phase)
}

/// Ends on the version before.
fn ended(open: &Open, cause: &Cause) -> Step {
    let outcome = Outcome::RolledBack {
        reason: cause.reason.clone(),
        escalated: cause.escalated,
    };
    Step::end(open.transaction.clone(), outcome)
}

/// While the version before is being put back.
pub(super) fn rolling_back(
    open: &Open,
    now: &Now,
    cause: &Cause,
    then: Then,
    event: &Event,
) -> Result<Step, Refusal> {
    let again = || Ok(Step::stay(open.clone(), todo::actions(open)));
    match (event, then) {
        (Event::RolledBack { .. }, Then::End) => Ok(ended(open, cause)),
        (Event::RolledBack { .. }, Then::Verify) => {
            let cause = cause.clone();
            let phase = Phase::Verifying { cause };
            Ok(Step::to(open.transaction.clone(), now, phase))
        }
        (Event::RolledBack { .. }, Then::Reboot) => Ok(reboot(open, now, cause.clone())),
        // The version before runs: there is nothing to escape from, but the
        // trial may still be in the boot order. The next resume tries again.
        (Event::RollbackFailed { .. }, Then::End) => Ok(Step::stay(open.clone(), Vec::new())),
        (Event::RollbackFailed { .. }, _) => Ok(escalate(open, now, cause)),
        (Event::Deadline { deadman }, Then::Verify | Then::Reboot)
            if deadman.wait == Wait::RollBack =>
        {
            Ok(escalate(open, now, cause))
        }
        (Event::Deadline { .. } | Event::SupervisorLost { .. }, _) => again(),
        (Event::Aborted { .. } | Event::Confirmed { .. }, _) => Err(too_late(open)),
        _ => Err(unexpected(open, event)),
    }
}

/// While the checks run after a live rollback.
pub(super) fn verifying(
    open: &Open,
    now: &Now,
    cause: &Cause,
    event: &Event,
) -> Result<Step, Refusal> {
    match event {
        Event::ChecksPassed { .. } => Ok(ended(open, cause)),
        Event::ChecksFailed { .. } | Event::ChecksBroken { .. } => Ok(escalate(open, now, cause)),
        Event::Deadline { deadman } if deadman.wait == Wait::Verify => {
            Ok(escalate(open, now, cause))
        }
        Event::Deadline { .. } | Event::SupervisorLost { .. } => {
            Ok(Step::stay(open.clone(), todo::actions(open)))
        }
        Event::Aborted { .. } | Event::Confirmed { .. } => Err(too_late(open)),
        _ => Err(unexpected(open, event)),
    }
}

/// While a reboot is to lead out of the bad version.
pub(super) fn rebooting(
    open: &Open,
    now: &Now,
    cause: &Cause,
    forced: bool,
    event: &Event,
) -> Result<Step, Refusal> {
    let force = || {
        let cause = cause.clone();
        let phase = Phase::RebootingToGood {
            cause,
            forced: true,
        };
        Ok(Step::to(open.transaction.clone(), now, phase))
    };
    match event {
        Event::RebootFailed { .. } if !forced => force(),
        // The deadman asks again; it may not have been possible to arm it.
        Event::RebootFailed { .. } => {
            let mut actions = todo::actions(open);
            actions.retain(|a| matches!(a, Action::ArmDeadman { .. }));
            Ok(Step::stay(open.clone(), actions))
        }
        Event::Deadline { deadman } if deadman.wait == Wait::Reboot => force(),
        Event::Deadline { .. } | Event::SupervisorLost { .. } => {
            Ok(Step::stay(open.clone(), todo::actions(open)))
        }
        Event::Aborted { .. } | Event::Confirmed { .. } => Err(too_late(open)),
        _ => Err(unexpected(open, event)),
    }
}

/// Going back did not work as it should: reboot into the default, which the
/// trial never changed.
fn escalate(open: &Open, now: &Now, cause: &Cause) -> Step {
    let escalated = true;
    let cause = Cause {
        escalated,
        ..cause.clone()
    };
    reboot(open, now, cause)
}

fn reboot(open: &Open, now: &Now, cause: Cause) -> Step {
    let phase = Phase::RebootingToGood {
        cause,
        forced: false,
    };
    Step::to(open.transaction.clone(), now, phase)
}
