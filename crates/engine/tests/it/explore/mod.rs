//! Every state that the rules can reach is visited, with power cuts, crashes,
//! errors, timers and people at every instant, and each promise is checked in
//! each of them.

mod effects;
mod invariants;
mod loader;
mod mutants;
mod rules;
mod world;

use std::collections::{HashSet, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use effects::Goes;
use engine::{Action, Confirm, Event, IfRefused, Phase, Request, TrialKind, VersionId};
use invariants::INVARIANTS;
use loader::{Sector, Start};
use world::{FRESH, Luck, Rules, STALE, V, World};

/// How much may go wrong on one way, in one of three depths.
#[derive(Debug, Clone, Copy)]
enum Depth {
    /// To see whether any rule that is broken by itself is caught.
    Least,
    /// To see whether rules broken on purpose are caught.
    Shallow,
    /// What every run of the tests does.
    Usual,
    /// With `BACKSTOP_EXPLORE=deep`: several minutes.
    Deep,
}

impl Depth {
    fn of_this_run() -> Self {
        match std::env::var_os("BACKSTOP_EXPLORE") {
            Some(word) if word == "deep" => Self::Deep,
            _ => Self::Usual,
        }
    }

    fn luck(self) -> Luck {
        let [power_cuts, kills, errors, people, loader, again] = match self {
            Self::Least => [1, 1, 1, 1, 0, 0],
            Self::Shallow => [1, 1, 1, 1, 1, 0],
            Self::Usual => [1, 1, 1, 1, 1, 1],
            Self::Deep => [2, 1, 2, 2, 1, 1],
        };
        Luck {
            power_cuts,
            kills,
            errors,
            people,
            loader,
            again,
        }
    }
}

/// What a move is called, and the world after it.
type Move = (&'static str, World);

/// Everything that can happen next.
fn moves(world: &World, request: &Request, rules: Rules<'_>) -> Vec<Move> {
    let mut moves = Vec::new();
    let mut add = |name: &'static str, change: &dyn Fn(&mut World) -> bool| {
        let mut next = world.clone();
        if change(&mut next) {
            moves.push((name, next));
        }
    };
    let luck = world.luck;
    match &world.worker {
        Some(worker) if worker.result.is_some() => add("record", &|w| {
            w.record_result(rules);
            true
        }),
        Some(_) => {
            add("act", &|w| w.act(rules, Goes::Well));
            add("act, failing", &|w| w.act(rules, Goes::Fails));
            add("act, failing late", &|w| w.act(rules, Goes::FailsLate));
            add("act, failing halfway", &|w| {
                w.act(rules, Goes::FailsHalfway)
            });
            add("act, not begun", &|w| w.act(rules, Goes::DoesNotBegin));
            add("act, live refused", &|w| w.act(rules, Goes::RefusesLive));
        }
        None => {}
    }
    if !world.settled {
        add("settle", &|w| {
            w.resume(rules);
            true
        });
    }
    add("kill", &|w| {
        w.worker.is_some() && luck.kills > 0 && w.kill()
    });
    if world.restarting && world.worker.is_none() {
        add("start again", &|w| {
            w.resume(rules);
            true
        });
    }
    for deadman in world.deadmen.clone() {
        add("deadline", &|w| {
            w.fire(rules, deadman);
            true
        });
    }
    reboots(world, rules, &mut add);
    people(world, rules, &mut add);
    if luck.again > 0 {
        add("ask again", &|w| w.ask_again(rules, request));
    }
    moves
}

type Add<'a> = dyn FnMut(&'static str, &dyn Fn(&mut World) -> bool) + 'a;

fn reboots(world: &World, rules: Rules<'_>, add: &mut Add<'_>) {
    let luck = world.luck;
    // A version on trial may fall over by itself as often as it is booted.
    let falls = world.running == V::New && !world.decided;
    if world.rebooting || luck.power_cuts > 0 || falls {
        add("reboot", &|w| {
            if !w.rebooting && !falls {
                w.luck.power_cuts -= 1;
            }
            w.boot(rules, Start::WELL);
            true
        });
    }
    if luck.loader == 0 {
        return;
    }
    for (name, sector) in [
        ("the sector cannot be read any more", Sector::Unreadable),
        ("the sector is another one's", Sector::Foreign { left: 9 }),
    ] {
        add(name, &|w| {
            w.luck.loader -= 1;
            let changes = w.loader.sector != sector;
            w.loader.sector = sector;
            w.untold |= w.trial_boots > 0;
            changes
        });
    }
    if world.rebooting || falls {
        odd_boots(world, rules, add);
    }
}

