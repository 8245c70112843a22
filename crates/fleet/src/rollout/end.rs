//! How a host ended.

use serde::{Deserialize, Serialize};

/// How a host came out of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "end")]
pub enum End {
    /// It ran the version already.
    Unchanged {
        /// The version.
        version: String,
    },
    /// It runs the new version, confirmed, for good.
    Kept {
        /// The version before.
        previous: String,
        /// The new version.
        version: String,
    },
    /// The new version is staged, and waits for a reboot that is not ours to ask
    /// for.
    Staged {
        /// What it waits for.
        why: String,
    },
    /// The new version was turned down before it was activated.
    Rejected {
        /// Why.
        reason: String,
    },
    /// The new version was tried, and the host is back on the one before.
    RolledBack {
        /// Why.
        reason: String,
    },
    /// The host would not begin.
    Refused {
        /// Why.
        why: String,
    },
    /// No connection could be opened.
    Unreachable {
        /// What `ssh` said.
        why: String,
    },
    /// Something failed before the host was changed.
    Failed {
        /// What was being done.
        doing: String,
        /// Why it failed.
        why: String,
    },
    /// Contact was lost during the trial: the host decides by itself, and goes
    /// back unless it was confirmed.
    LeftAlone {
        /// What happened.
        why: String,
    },
    /// Every way back failed: a person is needed.
    Stranded {
        /// What the host says.
        why: String,
    },
    /// It was never begun.
    Skipped {
        /// Why.
        why: String,
    },
    /// It was kept, and put back when others failed.
    PutBack {
        /// The version that it runs again.
        version: String,
    },
    /// It was kept, and could not be put back when others failed.
    PutBackFailed {
        /// Why.
        why: String,
    },
}

impl End {
    /// Whether the host runs the version that it should.
    #[must_use]
    pub fn arrived(&self) -> bool {
        matches!(self, Self::Unchanged { .. } | Self::Kept { .. })
    }

    /// Whether it counts as a failure that may stop the rollout.
    #[must_use]
    pub fn counts(&self, ignore_unreachable: bool) -> bool {
        match self {
            Self::Unreachable { .. } => !ignore_unreachable,
            Self::Skipped { .. } | Self::PutBack { .. } | Self::Staged { .. } => false,
            end => !end.arrived(),
        }
    }

    /// Its name, as in a summary.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unchanged { .. } => "unchanged",
            Self::Kept { .. } => "kept",
            Self::Staged { .. } => "staged",
            Self::Rejected { .. } => "rejected",
            Self::RolledBack { .. } => "rolled back",
            Self::Refused { .. } => "refused",
            Self::Unreachable { .. } => "unreachable",
            Self::Failed { .. } => "failed",
            Self::LeftAlone { .. } => "left alone",
            Self::Stranded { .. } => "STRANDED",
            Self::Skipped { .. } => "skipped",
            Self::PutBack { .. } => "put back",
            Self::PutBackFailed { .. } => "not put back",
        }
    }

    /// What there is to say about it.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Unchanged { version } | Self::PutBack { version } => short(version),
            Self::Kept { previous, version } => format!("{} → {}", short(previous), short(version)),
            Self::Rejected { reason } | Self::RolledBack { reason } => reason.clone(),
            Self::Failed { doing, why } => format!("{doing}: {why}"),
            Self::Staged { why }
            | Self::Refused { why }
            | Self::Unreachable { why }
            | Self::LeftAlone { why }
            | Self::Stranded { why }
            | Self::Skipped { why }
            | Self::PutBackFailed { why } => why.clone(),
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name(), self.detail())
    }
}

fn short(version: &str) -> String {
    engine::VersionId::new(version).short().to_owned()
}
