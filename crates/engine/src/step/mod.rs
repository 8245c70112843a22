//! The transaction's rules, as a function.
//!
//! [`step`] takes what the host is in the middle of and what happened, and says
//! what it is in the middle of now and what is to be done. It does nothing
//! itself. The caller writes the new state to the journal *before* it does the
//! actions; since every action may be done twice, a process that dies anywhere
//! is replaced by one that sends [`Event::Resumed`].

mod prepare;
mod resume;
mod rollback;
mod todo;
mod trial;

use crate::action::Action;
use crate::event::Event;
use crate::knowledge::{Knowledge, Learned};
use crate::reason::{Outcome, Reason};
use crate::refusal::Refusal;
use crate::request::Transaction;
use crate::state::{Open, Phase, State};
use crate::version::{Now, VersionId};

/// What follows from an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Step {
    /// What the host is in the middle of now.
    pub state: State,
    /// What is to be done, in this order, once the state is on the disk.
    pub actions: Vec<Action>,
    /// What was learned of versions.
    pub learned: Vec<Learned>,
    /// How the transaction ended, if it did.
    pub outcome: Option<Outcome>,
    /// The transaction that the actions belong to.
    pub transaction: Option<Transaction>,
}

impl Step {
    /// Goes on in a phase, with what is to be done in it.
    fn to(transaction: Transaction, now: &Now, phase: Phase) -> Self {
        let boot = now.boot.clone();
        let open = Open {
            transaction,
            boot,
            phase,
        };
        let actions = todo::actions(&open);
        Self::stay(open, actions)
    }

    /// Stays as it is, and does something.
    fn stay(open: Open, actions: Vec<Action>) -> Self {
        Self {
            transaction: Some(open.transaction.clone()),
            state: State::Open(Box::new(open)),
            actions,
            learned: Vec::new(),
            outcome: None,
        }
    }

    /// Ends the transaction.
    fn end(transaction: Transaction, outcome: Outcome) -> Self {
        let mut actions = vec![Action::DisarmDeadman];
        if matches!(outcome, Outcome::Rejected { .. }) {
            actions = vec![Action::Discard];
        }
        Self {
            state: State::Idle,
            actions,
            learned: Vec::new(),
            outcome: Some(outcome),
            transaction: Some(transaction),
        }
    }

    /// Adds something learned.
    fn learning(mut self, learned: Learned) -> Self {
        self.learned.push(learned);
        self
    }
}

/// The rules. Total: an event that does not fit is refused, and then nothing
/// changed.
///
/// # Errors
/// Why the event does not fit.
pub fn step(
    state: &State,
    knowledge: &Knowledge,
    now: &Now,
    event: &Event,
) -> Result<Step, Refusal> {
    match (state, event) {
        (_, Event::Forgiven { version, .. }) => forgive(state, knowledge, version),
        (_, Event::Condemned { version, by }) => condemn(state, version, by),
        (_, Event::Pinned { version }) => Ok(note(
            state,
            Learned::Pinned {
                version: version.clone(),
            },
        )),
        (_, Event::Unpinned { version }) => Ok(note(
            state,
            Learned::Unpinned {
                version: version.clone(),
            },
        )),
        (
            State::Idle,
            Event::Requested {
                tx,
                request,
                previous,
            },
        ) => prepare::request(knowledge, now, *tx, request, previous),
        (State::Idle, Event::Resumed(_)) => Ok(unchanged(state)),
        (State::Idle, Event::Unknown | Event::SetAside { .. }) => Err(Refusal::Unexpected {
            event: event.name(),
            phase: "not under way",
        }),
        (State::Idle, _) => Err(Refusal::NoTransaction),
        (State::Open(open), event) => step_open(open, now, event),
    }
}

/// The rules while a transaction is open.
fn step_open(open: &Open, now: &Now, event: &Event) -> Result<Step, Refusal> {
    let id = open.transaction.id;
    if let Event::Requested { .. } = event {
        let phase = open.phase.name();
        return Err(Refusal::Busy { open: id, phase });
    }
    if let Event::Resumed(running) = event {
        return Ok(resume::resumed(open, now, running));
    }
    if let Some(given) = event.tx().filter(|given| *given != id) {
        return Err(Refusal::OtherTransaction { given, open: id });
    }
    if open.boot != now.boot {
        return Err(Refusal::Unsettled);
    }
    match &open.phase {
        Phase::Requested | Phase::Staged | Phase::Ready { .. } => prepare::step(open, now, event),
        Phase::Activating { reboot, again } => trial::activating(open, now, *reboot, *again, event),
        Phase::AwaitingBoot { reboot } => trial::awaiting_boot(open, now, *reboot, event),
        Phase::Trial(trial) => trial::on_trial(open, now, trial, event),
        Phase::Keeping { confirmed_by, then } => {
            trial::keeping(open, now, confirmed_by.as_ref(), *then, event)
        }
        Phase::RollingBack { cause, then } => {
            rollback::rolling_back(open, now, cause, *then, event)
        }
        Phase::Verifying { cause } => rollback::verifying(open, now, cause, event),
        Phase::RebootingToGood { cause, forced } => {
            rollback::rebooting(open, now, cause, *forced, event)
        }
    }
}

/// Everything as it was.
fn unchanged(state: &State) -> Step {
    Step {
        state: state.clone(),
        actions: Vec::new(),
        learned: Vec::new(),
        outcome: None,
        transaction: None,
    }
}

/// Everything as it was, but something learned.
fn note(state: &State, learned: Learned) -> Step {
    unchanged(state).learning(learned)
}

/// Lets a bad version be tried again.
fn forgive(state: &State, knowledge: &Knowledge, version: &VersionId) -> Result<Step, Refusal> {
    if knowledge.bad(version).is_none() {
        return Err(Refusal::NotBad(version.clone()));
    }
    let version = version.clone();
    Ok(note(state, Learned::Forgiven { version }))
}

/// Declares a version bad.
fn condemn(state: &State, version: &VersionId, by: &str) -> Result<Step, Refusal> {
    let on_trial = |open: &Open| open.transaction.target() == version;
    if state.open().is_some_and(on_trial) {
        return Err(Refusal::OnTrial(version.clone()));
    }
    let reason = Reason::Condemned { by: by.to_owned() };
    let version = version.clone();
    Ok(note(state, Learned::Bad { version, reason }))
}

/// The event makes no sense in this phase.
fn unexpected(open: &Open, event: &Event) -> Refusal {
    Refusal::Unexpected {
        event: event.name(),
        phase: open.phase.name(),
    }
}

/// The timer no longer matters in this phase.
fn stale(open: &Open) -> Refusal {
    Refusal::StaleDeadline {
        phase: open.phase.name(),
    }
}

/// It is decided already.
fn too_late(open: &Open) -> Refusal {
    Refusal::TooLate {
        phase: open.phase.name(),
    }
}

/// There is nothing to confirm in this phase.
fn not_on_trial(open: &Open) -> Refusal {
    Refusal::NotOnTrial {
        phase: open.phase.name(),
    }
}
