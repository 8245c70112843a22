//! The repository's `config` file.

use std::fmt;

use crate::keyfile::KeyFile;

/// How a repository keeps file content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RepoMode {
    /// Files as they are, with owner, mode and attributes; checkouts are hard
    /// links. Needs root for trees that have several owners.
    Bare,
    /// Files readable by their owner, the true attributes in
    /// `user.ostreemeta`; for unprivileged users.
    BareUser,
    /// Files as they are, but without owners and extended attributes, and with
    /// harmless mode bits only; needs nothing of the filesystem.
    BareUserOnly,
    /// Compressed files, for serving over a network.
    Archive,
}

impl RepoMode {
    /// The mode that a `config` file or a summary means by this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "bare" => Some(Self::Bare),
            "bare-user" => Some(Self::BareUser),
            "bare-user-only" => Some(Self::BareUserOnly),
            "archive" | "archive-z2" => Some(Self::Archive),
            _ => None,
        }
    }

    /// The word in the `config` file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::BareUser => "bare-user",
            Self::BareUserOnly => "bare-user-only",
            Self::Archive => "archive-z2",
        }
    }
}

impl fmt::Display for RepoMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a `config` file does not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadConfig {
    /// A line that is no group, comment or pair.
    #[error("line {0} is neither \"[group]\" nor \"key=value\"")]
    Syntax(usize),
    /// No `[core] repo_version`.
    #[error("it has no [core] repo_version, so this may not be a repository")]
    NoVersion,
    /// Written by something newer.
    #[error("its repo_version is {0:?}, and this program knows version 1 only: use a newer one")]
    Version(String),
    /// No `[core] mode`.
    #[error("it has no [core] mode")]
    NoMode,
    /// A mode that is not implemented.
    #[error(
        "its mode is {0:?}, and this program knows \"bare\", \"bare-user\", \"bare-user-only\" and \
         \"archive\" only"
    )]
    Mode(String),
    /// A value that cannot be understood.
    #[error("[core] {key} is {value:?}, which is not {wanted}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
}

/// How much space a writer must leave free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MinFreeSpace {
    Percent(u64),
    Bytes(u64),
}

/// What matters to us of a `config` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) mode: RepoMode,
    pub(crate) min_free_space: MinFreeSpace,
    pub(crate) zlib_level: u32,
    /// Extended attributes are neither read nor set.
    pub(crate) disable_xattrs: bool,
    /// Whether what is written is synced.
    pub(crate) fsync: bool,
    /// Whether a removed commit leaves a mark that says so.
    pub(crate) tombstones: bool,
    /// A repository whose objects and refs are seen as if they were here.
    pub(crate) parent: Option<String>,
}

impl Config {
    /// Reads the text of a `config` file.
    pub(crate) fn parse(text: &str) -> Result<Self, BadConfig> {
        let file = KeyFile::parse(text).map_err(BadConfig::Syntax)?;
        match file.get("core", "repo_version") {
            Some("1") => {}
            Some(other) => return Err(BadConfig::Version(other.to_owned())),
            None => return Err(BadConfig::NoVersion),
        }
        let mode = match file.get("core", "mode") {
            Some(word) => {
                RepoMode::from_word(word).ok_or_else(|| BadConfig::Mode(word.to_owned()))?
            }
            None => return Err(BadConfig::NoMode),
        };
        Ok(Self {
            mode,
            min_free_space: min_free_space(&file)?,
            zlib_level: zlib_level(&file)?,
            disable_xattrs: flag(&file, "disable-xattrs", false)?,
            fsync: flag(&file, "fsync", true)?,
            tombstones: flag(&file, "tombstone-commits", false)?,
            parent: file.get("core", "parent").map(str::to_owned),
        })
    }

    /// The text of a new repository's `config` file.
    pub(crate) fn text_for(mode: RepoMode) -> String {
        format!("[core]\nrepo_version=1\nmode={mode}\n")
    }
}

/// A flag, where it is set.
fn flag(file: &KeyFile, key: &'static str, default: bool) -> Result<bool, BadConfig> {
    match file.get("core", key) {
        None => Ok(default),
        Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(BadConfig::Value {
            key,
            value: other.to_owned(),
            wanted: "true or false",
        }),
    }
}

/// The reserve: a size where one is given, else a share, by default 3 percent.
fn min_free_space(file: &KeyFile) -> Result<MinFreeSpace, BadConfig> {
    let bad = |key, value: &str, wanted| BadConfig::Value {
        key,
        value: value.to_owned(),
        wanted,
    };
    if let Some(text) = file.get("core", "min-free-space-size") {
        let wanted = "a number followed by MB, GB or TB";
        let bytes = size(text).ok_or_else(|| bad("min-free-space-size", text, wanted))?;
        return Ok(MinFreeSpace::Bytes(bytes));
    }
    let text = file.get("core", "min-free-space-percent").unwrap_or("3");
    match text.parse() {
        Ok(percent @ 0..=99) => Ok(MinFreeSpace::Percent(percent)),
        _ => Err(bad("min-free-space-percent", text, "a number from 0 to 99")),
    }
}

/// `500MB`, `1GB`: powers of 1024.
fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match &text[digits.len()..] {
        "MB" => 20,
        "GB" => 30,
        "TB" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// How hard an archive compresses; 6 unless said otherwise.
fn zlib_level(file: &KeyFile) -> Result<u32, BadConfig> {
    let text = file.get("archive", "zlib-level").unwrap_or("6");
    match text.parse() {
        Ok(level @ 1..=9) => Ok(level),
        _ => Err(BadConfig::Value {
            key: "zlib-level",
            value: text.to_owned(),
            wanted: "a number from 1 to 9",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(core: &str) -> Result<Config, BadConfig> {
        Config::parse(&format!("[core]\n{core}"))
    }

    #[test]
    fn accepted() {
        let base = "repo_version=1\n";
        for (mode, is) in [
            ("bare", RepoMode::Bare),
            ("bare-user", RepoMode::BareUser),
            ("bare-user-only", RepoMode::BareUserOnly),
            ("archive", RepoMode::Archive),
            ("archive-z2", RepoMode::Archive),
        ] {
            let config = parse(&format!("{base}mode={mode}")).unwrap();
            assert_eq!(config.mode, is);
            assert_eq!(config.min_free_space, MinFreeSpace::Percent(3));
        }
        let config = parse(&format!("{base}mode=bare\nmin-free-space-size=2GB")).unwrap();
        assert_eq!(config.min_free_space, MinFreeSpace::Bytes(2 << 30));
        let text = Config::text_for(RepoMode::Archive);
        assert_eq!(Config::parse(&text).unwrap().mode, RepoMode::Archive);
    }

    #[test]
    fn refused() {
        let cases = [
            ("mode=bare", "no [core] repo_version"),
            ("repo_version=2\nmode=bare", "use a newer one"),
            ("repo_version=1", "no [core] mode"),
            (
                "repo_version=1\nmode=bare-split-xattrs",
                "bare-split-xattrs",
            ),
            (
                "repo_version=1\nmode=bare\nmin-free-space-percent=100",
                "0 to 99",
            ),
            (
                "repo_version=1\nmode=bare\nmin-free-space-size=1PB",
                "MB, GB or TB",
            ),
            ("repo_version=1\nwhat", "line 3"),
        ];
        for (text, says) in cases {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(says), "{text:?}: {message}");
        }
    }
}
