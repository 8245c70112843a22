//! Names: of versions, boots and transactions.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// The digest that names a version: an OSTree commit's checksum, or the path of
/// a Nix toplevel. The engine only compares it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VersionId(String);

impl VersionId {
    /// Takes a digest as a host names it.
    #[must_use]
    pub fn new(digest: impl Into<String>) -> Self {
        Self(digest.into())
    }

    /// The digest.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A part of it that a person can take in: the first ten characters of a
    /// hex digest, or of the last component of a path.
    #[must_use]
    pub fn short(&self) -> &str {
        let name = self.0.rsplit('/').next().unwrap_or(&self.0);
        name.char_indices()
            .nth(10)
            .map_or(name, |(i, _)| &name[..i])
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kernel's random id of one boot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(String);

impl BootId {
    /// Takes what `/proc/sys/kernel/random/boot_id` says.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A transaction's number: the sequence number of its first record, so it is
/// never used twice on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TxId(pub u64);

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TxId {
    type Err = std::num::ParseIntError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse().map(Self)
    }
}

/// When something happened, by three clocks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Now {
    /// Wall clock, seconds since 1970. Only told, never compared: it may jump.
    pub time: u64,
    /// Milliseconds since the kernel started, suspended time included.
    pub uptime_ms: u64,
    /// The boot.
    pub boot: BootId,
}

impl Now {
    /// This instant, so long after the start of that boot's kernel.
    #[must_use]
    pub fn in_boot(boot: BootId, uptime: Duration) -> Self {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            time: since_1970.unwrap_or_default().as_secs(),
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            boot,
        }
    }
}
