//! A published boot configuration: the entries in order, and a trial.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::kargs::{KargsError, KernelArgs};
use crate::sector::MAX_ATTEMPTS;

/// The kernel argument that tells a booted system that this is a counted
/// attempt, and of which configuration.
pub const TRIAL_ARG: &str = "backstop.trial";
/// Seconds after which a kernel that panicked in a trial restarts the machine.
pub const TRIAL_PANIC_SECONDS: u8 = 5;
/// The kernel argument by which systemd feeds a watchdog (252 and newer).
pub const WATCHDOG_ARG: &str = "systemd.watchdog_sec";
/// Seconds after which a watchdog resets a machine that hangs in a trial. The slowest
/// part of a boot in which nobody feeds it must be shorter.
pub const TRIAL_WATCHDOG_SECONDS: u8 = 60;

/// Names one published configuration; the state sector means something only for
/// the configuration it names. Displayed as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConfigId([u8; 16]);

impl ConfigId {
    /// The name for a configuration with this content.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&Sha256::digest(content)[..16]);
        Self(id)
    }
}

impl fmt::Display for ConfigId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// Text that is not 32 lower-case hexadecimal digits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a boot configuration is named by 32 hexadecimal digits, not {0:?}")]
pub struct ConfigIdError(String);

impl FromStr for ConfigId {
    type Err = ConfigIdError;

    fn from_str(text: &str) -> Result<Self, ConfigIdError> {
        let bad = || ConfigIdError(text.to_owned());
        let digit = |b: &u8| match b {
            b'0'..=b'9' => Some(b - b'0'),
            b'a'..=b'f' => Some(b - b'a' + 10),
            _ => None,
        };
        let nibbles: Vec<u8> = text
            .bytes()
            .map(|b| digit(&b))
            .collect::<Option<_>>()
            .ok_or_else(bad)?;
        let pairs: Vec<u8> = nibbles.chunks_exact(2).map(|p| p[0] << 4 | p[1]).collect();
        match <[u8; 16]>::try_from(pairs) {
            Ok(id) if nibbles.len() == 32 => Ok(Self(id)),
            _ => Err(bad()),
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Nothing to boot.
    #[error("a boot configuration needs at least one entry")]
    Empty,
    /// The attempts of a trial do not fit.
    #[error("a boot trial has 1 to 9 attempts, not {0}")]
    Attempts(u8),
    /// A name that could not be told apart on a console.
    #[error("{0:?} cannot name a boot entry: only letters, digits and ._- can")]
    Name(String),
    /// A path that GRUB or a check list could not hold.
    #[error(
        "{0:?} is no absolute path on the boot filesystem without blanks and control characters"
    )]
    Path(String),
    /// A digest that is not 64 hexadecimal digits.
    #[error("{0:?} is no SHA-256 digest")]
    Digest(String),
    /// A kernel argument does not fit.
    #[error("the kernel arguments of the trial do not fit")]
    Kargs(#[from] KargsError),
}

/// What one entry boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in messages: letters, digits, `.`, `_`, `-`.
    pub name: String,
    /// Its line in the menu.
    pub title: String,
    /// The kernel: absolute on the filesystem that holds `/boot`'s content.
    pub linux: String,
    /// The initrds, loaded in this order.
    pub initrds: Vec<String>,
    /// The kernel arguments.
    pub options: KernelArgs,
}

/// A file on the boot filesystem and its content's SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDigest {
    /// As in [`Entry::linux`].
    pub path: String,
    /// 64 hexadecimal digits.
    pub sha256: String,
}

/// The version that must prove itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// What it boots. [`BootConfig::new`] adds `backstop.trial=`, `panic=` and
    /// `systemd.watchdog_sec=`.
    pub entry: Entry,
    /// How often, 1 to 9.
    pub attempts: u8,
    /// What its kernel and initrds must hash to.
    pub digests: Vec<FileDigest>,
}

/// A boot configuration that can be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootConfig {
    id: ConfigId,
    entries: Vec<Entry>,
    trial: Option<Trial>,
}

impl BootConfig {
    /// A configuration of entries (the default first, then what to fall back to
    /// in order, bad ones last) and perhaps a trial. The trial's kernel is told
    /// that it is one, and restarts the machine when it panics unless its
    /// arguments say otherwise.
    ///
    /// # Errors
    /// No entry, or one that a boot script or check list could not hold.
    pub fn new(entries: Vec<Entry>, trial: Option<Trial>) -> Result<Self, ConfigError> {
        if entries.is_empty() {
            return Err(ConfigError::Empty);
        }
        entries.iter().try_for_each(check_entry)?;
        let mut trial = trial;
        if let Some(trial) = &mut trial {
            check_trial(trial)?;
            // In a trial neither a panic nor a hang must wait for someone to come by.
            for (name, seconds) in [
                ("panic", TRIAL_PANIC_SECONDS),
                (WATCHDOG_ARG, TRIAL_WATCHDOG_SECONDS),
            ] {
                if trial.entry.options.get(name).is_none() {
                    trial.entry.options.append(&format!("{name}={seconds}"))?;
                }
            }
            trial.entry.options.delete(TRIAL_ARG);
        }
        let id = ConfigId::of(&content(&entries, trial.as_ref()));
        if let Some(trial) = &mut trial {
            trial.entry.options.append(&format!("{TRIAL_ARG}={id}"))?;
        }
        Ok(Self { id, entries, trial })
    }

    /// Its name, which follows from its content.
    #[must_use]
    pub fn id(&self) -> ConfigId {
        self.id
    }

