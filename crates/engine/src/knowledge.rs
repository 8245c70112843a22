//! What this host knows of versions.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::reason::Reason;
use crate::version::VersionId;

/// What is known of one version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "standing")]
pub enum Standing {
    /// It proved itself.
    Good {
        /// Counts what was learned; a larger one is newer.
        order: u64,
        /// Wall clock, seconds since 1970.
        when: u64,
    },
    /// It failed.
    Bad {
        /// How.
        reason: Reason,
        /// Wall clock, seconds since 1970.
        when: u64,
    },
}

/// One thing learned, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "learned")]
pub enum Learned {
    /// The version is good.
    Good {
        /// Which.
        version: VersionId,
    },
    /// The version is bad.
    Bad {
        /// Which.
        version: VersionId,
        /// How it failed.
        reason: Reason,
    },
    /// What was known of the version is forgotten.
    Forgiven {
        /// Which.
        version: VersionId,
    },
    /// The version's files are to be kept.
    Pinned {
        /// Which.
        version: VersionId,
    },
    /// The version's files need not be kept.
    Unpinned {
        /// Which.
        version: VersionId,
    },
}

/// All that is known of versions, folded from the journal. It outlives their
/// files and their deployments.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Knowledge {
    lessons: u64,
    standings: BTreeMap<VersionId, Standing>,
    pins: BTreeSet<VersionId>,
}

impl Knowledge {
    /// What is known of a version; `None` when it is untried.
    #[must_use]
    pub fn standing(&self, version: &VersionId) -> Option<&Standing> {
        self.standings.get(version)
    }

    /// How a version failed, if it did.
    #[must_use]
    pub fn bad(&self, version: &VersionId) -> Option<&Reason> {
        match self.standing(version) {
            Some(Standing::Bad { reason, .. }) => Some(reason),
            _ => None,
        }
    }

    /// Whether a version proved itself.
    #[must_use]
    pub fn is_good(&self, version: &VersionId) -> bool {
        matches!(self.standing(version), Some(Standing::Good { .. }))
    }

    /// Whether a person wants a version's files kept.
    #[must_use]
    pub fn is_pinned(&self, version: &VersionId) -> bool {
        self.pins.contains(version)
    }

    /// The versions with a standing.
    pub fn standings(&self) -> impl Iterator<Item = (&VersionId, &Standing)> {
        self.standings.iter()
    }

    /// The good versions, newest first.
    #[must_use]
    pub fn good_newest_first(&self) -> Vec<&VersionId> {
        let mut good: Vec<_> = self
            .standings
            .iter()
            .filter_map(|(version, standing)| match standing {
                Standing::Good { order, .. } => Some((*order, version)),
                Standing::Bad { .. } => None,
            })
            .collect();
        good.sort_by(|a, b| b.cmp(a));
        good.into_iter().map(|(_, version)| version).collect()
    }

    /// Versions with a standing whose name begins so, for people who type.
    #[must_use]
    pub fn find(&self, prefix: &str) -> Vec<&VersionId> {
        let fits = |v: &&VersionId| v.as_str().starts_with(prefix) || v.short().starts_with(prefix);
        self.standings.keys().filter(fits).collect()
    }

    /// All of it as a list of lessons, oldest good version first.
    #[must_use]
    pub(crate) fn as_learned(&self) -> Vec<Learned> {
        let bad = self.standings.iter().filter_map(|(version, standing)| {
            let version = version.clone();
            match standing {
                Standing::Bad { reason, .. } => Some(Learned::Bad {
                    version,
                    reason: reason.clone(),
                }),
                Standing::Good { .. } => None,
            }
        });
        let good = self.good_newest_first().into_iter().rev();
        let good = good.map(|version| Learned::Good {
            version: version.clone(),
        });
        let pinned = self.pins.iter().map(|version| Learned::Pinned {
            version: version.clone(),
        });
        bad.chain(good).chain(pinned).collect()
    }

    /// Takes in one thing, learned at `when` by the wall clock.
    pub fn learn(&mut self, learned: &Learned, when: u64) {
        self.lessons += 1;
        match learned {
            Learned::Good { version } => {
                let order = self.lessons;
                let good = Standing::Good { order, when };
                self.standings.insert(version.clone(), good);
            }
            Learned::Bad { version, reason } => {
                let reason = reason.clone();
                let bad = Standing::Bad { reason, when };
                self.standings.insert(version.clone(), bad);
            }
            Learned::Forgiven { version } => {
                self.standings.remove(version);
            }
            Learned::Pinned { version } => {
                self.pins.insert(version.clone());
            }
            Learned::Unpinned { version } => {
                self.pins.remove(version);
            }
        }
    }
}
