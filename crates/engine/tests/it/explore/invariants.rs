//! The promises, as sentences that hold in every state.

use engine::{Confirm, Outcome, Phase, Reason, Refusal, Request, State, Step, VersionId};

use super::loader::{Came, Start};
use super::world::{Rules, V, World, now};

type Invariant = fn(&World, &Request, Rules<'_>) -> bool;

pub const INVARIANTS: [(&str, Invariant); 17] = [
    (
        "P1: the boot loader's first choice is complete on the disk",
        |w, _, _| w.staged || (w.default == V::Old && !w.loader.may_try()),
    ),
    (
        "P1: an entry on trial belongs to an open transaction",
        |w, _, _| w.loader.trial.is_none() || w.state != State::Idle || stranded(w),
    ),
    (
        "P1: with no trial published, nothing that the sector says boots one",
        |w, _, _| w.loader.trial.is_some() || !w.loader.may_try(),
    ),
    (
        "P2: only a version that was healthy and agreed to becomes the default",
        |w, _, _| w.default == V::Old || w.decided,
    ),
    (
        "P2: a decision to keep needs healthy checks in this boot, and the word asked for",
        |w, request, _| {
            let keeping = |phase: &Phase| matches!(phase, Phase::Keeping { .. });
            let first = w
                .open()
                .is_some_and(|o| keeping(&o.phase) && o.boot == now().boot);
            let agreed = w.agreed || request.confirm == Confirm::Checks;
            let before = w.default == V::New || w.kept_from_before;
            !first || before || (w.healthy && agreed)
        },
    ),
    (
        "P2: a version that was put back does not boot by itself",
        |w, _, _| {
            let put_back = matches!(w.outcome, Some(Outcome::RolledBack { .. }));
            !(put_back && w.state == State::Idle) || (w.default == V::Old && !w.loader.may_try())
        },
    ),
    (
        "P3: an untried version is booted no more often than allowed",
        |w, request, _| w.trial_boots <= request.attempts,
    ),
    (
        "P4: a version that ran and was put back is bad until forgiven",
        |w, _, _| {
            let put_back = matches!(w.outcome, Some(Outcome::RolledBack { .. }));
            !(put_back && w.ran)
                || w.forgiven
                || unjudged(w)
                || w.knowledge.bad(&V::New.id()).is_some()
        },
    ),
    (
        "P4: a version whose own checks failed before its activation is bad, too",
        |w, _, _| {
            let reason = match &w.outcome {
                Some(Outcome::Rejected { reason }) => Some(reason),
                _ => None,
            };
            let failed = matches!(reason, Some(Reason::PreflightFailed { .. }));
            !failed || w.forgiven || w.knowledge.bad(&V::New.id()).is_some()
        },
    ),
    (
        "P4: a bad version is not taken on again",
        |w, request, rules| {
            let bad = w.knowledge.bad(&V::New.id()).is_some();
            w.state != State::Idle || !bad || ask(w, request, rules).is_err()
        },
    ),
    (
        "P4: another version is taken on at once",
        |w, request, rules| {
            let mut other = request.clone();
            other.target = VersionId::new("newer");
            w.state != State::Idle || ask(w, &other, rules).is_ok()
        },
    ),
    (
        "P5: the files of a version that runs or may boot stay",
        |w, _, _| !w.removed_in_use,
    ),
    (
        "P6: once nothing is open, a reboot uses up no attempt",
        |w, _, _| w.state != State::Idle || !w.loader.may_try() || stranded(w),
    ),
    (
        "P6: a boot of the default leaves the sector as it was",
        |w, _, rules| {
            let mut started = w.loader;
            let came = started.start(rules.decide, Start::WELL);
            came == Came::Trial || started.sector == w.loader.sector
        },
    ),
    (
        "P7: while an unproven version runs, somebody watches it",
        |w, _, _| !w.unproven_runs() || w.watched() || stranded(w),
    ),
    ("P7: what the wall clock says decides nothing", |w, _, _| {
        !w.clock_mattered
    }),
    (
        "P10: every transaction that is over has an outcome that is true",
        |w, _, _| match (&w.state, &w.outcome) {
            (State::Open(_), _) => true,
            (State::Idle, None) => false,
            (State::Idle, Some(Outcome::Kept { .. })) => w.default == V::New && w.decided,
            (State::Idle, Some(Outcome::Rejected { .. })) => {
                w.default == V::Old && !w.ran && runs_old(w)
            }
            (State::Idle, Some(Outcome::RolledBack { .. })) => w.default == V::Old && runs_old(w),
            // It was so when it was said; the next reboot leads out of it.
            (State::Idle, Some(Outcome::Stranded { .. })) => w.default == V::Old || w.decided,
        },
    ),
];

fn ask(w: &World, request: &Request, rules: Rules<'_>) -> Result<Step, Refusal> {
    let asked = World::request(request, w.tx);
    (rules.step)(&w.state, &w.knowledge, &now(), &asked)
}

fn runs_old(w: &World) -> bool {
    w.active == Some(V::Old) || w.by_hand
}

fn stranded(w: &World) -> bool {
    matches!(w.outcome, Some(Outcome::Stranded { .. }))
}

/// It was given up before it ran, and power was lost before that took effect.
fn unjudged(w: &World) -> bool {
    let Some(Outcome::RolledBack { reason, .. }) = &w.outcome else {
        return false;
    };
    if *reason == Reason::Interrupted {
        return w.untold;
    }
    matches!(
        reason,
        Reason::Aborted { .. }
            | Reason::ActivateFailed { .. }
            | Reason::NotActivated { .. }
            | Reason::SupervisorLost
            | Reason::Unguarded { .. }
    )
}

impl World {
    pub fn watched(&self) -> bool {
        let timers = !self.deadmen.is_empty() || self.rebooting;
        timers || self.worker.is_some() || self.restarting || !self.settled
    }
}
