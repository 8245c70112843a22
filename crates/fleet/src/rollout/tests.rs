//! The rules of a rollout, by story and by chance.

use super::*;
use crate::config::Parallel;
use proptest::prelude::*;

fn plan(waves: &[usize]) -> Plan {
    let host = |(at, wave): (usize, &usize)| Planned {
        name: format!("h{at}"),
        wave: *wave,
    };
    Plan {
        hosts: waves.iter().enumerate().map(host).collect(),
        max_failures: 0,
        on_failure: OnFailure::Stop,
        pause_s: 0,
        ignore_unreachable: false,
        prepare_ahead: true,
        parallel: Parallel::default(),
    }
}

fn kept() -> End {
    End::Kept {
        previous: "1".to_owned(),
        version: "2".to_owned(),
    }
}

fn rolled_back() -> End {
    End::RolledBack {
        reason: "unhealthy".to_owned(),
    }
}

fn unreachable() -> End {
    End::Unreachable {
        why: "no route".to_owned(),
    }
}

/// Runs a rollout in which each host does at once what it may; `ends` says how a
/// host comes out of its trial. Answers with the order of trials and the ends.
fn play(plan: Plan, ends: impl Fn(usize) -> End) -> (Vec<usize>, Rollout) {
    let mut rollout = Rollout::new(plan, &[]);
    let mut todo: std::collections::VecDeque<Action> = rollout.begin().into();
    let mut tried = Vec::new();
    while let Some(action) = todo.pop_front() {
        let event = match action {
            Action::Begin {
                host,
                stage: Stage::Reach,
            } if ends(host) == unreachable() => Event::Ended {
                host,
                end: unreachable(),
            },
            Action::Begin {
                host,
                stage: Stage::Activate,
            } => {
                tried.push(host);
                Event::Ended {
                    host,
                    end: ends(host),
                }
            }
            Action::Begin {
                host,
                stage: Stage::PutBack,
            } => Event::Ended {
                host,
                end: End::PutBack {
                    version: "1".to_owned(),
                },
            },
            Action::Begin { host, stage } => Event::Through { host, stage },
            Action::Pause => Event::PauseOver,
            Action::Abandon { .. } | Action::Finished => continue,
        };
        todo.extend(rollout.step(event));
    }
    (tried, rollout)
}

fn names(rollout: &Rollout) -> Vec<&'static str> {
    let hosts = 0..rollout.plan().hosts.len();
    hosts
        .map(|at| rollout.end(at).map_or("-", End::name))
        .collect()
}

#[test]
fn all_well() {
    let (tried, rollout) = play(plan(&[1, 0, 1, 0]), |_| kept());
    assert_eq!(tried, [1, 3, 0, 2]);
    assert_eq!(names(&rollout), ["kept"; 4]);
}

#[test]
fn a_failed_canary_stops_the_rest() {
    let (tried, rollout) = play(plan(&[0, 1, 1]), |_| rolled_back());
    assert_eq!(tried, [0]);
    assert_eq!(names(&rollout), ["rolled back", "skipped", "skipped"]);
}

#[test]
fn so_many_may_fail() {
    let mut plan = plan(&[0, 0, 1, 1, 2]);
    plan.max_failures = 1;
    plan.parallel.activate = 1;
    let bad = |host| {
        if host == 0 || host == 2 {
            rolled_back()
        } else {
            kept()
        }
    };
    let (tried, rollout) = play(plan, bad);
    assert_eq!(tried, [0, 1, 2]);
    assert_eq!(
        names(&rollout),
        ["rolled back", "kept", "rolled back", "skipped", "skipped"]
    );
}

#[test]
fn what_was_changed_goes_back() {
    let mut plan = plan(&[0, 1, 1, 2]);
    plan.on_failure = OnFailure::PutBack;
    let bad = |host| if host == 1 { rolled_back() } else { kept() };
    let (_, rollout) = play(plan, bad);
    assert_eq!(
        names(&rollout),
        ["put back", "rolled back", "put back", "skipped"]
    );
}

#[test]
fn an_unreachable_host_counts_when_its_wave_is_open() {
    let of_last = |host| if host == 3 { unreachable() } else { kept() };
    let (tried, rollout) = play(plan(&[0, 1, 1, 2, 2]), of_last);
    assert_eq!(
        tried,
        [0, 1, 2],
        "found out early, but it is the last wave's failure"
    );
    assert_eq!(rollout.end(4).map(End::name), Some("skipped"));
    let mut plan = plan(&[0, 1, 1, 2, 2]);
    plan.ignore_unreachable = true;
    let (tried, _) = play(plan, of_last);
    assert_eq!(tried, [0, 1, 2, 4]);
}

#[test]
fn resuming_leaves_those_that_arrived() {
    let before = [
        (0, kept()),
        (1, rolled_back()),
        (2, End::Skipped { why: String::new() }),
    ];
    let mut rollout = Rollout::new(plan(&[0, 0, 1]), &before);
    let begun: Vec<_> = rollout.begin();
    let reach = |host| Action::Begin {
        host,
        stage: Stage::Reach,
    };
    assert_eq!(begun, [reach(1), reach(2)]);
}

#[test]
fn nobody_to_roll_out_to() {
    assert_eq!(Rollout::new(plan(&[]), &[]).begin(), [Action::Finished]);
}

