//! What systemd says of its units, by way of `systemctl`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process::{self, Ran};
use crate::report::Status;

/// Whether systemd runs this system.
pub(crate) fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Units, and whether systemd starts each again by itself.
pub(crate) type Failing = BTreeMap<String, bool>;

/// The units that have failed, or fail again and again; backstop's own are left out:
/// `backstop-health.service` fails because checks do, and is none of the reasons.
pub(crate) fn failed(timeout: Duration) -> Result<Failing, Status> {
    let mut list = Command::new("systemctl");
    list.args(["list-units", "--all", "--full", "--plain", "--no-legend"]);
    list.args(["--no-pager", "--state=failed,auto-restart"]);
    Ok(failing(&ask(list, timeout)?))
}

/// Whether one of them is about to be started, by a job that waits.
pub(crate) fn has_job(units: &[String], timeout: Duration) -> Result<bool, Status> {
    let mut list = Command::new("systemctl");
    list.args(["list-jobs", "--full", "--plain", "--no-legend"]);
    list.arg("--no-pager");
    let jobs = ask(list, timeout)?;
    let mut of = jobs
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(1));
    Ok(of.any(|unit| units.iter().any(|one| one == unit)))
}

/// What systemctl answers.
fn ask(command: Command, timeout: Duration) -> Result<String, Status> {
    let ran = process::run(command, timeout);
    match ran.status {
        Status::Passed => Ok(ran.output),
        Status::Failed { why } => Err(Status::Broken {
            why: format!("systemctl {why}: {}", ran.output),
        }),
        other => Err(other),
    }
}

/// The units of a list, without our own.
fn failing(list: &str) -> Failing {
    let unit = |line: &str| {
        let mut columns = line.split_ascii_whitespace();
        let name = columns.next()?.to_owned();
        // What restarts it waits in a state that is none of failure.
        Some((name, columns.nth(1) != Some("failed")))
    };
    let units = list.lines().filter_map(unit);
    units
        .filter(|(name, _)| !name.starts_with("backstop-"))
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
            ssh.service loaded failed failed OpenBSD Secure Shell server\n\
            app.service loaded activating auto-restart The application\n";
        let wanted = [("ssh.service", false), ("app.service", true)];
        assert_eq!(
            failing(list),
            wanted.map(|(name, again)| (name.to_owned(), again)).into()
        );
    }
}