/// Boots that do not go as they should, or as somebody wants them to.
fn odd_boots(world: &World, rules: Rules<'_>, add: &mut Add<'_>) {
    let (writable, loads) = (true, true);
    for (name, how) in [
        (
            "boot, cannot load",
            Start {
                writable,
                loads: false,
            },
        ),
        (
            "boot, cannot count",
            Start {
                writable: false,
                loads,
            },
        ),
    ] {
        add(name, &|w| {
            w.luck.loader -= 1;
            w.boot(rules, how);
            true
        });
    }
    let bad = world.loader.bad_listed && world.staged;
    for version in [Some(world.default), bad.then_some(V::New)] {
        add("boot, chosen by hand", &|w| {
            w.luck.loader -= 1;
            version.is_some_and(|version| {
                w.boot_by_hand(version);
                true
            })
        });
    }
}

fn people(world: &World, rules: Rules<'_>, add: &mut Add<'_>) {
    // `confirm` and the like settle first, as `Driver` does.
    if world.luck.people == 0 || !world.settled {
        return;
    }
    let said = |event: Event| {
        move |w: &mut World| {
            w.luck.people -= 1;
            w.feed(rules, &event, false).is_ok()
        }
    };
    let tx = world.tx;
    let confirmed = |connected_ms| Event::Confirmed {
        tx,
        by: "alice".to_owned(),
        connected_ms: Some(connected_ms),
    };
    let by = "alice".to_owned();
    add("confirm", &said(confirmed(FRESH)));
    add("confirm, stale", &said(confirmed(STALE)));
    add("abort", &said(Event::Aborted { tx, by: by.clone() }));
    add(
        "postpone",
        &said(Event::Postponed {
            tx,
            why: "not now".to_owned(),
        }),
    );
    for version in [V::Old.id(), V::New.id()] {
        let by = by.clone();
        add("condemn", &said(Event::Condemned { version, by }));
    }
    let version = V::New.id();
    add(
        "pin",
        &said(Event::Pinned {
            version: version.clone(),
        }),
    );
    add("forgive", &|w| {
        w.luck.people -= 1;
        w.forgiven = true;
        let (version, by) = (version.clone(), by.clone());
        w.feed(rules, &Event::Forgiven { version, by }, false)
            .is_ok()
    });
    for reboot in [true, false] {
        let go = Event::GoAhead {
            tx,
            reboot,
            baseline: None,
        };
        // Somebody always says go: this uses up no luck.
        add("go ahead", &|w| w.feed(rules, &go, true).is_ok());
    }
}

impl World {
    fn kill(&mut self) -> bool {
        self.luck.kills -= 1;
        self.restarting = self.worker.take().is_some_and(|worker| worker.unit);
        true
    }
}

