//! What is asked for: a version, and how to try it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::version::{TxId, VersionId};

/// How the version is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrialKind {
    /// Activated in the running system.
    Live,
    /// Booted into, with counted attempts.
    Boot,
}

impl fmt::Display for TrialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Boot => "boot",
        })
    }
}

/// Whose word is needed, besides healthy checks. The time starts when the
/// checks have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "by")]
pub enum Confirm {
    /// Nobody's: healthy is enough.
    Checks,
    /// A person's.
    Person {
        /// How long to wait for it.
        #[serde(with = "seconds", rename = "within_s")]
        within: Duration,
    },
    /// The deployer's, over a connection opened after the activation.
    Deployer {
        /// How long to wait for it.
        #[serde(with = "seconds", rename = "within_s")]
        within: Duration,
    },
}

impl Confirm {
    /// How long to wait for somebody's word, if one is needed.
    #[must_use]
    pub fn within(&self) -> Option<Duration> {
        match *self {
            Self::Checks => None,
            Self::Person { within } | Self::Deployer { within } => Some(within),
        }
    }
}

/// What becomes of a live trial that the running system refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IfRefused {
    /// A boot trial, at the next reboot that somebody asks for.
    #[default]
    Stage,
    /// A boot trial, with a reboot as the policy has it.
    Boot,
    /// Nothing: the version is rejected.
    Reject,
}

/// The kernel arguments of a version that is tried with others than it has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KargsChange {
    /// Those it has.
    pub from: String,
    /// Those on trial.
    pub to: String,
}

/// An upgrade as asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Request {
    /// The version to try.
    pub target: VersionId,
    /// How to try it.
    pub kind: TrialKind,
    /// Whose word is needed.
    pub confirm: Confirm,
    /// A boot trial: how often the version may be booted before it is given up.
    pub attempts: u8,
    /// A boot trial: how long after a boot the checks may take to pass.
    #[serde(with = "seconds", rename = "boot_deadline_s")]
    pub boot_deadline: Duration,
    /// A live trial: how long activation and checks together may take.
    #[serde(with = "seconds", rename = "check_deadline_s")]
    pub check_deadline: Duration,
    /// How long keeping, rolling back or shutting down may each take.
    #[serde(with = "seconds", rename = "effect_deadline_s")]
    pub effect_deadline: Duration,
    /// Where the version came from, for people: a ref, a path, a flake.
    pub source: String,
    /// What is known of how the version came about, for people and programs: a
    /// flake's revision, the digest of its lock.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub provenance: BTreeMap<String, String>,
    /// Try it although it is known to be bad.
    #[serde(default)]
    pub forced: bool,
    /// A boot trial: wait for a reboot that somebody else asks for.
    #[serde(default)]
    pub await_reboot: bool,
    /// A live trial: what to do when the running system refuses it.
    #[serde(default)]
    pub if_refused: IfRefused,
    /// The version that runs is tried with other kernel arguments; `target` names it with
    /// them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kargs: Option<KargsChange>,
    /// Image hosts: the stateroot into which the version goes; none: that of the version
    /// which runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stateroot: Option<String>,
}

impl Request {
    /// A boot trial with the usual limits, kept when healthy.
    #[must_use]
    pub fn new(target: VersionId) -> Self {
        Self {
            target,
            kind: TrialKind::Boot,
            confirm: Confirm::Checks,
            attempts: 3,
            boot_deadline: Duration::from_secs(600),
            check_deadline: Duration::from_secs(300),
            effect_deadline: Duration::from_secs(300),
            source: String::new(),
            provenance: BTreeMap::new(),
            forced: false,
            await_reboot: false,
            if_refused: IfRefused::Stage,
            kargs: None,
            stateroot: None,
        }
    }
}

/// A request that was taken on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Transaction {
    /// Its number.
    pub id: TxId,
    /// What was asked for.
    pub request: Request,
    /// The version that ran when it began, and to which it goes back: always by
    /// name, never "the one before".
    pub previous: VersionId,
    /// Wall clock at its start, seconds since 1970.
    pub started_at: u64,
    /// How the host was before the activation.
    #[serde(default)]
    pub baseline: health::Baseline,
    /// Why the live trial that was asked for became a boot trial, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_refused: Option<String>,
}

impl Transaction {
    /// The version on trial.
    #[must_use]
    pub fn target(&self) -> &VersionId {
        &self.request.target
    }
}

/// A duration as whole seconds.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(d.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        u64::deserialize(d).map(Duration::from_secs)
    }
}
