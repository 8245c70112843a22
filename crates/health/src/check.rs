//! What a check is.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::report::{Need, Stage};

/// One health probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name: the file's name without `.toml`, or the built-in's.
    pub name: String,
    /// What it is for, in a line.
    pub description: String,
    /// When it runs.
    pub stages: Vec<Stage>,
    /// Whether it decides.
    pub need: Need,
    /// Its failure counts even if it had failed before the activation.
    pub always: bool,
    /// It is asked in the container in which a version is started before it is
    /// activated, where the host starts one; its stages are besides.
    pub container: bool,
    /// How long one try may take.
    pub timeout: Duration,
    /// How often it is tried again after a failure.
    pub retries: u32,
    /// The pause between two tries.
    pub interval: Duration,
    /// What it looks at.
    pub probe: Probe,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a check comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It comes with backstop.
    BuiltIn,
    /// A file in a `checks.d` directory.
    File(PathBuf),
    /// A program in one of greenboot's directories.
    Greenboot(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::File(path) | Self::Greenboot(path) => path.display().fmt(f),
        }
    }
}

/// What a check looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A program ends with status 0.
    Command {
        /// The program and its arguments.
        argv: Vec<String>,
    },
    /// A systemd unit is active.
    Unit {
        /// The unit's full name.
        unit: String,
    },
    /// No unit has failed that had not failed before.
    NoNewFailedUnits,
    /// Something accepts TCP connections.
    Tcp {
        /// `HOST:PORT`.
        address: String,
    },
    /// An HTTP request is answered.
    Http(HttpProbe),
    /// Every system service that listened for TCP connections still does.
    Listening,
    /// There is a default route.
    DefaultRoute,
}

/// What to ask by HTTP, and which answer is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProbe {
    /// `http://` or `https://`.
    pub url: String,
    /// The status wanted; without one, any 2xx after following redirects.
    pub status: Option<u16>,
    /// What the body must contain.
    pub contains: Option<String>,
    /// Do not check the server's certificate.
    pub insecure: bool,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command { argv } => write!(f, "runs `{}`", argv.join(" ")),
            Self::Unit { unit } => write!(f, "{unit} is active"),
            Self::NoNewFailedUnits => f.write_str("no unit has failed that had not before"),
            Self::Tcp { address } => write!(f, "{address} accepts connections"),
            Self::Http(http) => write!(f, "{} answers", http.url),
            Self::Listening => f.write_str("what listened before still listens"),
            Self::DefaultRoute => f.write_str("there is a default route"),
        }
    }
}

impl Check {
    /// How often it is tried again. After a live activation only what was restarted has
    /// to come back: the built-in look at the route waits half as long as after a boot.
    pub(crate) fn retries_at(&self, stage: Stage) -> u32 {
        match (&self.probe, stage) {
            (Probe::DefaultRoute, Stage::Live) if self.is_built_in() => self.retries / 2,
            _ => self.retries,
        }
    }

    /// Whether a failure that nothing is about to mend ends it before its tries are used
    /// up: at boot more is still to start, and whoever writes a check means its tries.
    pub(crate) fn gives_up(&self, stage: Stage) -> bool {
        stage == Stage::Live && self.is_built_in()
    }

    fn is_built_in(&self) -> bool {
        self.origin == Origin::BuiltIn
    }
}

/// The checks that come with backstop, with the reason for each as its
/// description. A file of the same name replaces one; an empty file masks it.
#[must_use]
pub fn built_in() -> Vec<Check> {
    let check = |name: &str, description: &str, retries, interval, probe| Check {
        name: name.to_owned(),
        description: description.to_owned(),
        stages: vec![Stage::Live, Stage::Boot],
        need: Need::Required,
        always: false,
        container: false,
        timeout: Duration::from_secs(20),
        retries,
        interval: Duration::from_secs(interval),
        probe,
        origin: Origin::BuiltIn,
    };
    vec![
        check(
            "default-route",
            "a host without a route can be reached by nobody who could mend it",
            30,
            2,
            Probe::DefaultRoute,
        ),
        check(
            "failed-units",
            "a service that fails only since the upgrade was broken by it",
            5,
            2,
            Probe::NoNewFailedUnits,
        ),
        check(
            "listening",
            "a service that no longer listens is gone for those who used it",
            30,
            2,
            Probe::Listening,
        ),
    ]
}
