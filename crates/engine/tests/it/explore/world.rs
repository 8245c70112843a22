//! A host small enough to be explored: a boot loader, a running system, timers,
//! and at most one process that works.

use std::collections::BTreeSet;

use engine::{
    Action, BootId, Deadman, Event, Knowledge, Learned, Now, Open, Outcome, Phase, Refusal,
    Request, Running, State, Step, TrialKind, TxId, VersionId,
};

/// The rules to explore: `engine::step`, or one that was broken on purpose.
pub type Rules = fn(&State, &Knowledge, &Now, &Event) -> Result<Step, Refusal>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum V {
    Old,
    New,
}

impl V {
    pub fn id(self) -> VersionId {
        VersionId::new(match self {
            Self::Old => "old",
            Self::New => "new",
        })
    }
}

/// A process that holds the right to work.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Worker {
    pub todo: Vec<Action>,
    /// The result of the last effect, not yet recorded.
    pub result: Option<Event>,
    /// A unit of systemd's, which is started again when it is killed.
    pub unit: bool,
    /// What it believes the journal to say.
    pub knows: State,
}

/// How often each kind of bad luck may still strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Luck {
    pub power_cuts: u8,
    pub kills: u8,
    pub errors: u8,
    pub people: u8,
    pub loader: u8,
}

#[derive(Debug, Clone, Hash)]
pub struct World {
    // On the disk.
    pub state: State,
    pub knowledge: Knowledge,
    pub default: V,
    pub trial: Option<u8>,
    pub load_failure: bool,
    pub staged: bool,
    // Until the next boot.
    pub settled: bool,
    pub running: V,
    /// `None` while a live activation or rollback is half done.
    pub active: Option<V>,
    pub deadmen: BTreeSet<Deadman>,
    pub worker: Option<Worker>,
    pub restarting: bool,
    pub rebooting: bool,
    // What has really happened, for the invariants.
    pub healthy: bool,
    pub agreed: bool,
    pub decided: bool,
    pub trial_boots: u8,
    pub ran: bool,
    pub forgiven: bool,
    /// Keeping was decided in an earlier boot.
    pub kept_from_before: bool,
    /// The files of a version that runs or may boot were removed.
    pub removed_in_use: bool,
    pub outcome: Option<Outcome>,
    pub luck: Luck,
}

pub const TX: TxId = TxId(1);
pub const FRESH: u64 = 2000;
pub const STALE: u64 = 500;

pub fn now() -> Now {
    Now {
        time: 0,
        uptime_ms: 1000,
        boot: BootId::new("this"),
    }
}

impl World {
    pub fn new(luck: Luck) -> Self {
        let mut knowledge = Knowledge::default();
        let version = V::Old.id();
        knowledge.learn(&Learned::Good { version }, 0);
        Self {
            state: State::Idle,
            knowledge,
            default: V::Old,
            trial: None,
            load_failure: false,
            staged: false,
            settled: true,
            running: V::Old,
            active: Some(V::Old),
            deadmen: BTreeSet::new(),
            worker: None,
            restarting: false,
            rebooting: false,
            healthy: false,
            agreed: false,
            decided: false,
            trial_boots: 0,
            ran: false,
            forgiven: false,
            kept_from_before: false,
            removed_in_use: false,
            outcome: None,
            luck,
        }
    }

    pub fn request(request: &Request) -> Event {
        Event::Requested {
            tx: TX,
            request: request.clone(),
            previous: V::Old.id(),
        }
    }

    pub fn facts(&self) -> Event {
        Event::Resumed(Running {
            version: self.running.id(),
            attempts_left: self.trial,
            load_failure: self.load_failure.then(|| "bad kernel".to_owned()),
        })
    }

    pub fn open(&self) -> Option<&Open> {
        self.state.open()
    }

    pub fn live(&self) -> bool {
        let kind = |open: &Open| open.transaction.request.kind;
        self.open().map(kind) == Some(TrialKind::Live)
    }

    /// Whether the new version runs, wholly or half, and nothing is decided.
    pub fn unproven_runs(&self) -> bool {
        (self.running == V::New || self.active != Some(V::Old)) && !self.decided
    }

