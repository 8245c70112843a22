//! The loop that turns events into records and records into effects.
//!
//! Several short-lived processes drive one transaction: the supervisor, what
//! settles at boot, the health unit, `backstop confirm`, a deadman's timer. Each
//! records what happened under the journal's lock, held for an instant. What is
//! to be done then is done by whoever holds the right to work; the others leave
//! it to them. After each effect the worker records its result; a result that
//! no longer fits, because something else happened meanwhile, is refused, and
//! the worker goes on from what the journal says now.

use std::time::{Duration, Instant};

use monitor::Monitor;

use crate::action::{Action, Deadman};
use crate::event::Event;
use crate::host::{Host, HostError, Job, Preflight, chain};
use crate::journal::{Journal, JournalError, Memory, Work};
use crate::knowledge::Knowledge;
use crate::observer::Observer;
use crate::reason::{Failure, Outcome};
use crate::refusal::Refusal;
use crate::request::{Request, Transaction, TrialKind};
use crate::state::{Open, Phase, State, Then};
use crate::step::{Step, step};
use crate::version::{Now, TxId};

/// How often is looked whether another process has left its work.
const LOOK: Duration = Duration::from_millis(10);

/// Why a transaction could not be driven on.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The event was not taken; nothing changed.
    #[error("refused")]
    Refused(#[from] Refusal),
    /// The journal could not be used.
    #[error("the journal could not be used")]
    Journal(#[from] JournalError),
    /// The host does not know what it runs.
    #[error("cannot tell what this host is running")]
    Host(#[source] HostError),
}

/// Which effects a process may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All.
    All,
    /// Those that do not take long: a boot, or a person, waits for it.
    Short,
}

/// What a transaction waits for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pause {
    /// Nothing: none is open. With how the last one ended, if it ended now.
    Idle(Option<Outcome>),
    /// Somebody to say go ([`Event::GoAhead`]).
    Ready,
    /// The next boot.
    AwaitingBoot,
    /// Somebody's word.
    AwaitingConfirm,
    /// The reboot that was asked for.
    Rebooting,
    /// Another process does what is to be done.
    Elsewhere,
    /// The supervisor: the next effect takes long.
    Supervisor(Action),
    /// The deadman, or the next boot: an effect failed and will be tried again.
    Stuck,
}

/// Drives the transaction of one host.
pub struct Driver<'a> {
    /// Who does the work.
    pub host: &'a mut dyn Host,
    /// Where it is written down.
    pub journal: &'a Journal,
    /// Who watches.
    pub observer: &'a dyn Observer,
    /// Who is told of progress.
    pub monitor: &'a dyn Monitor,
    /// Which effects may be done here.
    pub scope: Scope,
    /// How long to wait for another process that works; [`Duration::MAX`]: until it has
    /// ended.
    pub patience: Duration,
}

impl std::fmt::Debug for Driver<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = self.host.describe();
        f.debug_struct("Driver").field("host", &host).finish()
    }
}

/// What recording an event came to.
struct Recorded {
    step: Step,
    knowledge: Knowledge,
}

