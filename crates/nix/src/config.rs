//! The limits of a Nix host: `/etc/backstop/nix.toml`.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use durable::Fs;
use health::Span;
use serde::{Deserialize, Deserializer, Serialize};

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
    /// What of a version is started in a container before it is activated.
    pub container: ContainerConfig,
}

/// What of a version is started in a container before it is activated.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContainerConfig {
    /// What is started.
    pub start: ContainerStart,
    /// How long the activation script, and then the start of the system, may each take.
    #[serde(deserialize_with = "span")]
    pub timeout: Duration,
    /// What of the host it sees, read-only, besides the store.
    pub shows: Vec<Shown>,
}

/// What is started in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerStart {
    /// Nothing: there is no container.
    #[default]
    Nothing,
    /// The activation script.
    Activation,
    /// The activation script, and then the whole system.
    System,
}

/// A path of the host that a container sees.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Shown(PathBuf);

impl Shown {
    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl TryFrom<String> for Shown {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let path = Path::new(&text);
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@=".contains(c);
        let parts: Vec<_> = path.components().skip(1).collect();
        let all = parts.iter().all(|p| matches!(p, Component::Normal(_)));
        if path.is_absolute() && all && !parts.is_empty() && text.chars().all(plain) {
            return Ok(Self(path.to_owned()));
        }
        Err(format!(
            "`{text}` is no plain absolute path that can be shown"
        ))
    }
}

impl Default for ContainerConfig {
    fn default() -> Self {
        Self {
            start: ContainerStart::Nothing,
            timeout: Duration::from_secs(120),
            shows: Vec::new(),
        }
    }
}

fn span<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    Ok(Span::deserialize(from)?.0)
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
            container: ContainerConfig::default(),
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
    container: ContainerConfig,
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
            container: file.container,
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
        assert_eq!(config.container.start, ContainerStart::Nothing);
        let text = "[container]\nstart = 'system'\ntimeout = '20s'\nshows = ['/usr', '/etc/ssh']";
        let container = Config::parse(text).unwrap().container;
        assert_eq!(container.start, ContainerStart::System);
        assert_eq!(container.timeout, Duration::from_secs(20));
        assert_eq!(container.shows[1].path(), Path::new("/etc/ssh"));
        for bad in [
            "lock_waits = 3",
            "signature = 1",
            "lock_wait = \"long\"",
            "[container]\nstart = 'all'",
            "[container]\nshows = ['/']",
            "[container]\nshows = ['usr']",
            "[container]\nshows = ['/a/../b']",
            "[container]\nshows = ['/a:/b']",
            "[container]\nshows = ['/a b']",
        ] {
            assert!(Config::parse(bad).is_err(), "{bad}");
        }
    }
}
