//! How often somebody logged in, as the hosts' own sshds wrote down.

use std::process::Command;

use anyhow::{Context, ensure};
use testbed::nixos::NixHost;

/// What sshd writes when it lets somebody in.
const ACCEPTED: &str = "Accepted ";

/// How many logins these hosts have seen so far. A session that shares a login is
/// none.
pub fn count(hosts: &[NixHost]) -> anyhow::Result<usize> {
    let mut command = Command::new("journalctl");
    command.args(["--no-pager", "--quiet", "--output=cat", "_COMM=sshd"]);
    for host in hosts {
        let journals = host.root().join("var/log/journal/*/*.journal");
        command.arg(format!("--file={}", journals.display()));
    }
    let output = command.output().context("cannot run journalctl")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "journalctl: {said}");
    Ok(accepted(&String::from_utf8_lossy(&output.stdout)))
}

fn accepted(journal: &str) -> usize {
    let lines = journal.lines();
    lines.filter(|line| line.starts_with(ACCEPTED)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_logins_are_counted() {
        let journal = "Server listening on 0.0.0.0 port 22.\n\
             Accepted publickey for root from 10.77.0.1 port 4711 ssh2: ED25519 SHA256:x\n\
             Received disconnect from 10.77.0.1 port 4711:11: disconnected by user\n\
             Accepted publickey for root from 10.77.0.1 port 4712 ssh2: ED25519 SHA256:x\n";
        assert_eq!(accepted(journal), 2);
        assert_eq!(accepted(""), 0);
    }
}
