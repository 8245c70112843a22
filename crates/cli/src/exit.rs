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

use std::io;
use std::process::ExitCode;

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
}

/// Turns a command's result into the exit code, printing an error with all its
/// causes on one line.
pub fn code(result: anyhow::Result<Ended>, out: &mut Output) -> ExitCode {
    match result {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::Rejected) => ExitCode::from(3),
        Ok(Ended::RolledBack) => ExitCode::from(4),
        Ok(Ended::Refused) => ExitCode::from(5),
        Ok(Ended::Unhealthy) => ExitCode::from(6),
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
