//! The options of a trial, and starting one.

use std::time::Duration;

use agent::Policy;
use clap::{Args, ValueEnum};
use engine::{
    Confirm, DriveError, IfRefused, Pause, Refusal, Request, Scope, TrialKind, TxId, VersionId,
};

use crate::args::Global;
use crate::exit::Ended;
use crate::follow::{self, Wait};
use crate::output::Output;
use crate::progress::Terminal;
use crate::session::{Session, as_anyhow};
use crate::timeline::Printer;

/// How long to wait for somebody's word where nothing says so.
const USUAL_WAIT: Duration = Duration::from_secs(300);

/// Who must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Who {
    /// Nobody: healthy is enough
    Checks,
    /// Somebody runs `backstop confirm`
    Person,
    /// The same, and it must be over a connection
    Deployer,
}

/// What to do when the running system refuses a live trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Refused {
    /// Try it at the next reboot that somebody asks for
    Stage,
    /// Try it by a reboot, when the policy allows one
    Boot,
    /// Nothing
    Reject,
}

impl From<Refused> for IfRefused {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Stage => Self::Stage,
            Refused::Boot => Self::Boot,
            Refused::Reject => Self::Reject,
        }
    }
}

/// The options of a trial. What is not given is the policy's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
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
    /// Who must agree that it is good; by a person or a deployer, over a connection
    /// that is newer than it
    #[arg(long, value_enum, value_name = "WHO")]
    confirm_by: Option<Who>,
    /// How often it may be booted before it is given up (1 to 9)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=9))]
    attempts: Option<u8>,
    /// How long its checks may take after a boot
    #[arg(long, value_name = "TIME", value_parser = time)]
    boot_deadline: Option<Duration>,
    /// How long a live activation and its checks may take
    #[arg(long, value_name = "TIME", value_parser = time)]
    check_deadline: Option<Duration>,
    /// What to do when the running system refuses a live trial
    #[arg(long, value_enum, value_name = "WHAT")]
    if_refused: Option<Refused>,
    /// Leave the reboot that tries it to somebody else
    #[arg(long, conflicts_with = "live")]
    no_reboot: bool,
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
    /// Whether a version that is known to be bad will do.
    pub fn force(&self) -> bool {
        self.force
    }

    /// The request, with the policy's word on what was not given.
    pub fn request(&self, target: VersionId, source: &str, policy: &Policy) -> Request {
        let mut request = policy.request(target, source);
        if self.live {
            request.kind = TrialKind::Live;
        }
        if self.boot {
            request.kind = TrialKind::Boot;
        }
        request.confirm = self.confirm(request.confirm);
        if let Some(refused) = self.if_refused {
            request.if_refused = refused.into();
        }
        request.await_reboot = self.no_reboot;
        request.attempts = self.attempts.unwrap_or(request.attempts);
        request.boot_deadline = self.boot_deadline.unwrap_or(request.boot_deadline);
        request.check_deadline = self.check_deadline.unwrap_or(request.check_deadline);
        request.forced = self.force;
        request
    }

    /// Whose word is needed, with the policy's on what was not given.
    fn confirm(&self, policy: Confirm) -> Confirm {
        let by = self.confirm_by.unwrap_or(match policy {
            Confirm::Deployer { .. } => Who::Deployer,
            Confirm::Checks if self.confirm_within.is_none() => Who::Checks,
            _ => Who::Person,
        });
        let within = self.confirm_within.or(policy.within());
        let within = within.unwrap_or(USUAL_WAIT);
        match by {
            Who::Checks => Confirm::Checks,
            Who::Person => Confirm::Person { within },
            Who::Deployer => Confirm::Deployer { within },
        }
    }

    /// The same options for an action that has a kind of trial by itself.
    pub fn of_kind(mut self, kind: TrialKind) -> Self {
        self.live = kind == TrialKind::Live;
        self.boot = kind == TrialKind::Boot;
        self
    }

    /// The same options for an action that reboots nothing.
    pub fn without_reboot(mut self) -> Self {
        self.no_reboot = true;
        self
    }

    /// The same options for an action that is not for good: somebody must say that
    /// it is to be kept.
    pub fn kept_only_by_word(mut self, within: Duration) -> Self {
        self.confirm_by = self.confirm_by.or(Some(Who::Person));
        self.confirm_within = self.confirm_within.or(Some(within));
        self
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
    settle_first(session, &printer, &monitor)?;
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

/// Ends what a reboot left open, where no unit did so at boot.
fn settle_first(
    session: &mut Session,
    printer: &Printer,
    monitor: &Terminal,
) -> anyhow::Result<()> {
    let now = session.host.as_host().now().map_err(as_anyhow)?;
    let state = session.journal.load()?.state;
    if state.open().is_none_or(|open| open.boot == now.boot) {
        return Ok(());
    }
    let mut driver = session.driver(printer, monitor, Scope::Short);
    if let Pause::Supervisor(_) = driver.settle()? {
        session.host.start_supervisor()?;
    }
    Ok(())
}

/// Reads a length of time as configuration files have it.
fn time(text: &str) -> Result<Duration, String> {
    health::Span::parse(text).map(|span| span.0)
}
