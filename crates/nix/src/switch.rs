//! Running `switch-to-configuration`, and what its end means.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use engine::Fault;

use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::program::{self, Ended, Ran};
use crate::store::StorePath;

/// What `switch-to-configuration` is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Say whether it could, by the version's own checks.
    Check,
    /// Say what `test` would do.
    DryActivate,
    /// Make the version active; profile and boot loader stay.
    Test,
    /// Make the version the boot loader's default.
    Boot,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Check => "check",
            Self::DryActivate => "dry-activate",
            Self::Test => "test",
            Self::Boot => "boot",
        })
    }
}

/// What NixOS says when the check that compares with the booted system fails.
const INHIBITED: [&str; 3] = [
    "switchinhibitors",
    "switch inhibitors",
    "changes to critical components",
];

/// How `switch-to-configuration` ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwitchEnd {
    /// 0: all is well.
    Done,
    /// 1: it gave up: bad arguments, the boot loader, an error of its own.
    GaveUp,
    /// 1: one of the version's own pre-switch checks said no.
    CheckFailed,
    /// 1: something that cannot change in a running system would have to.
    Inhibited,
    /// 1, from one that has no such action.
    NoSuchAction,
    /// 2: the activation script failed.
    ScriptFailed,
    /// 4: it is active, but these units failed.
    UnitsFailed(Vec<String>),
    /// 11: another one is at work.
    Busy,
    /// 100: only a reboot leads to this version.
    NeedsReboot,
    /// 101: it crashed.
    Crashed,
    /// Anything else.
    Other(Ended),
}

impl SwitchEnd {
    /// Judges by the exit status and, where one status stands for several things,
    /// by what was printed.
    #[must_use]
    pub fn of(ended: &Ended, output: &str) -> Self {
        let says = |words: &str| output.to_lowercase().contains(words);
        match ended {
            Ended::Status(0) => Self::Done,
            Ended::Status(11) => Self::Busy,
            Ended::Status(1..) if says("could not acquire lock") => Self::Busy,
            Ended::Status(1) if INHIBITED.iter().any(|words| says(words)) => Self::Inhibited,
            Ended::Status(1) if says("pre-switch check") => Self::CheckFailed,
            Ended::Status(1) if says("usage:") => Self::NoSuchAction,
            Ended::Status(1) => Self::GaveUp,
            Ended::Status(2) => Self::ScriptFailed,
            Ended::Status(4) => Self::UnitsFailed(failed_units(output)),
            Ended::Status(100) => Self::NeedsReboot,
            Ended::Status(101) => Self::Crashed,
            other => Self::Other(other.clone()),
        }
    }

    /// What it means for an activation.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Done => None,
            Self::Busy => Some(Fault::Busy),
            Self::NeedsReboot | Self::Inhibited => Some(Fault::NeedsReboot),
            Self::ScriptFailed => Some(Fault::Script),
            Self::UnitsFailed(_) => Some(Fault::Units),
            Self::Other(Ended::TimedOut(_)) => Some(Fault::Hung),
            _ => Some(Fault::Program),
        }
    }

    /// Whether it says that only a reboot leads to the version.
    #[must_use]
    pub fn wants_boot(&self) -> bool {
        self.fault() == Some(Fault::NeedsReboot)
    }
}

impl fmt::Display for SwitchEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::GaveUp => f.write_str("it gave up (status 1)"),
            Self::CheckFailed => f.write_str("a pre-switch check of the version failed (status 1)"),
            Self::Inhibited => {
                f.write_str("its switch inhibitors want a reboot instead (status 1)")
            }
            Self::NoSuchAction => f.write_str("it knows no such action (status 1)"),
            Self::ScriptFailed => f.write_str("the activation script failed (status 2)"),
            Self::UnitsFailed(units) if units.is_empty() => f.write_str("units failed (status 4)"),
            Self::UnitsFailed(units) => write!(f, "units failed (status 4): {}", units.join(", ")),
            Self::Busy => f.write_str("another switch-to-configuration holds the lock (status 11)"),
            Self::NeedsReboot => f.write_str("only a reboot leads to this version (status 100)"),
            Self::Crashed => f.write_str("it crashed (status 101)"),
            Self::Other(Ended::TimedOut(time)) => {
                write!(f, "it hung, and was killed after {} s", time.as_secs())
            }
            Self::Other(ended) => write!(f, "it {ended}"),
        }
    }
}

