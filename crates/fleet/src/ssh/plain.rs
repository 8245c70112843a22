//! A command on a host as its user, with nothing brought along.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::command::{self, Way};
use crate::Result;
use crate::config::Host;
use crate::local;

/// Runs a command by the login shell of the host's user, and gives what it
/// printed. The words are joined as `ssh` joins them.
///
/// # Errors
/// The host can't be reached, the command fails or takes too long.
pub fn run(host: &Host, words: &[String], limit: Duration) -> Result<String> {
    let line = words.join(" ");
    let none = Path::new("none");
    let connect = host.bounds.connect;
    let mut command = command::ssh(&host.address, Way::Fresh, none, connect, &line);
    command.stdin(Stdio::null());
    let doing = format!("run `{line}` on {}", host.name);
    local::run(&doing, command, limit + connect)
}
