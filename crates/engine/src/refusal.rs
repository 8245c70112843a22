//! Why an event was not taken.

use crate::reason::Reason;
use crate::version::{TxId, VersionId};

/// An event that does not fit. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// One transaction at a time.
    #[error(
        "transaction {open} is {phase}; confirm it, or stop it with `backstop rollback`, first"
    )]
    Busy {
        /// The open one.
        open: TxId,
        /// How far it is.
        phase: &'static str,
    },
    /// The version failed on this host before.
    #[error("version {} is bad: {reason}; `backstop forgive {}` lets it be tried again", version.short(), version.short())]
    KnownBad {
        /// Which.
        version: VersionId,
        /// How it failed.
        reason: Reason,
    },
    /// The version runs already.
    #[error("version {} is already running", .0.short())]
    AlreadyRunning(VersionId),
    /// A trial with no attempt cannot succeed.
    #[error("a boot trial needs at least one attempt")]
    NoAttempts,
    /// Nothing is open.
    #[error("no upgrade is under way")]
    NoTransaction,
    /// The event is about another transaction.
    #[error("this is about transaction {given}, but {open} is open")]
    OtherTransaction {
        /// The one it is about.
        given: TxId,
        /// The open one.
        open: TxId,
    },
    /// The host was rebooted and nobody has looked after the transaction since.
    #[error("the host was rebooted since; run `backstop settle` first")]
    Unsettled,
    /// There is nothing to confirm yet.
    #[error("there is nothing to confirm yet: the upgrade is {phase}")]
    NotOnTrial {
        /// How far it is.
        phase: &'static str,
    },
    /// Somebody confirmed before.
    #[error("already confirmed by {by}")]
    AlreadyConfirmed {
        /// Who.
        by: String,
    },
    /// The connection proves nothing about the new version.
    #[error("the connection was opened before the activation: connect again, then confirm")]
    StaleConnection,
    /// The word must come over a connection.
    #[error("this upgrade must be confirmed over a new connection, not at the machine")]
    NeedsConnection,
    /// It is decided already.
    #[error("too late: the upgrade is {phase}")]
    TooLate {
        /// How far it is.
        phase: &'static str,
    },
    /// A timer that no longer matters.
    #[error("this deadline no longer matters: the upgrade is {phase}")]
    StaleDeadline {
        /// How far it is.
        phase: &'static str,
    },
    /// The version is not bad.
    #[error("version {} is not known to be bad", .0.short())]
    NotBad(VersionId),
    /// The version is on trial; stop the trial instead.
    #[error("version {} is being tried; stop that with `backstop rollback`", .0.short())]
    OnTrial(VersionId),
    /// The event makes no sense here.
    #[error("`{event}` does not fit: the upgrade is {phase}")]
    Unexpected {
        /// What was said to have happened.
        event: &'static str,
        /// How far the transaction is.
        phase: &'static str,
    },
}
