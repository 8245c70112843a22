//! What activating a version would do, found out without doing it.

use monitor::Monitor;
use serde::Serialize;

use crate::NixHost;
use crate::error::Result;
use crate::program::{self, ask};
use crate::rehearsal::Rehearsal;
use crate::store::{Store, StorePath};
use crate::switch::{Action, SwitchEnd};

/// What activating a version would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The version.
    pub version: engine::VersionId,
    /// What is active now.
    pub running: engine::VersionId,
    /// Why it cannot be done live, if it cannot.
    pub refuses_live: Option<String>,
    /// Whether it is started in a container first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Rehearsal>,
    /// Why it cannot be done at all, if it cannot.
    pub fails: Option<String>,
    /// What `dry-activate` printed: units to stop, restart and start.
    pub units: Vec<String>,
    /// The packages in which the two differ, as Nix shows them.
    pub packages: Vec<String>,
}

impl NixHost {
    /// Finds out what activating a version that is in the store would do.
    ///
    /// # Errors
    /// It is not there, or its programs can't be asked.
    pub fn plan(&self, target: &StorePath, monitor: &dyn Monitor) -> Result<Plan> {
        let store = Store {
            layout: &self.layout,
            config: &self.config,
            log: self.log("plan")?,
        };
        store.complete(target, || Err(crate::Error::NotHere(target.clone())))?;
        let running = self.active_system()?;
        let mut plan = Plan {
            version: target.version(),
            running: running.version(),
            refuses_live: None,
            container: self.rehearsal(),
            fails: None,
            units: Vec::new(),
            packages: self.packages(&running, target, monitor),
        };
        for action in [Action::Check, Action::DryActivate] {
            let switched = self.ask_switcher(target, action)?;
            if action == Action::DryActivate {
                plan.units = lines(&switched.output);
            }
            match &switched.end {
                SwitchEnd::Done | SwitchEnd::NoSuchAction => {}
                end if end.wants_boot() => plan.refuses_live = Some(switched.why()),
                _ => plan.fails = Some(switched.why()),
            }
            if plan.refuses_live.is_some() || plan.fails.is_some() {
                break;
            }
        }
        let impossible = plan.container.as_ref().and_then(|c| c.impossible.clone());
        if let (None, Some(why)) = (&plan.fails, impossible) {
            plan.fails = Some(crate::Error::NoContainer(why).to_string());
        }
        Ok(plan)
    }

    /// The packages in which two versions differ. A plan does not fail for want of
    /// them.
    fn packages(&self, from: &StorePath, to: &StorePath, monitor: &dyn Monitor) -> Vec<String> {
        let mut command = program::nix(&self.layout, &["store", "diff-closures"]);
        command.arg(from.path()).arg(to.path());
        match ask("compare the versions", command, self.config.command_timeout) {
            Ok(text) => lines(&text),
            Err(e) => {
                monitor.note(&e.to_string());
                Vec::new()
            }
        }
    }
}

/// The lines of a text that say something, without a terminal's colours.
fn lines(text: &str) -> Vec<String> {
    let plain = |line: &str| {
        let mut out = String::new();
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            if c == '\u{1b}' {
                chars.by_ref().find(char::is_ascii_alphabetic);
            } else if !c.is_control() {
                out.push(c);
            }
        }
        out.trim().to_owned()
    };
    text.lines()
        .map(plain)
        .filter(|line| !line.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_plain_text() {
        let text = "\u{1b}[31;1mopenssl\u{1b}[0m: 3.0 → 3.1\n\n  would restart x.service\n";
        assert_eq!(
            lines(text),
            ["openssl: 3.0 → 3.1", "would restart x.service"]
        );
    }
}
