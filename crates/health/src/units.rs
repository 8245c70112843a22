//! What systemd says of its units, by way of `systemctl`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process::{self, Ran};
use crate::report::Status;

/// Whether systemd runs this system.
pub(crate) fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// The units that have failed, or fail again and again; backstop's own are left out:
/// `backstop-health.service` fails because checks do, and is none of the reasons.
pub(crate) fn failed(timeout: Duration) -> Result<BTreeSet<String>, Status> {
    let mut command = Command::new("systemctl");
    command.args(["list-units", "--all", "--full", "--plain", "--no-legend"]);
    command.args(["--no-pager", "--state=failed,auto-restart"]);
    let ran = process::run(command, timeout);
    match ran.status {
        Status::Passed => Ok(names(&ran.output)),
        Status::Failed { why } => Err(Status::Broken {
            why: format!("systemctl {why}: {}", ran.output),
        }),
        other => Err(other),
    }
}

/// The first column, without our own.
fn names(list: &str) -> BTreeSet<String> {
    let name = |line: &str| line.split_ascii_whitespace().next().map(str::to_owned);
    let names = list.lines().filter_map(name);
    names
        .filter(|name| !name.starts_with("backstop-"))
        .collect()
}

/// Whether a unit is active; what systemctl says of it otherwise.
pub(crate) fn is_active(unit: &str, timeout: Duration) -> Ran {
    let mut command = Command::new("systemctl");
    command.args(["is-active", "--", unit]);
    let mut ran = process::run(command, timeout);
    if let Status::Failed { why } = &mut ran.status {
        *why = format!("{unit} is {}", ran.output.trim());
        ran.output = last_words(unit, timeout);
    }
    ran
}

/// The end of a unit's log.
pub(crate) fn last_words(unit: &str, timeout: Duration) -> String {
    let mut command = Command::new("journalctl");
    command.args([
        "--unit",
        unit,
        "--lines=10",
        "--no-pager",
        "--output=cat",
        "--boot",
    ]);
    process::run(command, timeout).output
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reason for going back named `backstop-health.service` before the service
    /// that had failed.
    #[test]
    fn our_own_units_are_no_reason() {
        let list = "backstop-health.service loaded failed failed Checks\n\
            ssh.service loaded failed failed OpenBSD Secure Shell server\n";
        assert_eq!(names(list), ["ssh.service".to_owned()].into());
    }
}
