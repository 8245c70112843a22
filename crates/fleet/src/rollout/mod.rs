//! The rollout: which host does what next.
//!
//! [`Rollout`] holds all the rules and does no I/O. It is told what happened and
//! answers with what to do. Hosts are named by their places in the plan.
//!
//! - Hosts reach, build and copy as soon as there is room for them; they are
//!   activated wave by wave.
//! - A wave opens when every host of the one before has ended. What counts as a
//!   failure counts when its wave is open, so that the order in which hosts
//!   happen to be prepared changes nothing.
//! - Once more hosts have failed than may, nothing new begins. Hosts in their
//!   trial end it by its own rules: none is left in between.

mod end;
mod plan;
mod record;
mod wave;

pub use end::End;
pub use plan::{Plan, Planned};
pub use record::{Entry, Log, LogError, Story, list};
pub use wave::{WaveSize, waves};

use crate::config::OnFailure;

/// What a host may be doing, as far as there is room for only so many.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// A connection is opened, and what runs is asked.
    Reach,
    /// Its version is found, evaluated, built.
    Build,
    /// Its version is copied.
    Copy,
    /// From staging to the end of the trial.
    Activate,
    /// It goes back to the version before.
    PutBack,
}

impl Stage {
    /// What follows on the way to the new version.
    fn next(self) -> Option<Self> {
        match self {
            Self::Reach => Some(Self::Build),
            Self::Build => Some(Self::Copy),
            Self::Copy => Some(Self::Activate),
            Self::Activate | Self::PutBack => None,
        }
    }

    /// Its name in a few letters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reach => "reach",
            Self::Build => "build",
            Self::Copy => "copy",
            Self::Activate => "activate",
            Self::PutBack => "put back",
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A host is through with a stage and may go on to the next.
    Through {
        /// Which host.
        host: usize,
        /// With what.
        stage: Stage,
    },
    /// A host has come to its end.
    Ended {
        /// Which host.
        host: usize,
        /// How.
        end: End,
    },
    /// The wait between two waves is over.
    PauseOver,
    /// A person wants it to stop.
    Interrupted,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Let a host begin a stage.
    Begin {
        /// Which host.
        host: usize,
        /// What.
        stage: Stage,
    },
    /// A host will not go on: whatever it is doing is for nothing.
    Abandon {
        /// Which host.
        host: usize,
    },
    /// Wait, then say [`Event::PauseOver`].
    Pause,
    /// All hosts have ended.
    Finished,
}

/// Where a host stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// Waits for room, and for its wave.
    Wants(Stage),
    /// At it.
    Busy(Stage),
    /// Done with.
    Ended,
}

#[derive(Debug, Clone)]
struct HostState {
    standing: Standing,
    end: Option<End>,
}

/// Why nothing new begins.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stop {
    Failures(usize),
    Interrupted,
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failures(1) => f.write_str("a host failed before it"),
            Self::Failures(n) => write!(f, "{n} hosts failed before it"),
            Self::Interrupted => f.write_str("the rollout was interrupted"),
        }
    }
}

/// A rollout under way.
#[derive(Debug, Clone)]
pub struct Rollout {
    plan: Plan,
    hosts: Vec<HostState>,
    /// The wave that is open.
    wave: usize,
    pausing: bool,
    stop: Option<Stop>,
    /// What this rollout changed is being put back.
    putting_back: bool,
    finished: bool,
}

impl Rollout {
    /// A rollout from its beginning, or with what an interrupted one came to:
    /// hosts that arrived stay so, all others begin anew.
    #[must_use]
    pub fn new(plan: Plan, before: &[(usize, End)]) -> Self {
        let fresh = HostState {
            standing: Standing::Wants(Stage::Reach),
            end: None,
        };
        let mut hosts = vec![fresh; plan.hosts.len()];
        for (at, end) in before {
            if let (Some(host), true) = (hosts.get_mut(*at), end.arrived()) {
                host.standing = Standing::Ended;
                host.end = Some(end.clone());
            }
        }
        Self {
            plan,
            hosts,
            wave: 0,
            pausing: false,
            stop: None,
            putting_back: false,
            finished: false,
        }
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How a host ended, if it has.
    #[must_use]
    pub fn end(&self, host: usize) -> Option<&End> {
        self.hosts.get(host).and_then(|h| h.end.as_ref())
    }

    /// The wave that is open, counted from 0.
    #[must_use]
    pub fn wave(&self) -> usize {
        self.wave
    }

    /// Whether a person called it off.
    #[must_use]
    pub fn interrupted(&self) -> bool {
        self.stop == Some(Stop::Interrupted)
    }

    /// What to do at the beginning.
    pub fn begin(&mut self) -> Vec<Action> {
        self.advance()
    }

    /// What to do now that this happened. What no longer matters changes nothing.
    pub fn step(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Through { host, stage } => self.through(host, stage),
            Event::Ended { host, end } => self.ended(host, end),
            Event::PauseOver if self.pausing => {
                self.pausing = false;
                self.wave += 1;
            }
            Event::PauseOver => {}
            Event::Interrupted => self.stop = Some(Stop::Interrupted),
        }
        self.advance()
    }