    /// Writes an event down; answers with what is to be done, or why not.
    fn record(&mut self, rules: Rules, event: &Event) -> Result<Vec<Action>, Refusal> {
        let step = rules(&self.state, &self.knowledge, &now(), event)?;
        match event {
            Event::ChecksPassed { .. } if self.running == V::New || self.active == Some(V::New) => {
                self.healthy = true;
            }
            Event::Confirmed { .. } => self.agreed = true,
            _ => {}
        }
        for learned in &step.learned {
            self.knowledge.learn(learned, 0);
        }
        self.decided |= matches!(
            step.state.open().map(|open| &open.phase),
            Some(Phase::Keeping { .. })
        );
        self.state = step.state;
        if step.outcome.is_some() {
            self.outcome = step.outcome;
        }
        Ok(step.actions)
    }

    /// Somebody reports an event. If nobody works, they do what follows.
    pub fn feed(&mut self, rules: Rules, event: &Event, unit: bool) -> Result<(), Refusal> {
        let todo = self.record(rules, event)?;
        if self.worker.is_none() && !todo.is_empty() {
            self.work(todo, unit);
        }
        Ok(())
    }

    pub fn work(&mut self, todo: Vec<Action>, unit: bool) {
        self.restarting = false;
        self.worker = Some(Worker {
            todo,
            result: None,
            unit,
            knows: self.state.clone(),
        });
    }

    /// Comes to look after things, as a unit does at boot or after a crash.
    pub fn resume(&mut self, rules: Rules) {
        self.settled = true;
        self.restarting = false;
        let facts = self.facts();
        self.feed(rules, &facts, true)
            .expect("resuming is never refused");
    }

    /// A timer runs out: its process stops one that works, and takes over.
    pub fn fire(&mut self, rules: Rules, deadman: Deadman) {
        self.deadmen.remove(&deadman);
        if let Ok(todo) = self.record(rules, &Event::Deadline { deadman }) {
            self.work(todo, true);
        }
    }

    /// The worker writes down the result of its effect.
    pub fn record_result(&mut self, rules: Rules) {
        let Some(mut worker) = self.worker.take() else {
            return;
        };
        let Some(event) = worker.result.take() else {
            return;
        };
        let facts = self.facts();
        let todo = self.record(rules, &event);
        let todo = todo.or_else(|_| self.record(rules, &facts));
        worker.todo = todo.expect("resuming is never refused");
        worker.knows = self.state.clone();
        self.worker = Some(worker);
        self.let_go(rules);
    }

    /// A worker that has nothing left to do ends, unless somebody reported
    /// something meanwhile and left it to it.
    pub fn let_go(&mut self, rules: Rules) {
        let idle = |w: &Worker| w.todo.is_empty() && w.result.is_none();
        let Some(worker) = self.worker.take_if(|w| idle(w)) else {
            return;
        };
        if worker.knows != self.state {
            let facts = self.facts();
            self.feed(rules, &facts, worker.unit)
                .expect("resuming is never refused");
        }
    }

    /// Power goes off and on: the boot loader chooses.
    pub fn boot(&mut self, choice: Choice) {
        // Only whether the boot is the same one matters.
        if let State::Open(open) = &mut self.state {
            open.boot = BootId::new("earlier");
        }
        self.kept_from_before |= self.decided;
        self.worker = None;
        self.restarting = false;
        self.rebooting = false;
        self.settled = false;
        self.healthy = false;
        self.deadmen.clear();
        self.running = match (choice, self.trial) {
            (Choice::AsConfigured, Some(left @ 1..)) => {
                self.trial = Some(left - 1);
                self.trial_boots += 1;
                V::New
            }
            (Choice::CannotLoad, Some(1..)) => {
                self.trial = Some(0);
                self.load_failure = true;
                self.default
            }
            _ => self.default,
        };
        self.ran |= self.running == V::New;
        self.active = Some(self.running);
    }
}

/// What the boot loader does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Choice {
    /// What it is told to.
    AsConfigured,
    /// It finds that it cannot load the entry on trial.
    CannotLoad,
    /// It cannot count the attempt, or somebody chose the default by hand.
    Default,
}