/// A rollout driven by chance: which of the busy hosts moves next, and how.
#[derive(Debug, Clone)]
struct Chance {
    plan: Plan,
    moves: Vec<(usize, u8)>,
}

fn chance() -> impl Strategy<Value = Chance> {
    let waves = proptest::collection::vec(0..4usize, 1..12);
    let bits = (0..3usize, any::<[bool; 4]>(), 1..4usize);
    let moves = proptest::collection::vec((any::<usize>(), 0..14u8), 400);
    (waves, bits, moves).prop_map(
        |(mut waves, (max, [back, pause, ignore, ahead], room), moves)| {
            waves.sort_unstable();
            let mut plan = plan(&waves);
            plan.max_failures = max;
            plan.on_failure = if back {
                OnFailure::PutBack
            } else {
                OnFailure::Stop
            };
            plan.pause_s = u64::from(pause);
            plan.ignore_unreachable = ignore;
            plan.prepare_ahead = ahead;
            plan.parallel = Parallel {
                reach: room,
                build: 1,
                copy: room,
                activate: room,
            };
            Chance { plan, moves }
        },
    )
}

/// What the world sees of a rollout.
struct World {
    rollout: Rollout,
    busy: Vec<Option<Stage>>,
    pausing: bool,
    finished: bool,
    interrupted: bool,
}

impl World {
    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            assert!(!self.finished, "nothing follows the end");
            match action {
                Action::Begin { host, stage } => self.begin(host, stage),
                Action::Abandon { host } => self.busy[host] = None,
                Action::Pause => self.pausing = true,
                Action::Finished => self.finished = true,
            }
        }
    }

    fn begin(&mut self, host: usize, stage: Stage) {
        let plan = self.rollout.plan().clone();
        assert_eq!(self.busy[host], None, "one thing at a time");
        let at_it = self.busy.iter().filter(|s| **s == Some(stage)).count();
        assert!(at_it < plan.room(stage), "no more than there is room for");
        let wave = plan.hosts[host].wave;
        let ends = |at: usize| self.rollout.end(at);
        if stage == Stage::Activate || (!plan.prepare_ahead && stage != Stage::PutBack) {
            let earlier = (0..plan.hosts.len()).filter(|at| plan.hosts[*at].wave < wave);
            for at in earlier {
                assert!(ends(at).is_some(), "an earlier wave is not over");
            }
            let failed = (0..plan.hosts.len())
                .filter(|at| plan.hosts[*at].wave < wave)
                .filter(|at| ends(*at).is_some_and(|e| e.counts(plan.ignore_unreachable)));
            assert!(failed.count() <= plan.max_failures, "too many have failed");
            assert!(!self.interrupted, "nothing new after an interruption");
        }
        if stage == Stage::PutBack {
            assert_eq!(plan.on_failure, OnFailure::PutBack);
            assert!(
                matches!(ends(host), Some(End::Kept { .. })),
                "only what it changed"
            );
        }
        self.busy[host] = Some(stage);
    }

    /// One move of the world.
    fn go(&mut self, pick: usize, how: u8) {
        let busy: Vec<usize> = (0..self.busy.len())
            .filter(|at| self.busy[*at].is_some())
            .collect();
        if how == 13 {
            self.interrupted = true;
            let actions = self.rollout.step(Event::Interrupted);
            return self.take(actions);
        }
        if self.pausing && (how.is_multiple_of(3) || busy.is_empty()) {
            self.pausing = false;
            let actions = self.rollout.step(Event::PauseOver);
            return self.take(actions);
        }
        let Some(host) = busy.get(pick % busy.len().max(1)).copied() else {
            return;
        };
        let Some(stage) = self.busy[host].take() else {
            return;
        };
        let event = match (stage, how) {
            (Stage::Reach, 0 | 1) => Event::Ended {
                host,
                end: unreachable(),
            },
            (Stage::Reach, 2) => Event::Ended {
                host,
                end: End::Unchanged {
                    version: "2".into(),
                },
            },
            (Stage::Activate, 0..=2) => Event::Ended {
                host,
                end: rolled_back(),
            },
            (Stage::Activate, _) => Event::Ended { host, end: kept() },
            (Stage::PutBack, 0) => Event::Ended {
                host,
                end: End::PutBackFailed { why: "x".into() },
            },
            (Stage::PutBack, _) => Event::Ended {
                host,
                end: End::PutBack {
                    version: "1".into(),
                },
            },
            (stage, _) => Event::Through { host, stage },
        };
        let actions = self.rollout.step(event);
        self.take(actions);
    }
}

proptest! {
    /// Every rollout ends, with an end for each host, and breaks no rule on the way.
    #[test]
    fn by_chance(chance in chance()) {
        let count = chance.plan.hosts.len();
        let mut world = World {
            rollout: Rollout::new(chance.plan, &[]),
            busy: vec![None; count],
            pausing: false,
            finished: false,
            interrupted: false,
        };
        let first = world.rollout.begin();
        world.take(first);
        for (pick, how) in chance.moves {
            if world.finished {
                break;
            }
            world.go(pick, how);
        }
        prop_assert!(world.finished, "it ends");
        prop_assert!(world.busy.iter().all(Option::is_none), "nobody is at anything");
        for at in 0..count {
            prop_assert!(world.rollout.end(at).is_some(), "each host has its end");
        }
    }
}
