//! Every rule of the transaction, broken by itself: what a phase makes of an event
//! is left out, refused, loses its actions or its lesson, or is a wrong turn: the
//! version is kept, or the transaction ends. It must break a promise.

use std::collections::BTreeMap;
use std::sync::Mutex;

use engine::{
    Action, Event, Knowledge, Now, Outcome, Phase, Reason, Refusal, Request, State, Step, Then,
    step,
};

use super::world::{Rules, Transition};
use super::{Depth, explore, requests};

/// A phase, and an event in it.
type Rule = (&'static str, &'static str);

/// How a rule is broken.
#[derive(Debug, Clone, Copy)]
enum Break {
    /// Nothing happens.
    Nothing,
    /// The event is refused.
    Refused,
    /// What is to be done is not done.
    NoActions,
    /// What was learned is not remembered.
    NoLesson,
    /// The version is kept.
    Keeps,
    /// The transaction ends, and the version's files are removed.
    Ends,
}

const LOSSES: [Break; 4] = [
    Break::Nothing,
    Break::NoActions,
    Break::NoLesson,
    Break::Refused,
];
const WRONG_TURNS: [Break; 2] = [Break::Keeps, Break::Ends];

/// Rules whose loss alone breaks no promise: nothing has happened to the host yet, a
/// timer or the next boot does the same later, or only a person's wish is lost.
const MAY_BE_LOST: &[Rule] = &[
    ("activating", "activation failed"),
    ("activating", "no deadman could be armed"),
    ("activating", "not activated"),
    ("activating", "stopped"),
    ("any", "declared bad"),
    ("any", "forgiven"),
    ("any", "pinned"),
    ("awaiting boot", "go ahead"),
    ("awaiting boot", "reboot failed"),
    ("awaiting boot", "stopped"),
    ("awaiting boot", "time is over"),
    ("idle", "resumed"),
    ("keeping", "resumed"),
    ("on trial", "confirmed"),
    ("on trial", "stopped"),
    ("ready", "go ahead"),
    ("ready", "postponed"),
    ("ready", "resumed"),
    ("ready", "stopped"),
    ("rebooting to the last good version", "reboot failed"),
    ("requested", "resumed"),
    ("requested", "staging failed"),
    ("requested", "stopped"),
    ("rolling back", "rolling back failed"),
    ("staged", "live trial refused"),
    ("staged", "not activated"),
    ("staged", "preflight could not be run"),
    ("staged", "resumed"),
    ("staged", "stopped"),
    ("verifying the rollback", "checks could not be run"),
    ("verifying the rollback", "checks failed"),
    ("verifying the rollback", "resumed"),
    ("verifying the rollback", "time is over"),
];

fn rule(state: &State, event: &Event) -> Rule {
    let mut phase = state.open().map_or("idle", |open| open.phase.name());
    // What people say of versions has nothing to do with the phase.
    if event.tx().is_none() && !matches!(event, Event::Requested { .. } | Event::Resumed(_)) {
        phase = "any";
    }
    (phase, event.name())
}

/// The rules that are used, and in which requests.
fn used() -> BTreeMap<Rule, Vec<usize>> {
    let used: Mutex<BTreeMap<Rule, Vec<usize>>> = Mutex::default();
    std::thread::scope(|scope| {
        for (at, (_, request)) in requests().into_iter().enumerate() {
            let used = &used;
            scope.spawn(move || {
                let note = |s: &State, k: &Knowledge, n: &Now, e: &Event| {
                    let step = step(s, k, n, e)?;
                    let mut used = used.lock().unwrap();
                    let places = used.entry(rule(s, e)).or_default();
                    if places.last() != Some(&at) && !places.contains(&at) {
                        places.push(at);
                    }
                    Ok(step)
                };
                explored(&request, &note);
            });
        }
    });
    used.into_inner().unwrap()
}

fn explored<'r>(request: &Request, step: &'r Transition<'r>) -> Option<&'static str> {
    let decide = boot::decide;
    let explored = explore(request, Rules { step, decide }, Depth::Least.luck());
    explored.broken.map(|(promise, _)| promise)
}

/// The promise that a broken rule breaks, if any.
fn caught(broken: Rule, how: Break, request: &Request) -> Option<&'static str> {
    let mutant = |s: &State, k: &Knowledge, n: &Now, e: &Event| {
        let mut step = step(s, k, n, e)?;
        if rule(s, e) != broken {
            return Ok(step);
        }
        match how {
            Break::Keeps => keeps(s, n, &mut step),
            Break::Ends => {
                let by = "nobody".to_owned();
                let reason = Reason::Aborted { by };
                step.outcome = Some(Outcome::Rejected { reason });
                step.state = State::Idle;
                step.actions = vec![Action::Discard];
            }
            Break::Refused if !matches!(e, Event::Resumed(_)) => {
                return Err(Refusal::NoTransaction);
            }
            Break::Nothing | Break::Refused => {
                step = Step {
                    state: s.clone(),
                    actions: Vec::new(),
                    learned: Vec::new(),
                    outcome: None,
                    transaction: None,
                };
            }
            Break::NoActions => step.actions.clear(),
            Break::NoLesson => step.learned.clear(),
        }
        Ok(step)
    };
    explored(request, &mutant)
}

/// Puts the version among those to keep.
fn keeps(state: &State, now: &Now, step: &mut Step) {
    let State::Open(open) = state else { return };
    let mut open = open.clone();
    open.boot = now.boot.clone();
    open.phase = Phase::Keeping {
        confirmed_by: None,
        then: Then::End,
    };
    step.transaction = Some(open.transaction.clone());
    step.state = State::Open(open);
    step.actions = vec![Action::Keep];
    step.outcome = None;
}

/// The first of these ways to break a rule that breaks a promise.
fn first_caught(broken: Rule, ways: &[Break], places: &[usize]) -> Option<(Break, &'static str)> {
    let requests = requests();
    ways.iter().find_map(|how| {
        let mut tried = places.iter().map(|at| &requests[*at].1);
        let promise = tried.find_map(|request| caught(broken, *how, request))?;
        Some((*how, promise))
    })
}

#[test]
fn a_mutation_of_each_rule_is_caught() {
    let used = used();
    let deep = matches!(Depth::of_this_run(), Depth::Deep);
    let work: Mutex<Vec<(Rule, Vec<usize>)>> = Mutex::new(used.clone().into_iter().collect());
    let wrong: Mutex<Vec<String>> = Mutex::default();
    let one = || {
        while let Some((rule, places)) = {
            let mut work = work.lock().unwrap();
            work.pop()
        } {
            let may_be_lost = MAY_BE_LOST.contains(&rule);
            // That nothing is broken takes a whole exploration for each way.
            let lost = (!may_be_lost || deep).then(|| first_caught(rule, &LOSSES, &places));
            let found = lost.flatten();
            if may_be_lost && found.is_some() {
                wrong.lock().unwrap().push(format!("{rule:?}: {found:?}"));
            }
            let found = found.or_else(|| first_caught(rule, &WRONG_TURNS, &places));
            println!("{}, {}: {found:?}", rule.0, rule.1);
            if found.is_none() {
                wrong
                    .lock()
                    .unwrap()
                    .push(format!("{rule:?} is not caught"));
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(one);
        scope.spawn(one);
    });
    let (all, lost) = (used.len(), MAY_BE_LOST.len());
    println!("{all} rules; the loss of {lost} breaks no promise, a wrong turn does");
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