/// The units that are named after `the following units failed:`.
fn failed_units(output: &str) -> Vec<String> {
    const WORDS: &str = "the following units failed:";
    let lists = output
        .lines()
        .filter_map(|line| Some(line.split_once(WORDS)?.1));
    let mut units: Vec<String> = lists
        .flat_map(|list| list.split(|c: char| c == ',' || c.is_whitespace()))
        .filter(|unit| unit.contains('.'))
        .map(str::to_owned)
        .collect();
    units.sort();
    units.dedup();
    units
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Switched {
    pub end: SwitchEnd,
    pub output: String,
}

impl Switched {
    /// The error of a run that did not do.
    pub fn failed(self, toplevel: &StorePath, action: Action) -> Error {
        Error::Switch {
            action,
            toplevel: toplevel.clone(),
            end: self.end,
            output: self.output,
        }
    }

    /// Why it did not do, with its last words.
    pub fn why(&self) -> String {
        let last = self.output.lines().last().unwrap_or_default();
        match last.trim() {
            "" => self.end.to_string(),
            last => format!("{}: {last}", self.end),
        }
    }
}

/// One system's `switch-to-configuration`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Switcher<'a> {
    pub layout: &'a Layout,
    pub toplevel: &'a StorePath,
    /// Where its output goes.
    pub log: &'a Path,
    /// How long it may take.
    pub limit: Duration,
    /// How long to wait for another one, besides.
    pub lock_wait: Duration,
}

impl Switcher<'_> {
    /// Runs it, again and again while another one is at work. `started` is told the
    /// process group of each.
    pub fn run(
        &self,
        action: Action,
        mut started: impl FnMut(u32) -> Result<()>,
    ) -> Result<Switched> {
        let begun = Instant::now();
        loop {
            let switched = self.run_once(action, &mut started)?;
            if switched.end != SwitchEnd::Busy || begun.elapsed() >= self.lock_wait {
                return Ok(switched);
            }
            std::thread::sleep(Duration::from_millis(500).min(self.lock_wait));
        }
    }

    fn run_once(
        &self,
        action: Action,
        started: &mut impl FnMut(u32) -> Result<()>,
    ) -> Result<Switched> {
        let program = self.toplevel.path().join("bin/switch-to-configuration");
        let mut command = program::command(self.layout, program);
        command.arg(action.to_string());
        let Ran { ended, output } = program::run_logged(command, self.log, self.limit, started)?;
        let end = SwitchEnd::of(&ended, &output);
        Ok(Switched { end, output })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_ends() {
        let lock = "Could not acquire lock";
        let failing = "warning: the following units failed: b.service, a.service\n";
        let units = vec!["a.service".to_owned(), "b.service".to_owned()];
        let hung = Ended::TimedOut(Duration::from_secs(9));
        let table = [
            (Ended::Status(0), "", SwitchEnd::Done, None),
            (
                Ended::Status(1),
                "",
                SwitchEnd::GaveUp,
                Some(Fault::Program),
            ),
            (Ended::Status(1), lock, SwitchEnd::Busy, Some(Fault::Busy)),
            (
                Ended::Status(1),
                "Pre-switch check 'x' failed",
                SwitchEnd::CheckFailed,
                Some(Fault::Program),
            ),
            (
                Ended::Status(1),
                "Pre-switch check 'switchInhibitors' failed",
                SwitchEnd::Inhibited,
                Some(Fault::NeedsReboot),
            ),
            (
                Ended::Status(1),
                "There are changes to critical components of the system:\nPre-switch checks failed",
                SwitchEnd::Inhibited,
                Some(Fault::NeedsReboot),
            ),
            (
                Ended::Status(1),
                "Usage: x [switch | boot | test | dry-activate]",
                SwitchEnd::NoSuchAction,
                Some(Fault::Program),
            ),
            (
                Ended::Status(2),
                "",
                SwitchEnd::ScriptFailed,
                Some(Fault::Script),
            ),
            (
                Ended::Status(4),
                failing,
                SwitchEnd::UnitsFailed(units),
                Some(Fault::Units),
            ),
            (Ended::Status(11), "", SwitchEnd::Busy, Some(Fault::Busy)),
            (
                Ended::Status(100),
                "",
                SwitchEnd::NeedsReboot,
                Some(Fault::NeedsReboot),
            ),
            (
                Ended::Status(101),
                "",
                SwitchEnd::Crashed,
                Some(Fault::Program),
            ),
            (
                Ended::Status(7),
                "",
                SwitchEnd::Other(Ended::Status(7)),
                Some(Fault::Program),
            ),
            (hung.clone(), "", SwitchEnd::Other(hung), Some(Fault::Hung)),
        ];
        let mut words = Vec::new();
        for (ended, output, end, fault) in table {
            let found = SwitchEnd::of(&ended, output);
            assert_eq!((found.fault(), &found), (fault, &end), "{ended:?}");
            words.push(found.to_string());
        }
        words.sort();
        // The lock has two statuses, and inhibitors two wordings, by the program's age.
        words.dedup();
        assert_eq!(words.len(), 12, "each has its own words");
    }
}
