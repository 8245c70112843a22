//! Deployments and their names.

use std::fmt;
use std::str::FromStr;

use boot::KernelArgs;
use ostree::Checksum;

use crate::origin::Origin;

/// Names a deployment on this host. Displayed as `STATEROOT/CHECKSUM.SERIAL`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeploymentId {
    /// Which operating system's state it shares.
    pub stateroot: String,
    /// The commit.
    pub checksum: Checksum,
    /// Tells deployments of the same commit apart.
    pub serial: u32,
}

impl DeploymentId {
    /// The name of its directory.
    #[must_use]
    pub fn dir_name(&self) -> String {
        format!("{}.{}", self.checksum, self.serial)
    }

    /// A name short enough for a console: `debian-0123456789ab.0`.
    #[must_use]
    pub fn short(&self) -> String {
        let checksum = self.checksum.to_string();
        format!("{}-{}.{}", self.stateroot, &checksum[..12], self.serial)
    }

    /// Reads a directory's name.
    pub(crate) fn from_dir_name(stateroot: &str, name: &str) -> Option<Self> {
        let (checksum, serial) = name.split_once('.')?;
        let digits = !serial.is_empty() && serial.bytes().all(|b| b.is_ascii_digit());
        Some(Self {
            stateroot: stateroot.to_owned(),
            checksum: checksum.parse().ok()?,
            serial: digits.then_some(serial)?.parse().ok()?,
        })
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}", self.stateroot, self.checksum, self.serial)
    }
}

/// A text that names no deployment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no deployment: that is STATEROOT/CHECKSUM.SERIAL")]
pub struct NotADeployment(String);

impl FromStr for DeploymentId {
    type Err = NotADeployment;

    fn from_str(text: &str) -> Result<Self, NotADeployment> {
        let parsed = text
            .split_once('/')
            .filter(|(stateroot, _)| is_stateroot_name(stateroot))
            .and_then(|(stateroot, name)| Self::from_dir_name(stateroot, name));
        parsed.ok_or_else(|| NotADeployment(text.to_owned()))
    }
}

/// Whether this can be the name of a stateroot: letters, digits and `._-`, and no hidden
/// directory.
#[must_use]
pub fn is_stateroot_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain)
}

/// What the boot order says of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Among those to boot; the number is its place, 0 being the default.
    Good(usize),
    /// Only to be booted when nothing else can be.
    Bad,
    /// On trial.
    Trial,
    /// On the disk, but in no boot entry.
    Unlisted,
}

/// A version checked out on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its name.
    pub id: DeploymentId,
    /// Its place in the boot order.
    pub standing: Standing,
    /// What its kernel is started with, without `ostree=`.
    pub kargs: KernelArgs,
    /// Where it came from.
    pub origin: Origin,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let sum = "0f".repeat(32);
        let id: DeploymentId = format!("debian/{sum}.12").parse().unwrap();
        assert_eq!((id.stateroot.as_str(), id.serial), ("debian", 12));
        assert_eq!(id.to_string(), format!("debian/{sum}.12"));
        assert_eq!(id.short(), "debian-0f0f0f0f0f0f.12");
        for bad in [
            format!("debian/{sum}"),
            format!("debian/{sum}."),
            format!("debian/{sum}.+1"),
            format!("debian/{sum}.99999999999"),
            format!("../{sum}.0"),
            format!("a/b/{sum}.0"),
            format!("/{sum}.0"),
            "debian/0f.0".to_owned(),
        ] {
            assert!(bad.parse::<DeploymentId>().is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_name_or_none(text in "[a/.0-]{0,6}(0f){31,33}[./0-9x+]{0,4}") {
            if let Ok(id) = text.parse::<DeploymentId>() {
                let dir = id.dir_name();
                proptest::prop_assert!(!dir.contains('/') && !id.stateroot.contains('/'));
                proptest::prop_assert_eq!(id.to_string().parse(), Ok(id));
            }
        }
    }
}
