//! The options of a trial, and starting one.

use std::time::Duration;

use agent::Policy;
use clap::Args;
use engine::{Confirm, DriveError, Refusal, Request, Scope, TrialKind, TxId, VersionId};

use crate::args::Global;
use crate::exit::Ended;
use crate::follow::{self, Wait};
use crate::output::Output;
use crate::progress::Terminal;
use crate::session::Session;
use crate::timeline::Printer;

/// The options of a trial. What is not given is the policy's.
#[derive(Debug, Clone, Args)]
pub struct TrialArgs {
    /// Try it in the running system, without a reboot
    #[arg(long, conflicts_with = "boot")]
    live: bool,
    /// Try it by booting into it
    #[arg(long)]
    boot: bool,
    /// Keep it only if `backstop confirm` is run within this time after it is
    /// found healthy (90s, 5m, 2h)
    #[arg(long, value_name = "TIME", value_parser = time)]
    confirm_within: Option<Duration>,
    /// How often it may be booted before it is given up (1 to 9)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=9))]
    attempts: Option<u8>,
    /// How long its checks may take after a boot
    #[arg(long, value_name = "TIME", value_parser = time)]
    boot_deadline: Option<Duration>,
    /// How long a live activation and its checks may take
    #[arg(long, value_name = "TIME", value_parser = time)]
    check_deadline: Option<Duration>,
    /// Try it although it is known to be bad
    #[arg(long)]
    force: bool,
    /// Return at once; see `backstop status` and `backstop history`
    #[arg(long, conflicts_with = "wait")]
    detach: bool,
    /// Stay until it ends, also while it waits for a reboot or for `backstop confirm`
    #[arg(long)]
    wait: bool,
}

impl TrialArgs {
    /// The request, with the policy's word on what was not given.
    pub fn request(&self, target: VersionId, source: &str, policy: &Policy) -> Request {
        let mut request = policy.request(target, source);
        if self.live {
            request.kind = TrialKind::Live;
        }
        if self.boot {
            request.kind = TrialKind::Boot;
        }
        if let Some(within) = self.confirm_within {
            request.confirm = Confirm::Person { within };
        }
        request.attempts = self.attempts.unwrap_or(request.attempts);
        request.boot_deadline = self.boot_deadline.unwrap_or(request.boot_deadline);
        request.check_deadline = self.check_deadline.unwrap_or(request.check_deadline);
        request.forced = self.force;
        request
    }

    /// Begins the transaction, leaves it to the supervisor and reads its journal
    /// aloud.
    pub fn begin(
        &self,
        session: &mut Session,
        request: Request,
        global: &Global,
        out: &mut Output,
    ) -> anyhow::Result<Ended> {
        let begun = match start(session, request, global, out)? {
            Taken::Begun(tx) => Some(tx),
            Taken::Nothing => None,
            Taken::Refused => return Ok(Ended::Refused),
        };
        let Some(tx) = begun else {
            return Ok(Ended::Done);
        };
        if self.detach {
            out.line(&format!("Upgrade {tx} is under way."))?;
            return Ok(Ended::Done);
        }
        let wait = if self.wait {
            Wait::ToTheEnd
        } else {
            Wait::ForNobody
        };
        follow::follow(&session.journal, tx, wait, out)
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is under way.
    Begun(TxId),
    /// There is nothing to do.
    Nothing,
    /// The engine refused it.
    Refused,
}

/// Takes on a request and starts the supervisor.
pub fn start(
    session: &mut Session,
    request: Request,
    global: &Global,
    out: &mut Output,
) -> anyhow::Result<Taken> {
    let printer = Printer { quiet: true };
    let monitor = Terminal::new(global.json);
    let begun = session
        .driver(&printer, &monitor, Scope::Short)
        .request(request);
    match begun {
        Ok(_) => {
            let Some(tx) = session.journal.load()?.state.tx() else {
                return Ok(Taken::Nothing);
            };
            session.host.start_supervisor()?;
            Ok(Taken::Begun(tx))
        }
        Err(DriveError::Refused(Refusal::AlreadyRunning(version))) => {
            out.line(&format!("Version {} is running already.", version.short()))?;
            Ok(Taken::Nothing)
        }
        Err(DriveError::Refused(why)) => {
            out.warn(&why.to_string());
            Ok(Taken::Refused)
        }
        Err(e) => Err(e.into()),
    }
}

/// Reads a length of time as configuration files have it.
fn time(text: &str) -> Result<Duration, String> {
    health::Span::parse(text).map(|span| span.0)
}
