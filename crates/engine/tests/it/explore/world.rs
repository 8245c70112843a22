//! A host small enough to be explored: a boot loader, a running system, timers,
//! and at most one process that works.

use std::collections::BTreeSet;

use engine::{
    Action, BootId, Deadman, Event, Knowledge, Learned, Now, Open, Outcome, Phase, Refusal,
    Request, Running, State, Step, TrialKind, TxId, VersionId,
};

use super::loader::{Came, Decide, Loader, Start};

/// The transaction's rules: `engine::step`, or some that were broken on purpose.
pub type Transition<'r> =
    dyn Fn(&State, &Knowledge, &Now, &Event) -> Result<Step, Refusal> + Sync + 'r;

/// The rules to explore.
#[derive(Clone, Copy)]
pub struct Rules<'r> {
    pub step: &'r Transition<'r>,
    pub decide: Decide,
}

impl Rules<'static> {
    /// Those that the product has.
    pub const TRUE: Self = Self {
        step: &engine::step,
        decide: boot::decide,
    };
}

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
    pub again: u8,
}

#[derive(Debug, Clone, Hash)]
pub struct World {
    // On the disk.
    pub state: State,
    pub knowledge: Knowledge,
    pub default: V,
    pub loader: Loader,
    pub staged: bool,
    /// The transaction that is open, or was last.
    pub tx: TxId,
    // Until the next boot.
    pub settled: bool,
    pub running: V,
    /// Somebody chose it in the menu.
    pub by_hand: bool,
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
    /// With another time on the wall clock the rules would have done otherwise.
    pub clock_mattered: bool,
    /// The sector that told of a boot is gone.
    pub untold: bool,
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
            loader: Loader::new(),
            staged: false,
            tx: TX,
            settled: true,
            running: V::Old,
            by_hand: false,
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
            clock_mattered: false,
            untold: false,
            outcome: None,
            luck,
        }
    }

    pub fn request(request: &Request, tx: TxId) -> Event {
        Event::Requested {
            tx,
            request: request.clone(),
            previous: V::Old.id(),
        }
    }

    /// The same version is asked for once more, after it was forgiven or never ran.
    pub fn ask_again(&mut self, rules: Rules<'_>, request: &Request) -> bool {
        let over = self.state == State::Idle && self.worker.is_none() && self.settled;
        if !over || self.running == V::New || self.default == V::New {
            return false;
        }
        self.luck.again -= 1;
        self.tx = TxId(self.tx.0 + 1);
        self.trial_boots = 0;
        self.ran = false;
        self.decided = false;
        self.forgiven = false;
        self.agreed = false;
        self.untold = false;
        self.outcome = None;
        self.kept_from_before = false;
        let asked = Self::request(request, self.tx);
        self.feed(rules, &asked, true).is_ok()
    }

    pub fn facts(&self) -> Event {
        Event::Resumed(Running {
            version: self.running.id(),
            attempts_left: self.loader.attempts_left(),
            load_failure: self.loader.load_failure().then(|| "bad kernel".to_owned()),
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
        let chosen = self.by_hand && self.state == State::Idle;
        (self.running == V::New || self.active != Some(V::Old)) && !self.decided && !chosen
    }

    /// Writes an event down; answers with what is to be done, or why not.
    fn record(&mut self, rules: Rules<'_>, event: &Event) -> Result<Vec<Action>, Refusal> {
        let step = (rules.step)(&self.state, &self.knowledge, &now(), event)?;
        self.clock_mattered |= !self.clock_does_not_matter(rules, event, &step);
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

    /// P2, P3, P4, P7 must not hang on what the wall clock says: it may jump.
    fn clock_does_not_matter(&self, rules: Rules<'_>, event: &Event, step: &Step) -> bool {
        let time = u64::MAX;
        let now = Now { time, ..now() };
        let other = (rules.step)(&self.state, &self.knowledge, &now, event);
        let phase = |s: &Step| s.state.open().map(|open| open.phase.clone());
        other.is_ok_and(|other| {
            phase(&other) == phase(step)
                && other.actions == step.actions
                && other.learned == step.learned
                && other.outcome == step.outcome
        })
    }

    /// Somebody reports an event. If nobody works, they do what follows.
    pub fn feed(&mut self, rules: Rules<'_>, event: &Event, unit: bool) -> Result<(), Refusal> {
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
    pub fn resume(&mut self, rules: Rules<'_>) {
        self.settled = true;
        self.restarting = false;
        let facts = self.facts();
        self.feed(rules, &facts, true)
            .expect("resuming is never refused");
    }

    /// A timer runs out: its process stops one that works, and takes over.
    pub fn fire(&mut self, rules: Rules<'_>, deadman: Deadman) {
        self.deadmen.remove(&deadman);
        if let Ok(todo) = self.record(rules, &Event::Deadline { deadman }) {
            self.work(todo, true);
            self.let_go(rules);
        }
    }

    /// The worker writes down the result of its effect.
    pub fn record_result(&mut self, rules: Rules<'_>) {
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
    pub fn let_go(&mut self, rules: Rules<'_>) {
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
    pub fn boot(&mut self, rules: Rules<'_>, how: Start) {
        self.power_off();
        self.running = match self.loader.start(rules.decide, how) {
            Came::Trial => {
                self.trial_boots += 1;
                V::New
            }
            Came::Default => self.default,
        };
        self.ran |= self.running == V::New;
        self.active = Some(self.running);
    }

    /// Power goes off and on, and somebody chooses in the menu. A choice by hand
    /// goes past the sector.
    pub fn boot_by_hand(&mut self, version: V) {
        self.power_off();
        self.running = version;
        self.by_hand = version != self.default;
        self.active = Some(version);
    }

    fn power_off(&mut self) {
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
        self.by_hand = false;
        self.deadmen.clear();
    }
}
