//! Why a transaction ended as it did.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::action::Wait;
use crate::fault::Fault;
use crate::version::VersionId;

/// A check that failed, in a line.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// The check's name.
    pub check: String,
    /// What it found.
    pub why: String,
}

impl Failure {
    /// The failures of a report that count.
    #[must_use]
    pub fn of(report: &health::Report) -> Vec<Self> {
        let failure = |r: &health::CheckResult| Self {
            check: r.name.clone(),
            why: r.status.to_string(),
        };
        report.failures().map(failure).collect()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.check, self.why)
    }
}

/// Why a version was turned down or put back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum Reason {
    /// It could not be brought onto the host.
    StageFailed {
        /// What stood in the way.
        error: String,
    },
    /// Its own checks failed before it was activated.
    PreflightFailed {
        /// Which.
        failures: Vec<Failure>,
    },
    /// The checks before activation could not be run.
    PreflightBroken {
        /// What stood in the way.
        error: String,
    },
    /// Somebody stopped it.
    Aborted {
        /// Who.
        by: String,
    },
    /// It could not be activated.
    ActivateFailed {
        /// What stood in the way.
        error: String,
        /// Where it went wrong, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<Fault>,
    },
    /// Its activation did not begin.
    NotActivated {
        /// What stood in the way.
        error: String,
        /// The same, for programs.
        fault: Fault,
    },
    /// The running system cannot become this version without a reboot, and none
    /// was wanted.
    LiveRefused {
        /// Why not.
        error: String,
    },
    /// Checks failed.
    ChecksFailed {
        /// Which.
        failures: Vec<Failure>,
    },
    /// The checks could not be run.
    ChecksBroken {
        /// What stood in the way.
        error: String,
    },
    /// No deadman could be armed to guard it.
    Unguarded {
        /// What stood in the way.
        error: String,
    },
    /// A time ran out.
    Deadline {
        /// Which.
        wait: Wait,
    },
    /// The process that looked after the trial died.
    SupervisorLost,
    /// The host was rebooted, or lost power, or crashed, in a live trial.
    Rebooted,
    /// Power was lost, or the host rebooted, before the trial could begin.
    Interrupted,
    /// The host came to run another version than the one the upgrade began on.
    BaseChanged {
        /// What runs now.
        running: VersionId,
    },
    /// Every allowed boot of it was used up without one that passed.
    AttemptsUsedUp {
        /// How many were allowed.
        attempts: u8,
        /// How many of them got as far as backstop.
        boots_seen: u8,
    },
    /// The boot loader could not load it.
    LoadFailed {
        /// What the boot loader noted.
        error: String,
    },
    /// The host came up in another version though attempts were left: chosen by
    /// hand at the boot menu, or the boot loader could not count the attempt.
    NotTried {
        /// Attempts left, where known.
        attempts_left: Option<u8>,
        /// What came up.
        running: VersionId,
    },
    /// It proved itself but could not be made the default.
    KeepFailed {
        /// What stood in the way.
        error: String,
    },
    /// A person declared it bad.
    Condemned {
        /// Who.
        by: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StageFailed { error } => write!(f, "staging failed: {error}"),
            Self::PreflightFailed { failures } => list(f, "preflight failed", failures),
            Self::PreflightBroken { error } => write!(f, "preflight could not be run: {error}"),
            Self::Aborted { by } => write!(f, "stopped by {by}"),
            Self::ActivateFailed { error, .. } => write!(f, "activation failed: {error}"),
            Self::NotActivated { error, .. } => write!(f, "not activated: {error}"),
            Self::LiveRefused { error } => write!(f, "cannot be tried live: {error}"),
            Self::ChecksFailed { failures } => list(f, "unhealthy", failures),
            Self::ChecksBroken { error } => write!(f, "checks could not be run: {error}"),
            Self::Unguarded { error } => write!(f, "no deadman could be armed: {error}"),
            Self::Deadline { wait } => write!(f, "{}", wait.missed()),
            Self::SupervisorLost => f.write_str("the supervisor died"),
            Self::Rebooted => f.write_str("rebooted or lost power during the live trial"),
            Self::Interrupted => f.write_str("interrupted before the trial began"),
            Self::BaseChanged { running } => write!(
                f,
                "the host now runs {}, not the version the upgrade began on",
                running.short()
            ),
            Self::AttemptsUsedUp {
                attempts,
                boots_seen,
            } => used_up(f, *attempts, *boots_seen),
            Self::LoadFailed { error } => write!(f, "the boot loader could not load it: {error}"),
            Self::NotTried { running, .. } => {
                write!(f, "the host came up in {} instead", running.short())
            }
            Self::KeepFailed { error } => write!(f, "could not be made the default: {error}"),
            Self::Condemned { by } => write!(f, "declared bad by {by}"),
        }
    }
}

/// Writes `what: check (why), check (why)`.
fn list(f: &mut fmt::Formatter<'_>, what: &str, failures: &[Failure]) -> fmt::Result {
    write!(f, "{what}: ")?;
    for (i, failure) in failures.iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        write!(f, "{comma}{failure}")?;
    }
    Ok(())
}

/// Writes how the boots of a trial went.
fn used_up(f: &mut fmt::Formatter<'_>, attempts: u8, seen: u8) -> fmt::Result {
    match (attempts, seen) {
        (1, 0) => f.write_str("its one boot attempt did not come up"),
        (1, _) => f.write_str("its one boot attempt came up but did not finish"),
        (_, 0) => write!(f, "all {attempts} boot attempts used up, none came up"),
        _ => write!(
            f,
            "all {attempts} boot attempts used up, {seen} came up but did not finish"
        ),
    }
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "end")]
pub enum Outcome {
    /// The version is the default now.
    Kept {
        /// Who confirmed it; nobody where healthy checks were enough.
        confirmed_by: Option<String>,
    },
    /// It was never activated.
    Rejected {
        /// Why not.
        reason: Reason,
    },
    /// It was tried, and the host is back on the version before.
    RolledBack {
        /// Why.
        reason: Reason,
        /// Whether rolling back live did not do and a reboot was needed.
        escalated: bool,
    },
    /// Every way back was tried and the host still runs the bad version: a
    /// person is needed.
    Stranded {
        /// Why it should have been put back.
        reason: Reason,
        /// What runs.
        running: VersionId,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept { confirmed_by: None } => f.write_str("kept"),
            Self::Kept {
                confirmed_by: Some(by),
            } => write!(f, "kept, confirmed by {by}"),
            Self::Rejected { reason } => write!(f, "rejected: {reason}"),
            Self::RolledBack {
                reason,
                escalated: false,
            } => write!(f, "rolled back: {reason}"),
            Self::RolledBack {
                reason,
                escalated: true,
            } => write!(f, "rolled back by a reboot: {reason}"),
            Self::Stranded { reason, running } => write!(
                f,
                "STRANDED on {}: {reason}; choose an older entry at the boot menu",
                running.short()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_up_attempts_are_counted_as_people_do() {
        for (attempts, boots_seen, expected) in [
            (1, 0, "its one boot attempt did not come up"),
            (1, 1, "its one boot attempt came up but did not finish"),
            (3, 0, "all 3 boot attempts used up, none came up"),
            (
                3,
                2,
                "all 3 boot attempts used up, 2 came up but did not finish",
            ),
        ] {
            let reason = Reason::AttemptsUsedUp {
                attempts,
                boots_seen,
            };
            assert_eq!(reason.to_string(), expected);
        }
    }
}
