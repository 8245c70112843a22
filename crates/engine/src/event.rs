//! What happened in the world.

use serde::{Deserialize, Serialize};

use crate::action::Deadman;
use crate::fault::Fault;
use crate::reason::Failure;
use crate::request::Request;
use crate::version::{TxId, VersionId};

/// What the host finds itself running.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Running {
    /// The version that was booted. A live trial does not change it.
    pub version: VersionId,
    /// Boots left to the entry on trial, where the boot loader keeps such a
    /// count and it can be read.
    pub attempts_left: Option<u8>,
    /// Why the boot loader could not load the entry on trial, if it said so.
    pub load_failure: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// Somebody asked for an upgrade. The journal gives it its number.
    Requested {
        /// Its number.
        tx: TxId,
        /// What was asked for.
        request: Request,
        /// The version that runs.
        previous: VersionId,
    },
    /// The version is on the host.
    StageDone {
        /// For which transaction.
        tx: TxId,
    },
    /// The version could not be brought onto the host.
    StageFailed {
        /// For which transaction.
        tx: TxId,
        /// Why.
        error: String,
    },
    /// The version's own checks passed.
    PreflightDone {
        /// For which transaction.
        tx: TxId,
        /// How the host is now.
        baseline: health::Baseline,
    },
    /// The version's own checks failed.
    PreflightFailed {
        /// For which transaction.
        tx: TxId,
        /// Which.
        failures: Vec<Failure>,
    },
    /// The version's own checks passed, but the running system cannot become this
    /// version without a reboot.
    LiveRefused {
        /// For which transaction.
        tx: TxId,
        /// Why.
        why: String,
        /// How the host is now.
        baseline: health::Baseline,
    },
    /// The version's own checks could not be run.
    PreflightBroken {
        /// For which transaction.
        tx: TxId,
        /// Why.
        error: String,
    },
    /// The version may be activated now.
    GoAhead {
        /// For which transaction.
        tx: TxId,
        /// A boot trial: reboot at once, rather than wait for somebody to.
        reboot: bool,
        /// How the host is now, where it was looked at again.
        baseline: Option<health::Baseline>,
    },
    /// The version may not be activated yet.
    Postponed {
        /// For which transaction.
        tx: TxId,
        /// Why, or until when.
        why: String,
    },
    /// The version is active, or the entry on trial is published.
    Activated {
        /// For which transaction.
        tx: TxId,
    },
    /// The version could not be activated.
    ActivateFailed {
        /// For which transaction.
        tx: TxId,
        /// Why.
        error: String,
        /// Where it went wrong, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<Fault>,
    },
    /// The activation did not begin: the host is as it was.
    NotActivated {
        /// For which transaction.
        tx: TxId,
        /// Why.
        error: String,
        /// What stood in the way.
        fault: Fault,
    },
    /// A process came to look after whatever is open; this is what it finds.
    Resumed(Running),
    /// All that counts is healthy.
    ChecksPassed {
        /// For which transaction.
        tx: TxId,
    },
    /// Something that counts is not healthy.
    ChecksFailed {
        /// For which transaction.
        tx: TxId,
        /// What was found.
        report: health::Report,
    },
    /// The checks could not be run.
    ChecksBroken {
        /// For which transaction.
        tx: TxId,
        /// Why.
        error: String,
    },
    /// A timer could not be started, and nothing unproven may run without one.
    Unguarded {
        /// For which transaction.
        tx: TxId,
        /// Why.
        error: String,
    },
    /// Somebody says the version is good.
    Confirmed {
        /// For which transaction.
        tx: TxId,
        /// Who.
        by: String,
        /// When their connection was opened, in milliseconds after the kernel's
        /// start; `None` for somebody at the machine itself.
        connected_ms: Option<u64>,
    },
    /// A timer ran out.
    Deadline {
        /// Which.
        deadman: Deadman,
    },
    /// Somebody wants the version before back.
    Aborted {
        /// For which transaction.
        tx: TxId,
        /// Who.
        by: String,
    },
    /// The process that looked after the transaction died.
    SupervisorLost {
        /// For which transaction.
        tx: TxId,
    },
    /// The version is the default.
    Kept {
        /// For which transaction.
        tx: TxId,
    },
    /// The version could not be made the default.
    KeepFailed {
        /// For which transaction.
        tx: TxId,
        /// Why.
        error: String,
    },
    /// The version before is the only one to boot, and in a live trial active.
    RolledBack {
        /// For which transaction.
        tx: TxId,
    },
    /// The version before could not be put back.
    RollbackFailed {
        /// For which transaction.
        tx: TxId,
        /// Why.
        error: String,
    },
    /// The reboot could not be asked for.
    RebootFailed {
        /// For which transaction.
        tx: TxId,
        /// Why.
        error: String,
    },
    /// A person lets a bad version be tried again.
    Forgiven {
        /// Which.
        version: VersionId,
        /// Who.
        by: String,
    },
    /// A person declares a version bad.
    Condemned {
        /// Which.
        version: VersionId,
        /// Who.
        by: String,
    },
    /// A person wants a version's files kept.
    Pinned {
        /// Which.
        version: VersionId,
    },
    /// A person no longer wants a version's files kept.
    Unpinned {
        /// Which.
        version: VersionId,
    },
    /// The journal could not be read to its end; this one goes on from what
    /// could.
    SetAside {
        /// The old journal's new name.
        name: String,
        /// What was wrong with it.
        why: String,
    },
    /// Something written by a newer backstop.
    #[serde(other)]
    Unknown,
}

