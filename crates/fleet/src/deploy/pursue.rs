//! Following a trial over connections that were opened after the activation.
//!
//! The confirmation must show that the host can still be reached: so nothing of
//! the session is used here. When no connection can be opened, the host goes back
//! by itself; all that is left then is to learn how that ended.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine::{Open, Outcome, Phase, TrialKind, TxId};
use health::{Baseline, Checks, Runner, Stage};
use monitor::Silent;

use super::trial::Seen;
use super::{OnHost, ask};
use crate::config::When;
use crate::ssh::{Connection, Way};
use crate::wire::Program;
use crate::{Error, Result};

/// A host knows when a connection was opened to a clock tick of 10 ms, rounded down:
/// one that is opened this long after the activation counts as opened after it.
const TICK: Duration = Duration::from_millis(10);
/// The pause between two looks at a host.
const PAUSE: Duration = Duration::from_millis(300);
/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Set when a trial's end is known from elsewhere.
#[derive(Debug, Default)]
pub(super) struct Over {
    is: Mutex<bool>,
    changed: Condvar,
}

impl Over {
    pub(super) fn set(&self) {
        *self.is.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits for it, for so long at most; whether it is so.
    fn wait(&self, limit: Duration) -> bool {
        let is = self.is.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(is, limit, |is| !*is);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// One trial, seen through to its end.
pub(super) struct Pursuit<'a> {
    on: OnHost<'a>,
    tx: TxId,
    over: &'a Over,
    /// The transaction as it was just now, if that is known.
    now: Option<Open>,
    /// No confirmation is tried after this.
    confirm_until: Instant,
    /// The outcome is not waited for any longer.
    until: Instant,
    /// Why the last connection could not be used.
    trouble: Option<Error>,
    confirmed: bool,
}

/// What a look at the host came to.
enum Look {
    Over(Outcome),
    Again,
}

impl<'a> Pursuit<'a> {
    /// Of a trial that has just begun.
    pub(super) fn of(on: OnHost<'a>, open: Open, over: &'a Over) -> Self {
        let transaction = &open.transaction;
        let mut pursuit = Self::new(on, transaction.id, transaction.request.kind, over);
        pursuit.now = Some(open);
        pursuit
    }

    pub(super) fn new(on: OnHost<'a>, tx: TxId, kind: TrialKind, over: &'a Over) -> Self {
        let bounds = &on.host.bounds;
        let now = Instant::now();
        // A boot trial's reconnection takes as long as its boots.
        let (reconnect, trial) = match kind {
            TrialKind::Live => (bounds.reconnect, bounds.activation),
            TrialKind::Boot => (bounds.reconnect + bounds.boot, bounds.boot),
        };
        let all = trial + bounds.confirm + bounds.settle;
        Self {
            on,
            tx,
            over,
            now: None,
            confirm_until: now + reconnect,
            until: now + reconnect + all,
            trouble: None,
            confirmed: false,
        }
    }

    /// How it ended; nothing if that became known elsewhere.
    pub(super) fn run(mut self) -> Result<Option<Outcome>> {
        let mut pause = PAUSE;
        if self.over.wait(TICK) {
            return Ok(None);
        }
        while Instant::now() < self.until {
            match &self.trouble {
                None => self.on.says("connecting anew"),
                Some(e) => {
                    let why = crate::chain(e);
                    self.on.says(&format!("connecting anew: {why}"));
                }
            }
            match self.on.open(Way::Fresh) {
                Ok(mut connection) => {
                    pause = PAUSE;
                    match self.follow(&mut connection) {
                        Ok(outcome) => return Ok(outcome),
                        Err(e) => self.trouble = Some(e),
                    }
                }
                Err(e) => self.trouble = Some(e),
            }
            if self.over.wait(pause) {
                return Ok(None);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(self.trouble.unwrap_or(Error::TooSlow {
            what: format!("{}: the trial", self.on.host.name),
            limit: self.on.host.bounds.settle,
        }))
    }

    /// Sees the trial through over one connection, as far as that lasts.
    fn follow(&mut self, connection: &mut Connection) -> Result<Option<Outcome>> {
        loop {
            if let Look::Over(outcome) = self.look(connection)? {
                return Ok(Some(outcome));
            }
            if Instant::now() > self.until {
                return Err(Error::TooSlow {
                    what: format!("{}: the end of the trial", self.on.host.name),
                    limit: self.on.host.bounds.settle,
                });
            }
            if self.over.wait(PAUSE) {
                return Ok(None);
            }
        }
    }

    fn look(&mut self, connection: &mut Connection) -> Result<Look> {
        let host = self.on.host;
        let open = match self.now.take() {
            Some(open) => Some(open),
            None => ask::facts(connection, host)?.under_way,
        };
        let open = open.filter(|open| open.transaction.id == self.tx);
        let Some(open) = open else {
            return match ask::outcome(connection, host, self.tx)? {
                Some(outcome) => Ok(Look::Over(outcome)),
                None => Err(Error::Nonsense {
                    from: host.name.clone(),
                    what: format!("upgrade {} is neither open nor over", self.tx),
                }),
            };
        };
        if let Phase::Trial(trial) = &open.phase
            && trial.confirmed_by.is_none()
            && !self.confirmed
            && host.confirm
            && let Some(outcome) = self.confirm(connection, &open)?
        {
            return Ok(Look::Over(outcome));
        }
        self.wait(connection, &open)
    }

    /// Looks from here, then gives the host our word, or takes it away. A host that was
    /// only waiting for it answers with how it ended.
    fn confirm(&mut self, connection: &mut Connection, open: &Open) -> Result<Option<Outcome>> {
        if Instant::now() > self.confirm_until {
            return Ok(None);
        }
        let (on, host) = (self.on, self.on.host);
        if let Some(failed) = self.check_from_here() {
            on.says("failed a check from here");
            let words = ask::words(host, &["rollback", "--reason", &failed]);
            let limit = host.bounds.settle;
            connection.run(Program::Backstop, &words, None, limit, &mut |_| {})?;
            return Ok(None);
        }
        if open.transaction.request.kind == TrialKind::Boot {
            // What was in memory before the reboot is gone.
            on.bring_keys(connection, When::Before)?;
        }
        on.bring_keys(connection, When::After)?;
        on.says("confirming");
        let tx = open.transaction.id.to_string();
        let words = ["confirm", "--upgrade", &tx];
        let said = ask::backstop(connection, host, &words, host.bounds.settle)?;
        self.confirmed = true;
        on.says("confirmed");
        let mut lines = said.lines();
        Ok(lines.find_map(|line| serde_json::from_str(line).ok()))
    }

    /// The first check from here that fails, if one does.
    fn check_from_here(&self) -> Option<String> {
        let host = self.on.host;
        if host.checks.is_empty() {
            return None;
        }
        self.on.says("checking from here");
        let checks = Checks {
            checks: host.checks.clone(),
            problems: Vec::new(),
        };
        let runner =
            Runner::new(std::path::Path::new("/")).with_env("BACKSTOP_HOST", &host.address.host);
        let report = runner.run(&checks, Stage::Live, &Baseline::default(), &Silent);
        let failed = report.failures().next()?;
        Some(format!(
            "check `{}` from the deployer: {}",
            failed.name, failed.status
        ))
    }

    /// Reads the rest of the trial's journal as it is written.
    fn wait(&mut self, connection: &mut Connection, open: &Open) -> Result<Look> {
        let host = self.on.host;
        if matches!(
            open.phase,
            Phase::AwaitingBoot { .. } | Phase::RebootingToGood { .. }
        ) {
            return Ok(Look::Again);
        }
        let tx = self.tx.to_string();
        let words = ask::words(host, &["follow", &tx]);
        let left = self.until.saturating_duration_since(Instant::now());
        let mut seen = Seen::new();
        connection.run(Program::Backstop, &words, None, left, &mut |bytes| {
            seen.take(bytes);
        })?;
        Ok(seen.outcome.map_or(Look::Again, Look::Over))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_woken() {
        let over = Over::default();
        assert!(!over.wait(Duration::from_millis(1)));
        let started = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| over.set());
            assert!(over.wait(Duration::from_secs(100)));
        });
        assert!(over.wait(Duration::ZERO), "it stays so");
        assert!(started.elapsed() < Duration::from_secs(50));
    }
}
