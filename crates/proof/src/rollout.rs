//! What the deployer does, as programs see it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Command, Output};

use serde_json::Value;
use testbed::Result;
use testbed::nixos::Site;

/// A fleet, described in a directory on the operator's machine.
#[derive(Debug)]
pub struct Fleet<'a> {
    site: &'a Site,
    dir: String,
}

/// How a rollout went.
#[derive(Debug, Clone, Default)]
pub struct Rollout {
    /// The deployer's exit code.
    pub code: Option<i32>,
    /// How each host ended, and all that was said of it.
    pub ends: BTreeMap<String, Value>,
    /// How many SSH logins there were.
    pub logins: usize,
    /// Everything that it printed.
    pub said: String,
}

impl<'a> Fleet<'a> {
    /// A fleet of these hosts with these versions. `settings` stand before the
    /// hosts in `fleet.toml`.
    ///
    /// # Errors
    /// The operator's machine is off.
    pub fn describe(
        site: &'a Site,
        name: &str,
        settings: &str,
        hosts: &[(&str, &str)],
    ) -> Result<Self> {
        let dir = format!("/root/{name}");
        let mut text = settings.to_owned();
        for (host, version) in hosts {
            let _ = write!(text, "\n[hosts.{host}]\nstore_path = \"{version}\"\n");
        }
        site.operator().run(&format!("mkdir -p {dir}"))?;
        let file = format!("{}/fleet.toml", &dir[1..]);
        let path = site.operator().root().join(file);
        std::fs::write(&path, text).map_err(|source| testbed::Error::Io {
            doing: "write",
            path,
            source,
        })?;
        Ok(Self { site, dir })
    }

    /// The fleet of a directory of the operator's machine, as what lies there
    /// describes it.
    #[must_use]
    pub fn in_directory(site: &'a Site, dir: String) -> Self {
        Self { site, dir }
    }

    /// What another command says: its exit code, and all that it printed.
    ///
    /// # Errors
    /// The operator's machine is off.
    pub fn say(&self, arguments: &str) -> Result<(Option<i32>, String)> {
        let output = self.site.operator().output(&self.line(arguments))?;
        let both = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&both).into_owned();
        Ok((output.status.code(), text))
    }

    /// The deployer's command line, for a shell on the operator's machine.
    #[must_use]
    pub fn line(&self, arguments: &str) -> String {
        let dir = &self.dir;
        // Each fleet has rollouts of its own.
        format!(
            "cd {dir} && export XDG_STATE_HOME={dir}/state && exec backstop --json fleet {arguments}"
        )
    }

    /// The deployer as a process that has not been started.
    ///
    /// # Errors
    /// The operator's machine is off.
    pub fn command(&self, arguments: &str) -> Result<Command> {
        self.site.operator().command(&self.line(arguments))
    }

    /// Deploys.
    ///
    /// # Errors
    /// The operator's machine is off.
    pub fn deploy(&self, arguments: &str) -> Result<Rollout> {
        let line = self.line(&format!("deploy {arguments}"));
        Ok(Rollout::of(&self.site.operator().output(&line)?))
    }
}

impl Rollout {
    fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout);
        let events: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let is = |event: &Value, name: &str| event["event"] == name;
        let ends = events
            .iter()
            .filter(|event| is(event, "ended"))
            .filter_map(|event| Some((event["host"].as_str()?.to_owned(), event.clone())))
            .collect();
        Self {
            code: output.status.code(),
            ends,
            logins: events.iter().filter(|event| is(event, "login")).count(),
            said: format!("{text}{}", String::from_utf8_lossy(&output.stderr)),
        }
    }

    /// How a host ended, in one word.
    #[must_use]
    pub fn end(&self, host: &str) -> &str {
        self.ends
            .get(host)
            .and_then(|end| end["end"].as_str())
            .unwrap_or_default()
    }

    /// How many hosts ended so.
    #[must_use]
    pub fn count(&self, end: &str) -> usize {
        self.ends.values().filter(|e| e["end"] == end).count()
    }
}
