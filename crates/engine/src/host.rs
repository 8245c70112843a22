//! The host: whoever does the work.

use monitor::Monitor;

use crate::action::Deadman;
use crate::event::Running;
use crate::fault::Fault;
use crate::knowledge::Knowledge;
use crate::request::Transaction;
use crate::version::{Now, VersionId};

/// Why a host could not do something. The chain of sources is kept in the
/// journal as text.
pub type HostError = Box<dyn std::error::Error + Send + Sync>;

/// Answer of a host.
pub type HostResult<T> = Result<T, HostError>;

/// What an effect is for.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The transaction, with its explicit versions.
    pub transaction: &'a Transaction,
    /// What is known of versions: the good ones are the fall-backs, and the bad
    /// ones go last in the boot order.
    pub knowledge: &'a Knowledge,
}

/// What was found before the activation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Preflight {
    /// The version's own checks.
    pub report: health::Report,
    /// How the host is now.
    pub baseline: health::Baseline,
    /// A live trial: why the running system cannot become this version without a
    /// reboot, if it cannot.
    pub refuses_live: Option<String>,
}

/// A kind of host. Every effect is idempotent: it may be done again after a
/// crash in its middle, or although it was done in full.
pub trait Host {
    /// What this host is, for people: `"image host at /sysroot"`.
    fn describe(&self) -> String;
    /// The time, and the boot.
    ///
    /// # Errors
    /// Why that cannot be known.
    fn now(&mut self) -> HostResult<Now>;
    /// What was booted.
    ///
    /// # Errors
    /// Why that cannot be known.
    fn running(&mut self) -> HostResult<Running>;
    /// The version that is active, where the host can tell by itself. Others go
    /// by the journal: what was booted, or kept live since.
    ///
    /// # Errors
    /// Why that cannot be known.
    fn active(&mut self) -> HostResult<Option<VersionId>> {
        Ok(None)
    }

    /// Brings the version onto the host, beside the running one.
    ///
    /// # Errors
    /// Why it could not; the host is as before.
    fn stage(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> HostResult<()>;
    /// Runs the version's preflight checks, and takes the baseline.
    ///
    /// # Errors
    /// Why the checks could not be run; a failed check is no error.
    fn preflight(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> HostResult<Preflight>;
    /// Makes the version the one on trial: active, in a live trial; else the
    /// entry to boot next, with its attempts. The default stays.
    ///
    /// # Errors
    /// Why it could not; [`Host::roll_back`] clears up.
    fn activate(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> HostResult<()>;
    /// The host goes down, and the version on trial is to come up next: does what is best
    /// done as late as that.
    ///
    /// # Errors
    /// Why it could not; the version boots as it was activated.
    fn before_boot(&mut self, _: Job<'_>, _: &dyn Monitor) -> HostResult<()> {
        Ok(())
    }
    /// Where an activation, or what comes before it, went wrong that ended with this
    /// error, if the host can tell.
    fn fault(&self, _: &HostError) -> Option<Fault> {
        None
    }
    /// Runs the checks of the running system, judged by the transaction's
    /// baseline.
    ///
    /// # Errors
    /// Why the checks could not be run; a failed check is no error.
    fn run_checks(
        &mut self,
        job: Job<'_>,
        stage: health::Stage,
        monitor: &dyn Monitor,
    ) -> HostResult<health::Report>;
    /// Makes the version the default, durably.
    ///
    /// # Errors
    /// Why it could not; [`Host::roll_back`] clears up.
    fn keep(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> HostResult<()>;
    /// Makes the transaction's previous version the default again and takes the
    /// target out of the trial, durably. In a live trial it is made active as
    /// well, unless the host was rebooted since.
    ///
    /// # Errors
    /// Why it could not.
    fn roll_back(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> HostResult<()>;
    /// Removes what was staged for a version that was never activated.
    ///
    /// # Errors
    /// Why it could not; nothing depends on it.
    fn discard(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> HostResult<()>;
    /// Asks for a reboot, and returns. With `force`, without waiting for
    /// services.
    ///
    /// # Errors
    /// Why it could not.
    fn reboot(&mut self, force: bool) -> HostResult<()>;

    /// Starts a timer that outlives this process and runs `backstop deadman` in
    /// this boot. A timer of that name that runs already is left as it is, so
    /// that resuming does not put off the deadline.
    ///
    /// # Errors
    /// Why it could not.
    fn arm_deadman(&mut self, deadman: Deadman, after: std::time::Duration) -> HostResult<()>;
    /// Stops all timers of the transaction but `except`.
    ///
    /// # Errors
    /// Why it could not; a timer that fires for nothing does no harm.
    fn disarm_deadman(
        &mut self,
        transaction: &Transaction,
        except: Option<Deadman>,
    ) -> HostResult<()>;
    /// Stops the process that holds the right to change the host, since it has
    /// hung. Its lock must come free.
    ///
    /// # Errors
    /// Why it could not.
    fn evict_worker(&mut self) -> HostResult<()>;
}

/// An error and its sources in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line = format!("{line}: {cause}");
        source = cause.source();
    }
    line
}