impl Driver<'_> {
    /// Takes on a request and drives it as far as it goes.
    ///
    /// # Errors
    /// Why it was refused, or could not be written down.
    pub fn request(&mut self, request: Request) -> Result<Pause, DriveError> {
        let previous = match self.host.active().map_err(DriveError::Host)? {
            Some(active) => active,
            None => {
                let booted = self.host.running().map_err(DriveError::Host)?.version;
                self.journal.load()?.active(&self.now()?.boot, &booted)
            }
        };
        let tx = TxId(0);
        self.feed(Event::Requested {
            tx,
            request,
            previous,
        })
    }

    /// Looks after whatever is open: at boot, or after a crash.
    ///
    /// # Errors
    /// Why that could not be written down.
    pub fn resume(&mut self) -> Result<Pause, DriveError> {
        let running = self.host.running().map_err(DriveError::Host)?;
        self.feed(Event::Resumed(running))
    }

    /// As [`Driver::resume`], at boot: a journal that cannot be read is set
    /// aside first, so that the host is never stuck with it.
    ///
    /// # Errors
    /// Why that could not be written down.
    pub fn settle(&mut self) -> Result<Pause, DriveError> {
        match self.journal.load() {
            Err(why) if why.is_content() => {
                let now = self.now()?;
                self.observer.note(&why.to_string());
                let record = self.journal.set_aside(&now, &why)?;
                self.observer.recorded(&record);
            }
            _ => {}
        }
        self.resume()
    }

    /// A timer has run out: takes over from a process that hangs.
    ///
    /// # Errors
    /// Why the deadline was refused, or could not be written down.
    pub fn deadline(&mut self, deadman: Deadman) -> Result<Pause, DriveError> {
        let recorded = self.record_settled(Event::Deadline { deadman })?;
        let mut work = self.wait_for_work()?;
        if work.is_none() {
            self.observer.note("the process at work hangs: stopping it");
            if let Err(e) = self.host.evict_worker() {
                self.observer.note(&chain(&*e));
            }
            work = self.wait_for_work()?;
        }
        match work {
            Some(work) => self.work(recorded, work),
            // Rebooting needs nobody's leave.
            None => self.reboot_at_once(&recorded.step),
        }
    }

    /// The host goes down, whoever asked for it. A version that waits for the next boot
    /// is made ready for it; nothing depends on that.
    ///
    /// # Errors
    /// The journal could not be read.
    pub fn going_down(&mut self) -> Result<(), DriveError> {
        let boot = self.now()?.boot;
        let Some(_work) = self.wait_for_work()? else {
            return Ok(());
        };
        let memory = self.journal.load()?;
        let waits =
            |open: &&Open| open.boot == boot && matches!(open.phase, Phase::AwaitingBoot { .. });
        if let Some(open) = memory.state.open().filter(waits) {
            let job = Job {
                transaction: &open.transaction,
                knowledge: &memory.knowledge,
            };
            let done = self.host.before_boot(job, self.monitor);
            self.best_effort(done);
        }
        Ok(())
    }

    /// Records an event and does what follows, as far as it goes.
    ///
    /// # Errors
    /// Why the event was refused, or could not be written down.
    pub fn feed(&mut self, event: Event) -> Result<Pause, DriveError> {
        let recorded = self.record_settled(event)?;
        if recorded.step.actions.is_empty() {
            return Ok(pause(&recorded.step));
        }
        match self.wait_for_work()? {
            Some(work) => self.work(recorded, work),
            None => Ok(Pause::Elsewhere),
        }
    }

    /// Does what is to be done, effect by effect, until the world must move.
    fn work(&mut self, first: Recorded, _work: Work) -> Result<Pause, DriveError> {
        let mut recorded = self.still_so(first)?;
        loop {
            let result = match self.act(&recorded)? {
                Some(event) => self.record(event),
                // Whoever reported something meanwhile left it to this process.
                None if self.journal.load()?.state != recorded.step.state => self.look_again(),
                None => return Ok(self.left(&recorded.step)),
            };
            recorded = match result {
                Err(DriveError::Refused(why)) => {
                    self.observer.note(&format!("overtaken: {why}"));
                    self.look_again()?
                }
                result => result?,
            };
        }
    }

    /// A step that is still to be done: while the right to work was waited for, whoever
    /// had it may have done it, and gone on.
    fn still_so(&mut self, recorded: Recorded) -> Result<Recorded, DriveError> {
        let step = &recorded.step;
        let moved = |memory: Memory| memory.state != step.state;
        if step.outcome.is_none() && self.journal.load().is_ok_and(moved) {
            return self.look_again();
        }
        Ok(recorded)
    }

    /// Goes on from what the journal says.
    fn look_again(&mut self) -> Result<Recorded, DriveError> {
        let running = self.host.running().map_err(DriveError::Host)?;
        self.record(Event::Resumed(running))
    }

    /// Does a step's actions up to the first one whose result changes the
    /// state; answers with that result.
    fn act(&mut self, recorded: &Recorded) -> Result<Option<Event>, DriveError> {
        let Some(transaction) = &recorded.step.transaction else {
            return Ok(None);
        };
        for action in &recorded.step.actions {
            if self.scope == Scope::Short && action.is_long() {
                return Ok(None);
            }
            self.observer.acting(action);
            let job = Job {
                transaction,
                knowledge: &recorded.knowledge,
            };
            if let Some(event) = self.effect(*action, job, &recorded.step.state) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Does one action. The event is its result, if that changes the state.
    fn effect(&mut self, action: Action, job: Job<'_>, state: &State) -> Option<Event> {
        let tx = job.transaction.id;
        let monitor = self.monitor;
        match action {
            Action::Stage => told(
                self.host.stage(job, monitor),
                Event::StageDone { tx },
                |error| Event::StageFailed { tx, error },
            ),
            Action::Preflight => Some(self.preflight(job)),
            Action::Activate => Some(self.activate(job)),
            Action::RunChecks { stage } => Some(self.run_checks(job, stage)),
            Action::Keep => told(self.host.keep(job, monitor), Event::Kept { tx }, |error| {
                Event::KeepFailed { tx, error }
            }),
            Action::RollBack => told(
                self.host.roll_back(job, monitor),
                Event::RolledBack { tx },
                |error| Event::RollbackFailed { tx, error },
            ),
            action => self.side_effect(action, job, state),
        }
    }

    /// Does one of the actions that change no state unless they fail.
    fn side_effect(&mut self, action: Action, job: Job<'_>, state: &State) -> Option<Event> {
        let tx = job.transaction.id;
        match action {
            Action::Reboot { force } => {
                let error = chain(&*self.host.reboot(force).err()?);
                return Some(Event::RebootFailed { tx, error });
            }
            Action::ArmDeadman { deadman, after } => {
                return self.arm(job.transaction, deadman, after, state);
            }
            Action::DisarmDeadman => {
                let disarmed = self.host.disarm_deadman(job.transaction, None);
                self.best_effort(disarmed);
            }
            _ => {
                let discarded = self.host.discard(job, self.monitor);
                self.best_effort(discarded);
            }
        }
        None
    }

    fn activate(&mut self, job: Job<'_>) -> Event {
        let tx = job.transaction.id;
        let Err(e) = self.host.activate(job, self.monitor) else {
            return Event::Activated { tx };
        };
        let error = chain(&*e);
        match self.host.fault(&e) {
            Some(fault) if fault.changed_nothing() => Event::NotActivated { tx, error, fault },
            fault => Event::ActivateFailed { tx, error, fault },
        }
    }

    fn preflight(&mut self, job: Job<'_>) -> Event {
        let tx = job.transaction.id;
        let live = job.transaction.request.kind == TrialKind::Live;
        match self.host.preflight(job, self.monitor) {
            Ok(Preflight {
                report,
                baseline,
                refuses_live: Some(why),
            }) if live && report.healthy() => Event::LiveRefused { tx, why, baseline },
            Ok(found) if found.report.healthy() => Event::PreflightDone {
                tx,
                baseline: found.baseline,
            },
            Ok(found) => Event::PreflightFailed {
                tx,
                failures: Failure::of(&found.report),
            },
            Err(e) => {
                let error = chain(&*e);
                match self.host.fault(&e) {
                    Some(fault) if fault.changed_nothing() => {
                        Event::NotActivated { tx, error, fault }
                    }
                    _ => Event::PreflightBroken { tx, error },
                }
            }
        }
    }

    fn run_checks(&mut self, job: Job<'_>, stage: health::Stage) -> Event {
        let tx = job.transaction.id;
        match self.host.run_checks(job, stage, self.monitor) {
            Ok(report) if report.healthy() => Event::ChecksPassed { tx },
            Ok(report) => Event::ChecksFailed { tx, report },
            Err(e) => Event::ChecksBroken {
                tx,
                error: chain(&*e),
            },
        }
    }

    /// Arms a timer. Nothing unproven may run without one: where arming fails,
    /// an activation does not begin and a trial ends.
    fn arm(
        &mut self,
        transaction: &Transaction,
        deadman: Deadman,
        after: Duration,
        state: &State,
    ) -> Option<Event> {
        if let Err(e) = self.host.arm_deadman(deadman, after) {
            let (tx, error) = (transaction.id, chain(&*e));
            let phase = state.open().map(|open| &open.phase);
            if matches!(phase, Some(Phase::Activating { .. } | Phase::Trial(_))) {
                return Some(Event::Unguarded { tx, error });
            }
            self.observer
                .note(&format!("cannot arm the deadman: {error}"));
            return None;
        }
        // Only now: there is no instant without a timer.
        let disarmed = self.host.disarm_deadman(transaction, Some(deadman));
        self.best_effort(disarmed);
        None
    }

    fn best_effort(&self, result: Result<(), HostError>) {
        if let Err(e) = result {
            self.observer.note(&chain(&*e));
        }
    }

    /// Records an event. If the host was rebooted and nobody has looked after the
    /// transaction since, that comes first, and what follows from it is done even
    /// if the event is refused then.
    fn record_settled(&mut self, event: Event) -> Result<Recorded, DriveError> {
        match self.record(event.clone()) {
            Err(DriveError::Refused(Refusal::Unsettled)) => {}
            recorded => return recorded,
        }
        self.look_again()?;
        match self.record(event) {
            Ok(recorded) if recorded.step.outcome.is_some() => Ok(recorded),
            Ok(_) => self.look_again(),
            Err(refused) => {
                let settled = self.look_again()?;
                if let Some(work) = self.wait_for_work()? {
                    self.work(settled, work)?;
                }
                Err(refused)
            }
        }
    }

    /// Lock, read, step, write: the state is on the disk before anything is
    /// done.
    fn record(&mut self, mut event: Event) -> Result<Recorded, DriveError> {
        let now = self.now()?;
        let mut writer = self.journal.write()?;
        if let Event::Requested { tx, .. } = &mut event {
            *tx = TxId(writer.next_seq());
        }
        let Memory {
            state, knowledge, ..
        } = &writer.memory;
        let step = step(state, knowledge, &now, &event)?;
        let changes = step.state != *state || !step.learned.is_empty();
        // Looked at again, and again put off: no news.
        let no_news = matches!(event, Event::Resumed(_) | Event::Postponed { .. });
        let written = if changes || !no_news {
            writer.append(&now, event, &step).map(Some)
        } else {
            writer.sync().map(|()| None)
        };
        match written {
            Ok(record) => record.iter().for_each(|r| self.observer.recorded(r)),
            Err(e) => {
                drop(writer);
                return Err(self.write_failed(&step, e));
            }
        }
        let knowledge = writer.memory.knowledge.clone();
        Ok(Recorded { step, knowledge })
    }

    /// The journal cannot be written. If the step led back, the way back must
    /// not depend on that: a reboot leads to the default, which the trial never
    /// changed, or uses up one of the counted attempts.
    fn write_failed(&mut self, step: &Step, error: JournalError) -> DriveError {
        let back = step.state.open().is_some_and(leads_back);
        if back {
            self.observer
                .note("cannot write the journal: rebooting instead of rolling back");
            let rebooted = self.host.reboot(false);
            self.best_effort(rebooted);
        }
        DriveError::Journal(error)
    }

    /// Without the right to work, all that can be done is to reboot.
    fn reboot_at_once(&mut self, step: &Step) -> Result<Pause, DriveError> {
        if !step.state.open().is_some_and(leads_back) {
            return Ok(Pause::Elsewhere);
        }
        self.observer
            .note("the process at work cannot be stopped: rebooting");
        let rebooted = self.host.reboot(true);
        self.best_effort(rebooted);
        Ok(Pause::Rebooting)
    }

    /// Takes the right to work, waiting as long as patience lasts.
    fn wait_for_work(&self) -> Result<Option<Work>, DriveError> {
        let until = Instant::now().checked_add(self.patience);
        loop {
            let work = self.journal.try_work()?;
            if work.is_some() || until.is_some_and(|until| Instant::now() >= until) {
                return Ok(work);
            }
            std::thread::sleep(LOOK);
        }
    }

    fn now(&mut self) -> Result<Now, DriveError> {
        self.host.now().map_err(DriveError::Host)
    }

    /// What the transaction waits for once all actions of a step are done, or
    /// left.
    fn left(&self, step: &Step) -> Pause {
        let long = |a: &&Action| self.scope == Scope::Short && a.is_long();
        match step.actions.iter().find(long) {
            Some(action) => Pause::Supervisor(*action),
            None if step
                .actions
                .iter()
                .any(|a| matches!(a, Action::Reboot { .. })) =>
            {
                Pause::Rebooting
            }
            None => pause(step),
        }
    }
}

/// An effect's result as an event.
fn told(
    result: Result<(), HostError>,
    good: Event,
    bad: impl FnOnce(String) -> Event,
) -> Option<Event> {
    Some(match result {
        Ok(()) => good,
        Err(e) => bad(chain(&*e)),
    })
}

/// Whether the host is on its way out of a version that runs.
fn leads_back(open: &Open) -> bool {
    match open.phase {
        Phase::RollingBack { then, .. } => then != Then::End,
        Phase::Verifying { .. } | Phase::RebootingToGood { .. } => true,
        _ => false,
    }
}

/// What a transaction waits for when nothing is to be done.
fn pause(step: &Step) -> Pause {
    match step.state.open().map(|open| &open.phase) {
        None => Pause::Idle(step.outcome.clone()),
        Some(Phase::Ready { .. }) => Pause::Ready,
        Some(Phase::AwaitingBoot { .. }) => Pause::AwaitingBoot,
        Some(Phase::Trial(trial)) if trial.healthy => Pause::AwaitingConfirm,
        // Whoever runs the checks goes on.
        Some(Phase::Trial(_)) => Pause::Elsewhere,
        Some(_) => Pause::Stuck,
    }
}
