//! Rules that were broken on purpose. Each must be caught, or the exploration
//! proves nothing.

use boot::{BootConfig, Choice, Decision, StateSector, decide};
use engine::{
    Action, Event, Knowledge, Learned, Now, Outcome, Phase, Refusal, State, Step, Then, Trial, step,
};

use super::loader::Decide;

type Step4 = fn(&State, &Knowledge, &Now, &Event) -> Answer;

/// What is broken, the transaction's rules, and the promise that must not hold any
/// more.
pub const STEPS: [(&str, Step4, &str); 11] = [
    ("keeps without anybody's word", keeps_without_word, "P2"),
    ("keeps without checks", keeps_unchecked, "P2"),
    ("forgets that it failed", forgets, "P4"),
    ("takes on bad versions", takes_on_bad, "P4"),
    ("counts anew when resumed", counts_anew, "P3"),
    ("ends before the trial is withdrawn", ends_early, "P"),
    ("arms no deadman", arms_nothing, "P7"),
    ("gives up when a rollback fails", gives_up, "P"),
    ("ignores that nobody confirmed", ignores_deadline, "P7"),
    ("ignores a reboot in a live trial", ignores_reboot, "P"),
    ("removes files of a version on trial", discards, "P5"),
];

/// The same of the boot loader's rule.
pub const DECISIONS: [(&str, Decide, &str); 5] = [
    ("boots a trial that it cannot count", uncounted, "P3"),
    ("counts in memory only", never_counts, "P3"),
    ("tries without attempts left", beyond_the_last, "P3"),
    ("takes another configuration's sector", takes_foreign, "P"),
    ("counts boots of the default", counts_default, "P6"),
];

type Answer = Result<Step, Refusal>;

fn phase(state: &State) -> Option<&Phase> {
    state.open().map(|open| &open.phase)
}

fn with_phase(state: &State, change: impl Fn(&mut Phase)) -> State {
    let mut state = state.clone();
    if let State::Open(open) = &mut state {
        change(&mut open.phase);
    }
    state
}

fn keeps_without_word(s: &State, k: &Knowledge, n: &Now, e: &Event) -> Answer {
    let agreed = with_phase(s, |phase| {
        if let Phase::Trial(trial) = phase {
            trial.confirmed_by = Some("nobody".to_owned());
        }
    });
    match e {
        Event::ChecksPassed { .. } => step(&agreed, k, n, e),
        _ => step(s, k, n, e),
    }
}

fn keeps_unchecked(s: &State, k: &Knowledge, n: &Now, e: &Event) -> Answer {
    let healthy = with_phase(s, |phase| {
        if let Phase::Trial(trial) = phase {
            trial.healthy = true;
        }
    });
    match e {
        Event::Confirmed { .. } => step(&healthy, k, n, e),
        _ => step(s, k, n, e),
    }
}

fn forgets(s: &State, k: &Knowledge, n: &Now, e: &Event) -> Answer {
    let mut step = step(s, k, n, e)?;
    step.learned.retain(|l| !matches!(l, Learned::Bad { .. }));
    Ok(step)
}

fn takes_on_bad(s: &State, k: &Knowledge, n: &Now, e: &Event) -> Answer {
    match e {
        Event::Requested { .. } => step(s, &Knowledge::default(), n, e),
        _ => step(s, k, n, e),
    }
}

fn counts_anew(s: &State, k: &Knowledge, n: &Now, e: &Event) -> Answer {
    let mut step = step(s, k, n, e)?;
    if let (Event::Resumed(_), Some(Phase::Trial(_))) = (e, phase(&step.state)) {
        let again = Phase::Activating {
            reboot: true,
            again: false,
        };
        step.state = with_phase(&step.state, |phase| *phase = again.clone());
        step.actions = vec![Action::Activate];
    }
    Ok(step)
}

fn ends_early(s: &State, k: &Knowledge, n: &Now, e: &Event) -> Answer {
    let rolled_back = Event::RolledBack {
        tx: super::world::TX,
    };
    let next = step(s, k, n, e)?;
    match phase(&next.state) {
        Some(Phase::RollingBack {
            then: Then::End, ..
        }) => {
            let mut end = step(&next.state, k, n, &rolled_back)?;
            end.learned.extend(next.learned);
            Ok(end)
        }
        _ => Ok(next),
    }
}

fn arms_nothing(s: &State, k: &Knowledge, n: &Now, e: &Event) -> Answer {
    let mut step = step(s, k, n, e)?;
    step.actions
        .retain(|a| !matches!(a, Action::ArmDeadman { .. }));
    Ok(step)
}

fn gives_up(s: &State, k: &Knowledge, n: &Now, e: &Event) -> Answer {
    match (e, phase(s)) {
        (Event::RollbackFailed { tx, .. }, Some(Phase::RollingBack { cause, .. })) => {
            let mut end = step(s, k, n, e)?;
            end.state = State::Idle;
            end.actions = Vec::new();
            end.outcome = Some(Outcome::RolledBack {
                reason: cause.reason.clone(),
                escalated: tx.0 == 0,
            });
            Ok(end)
        }
        _ => step(s, k, n, e),
    }
}

fn ignores_deadline(s: &State, k: &Knowledge, n: &Now, e: &Event) -> Answer {
    match (e, phase(s)) {
        (Event::Deadline { .. }, Some(Phase::Trial(Trial { healthy: true, .. }))) => {
            Err(Refusal::NoTransaction)
        }
        _ => step(s, k, n, e),
    }
}

fn ignores_reboot(s: &State, k: &Knowledge, n: &Now, e: &Event) -> Answer {
    match (e, s) {
        (Event::Resumed(_), State::Open(open)) => {
            let mut open = open.clone();
            open.boot = n.boot.clone();
            step(&State::Open(open), k, n, e)
        }
        _ => step(s, k, n, e),
    }
}

fn discards(s: &State, k: &Knowledge, n: &Now, e: &Event) -> Answer {
    let mut step = step(s, k, n, e)?;
    if let Some(Phase::RollingBack { .. }) = phase(&step.state) {
        step.actions.insert(0, Action::Discard);
    }
    Ok(step)
}

fn uncounted(c: &BootConfig, s: Option<&StateSector>, writable: bool) -> Decision {
    let decision = decide(c, s, true);
    Decision {
        sector_after: if writable {
            decision.sector_after
        } else {
            s.cloned()
        },
        ..decision
    }
}

fn never_counts(c: &BootConfig, s: Option<&StateSector>, writable: bool) -> Decision {
    Decision {
        sector_after: s.cloned(),
        ..decide(c, s, writable)
    }
}

fn beyond_the_last(c: &BootConfig, s: Option<&StateSector>, writable: bool) -> Decision {
    let one = s
        .filter(|s| s.left == 0 && s.config == c.id())
        .map(|s| StateSector {
            left: 1,
            ..s.clone()
        });
    decide(c, one.as_ref().or(s), writable)
}

fn takes_foreign(c: &BootConfig, s: Option<&StateSector>, writable: bool) -> Decision {
    let ours = s.map(|s| StateSector {
        config: c.id(),
        ..s.clone()
    });
    decide(c, ours.as_ref(), writable)
}

fn counts_default(c: &BootConfig, s: Option<&StateSector>, writable: bool) -> Decision {
    let mut decision = decide(c, s, writable);
    if let (Choice::Entry(_), Some(after), true) =
        (decision.entry, &mut decision.sector_after, writable)
    {
        after.left = after.left.saturating_sub(1);
    }
    decision
}
