//! What is to be done in each phase.

use std::time::Duration;

use crate::action::{Action, Deadman, Wait};
use crate::request::TrialKind;
use crate::state::{Open, Phase, Trial};

/// The actions of a phase. The phase alone decides, so that whoever resumes it
/// does the same.
pub(super) fn actions(open: &Open) -> Vec<Action> {
    let request = &open.transaction.request;
    let effect = request.effect_deadline;
    match &open.phase {
        Phase::Requested => vec![Action::Stage],
        Phase::Staged => vec![Action::Preflight],
        Phase::Ready { .. } | Phase::AwaitingBoot { reboot: false } => Vec::new(),
        Phase::Activating { .. } if request.kind == TrialKind::Boot => vec![Action::Activate],
        // Armed before anything changes: the activation itself may cut off
        // whoever started it.
        Phase::Activating { .. } => {
            let arm = arm(open, Wait::Checks, request.check_deadline);
            vec![arm, Action::Activate]
        }
        Phase::AwaitingBoot { reboot: true } => {
            let reboot = Action::Reboot { force: false };
            vec![arm(open, Wait::Reboot, effect), reboot]
        }
        Phase::Trial(trial) => on_trial(open, trial),
        Phase::Keeping { .. } => vec![arm(open, Wait::Keep, effect), Action::Keep],
        Phase::RollingBack { .. } => vec![arm(open, Wait::RollBack, effect), Action::RollBack],
        Phase::Verifying { .. } => {
            let stage = health::Stage::Live;
            let arm = arm(open, Wait::Verify, request.check_deadline);
            vec![arm, Action::RunChecks { stage }]
        }
        Phase::RebootingToGood { forced, .. } => {
            let reboot = Action::Reboot { force: *forced };
            vec![arm(open, Wait::Reboot, effect), reboot]
        }
    }
}

/// What is to be done for a version on trial.
fn on_trial(open: &Open, trial: &Trial) -> Vec<Action> {
    let request = &open.transaction.request;
    if trial.healthy {
        let within = request.confirm.within();
        return within
            .map(|after| arm(open, Wait::Confirm, after))
            .into_iter()
            .collect();
    }
    let (stage, wait, after) = match request.kind {
        TrialKind::Live => (health::Stage::Live, Wait::Checks, request.check_deadline),
        TrialKind::Boot => (health::Stage::Boot, Wait::Boot, request.boot_deadline),
    };
    vec![arm(open, wait, after), Action::RunChecks { stage }]
}

/// Arms one of the transaction's timers.
fn arm(open: &Open, wait: Wait, after: Duration) -> Action {
    let tx = open.transaction.id;
    let deadman = Deadman { tx, wait };
    Action::ArmDeadman { deadman, after }
}
