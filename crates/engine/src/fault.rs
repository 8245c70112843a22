//! Where an activation went wrong.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where an activation went wrong, as far as the host can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Another process was changing the host, and went on for too long. Nothing
    /// was changed.
    Busy,
    /// The running system cannot become this version without a reboot. Nothing
    /// was changed.
    NeedsReboot,
    /// The program that activates it gave up.
    Program,
    /// The version's own activation script failed.
    Script,
    /// Units failed that had not failed before.
    Units,
    /// It did not end in time and was killed.
    Hung,
    /// Something written by a newer backstop.
    #[serde(other)]
    Unknown,
}

impl Fault {
    /// Whether the host is as it was: there is nothing to put back, and the
    /// version is not to blame.
    #[must_use]
    pub fn changed_nothing(self) -> bool {
        matches!(self, Self::Busy | Self::NeedsReboot)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "the host is busy",
            Self::NeedsReboot => "it needs a reboot",
            Self::Program => "the activation gave up",
            Self::Script => "the activation script failed",
            Self::Units => "units failed",
            Self::Hung => "the activation hung",
            Self::Unknown => "the activation failed",
        })
    }
}
