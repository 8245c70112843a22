//! Following a trial over connections that were opened after the activation.
//!
//! The confirmation must show that the host can still be reached: so nothing of
//! the session is used here. When no connection can be opened, the host goes back
//! by itself; all that is left then is to learn how that ended.

use std::time::{Duration, Instant};

use engine::{Open, Outcome, Phase, TrialKind, TxId};
use health::{Baseline, Checks, Runner, Stage};
use monitor::Silent;

use super::{OnHost, ask};
use crate::config::When;
use crate::ssh::{Connection, Way};
use crate::wire::Program;
use crate::{Error, Result};

/// The pause between two looks at a host.
const PAUSE: Duration = Duration::from_millis(300);
/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// One trial, seen through to its end.
pub(super) struct Pursuit<'a> {
    on: OnHost<'a>,
    tx: TxId,
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
    pub(super) fn new(on: OnHost<'a>, tx: TxId, kind: TrialKind) -> Self {
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
            confirm_until: now + reconnect,
            until: now + reconnect + all,
            trouble: None,
            confirmed: false,
        }
    }

    pub(super) fn run(mut self) -> Result<Outcome> {
        let mut pause = PAUSE;
        while Instant::now() < self.until {
            self.on.says("connecting anew");
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
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(self.trouble.unwrap_or(Error::TooSlow {
            what: format!("{}: the trial", self.on.host.name),
            limit: self.on.host.bounds.settle,
        }))
    }

    /// Sees the trial through over one connection, as far as that lasts.
    fn follow(&mut self, connection: &mut Connection) -> Result<Outcome> {
        loop {
            if let Look::Over(outcome) = self.look(connection)? {
                return Ok(outcome);
            }
            if Instant::now() > self.until {
                return Err(Error::TooSlow {
                    what: format!("{}: the end of the trial", self.on.host.name),
                    limit: self.on.host.bounds.settle,
                });
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn look(&mut self, connection: &mut Connection) -> Result<Look> {
        let host = self.on.host;
        let facts = ask::facts(connection, host)?;
        let open = facts
            .under_way
            .filter(|open| open.transaction.id == self.tx);
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
        {
            self.confirm(connection, &open)?;
            return Ok(Look::Again);
        }
        self.wait(connection, &open)
    }

    /// Looks from here, then gives the host our word, or takes it away.
    fn confirm(&mut self, connection: &mut Connection, open: &Open) -> Result<()> {
        if Instant::now() > self.confirm_until {
            return Ok(());
        }
        let (on, host) = (self.on, self.on.host);
        if let Some(failed) = self.check_from_here() {
            on.says("failed a check from here");
            let words = ask::words(host, &["rollback", "--reason", &failed]);
            let limit = host.bounds.settle;
            connection.run(Program::Backstop, &words, None, limit, &mut |_| {})?;
            return Ok(());
        }
        if open.transaction.request.kind == TrialKind::Boot {
            // What was in memory before the reboot is gone.
            on.bring_keys(connection, When::Before)?;
        }
        on.bring_keys(connection, When::After)?;
        on.says("confirming");
        let tx = open.transaction.id.to_string();
        ask::backstop(
            connection,
            host,
            &["confirm", "--upgrade", &tx],
            host.bounds.settle,
        )?;
        self.confirmed = true;
        on.says("confirmed");
        Ok(())
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
        connection.run(Program::Backstop, &words, None, left, &mut |_| {})?;
        Ok(Look::Again)
    }
}
