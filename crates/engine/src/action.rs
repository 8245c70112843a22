//! What is to be done in the world.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::version::TxId;

/// What a deadman waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wait {
    /// A live activation and its checks.
    Checks,
    /// The checks after a boot.
    Boot,
    /// Somebody's word.
    Confirm,
    /// The version being made the default.
    Keep,
    /// The rollback.
    RollBack,
    /// The checks after a rollback.
    Verify,
    /// A reboot that was asked for.
    Reboot,
}

impl Wait {
    const ALL: [Self; 7] = [
        Self::Checks,
        Self::Boot,
        Self::Confirm,
        Self::Keep,
        Self::RollBack,
        Self::Verify,
        Self::Reboot,
    ];

    /// Its name in units and journals.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Checks => "checks",
            Self::Boot => "boot",
            Self::Confirm => "confirm",
            Self::Keep => "keep",
            Self::RollBack => "roll-back",
            Self::Verify => "verify",
            Self::Reboot => "reboot",
        }
    }

    /// What it means when the time is over.
    #[must_use]
    pub fn missed(self) -> &'static str {
        match self {
            Self::Checks => "activation and checks did not finish in time",
            Self::Boot => "the checks after boot did not finish in time",
            Self::Confirm => "nobody confirmed in time",
            Self::Keep => "making it the default did not finish in time",
            Self::RollBack => "rolling back did not finish in time",
            Self::Verify => "the checks after rolling back did not finish in time",
            Self::Reboot => "the reboot did not happen in time",
        }
    }
}

/// A timer that acts when nobody else does. Its text form, `12-checks`, names
/// the timer's unit and is the argument of `backstop deadman`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Deadman {
    /// The transaction it guards.
    pub tx: TxId,
    /// What it waits for.
    pub wait: Wait,
}

impl fmt::Display for Deadman {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.tx, self.wait.name())
    }
}

impl Deadman {
    /// The name of the job that the timer is.
    #[must_use]
    pub fn job(self) -> String {
        format!("deadman-{self}")
    }
}

/// Not the text form of a [`Deadman`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("`{0}` names no deadman (such as `12-checks`)")]
pub struct BadDeadman(String);

impl FromStr for Deadman {
    type Err = BadDeadman;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (tx, name) = s.split_once('-')?;
            let wait = Wait::ALL.into_iter().find(|w| w.name() == name)?;
            Some(Self {
                tx: tx.parse().ok()?,
                wait,
            })
        };
        parse().ok_or_else(|| BadDeadman(s.to_owned()))
    }
}

/// One effect. Every effect is idempotent: doing it again changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Action {
    /// Bring the version onto the host, beside the running one.
    Stage,
    /// Run the version's checks before it is activated, and take the baseline.
    Preflight,
    /// Start a timer, unless it runs already.
    ArmDeadman {
        /// Which.
        deadman: Deadman,
        /// When it fires, from now.
        after: Duration,
    },
    /// Make the version the one on trial; the default stays.
    Activate,
    /// Run the checks of the running system.
    RunChecks {
        /// Which ones.
        stage: health::Stage,
    },
    /// Make the version the default.
    Keep,
    /// Make the version before the only one to boot, and in a live trial the
    /// one that is active.
    RollBack,
    /// Reboot; by force when asking nicely did not do.
    Reboot {
        /// Without waiting for services.
        force: bool,
    },
    /// Stop the transaction's timers.
    DisarmDeadman,
    /// Remove what was staged for a version that was never activated.
    Discard,
}

impl Action {
    /// Whether it may take minutes and must not hold up a boot.
    #[must_use]
    pub fn is_long(&self) -> bool {
        matches!(self, Self::Stage | Self::Preflight | Self::RunChecks { .. })
    }

    /// What it does, in a few words: `"staging"`.
    #[must_use]
    pub fn doing(&self) -> &'static str {
        match self {
            Self::Stage => "staging",
            Self::Preflight => "checking before activation",
            Self::ArmDeadman { .. } => "arming the deadman",
            Self::Activate => "activating",
            Self::RunChecks { .. } => "running checks",
            Self::Keep => "making it the default",
            Self::RollBack => "rolling back",
            Self::Reboot { force: false } => "rebooting",
            Self::Reboot { force: true } => "rebooting by force",
            Self::DisarmDeadman => "disarming the deadman",
            Self::Discard => "removing what was staged",
        }
    }
}

/// What it does, with all details.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.doing())?;
        match self {
            Self::ArmDeadman { deadman, after } => write!(f, " {deadman} ({} s)", after.as_secs()),
            Self::RunChecks { stage } => write!(f, " ({stage})"),
            _ => Ok(()),
        }
    }
}