    /// The default first; never empty.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What is on trial.
    #[must_use]
    pub fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }
}

/// All that makes one configuration differ from another, without ambiguity.
fn content(entries: &[Entry], trial: Option<&Trial>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut field = |text: &str| {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    };
    let trial_entry = trial.map(|t| &t.entry);
    for entry in entries.iter().chain(trial_entry) {
        field(&entry.name);
        field(&entry.title);
        field(&entry.linux);
        field(&entry.initrds.join("\n"));
        field(&entry.options.to_string());
    }
    if let Some(trial) = trial {
        field(&trial.attempts.to_string());
        for digest in &trial.digests {
            field(&digest.path);
            field(&digest.sha256);
        }
    }
    out
}

fn check_entry(entry: &Entry) -> Result<(), ConfigError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if entry.name.is_empty() || !entry.name.chars().all(plain) {
        return Err(ConfigError::Name(entry.name.clone()));
    }
    check_path(&entry.linux)?;
    entry.initrds.iter().try_for_each(|p| check_path(p))
}

fn check_path(path: &str) -> Result<(), ConfigError> {
    let odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
    if path.starts_with('/') && !path.chars().any(odd) {
        return Ok(());
    }
    Err(ConfigError::Path(path.to_owned()))
}

fn check_trial(trial: &Trial) -> Result<(), ConfigError> {
    if !(1..=MAX_ATTEMPTS).contains(&trial.attempts) {
        return Err(ConfigError::Attempts(trial.attempts));
    }
    check_entry(&trial.entry)?;
    for digest in &trial.digests {
        check_path(&digest.path)?;
        let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if digest.sha256.len() != 64 || !digest.sha256.bytes().all(hex) {
            return Err(ConfigError::Digest(digest.sha256.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn entry(name: &str) -> Entry {
        Entry {
            name: name.into(),
            title: format!("Debian {name}"),
            linux: format!("/ostree/{name}/vmlinuz"),
            initrds: vec![format!("/ostree/{name}/initrd.img")],
            options: "ro quiet".parse().unwrap(),
        }
    }

    pub(crate) fn trial(name: &str, attempts: u8) -> Trial {
        Trial {
            entry: entry(name),
            attempts,
            digests: vec![FileDigest {
                path: format!("/ostree/{name}/vmlinuz"),
                sha256: "0".repeat(64),
            }],
        }
    }

    #[test]
    fn the_trial_is_told_so() {
        let config = BootConfig::new(vec![entry("a")], Some(trial("b", 3))).unwrap();
        let options = &config.trial().unwrap().entry.options;
        assert_eq!(options.get("panic").unwrap(), "5");
        assert_eq!(options.get(WATCHDOG_ARG).unwrap(), "60");
        assert_eq!(options.get(TRIAL_ARG).unwrap(), config.id().to_string());
        assert_eq!(config.entries()[0].options.to_string(), "ro quiet");
        let mut own = trial("b", 3);
        own.entry.options = "panic=-1 systemd.watchdog_sec=0 backstop.trial=old"
            .parse()
            .unwrap();
        let config = BootConfig::new(vec![entry("a")], Some(own)).unwrap();
        let expected = format!(
            "panic=-1 systemd.watchdog_sec=0 backstop.trial={}",
            config.id()
        );
        assert_eq!(config.trial().unwrap().entry.options.to_string(), expected);
    }

    #[test]
    fn every_difference_gives_another_id() {
        let base = || (vec![entry("a"), entry("b")], Some(trial("c", 3)));
        type Change = fn(&mut Vec<Entry>, &mut Option<Trial>);
        let changes: [Change; 8] = [
            |_, _| {},
            |e, _| e.swap(0, 1),
            |e, _| drop(e.pop()),
            |e, _| e[0].options.append("x").unwrap(),
            |e, _| e[0].initrds.push("/x".into()),
            |_, t| *t = None,
            |_, t| t.as_mut().unwrap().attempts = 2,
            |_, t| t.as_mut().unwrap().digests[0].sha256 = "1".repeat(64),
        ];
        let ids: std::collections::BTreeSet<ConfigId> = changes
            .iter()
            .map(|change| {
                let (mut entries, mut trial) = base();
                change(&mut entries, &mut trial);
                BootConfig::new(entries, trial).unwrap().id()
            })
            .collect();
        assert_eq!(ids.len(), changes.len());
    }

    #[test]
    fn an_id_reads_back() {
        let id = ConfigId::of(b"x");
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "",
            "0",
            "0g",
            &"0".repeat(31),
            &"A".repeat(32),
            &"0".repeat(33),
        ] {
            assert!(bad.parse::<ConfigId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_no_script_can_hold_is_refused() {
        assert_eq!(BootConfig::new(vec![], None), Err(ConfigError::Empty));
        type Change = fn(&mut Entry);
        let changes: [Change; 5] = [
            |e| e.name = "a b".into(),
            |e| e.name.clear(),
            |e| e.linux = "vmlinuz".into(),
            |e| e.linux = "/a b".into(),
            |e| e.initrds[0] = "/a\nb".into(),
        ];
        for (at, change) in changes.iter().enumerate() {
            let mut bad = entry("a");
            change(&mut bad);
            assert!(BootConfig::new(vec![bad], None).is_err(), "{at}");
        }
        for attempts in [0, 10] {
            let config = BootConfig::new(vec![entry("a")], Some(trial("b", attempts)));
            assert_eq!(config, Err(ConfigError::Attempts(attempts)));
        }
    }
}
