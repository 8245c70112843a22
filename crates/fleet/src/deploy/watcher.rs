//! Who watches a rollout as it happens.

use serde::Serialize;

use crate::rollout::End;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Happening {
    /// The rollout begins.
    Begun {
        /// Its name.
        rollout: String,
        /// How many hosts.
        hosts: usize,
        /// In how many waves.
        waves: usize,
    },
    /// A wave opens.
    Wave {
        /// Its number, from 1.
        wave: usize,
        /// How many hosts it has.
        hosts: usize,
    },
    /// The rollout waits between two waves.
    Pause {
        /// How long, in seconds.
        seconds: u64,
    },
    /// A host is at something else now.
    Step {
        /// Which host.
        host: String,
        /// At what.
        step: String,
    },
    /// A connection was opened.
    Login {
        /// To which host.
        host: String,
        /// Whether it shares nothing with any other.
        fresh: bool,
        /// Whether backstop had to be brought along.
        brought_program: bool,
    },
    /// The last lines of a host's log, where something failed.
    Log {
        /// Which host.
        host: String,
        /// The lines.
        lines: Vec<String>,
    },
    /// A host has ended.
    Ended {
        /// Which host.
        host: String,
        /// How.
        #[serde(flatten)]
        outcome: End,
    },
    /// A person wants it to stop.
    Interrupted,
}

/// Told of everything, from several threads.
pub trait Watcher: Send + Sync + std::fmt::Debug {
    /// Something happened.
    fn happened(&self, what: &Happening);
    /// So many bytes of a version have been sent to a host.
    fn progress(&self, host: &str, bytes: u64);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Watcher for Unwatched {
    fn happened(&self, _: &Happening) {}
    fn progress(&self, _: &str, _: u64) {}
}
