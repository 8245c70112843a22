//! What checks found: results, baseline, report.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// When a check runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Before the version is activated, against its own files.
    Preflight,
    /// On the running system, after an activation without a reboot.
    Live,
    /// On the running system, after a boot.
    Boot,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preflight => "preflight",
            Self::Live => "live",
            Self::Boot => "boot",
        })
    }
}

/// Whether a check decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// Its failure fails the trial.
    #[default]
    Required,
    /// Its failure is reported, no more.
    Wanted,
}

/// What one run of a check came to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Status {
    /// It passed.
    Passed,
    /// It ran and found something wrong.
    Failed {
        /// What it found, in a line.
        why: String,
    },
    /// It did not end in the time given.
    TimedOut {
        /// The time given, in milliseconds.
        after_ms: u64,
    },
    /// It could not be run at all.
    Broken {
        /// What stood in the way.
        why: String,
    },
}

impl Status {
    /// Whether it passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        *self == Self::Passed
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Failed { why } => f.write_str(why),
            Self::TimedOut { after_ms } => {
                write!(f, "not finished after {} s", after_ms.div_ceil(1000))
            }
            Self::Broken { why } => write!(f, "could not be run: {why}"),
        }
    }
}

/// What a result means for the version on trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It passed.
    Passed,
    /// It failed, and that fails the trial.
    Counts,
    /// It failed, but had failed before the activation too.
    FailedBefore,
    /// It failed, but is only wanted.
    OnlyWanted,
}

/// One check's result.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CheckResult {
    /// The check's name: its file's name without `.toml`, or the built-in's.
    pub name: String,
    /// Whether it decides.
    pub need: Need,
    /// What the last try came to.
    pub status: Status,
    /// What that means.
    pub verdict: Verdict,
    /// What it printed, bounded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// How often it was tried.
    pub tries: u32,
    /// How long it took, tries and pauses together, in milliseconds.
    pub took_ms: u64,
}

/// A socket that accepts connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Listener {
    /// The local address.
    pub address: IpAddr,
    /// The TCP port.
    pub port: u16,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.address, self.port).fmt(f)
    }
}

/// How the host was before the activation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Baseline {
    /// Each check's result, by name.
    #[serde(default)]
    pub results: BTreeMap<String, Status>,
    /// The units that had failed.
    #[serde(default)]
    pub failed_units: BTreeSet<String>,
    /// What listened for TCP connections.
    #[serde(default)]
    pub listeners: BTreeSet<Listener>,
}

/// What the checks of one stage found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Report {
    /// The stage.
    pub stage: Stage,
    /// The results, in the order of the checks' names.
    pub results: Vec<CheckResult>,
    /// How long all of it took, in milliseconds.
    pub took_ms: u64,
}

impl Report {
    /// Whether nothing that counts failed.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.failures().next().is_none()
    }

    /// The failures that count.
    pub fn failures(&self) -> impl Iterator<Item = &CheckResult> {
        let counts = |r: &&CheckResult| r.verdict == Verdict::Counts;
        self.results.iter().filter(counts)
    }
}
