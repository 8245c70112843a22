//! Every state that the rules can reach is visited, with power cuts, crashes,
//! errors, timers and people at every instant, and each promise is checked in
//! each of them.

mod effects;
mod invariants;
mod mutants;
mod world;

use std::collections::{HashSet, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use effects::Goes;
use engine::{Action, Confirm, Event, Phase, Request, TrialKind, VersionId};
use invariants::INVARIANTS;
use world::{Choice, FRESH, Luck, Rules, STALE, TX, V, World};

/// How much may go wrong on one way. With `BACKSTOP_REQUIRE_ALL` twice as much,
/// which takes a minute.
fn luck() -> Luck {
    let twice = std::env::var_os("BACKSTOP_REQUIRE_ALL").is_some();
    let times = if twice { 2 } else { 1 };
    Luck {
        power_cuts: times,
        kills: 1,
        errors: times,
        people: 2,
        loader: 1,
    }
}

/// What a move is called, and the world after it.
type Move = (&'static str, World);

/// Everything that can happen next.
fn moves(world: &World, rules: Rules) -> Vec<Move> {
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
    reboots(world, &mut add);
    people(world, rules, &mut add);
    moves
}

type Add<'a> = dyn FnMut(&'static str, &dyn Fn(&mut World) -> bool) + 'a;

fn reboots(world: &World, add: &mut Add<'_>) {
    let luck = world.luck;
    // A version on trial may fall over by itself as often as it is booted.
    let falls = world.running == V::New && !world.decided;
    if world.rebooting || luck.power_cuts > 0 || falls {
        add("reboot", &|w| {
            if !w.rebooting && !falls {
                w.luck.power_cuts -= 1;
            }
            w.boot(Choice::AsConfigured);
            true
        });
    }
    if world.rebooting && luck.loader > 0 {
        for (name, choice) in [
            ("boot, cannot load", Choice::CannotLoad),
            ("boot, default", Choice::Default),
        ] {
            add(name, &|w| {
                w.luck.loader -= 1;
                w.boot(choice);
                true
            });
        }
    }
}

fn people(world: &World, rules: Rules, add: &mut Add<'_>) {
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
    let confirmed = |connected_ms| Event::Confirmed {
        tx: TX,
        by: "alice".to_owned(),
        connected_ms: Some(connected_ms),
    };
    let by = "alice".to_owned();
    add("confirm", &said(confirmed(FRESH)));
    add("confirm, stale", &said(confirmed(STALE)));
    add(
        "abort",
        &said(Event::Aborted {
            tx: TX,
            by: by.clone(),
        }),
    );
    let version = V::New.id();
    add("forgive", &|w| {
        w.luck.people -= 1;
        w.forgiven = true;
        let (version, by) = (version.clone(), by.clone());
        w.feed(rules, &Event::Forgiven { version, by }, false)
            .is_ok()
    });
    for reboot in [true, false] {
        let go = Event::GoAhead {
            tx: TX,
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
fn explore(request: &Request, rules: Rules, luck: Luck) -> Explored {
    let mut start = World::new(luck);
    let asked = World::request(request);
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
        for (name, next) in moves(&world, rules) {
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
fn broken(world: &World, request: &Request, rules: Rules) -> Option<&'static str> {
    let broken = INVARIANTS
        .iter()
        .find(|(_, holds)| !holds(world, request, rules));
    broken.map(|(promise, _)| *promise)
}

/// A world's name: two hashes of it.
fn key(world: &World) -> (u64, u64) {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        world.hash(&mut hasher);
        hasher.finish()
    };
    (half(0), half(1))
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
    rules: Rules,
    calm: &mut HashSet<(u64, u64)>,
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
fn silently(w: &mut World, rules: Rules) -> bool {
    if w.rebooting {
        w.boot(Choice::AsConfigured);
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
                let explored = explore(&request, engine::step, luck());
                println!("{name}: {} states", explored.states);
                if let Some((promise, story)) = explored.broken {
                    panic!("{name}: {promise}\n{story}");
                }
            });
        }
    });
}

#[test]
fn broken_rules_are_caught() {
    for (name, rules, promise) in mutants::MUTANTS {
        let caught = requests()
            .into_iter()
            .find_map(|(_, request)| explore(&request, rules, luck()).broken);
        let caught = caught.map(|(promise, _)| promise);
        println!("{name}: {caught:?}");
        assert!(
            caught.is_some_and(|c| c.starts_with(promise)),
            "{name}: {caught:?}"
        );
    }
}
