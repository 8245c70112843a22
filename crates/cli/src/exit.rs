//! Exit codes, decided in one place.
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | done; for an upgrade: kept, or nothing to do |
//! | 1 | failed, with the reason on standard error |
//! | 2 | the command line is wrong (clap's own code) |
//! | 3 | the new version was rejected before activation; the host is unchanged |
//! | 4 | the new version was rolled back; the host runs the last good one |
//! | 5 | refused: a transaction is open, or the version is known to be bad |
//! | 6 | a check failed, or fsck found damage |
//! | 7 | the running system refuses the version: it is staged for the next boot |
//! | 8 | another process was changing the host: it is unchanged |
//! | 9 | the version needs a reboot and none was wanted: the host is unchanged |
//! | 21 | rolled back, because the activation gave up |
//! | 22 | rolled back, because the version's activation script failed |
//! | 24 | rolled back, because units failed that had not failed before |
//! | 25 | rolled back, because the activation hung |
//!
//! 21, 22 and 24 are 20 and the status of NixOS's `switch-to-configuration`.

use std::io;
use std::process::ExitCode;

use engine::{Fault, Outcome, Reason};

use crate::output::Output;

/// How a command that did not fail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Done.
    Done,
    /// The version was rejected before activation.
    Rejected,
    /// The version was rolled back.
    RolledBack,
    /// The host would not begin.
    Refused,
    /// A check failed, or damage was found.
    Unhealthy,
    /// It is staged for the next boot, since it cannot be tried live.
    Staged,
    /// The host is busy, and unchanged.
    Busy,
    /// It needs a reboot that was not wanted; the host is unchanged.
    NeedsReboot,
    /// The version was rolled back for what its activation did.
    ActivationFailed(Fault),
}

impl Ended {
    fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Rejected => 3,
            Self::RolledBack => 4,
            Self::Refused => 5,
            Self::Unhealthy => 6,
            Self::Staged => 7,
            Self::Busy => 8,
            Self::NeedsReboot => 9,
            Self::ActivationFailed(Fault::Script) => 22,
            Self::ActivationFailed(Fault::Units) => 24,
            Self::ActivationFailed(Fault::Hung) => 25,
            Self::ActivationFailed(_) => 21,
        }
    }
}

/// How a command ends that saw a transaction end.
impl From<&Outcome> for Ended {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Kept { .. } => Self::Done,
            Outcome::Rejected { reason } => match reason {
                Reason::NotActivated { fault, .. } if *fault == Fault::Busy => Self::Busy,
                Reason::NotActivated { .. } | Reason::LiveRefused { .. } => Self::NeedsReboot,
                _ => Self::Rejected,
            },
            Outcome::RolledBack { reason, .. } => match reason {
                Reason::ActivateFailed {
                    fault: Some(fault), ..
                } => Self::ActivationFailed(*fault),
                Reason::ChecksFailed { failures } if units_failed(failures) => {
                    Self::ActivationFailed(Fault::Units)
                }
                _ => Self::RolledBack,
            },
            Outcome::Stranded { .. } => Self::RolledBack,
        }
    }
}

/// Whether nothing else is wrong than that units failed.
fn units_failed(failures: &[engine::Failure]) -> bool {
    !failures.is_empty() && failures.iter().all(|f| f.check == "failed-units")
}

/// Turns a command's result into the exit code, printing an error with all its
/// causes on one line.
pub fn code(result: anyhow::Result<Ended>, out: &mut Output) -> ExitCode {
    match result {
        Ok(ended) => ExitCode::from(ended.code()),
        // `backstop history | head` closes the pipe early: that is no failure.
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            out.error(&e);
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_of_an_activation_has_a_code_of_its_own() {
        let error = String::new();
        let failed = |fault| Outcome::RolledBack {
            reason: Reason::ActivateFailed {
                error: error.clone(),
                fault,
            },
            escalated: false,
        };
        let rejected = |reason| Outcome::Rejected { reason };
        let not = |fault| Reason::NotActivated {
            error: error.clone(),
            fault,
        };
        let failing = |check: &str| engine::Failure {
            check: check.to_owned(),
            why: String::new(),
        };
        let unhealthy = |checks: &[&str]| Outcome::RolledBack {
            reason: Reason::ChecksFailed {
                failures: checks.iter().map(|check| failing(check)).collect(),
            },
            escalated: true,
        };
        let table = [
            (Outcome::Kept { confirmed_by: None }, 0),
            (
                rejected(Reason::PreflightBroken {
                    error: error.clone(),
                }),
                3,
            ),
            (failed(None), 4),
            (unhealthy(&["web", "failed-units"]), 4),
            (rejected(not(Fault::Busy)), 8),
            (rejected(not(Fault::NeedsReboot)), 9),
            (
                rejected(Reason::LiveRefused {
                    error: error.clone(),
                }),
                9,
            ),
            (failed(Some(Fault::Program)), 21),
            (failed(Some(Fault::Script)), 22),
            (failed(Some(Fault::Units)), 24),
            (unhealthy(&["failed-units"]), 24),
            (failed(Some(Fault::Hung)), 25),
        ];
        for (outcome, code) in table {
            assert_eq!(Ended::from(&outcome).code(), code, "{outcome}");
        }
    }
}
