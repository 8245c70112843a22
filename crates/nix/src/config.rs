//! The limits of a Nix host: `/etc/backstop/nix.toml`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use durable::Fs;
use health::Span;
use serde::Deserialize;

/// Where it is, below the root.
const FILE: &str = "etc/backstop/nix.toml";

/// How long things may take, and whom to trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How long `switch-to-configuration` may take to activate a version; without
    /// it, most of the time that the trial gives to activation and checks.
    pub activation_timeout: Option<Duration>,
    /// How long any other program may take.
    pub command_timeout: Duration,
    /// How long copying a version onto the host may take.
    pub copy_timeout: Duration,
    /// How long building a version may take.
    pub build_timeout: Duration,
    /// How long to wait for another process that is switching the host.
    pub lock_wait: Duration,
    /// How many signatures of trusted keys each path needs, besides what Nix
    /// itself demands.
    pub signatures: u32,
    /// The keys whose signatures count; without any, those that Nix trusts.
    pub trusted_public_keys: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            activation_timeout: None,
            command_timeout: Duration::from_secs(120),
            copy_timeout: Duration::from_secs(3600),
            build_timeout: Duration::from_secs(4 * 3600),
            lock_wait: Duration::from_secs(60),
            signatures: 0,
            trusted_public_keys: Vec::new(),
        }
    }
}

/// The file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BadConfig {
    /// It can't be read.
    #[error(transparent)]
    Read(#[from] durable::Error),
    /// It is no TOML, or has a key that does not exist.
    #[error("the limits in {} cannot be used", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        source: Box<toml::de::Error>,
    },
}

/// The file as written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct File {
    activation_timeout: Option<Span>,
    command_timeout: Option<Span>,
    copy_timeout: Option<Span>,
    build_timeout: Option<Span>,
    lock_wait: Option<Span>,
    signatures: Option<u32>,
    trusted_public_keys: Option<Vec<String>>,
}

impl Config {
    /// Reads the file of the host below `root`; what is not there is as usual.
    ///
    /// # Errors
    /// The file can't be used.
    pub fn load(fs: &dyn Fs, root: &Path) -> Result<Self, BadConfig> {
        let path = root.join(FILE);
        match durable::read_to_string(fs, &path) {
            Ok(text) => Self::parse(&text).map_err(|source| BadConfig::Syntax {
                path,
                source: Box::new(source),
            }),
            Err(e) if e.source.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e.into()),
        }
    }

    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        let file: File = toml::from_str(text)?;
        let usual = Self::default();
        let or = |span: Option<Span>, usual| span.map_or(usual, |span| span.0);
        Ok(Self {
            activation_timeout: file.activation_timeout.map(|span| span.0),
            command_timeout: or(file.command_timeout, usual.command_timeout),
            copy_timeout: or(file.copy_timeout, usual.copy_timeout),
            build_timeout: or(file.build_timeout, usual.build_timeout),
            lock_wait: or(file.lock_wait, usual.lock_wait),
            signatures: file.signatures.unwrap_or(usual.signatures),
            trusted_public_keys: file.trusted_public_keys.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_is_as_usual() {
        let config = Config::parse("activation_timeout = \"90s\"\nsignatures = 1\n").unwrap();
        assert_eq!(config.activation_timeout, Some(Duration::from_secs(90)));
        assert_eq!(config.signatures, 1);
        assert_eq!(config.lock_wait, Config::default().lock_wait);
        for bad in ["lock_waits = 3", "signature = 1", "lock_wait = \"long\""] {
            assert!(Config::parse(bad).is_err(), "{bad}");
        }
    }
}