impl Event {
    /// The transaction it is about; `None` when it is not about one, or begins
    /// one.
    #[must_use]
    pub fn tx(&self) -> Option<TxId> {
        match self {
            Self::StageDone { tx }
            | Self::StageFailed { tx, .. }
            | Self::PreflightDone { tx, .. }
            | Self::PreflightFailed { tx, .. }
            | Self::PreflightBroken { tx, .. }
            | Self::GoAhead { tx, .. }
            | Self::Postponed { tx, .. }
            | Self::Activated { tx }
            | Self::ActivateFailed { tx, .. }
            | Self::NotActivated { tx, .. }
            | Self::LiveRefused { tx, .. }
            | Self::ChecksPassed { tx }
            | Self::ChecksFailed { tx, .. }
            | Self::ChecksBroken { tx, .. }
            | Self::Unguarded { tx, .. }
            | Self::Confirmed { tx, .. }
            | Self::Aborted { tx, .. }
            | Self::SupervisorLost { tx }
            | Self::Kept { tx }
            | Self::KeepFailed { tx, .. }
            | Self::RolledBack { tx }
            | Self::RollbackFailed { tx, .. }
            | Self::RebootFailed { tx, .. } => Some(*tx),
            Self::Deadline { deadman } => Some(deadman.tx),
            Self::Requested { .. }
            | Self::Resumed(_)
            | Self::Forgiven { .. }
            | Self::Condemned { .. }
            | Self::Pinned { .. }
            | Self::Unpinned { .. }
            | Self::SetAside { .. }
            | Self::Unknown => None,
        }
    }

    /// What happened, in a few words.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Requested { .. } => "upgrade requested",
            Self::StageDone { .. } => "staged",
            Self::StageFailed { .. } => "staging failed",
            Self::PreflightDone { .. } => "preflight passed",
            Self::PreflightFailed { .. } => "preflight failed",
            Self::PreflightBroken { .. } => "preflight could not be run",
            Self::GoAhead { .. } => "go ahead",
            Self::Postponed { .. } => "postponed",
            Self::Activated { .. } => "activated",
            Self::ActivateFailed { .. } => "activation failed",
            Self::NotActivated { .. } => "not activated",
            Self::LiveRefused { .. } => "live trial refused",
            Self::Resumed(_) => "resumed",
            Self::ChecksPassed { .. } => "checks passed",
            Self::ChecksFailed { .. } => "checks failed",
            Self::ChecksBroken { .. } => "checks could not be run",
            Self::Unguarded { .. } => "no deadman could be armed",
            Self::Confirmed { .. } => "confirmed",
            Self::Deadline { .. } => "time is over",
            Self::Aborted { .. } => "stopped",
            Self::SupervisorLost { .. } => "supervisor lost",
            Self::Kept { .. } => "made the default",
            Self::KeepFailed { .. } => "could not be made the default",
            Self::RolledBack { .. } => "put back",
            Self::RollbackFailed { .. } => "rolling back failed",
            Self::RebootFailed { .. } => "reboot failed",
            Self::Forgiven { .. } => "forgiven",
            Self::Condemned { .. } => "declared bad",
            Self::Pinned { .. } => "pinned",
            Self::Unpinned { .. } => "unpinned",
            Self::SetAside { .. } => "journal set aside",
            Self::Unknown => "something newer",
        }
    }

    /// What there is to say about it, besides its name.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Requested { request, .. } => {
                let target = request.target.short();
                Some(format!("{target}, {} trial", request.kind))
            }
            Self::StageFailed { error, .. }
            | Self::PreflightBroken { error, .. }
            | Self::ActivateFailed { error, .. }
            | Self::NotActivated { error, .. }
            | Self::ChecksBroken { error, .. }
            | Self::Unguarded { error, .. }
            | Self::KeepFailed { error, .. }
            | Self::RollbackFailed { error, .. }
            | Self::RebootFailed { error, .. } => Some(error.clone()),
            Self::PreflightFailed { failures, .. } => Some(listed(failures)),
            Self::ChecksFailed { report, .. } => Some(listed(&Failure::of(report))),
            Self::Postponed { why, .. } | Self::LiveRefused { why, .. } => Some(why.clone()),
            Self::Resumed(running) => Some(format!("running {}", running.version.short())),
            Self::Confirmed { by, .. } | Self::Aborted { by, .. } => Some(format!("by {by}")),
            Self::Deadline { deadman } => Some(deadman.wait.missed().to_owned()),
            Self::Forgiven { version, by } | Self::Condemned { version, by } => {
                Some(format!("{}, by {by}", version.short()))
            }
            Self::Pinned { version } | Self::Unpinned { version } => {
                Some(version.short().to_owned())
            }
            Self::SetAside { name, why } => Some(format!("as {name}: {why}")),
            _ => None,
        }
    }
}

/// `check (why), check (why)`.
fn listed(failures: &[Failure]) -> String {
    let words: Vec<_> = failures.iter().map(ToString::to_string).collect();
    words.join(", ")
}