    fn through(&mut self, host: usize, stage: Stage) {
        if let Some(state) = self.hosts.get_mut(host)
            && state.standing == Standing::Busy(stage)
            && let Some(next) = stage.next()
        {
            state.standing = Standing::Wants(next);
        }
    }

    fn ended(&mut self, host: usize, end: End) {
        if let Some(state) = self.hosts.get_mut(host)
            && matches!(state.standing, Standing::Busy(_))
        {
            state.standing = Standing::Ended;
            state.end = Some(end);
        }
    }

    fn advance(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        loop {
            self.judge();
            if self.stop.is_some() {
                self.give_up(&mut actions);
            }
            if !self.open_next_wave(&mut actions) {
                break;
            }
        }
        self.put_back();
        self.grant(&mut actions);
        let all = self.hosts.iter().all(|h| h.standing == Standing::Ended);
        if all && !self.finished {
            self.finished = true;
            actions.push(Action::Finished);
        }
        actions
    }

    /// Stops once more hosts of open waves have failed than may.
    fn judge(&mut self) {
        if self.stop.is_some() {
            return;
        }
        let failed = self.failures();
        if failed > self.plan.max_failures {
            self.stop = Some(Stop::Failures(failed));
        }
    }

    fn failures(&self) -> usize {
        let counts = |at: &usize| {
            let (planned, state) = (&self.plan.hosts[*at], &self.hosts[*at]);
            let end = state.end.as_ref();
            planned.wave <= self.wave
                && end.is_some_and(|end| end.counts(self.plan.ignore_unreachable))
        };
        (0..self.hosts.len()).filter(counts).count()
    }

    /// Ends every host that is not in its trial.
    fn give_up(&mut self, actions: &mut Vec<Action>) {
        let why = self.stop.as_ref().map(ToString::to_string);
        for (at, host) in self.hosts.iter_mut().enumerate() {
            match host.standing {
                Standing::Ended | Standing::Busy(Stage::Activate | Stage::PutBack) => continue,
                Standing::Wants(Stage::PutBack) => {}
                Standing::Busy(_) => actions.push(Action::Abandon { host: at }),
                Standing::Wants(Stage::Reach) => {}
                Standing::Wants(_) => actions.push(Action::Abandon { host: at }),
            }
            if host.standing == Standing::Wants(Stage::PutBack) {
                // What put-back has begun goes on, unless a person wants no more.
                if self.stop != Some(Stop::Interrupted) {
                    continue;
                }
                host.standing = Standing::Ended;
                continue;
            }
            host.standing = Standing::Ended;
            host.end = Some(End::Skipped {
                why: why.clone().unwrap_or_default(),
            });
        }
    }

    /// Opens the next wave if this one is over; answers whether it did at once.
    fn open_next_wave(&mut self, actions: &mut Vec<Action>) -> bool {
        let last = self.plan.hosts.iter().map(|h| h.wave).max().unwrap_or(0);
        let over = |at: usize| {
            self.plan.hosts[at].wave > self.wave || self.hosts[at].standing == Standing::Ended
        };
        let over = (0..self.hosts.len()).all(over);
        if self.stop.is_some() || self.pausing || !over || self.wave >= last {
            return false;
        }
        if self.plan.pause_s > 0 {
            self.pausing = true;
            actions.push(Action::Pause);
            return false;
        }
        self.wave += 1;
        true
    }

    /// After too many failures, when nobody is at anything any more: what was
    /// changed goes back.
    fn put_back(&mut self) {
        let failed = matches!(self.stop, Some(Stop::Failures(_)));
        let quiet = self.hosts.iter().all(|h| h.standing == Standing::Ended);
        if !failed || !quiet || self.putting_back || self.plan.on_failure != OnFailure::PutBack {
            return;
        }
        self.putting_back = true;
        for host in &mut self.hosts {
            if matches!(host.end, Some(End::Kept { .. })) {
                host.standing = Standing::Wants(Stage::PutBack);
            }
        }
    }

    /// Lets hosts begin what they want, earlier waves first, as far as there is
    /// room.
    fn grant(&mut self, actions: &mut Vec<Action>) {
        let mut order: Vec<usize> = (0..self.hosts.len()).collect();
        order.sort_by_key(|at| self.plan.hosts[*at].wave);
        for at in order {
            let Standing::Wants(stage) = self.hosts[at].standing else {
                continue;
            };
            let open = self.plan.hosts[at].wave <= self.wave;
            let may = match stage {
                Stage::Activate => open && !self.pausing,
                Stage::PutBack => true,
                _ => open || self.plan.prepare_ahead,
            };
            if may && self.busy(stage) < self.plan.room(stage) {
                self.hosts[at].standing = Standing::Busy(stage);
                actions.push(Action::Begin { host: at, stage });
            }
        }
    }

    fn busy(&self, stage: Stage) -> usize {
        let busy = |h: &&HostState| h.standing == Standing::Busy(stage);
        self.hosts.iter().filter(busy).count()
    }
}

#[cfg(test)]
mod tests;