/// What was found.
struct Explored {
    states: usize,
    broken: Option<(&'static str, String)>,
}

/// Visits everything reachable from one request, breadth first, so that the
/// first broken promise comes with a shortest story.
fn explore(request: &Request, rules: Rules<'_>, luck: Luck) -> Explored {
    let mut start = World::new(luck);
    let asked = World::request(request, start.tx);
    start
        .feed(rules, &asked, true)
        .expect("the request is taken on");
    let mut seen = HashSet::from([key(&start)]);
    let mut stories: Vec<(usize, &'static str)> = vec![(0, "request")];
    let mut queue = VecDeque::from([(0, start)]);
    let mut calm = HashSet::new();
    while let Some((at, world)) = queue.pop_front() {
        let holds = INVARIANTS
            .iter()
            .find(|(_, holds)| !holds(&world, request, rules));
        let broken = holds
            .map(|(name, _)| *name)
            .or_else(|| comes_to_rest(&world, request, rules, &mut calm));
        if let Some(name) = broken {
            let states = seen.len();
            let story = story(&stories, at, &world);
            return Explored {
                states,
                broken: Some((name, story)),
            };
        }
        for (name, next) in moves(&world, request, rules) {
            if seen.insert(key(&next)) {
                stories.push((at, name));
                queue.push_back((stories.len() - 1, next));
            }
        }
    }
    Explored {
        states: seen.len(),
        broken: None,
    }
}

/// The first promise that does not hold.
fn broken(world: &World, request: &Request, rules: Rules<'_>) -> Option<&'static str> {
    let broken = INVARIANTS
        .iter()
        .find(|(_, holds)| !holds(world, request, rules));
    broken.map(|(promise, _)| *promise)
}

/// A world's name: its hash. Two of some million worlds have the same one with a
/// chance of less than one in a million.
fn key(world: &World) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// The moves that led to a state.
fn story(stories: &[(usize, &'static str)], mut at: usize, world: &World) -> String {
    let mut names = vec![stories[at].1];
    while at != 0 {
        at = stories[at].0;
        names.push(stories[at].1);
    }
    names.reverse();
    let mut story = names.join(" > ");
    let _ = write!(story, "\n{world:#?}");
    story
}

/// P7: when nothing more goes wrong, nobody says a word, and the new version is
/// never healthy, the host comes to rest by itself: on the old version, unless
/// the new one had been agreed to before.
fn comes_to_rest(
    world: &World,
    request: &Request,
    rules: Rules<'_>,
    calm: &mut HashSet<u64>,
) -> Option<&'static str> {
    let mut world = world.clone();
    let mut path = Vec::new();
    for _ in 0..80 {
        let key = key(&world);
        if calm.contains(&key) {
            calm.extend(path);
            return None;
        }
        path.push(key);
        if let Some(promise) = broken(&world, request, rules) {
            return Some(promise);
        }
        if !silently(&mut world, rules) {
            let rests = match world.open().map(|open| &open.phase) {
                None => true,
                // Somebody else must say go, or reboot; the old version runs.
                Some(Phase::Ready { .. } | Phase::AwaitingBoot { .. }) => !world.unproven_runs(),
                // Nobody is at work, and the next timer or boot will go on.
                Some(_) => !world.unproven_runs(),
            };
            if rests {
                calm.extend(path);
                return None;
            }
            return Some("P7: the host comes to rest by itself");
        }
    }
    Some("P7: going back ends")
}

/// One thing happens by itself. Returns whether there was one.
fn silently(w: &mut World, rules: Rules<'_>) -> bool {
    if w.rebooting {
        w.boot(rules, Start::WELL);
    } else if !w.settled || (w.restarting && w.worker.is_none()) {
        w.resume(rules);
    } else if let Some(worker) = &w.worker {
        let checks = matches!(worker.todo.first(), Some(Action::RunChecks { .. }));
        if worker.result.is_some() {
            w.record_result(rules);
        } else if checks && w.unproven_runs() {
            w.luck.errors = w.luck.errors.max(1);
            w.act(rules, Goes::Fails);
        } else {
            w.act(rules, Goes::Well);
        }
    } else if let Some(deadman) = w.deadmen.first().copied() {
        w.fire(rules, deadman);
    } else {
        return false;
    }
    true
}

fn requests() -> Vec<(&'static str, Request)> {
    let within = Duration::from_secs(60);
    let request = |kind, confirm, attempts| Request {
        kind,
        confirm,
        attempts,
        ..Request::new(VersionId::new("new"))
    };
    vec![
        ("live, checks", request(TrialKind::Live, Confirm::Checks, 1)),
        (
            "live, person",
            request(TrialKind::Live, Confirm::Person { within }, 1),
        ),
        (
            "boot, checks, 1 attempt",
            request(TrialKind::Boot, Confirm::Checks, 1),
        ),
        (
            "boot, person, 1 attempt",
            request(TrialKind::Boot, Confirm::Person { within }, 1),
        ),
        (
            "live, refused, rejected",
            Request {
                if_refused: IfRefused::Reject,
                ..request(TrialKind::Live, Confirm::Checks, 1)
            },
        ),
        (
            "boot, deployer, 2 attempts",
            request(TrialKind::Boot, Confirm::Deployer { within }, 2),
        ),
    ]
}

#[test]
fn every_promise_holds_in_every_state() {
    std::thread::scope(|scope| {
        for (name, request) in requests() {
            scope.spawn(move || {
                let explored = explore(&request, Rules::TRUE, Depth::of_this_run().luck());
                println!("{name}: {} states", explored.states);
                if let Some((promise, story)) = explored.broken {
                    panic!("{name}: {promise}\n{story}");
                }
            });
        }
    });
}

/// Explores all requests with rules that were broken on purpose.
fn is_caught(name: &str, rules: Rules<'_>, promise: &str) {
    let caught = requests()
        .into_iter()
        .find_map(|(_, request)| explore(&request, rules, Depth::Shallow.luck()).broken);
    let caught = caught.map(|(promise, _)| promise);
    println!("{name}: {caught:?}");
    assert!(
        caught.is_some_and(|c| c.starts_with(promise)),
        "{name}: {caught:?}"
    );
}

#[test]
fn broken_rules_are_caught() {
    let decide = boot::decide;
    for (name, step, promise) in mutants::STEPS {
        let step = &step;
        is_caught(name, Rules { step, decide }, promise);
    }
    let step = &engine::step;
    for (name, decide, promise) in mutants::DECISIONS {
        is_caught(name, Rules { step, decide }, promise);
    }
}
