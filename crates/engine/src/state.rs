//! Where a transaction stands.

use serde::{Deserialize, Serialize};

use crate::reason::Reason;
use crate::request::{Transaction, TrialKind};
use crate::version::{BootId, TxId};

/// What the host is in the middle of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum State {
    /// Nothing.
    #[default]
    Idle,
    /// A transaction.
    Open(Box<Open>),
}

impl State {
    /// The open transaction, if any.
    #[must_use]
    pub fn open(&self) -> Option<&Open> {
        match self {
            Self::Idle => None,
            Self::Open(open) => Some(open),
        }
    }

    /// The open transaction's number.
    #[must_use]
    pub fn tx(&self) -> Option<TxId> {
        self.open().map(|open| open.transaction.id)
    }
}

/// A transaction under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Open {
    /// The transaction.
    pub transaction: Transaction,
    /// The boot the phase belongs to; in another boot it must be settled first.
    pub boot: BootId,
    /// How far it is.
    pub phase: Phase,
}

impl Open {
    /// Whether it is for the supervisor that was started with it, in this boot: a live
    /// trial, or a boot trial before its reboot. The unit at the end of boot leaves it
    /// alone: it may run as late as that on a host that came up just now.
    #[must_use]
    pub fn has_supervisor(&self, boot: &BootId) -> bool {
        let live = self.transaction.request.kind == TrialKind::Live;
        let prepared = matches!(
            self.phase,
            Phase::Requested
                | Phase::Staged
                | Phase::Ready { .. }
                | Phase::Activating { .. }
                | Phase::AwaitingBoot { .. }
        );
        self.boot == *boot && (live || prepared)
    }
}

/// How far a transaction is. The phase is on the disk before its effect begins.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "phase")]
pub enum Phase {
    /// The version is being brought onto the host.
    Requested,
    /// It is there; its own checks run.
    Staged,
    /// It may be activated, as soon as somebody says go.
    Ready {
        /// Why not yet.
        postponed: Option<String>,
    },
    /// It is being activated.
    Activating {
        /// A boot trial: reboot at once, rather than wait for somebody to.
        reboot: bool,
        /// It was begun before by a process that died in it: who says now that it
        /// did not begin cannot speak for that one.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
    },
    /// It will be tried at the next boot.
    AwaitingBoot {
        /// A reboot was asked for.
        reboot: bool,
    },
    /// It runs and must prove itself.
    Trial(Trial),
    /// It proved itself and is being made the default.
    Keeping {
        /// Who confirmed it.
        confirmed_by: Option<String>,
        /// What follows the rollback should it not be possible to keep it.
        then: Then,
    },
    /// The version before is being put back.
    RollingBack {
        /// Why.
        cause: Cause,
        /// What follows.
        then: Then,
    },
    /// The version before is active again, live; its checks run.
    Verifying {
        /// Why it was put back.
        cause: Cause,
    },
    /// Only a reboot into the default leads back.
    RebootingToGood {
        /// Why.
        cause: Cause,
        /// Asking nicely did not do.
        forced: bool,
    },
}

impl Phase {
    /// Its name, as in a timeline.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Staged => "staged",
            Self::Ready { .. } => "ready",
            Self::Activating { .. } => "activating",
            Self::AwaitingBoot { .. } => "awaiting boot",
            Self::Trial(_) => "on trial",
            Self::Keeping { .. } => "keeping",
            Self::RollingBack { .. } => "rolling back",
            Self::Verifying { .. } => "verifying the rollback",
            Self::RebootingToGood { .. } => "rebooting to the last good version",
        }
    }
}

/// A version that runs and must prove itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Trial {
    /// Milliseconds after the kernel's start at which it was active: a
    /// confirmation counts only over a connection opened later.
    pub since_ms: u64,
    /// Whether the checks have passed in this boot.
    pub healthy: bool,
    /// Who confirmed it.
    pub confirmed_by: Option<String>,
    /// How many boots of it got as far as backstop.
    pub boots: u8,
}

/// Why the host goes back, and what was tried so far.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cause {
    /// The reason.
    pub reason: Reason,
    /// A live rollback failed or ended unhealthy.
    pub escalated: bool,
    /// Reboots that ended in the bad version all the same.
    pub reboots: u8,
}

/// What follows a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// The version before was made active live: run its checks.
    Verify,
    /// The bad version still runs: reboot out of it.
    Reboot,
    /// The version before runs already: nothing.
    End,
}
