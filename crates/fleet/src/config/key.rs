//! Secrets as they are described.

use std::path::PathBuf;

use serde::Deserialize;

/// Where a secret lies that is kept off the disk.
const VOLATILE: &str = "/run/backstop/keys";
/// Where one lies that is not.
const PERSISTENT: &str = "/var/lib/backstop/keys";
/// Where no secret may be.
const STORE: &str = "/nix/store";

/// A secret for a host. Exactly one of `file`, `command` and `env` says where it
/// comes from; it is never a part of the description itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// A file on this machine.
    #[serde(alias = "keyFile")]
    pub file: Option<PathBuf>,
    /// A command on this machine that prints it.
    #[serde(alias = "keyCommand")]
    pub command: Option<Vec<String>>,
    /// A variable of this program's environment.
    pub env: Option<String>,
    /// The directory on the host.
    #[serde(alias = "destDir")]
    pub dir: Option<PathBuf>,
    /// The file's name there; usually the key's.
    pub name: Option<String>,
    /// Whose it is.
    #[serde(default = "root", alias = "user")]
    pub owner: String,
    /// Whose group it is.
    #[serde(default = "root")]
    pub group: String,
    /// Its permission bits, in octal.
    #[serde(default = "usual_mode", alias = "permissions")]
    pub mode: String,
    /// When it is brought there.
    #[serde(default, alias = "uploadAt")]
    pub when: When,
    /// Keep it on the host's disk, so that it is still there after a reboot.
    #[serde(default)]
    pub persistent: bool,
}

/// When a secret is brought to a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Before the new version is activated.
    #[default]
    #[serde(alias = "pre-activation")]
    Before,
    /// After it is active, before it is confirmed.
    #[serde(alias = "post-activation")]
    After,
}

fn root() -> String {
    "root".to_owned()
}

fn usual_mode() -> String {
    "0600".to_owned()
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource<'a> {
    /// A file.
    File(&'a PathBuf),
    /// A command's output.
    Command(&'a [String]),
    /// A variable.
    Env(&'a str),
}

impl Key {
    /// Where it comes from.
    ///
    /// # Errors
    /// None, or more than one, is given.
    pub fn source(&self) -> Result<KeySource<'_>, String> {
        match (&self.file, &self.command, &self.env) {
            (Some(file), None, None) => Ok(KeySource::File(file)),
            (None, Some(words), None) if !words.is_empty() => Ok(KeySource::Command(words)),
            (None, None, Some(name)) => Ok(KeySource::Env(name)),
            _ => Err("give exactly one of `file`, `command` and `env`".to_owned()),
        }
    }

    /// The directory that it is put into.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        let usual = if self.persistent {
            PERSISTENT
        } else {
            VOLATILE
        };
        self.dir.clone().unwrap_or_else(|| usual.into())
    }

    /// Its permission bits.
    ///
    /// # Errors
    /// They are no octal number.
    pub fn mode(&self) -> Result<u32, String> {
        u32::from_str_radix(&self.mode, 8)
            .ok()
            .filter(|mode| *mode <= 0o777)
            .ok_or_else(|| format!("mode `{}` is none, such as \"0400\"", self.mode))
    }

    /// Whether what is given makes sense.
    pub(crate) fn check(&self, key: &str) -> Result<(), String> {
        let name = self.name.as_deref().unwrap_or(key);
        if name.is_empty() || name.contains('/') || name == "." || name == ".." {
            return Err(format!("key `{key}`: `{name}` is no name of a file"));
        }
        if !self.directory().is_absolute() {
            return Err(format!("key `{key}`: `dir` must begin with /"));
        }
        if self.file.as_ref().is_some_and(|f| f.starts_with(STORE)) {
            return Err(format!(
                "key `{key}`: its file is in the store, where all can read it"
            ));
        }
        let of_key = |why| format!("key `{key}`: {why}");
        self.source().map_err(of_key)?;
        self.mode().map_err(of_key).map(drop)
    }
}
