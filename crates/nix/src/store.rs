//! Paths of the store: valid, complete, signed, copied.

use std::fmt;
use std::path::{Path, PathBuf};

use engine::VersionId;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::error::{Error, Result, file};
use crate::layout::Layout;
use crate::program::{self, ask};

/// The digits of a store path's hash.
const DIGITS: &[u8] = b"0123456789abcdfghijklmnpqrsvwxyz";
/// How many of them there are.
const HASH: usize = 32;
/// No name of a store path is longer, its hash not counted.
const LONGEST_NAME: usize = 211;

/// A path directly below a store: `/nix/store/HASH-NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StorePath(PathBuf);

impl StorePath {
    /// Takes a path that lies directly in the store of `layout`.
    ///
    /// # Errors
    /// It does not, or is no name of a store path.
    pub fn parse(layout: &Layout, text: &str) -> Result<Self> {
        let path = Path::new(text);
        let name = path.file_name().and_then(|name| name.to_str());
        let below = path.parent() == Some(&layout.store());
        if below && name.is_some_and(is_name) {
            return Ok(Self(path.to_owned()));
        }
        Err(Error::NotAStorePath(text.to_owned()))
    }

    /// The version's.
    ///
    /// # Errors
    /// It is no path in the store.
    pub fn of(layout: &Layout, version: &VersionId) -> Result<Self> {
        Self::parse(layout, version.as_str())
    }

    /// What a path leads to, such as a profile, a generation or `./result`.
    ///
    /// # Errors
    /// There is nothing, or it is outside the store.
    pub fn resolve(layout: &Layout, path: &Path) -> Result<Self> {
        if let Ok(path) = Self::parse(layout, &path.to_string_lossy()) {
            return Ok(path);
        }
        let found = std::fs::canonicalize(path).map_err(file("follow", path))?;
        // The root itself may be reached by a link.
        let root = std::fs::canonicalize(layout.root()).map_err(file("follow", layout.root()))?;
        let below = found
            .strip_prefix(&root)
            .map(|below| layout.root().join(below));
        Self::parse(layout, &below.unwrap_or(found).to_string_lossy())
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The version that it is.
    #[must_use]
    pub fn version(&self) -> VersionId {
        VersionId::new(self.0.to_string_lossy())
    }

    /// Its name, with the hash: as a link's name, no other path has it.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.0.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// Whether this is `HASH-NAME`.
fn is_name(text: &str) -> bool {
    let Some((hash, name)) = text.split_once('-') else {
        return false;
    };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"+-._?=".contains(&b);
    hash.len() == HASH
        && hash.bytes().all(|b| DIGITS.contains(&b))
        && (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(allowed)
}

/// The store of a host.
#[derive(Debug, Clone)]
pub(crate) struct Store<'a> {
    pub layout: &'a Layout,
    pub config: &'a Config,
    pub log: PathBuf,
}

impl Store<'_> {
    /// Refuses a closure that is not whole. One that Nix does not even know is fetched
    /// first; one that is whole takes a single program.
    pub fn complete(&self, toplevel: &StorePath, fetch: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.check_complete(toplevel).is_ok() {
            return Ok(());
        }
        if !self.is_valid(toplevel)? {
            fetch()?;
        }
        self.check_complete(toplevel)
    }

    /// Whether Nix knows the path to be whole.
    fn is_valid(&self, path: &StorePath) -> Result<bool> {
        let mut command = program::command(self.layout, "nix-store");
        command.args(["--check-validity", "--print-invalid"]);
        command.arg(path.path());
        let invalid = ask("look into the store", command, self.config.command_timeout)?;
        Ok(invalid.trim().is_empty())
    }

    /// Refuses a closure of which a path is not on the disk, or that is no system.
    fn check_complete(&self, toplevel: &StorePath) -> Result<()> {
        let mut command = program::command(self.layout, "nix-store");
        command
            .args(["--query", "--requisites"])
            .arg(toplevel.path());
        let closure = ask("list the closure", command, self.config.command_timeout)?;
        let gone = |path: &&str| std::fs::symlink_metadata(path).is_err();
        if let Some(missing) = closure.lines().find(gone) {
            return Err(Error::Incomplete {
                toplevel: toplevel.clone(),
                missing: missing.to_owned(),
            });
        }
        let program = toplevel.path().join("bin/switch-to-configuration");
        if std::fs::metadata(program).is_err() {
            return Err(Error::NotASystem(toplevel.clone()));
        }
        Ok(())
    }

    /// Refuses a closure that lacks the signatures which the configuration demands.
    pub fn check_signatures(&self, toplevel: &StorePath) -> Result<()> {
        if self.config.signatures == 0 {
            return Ok(());
        }
        let needed = self.config.signatures.to_string();
        let mut command = program::nix(self.layout, &["store", "verify"]);
        command.args(["--no-contents", "--recursive", "--sigs-needed", &needed]);
        if !self.config.trusted_public_keys.is_empty() {
            let keys = self.config.trusted_public_keys.join(" ");
            command.args(["--option", "trusted-public-keys", &keys]);
        }
        command.arg(toplevel.path());
        let limit = self.config.copy_timeout;
        let verify = "verify the signatures of the closure";
        program::run(verify, command, &self.log, limit).map(drop)
    }

    /// Brings the path here from another store, or by realising it from the
    /// substituters that Nix knows.
    pub fn fetch(&self, path: &StorePath, from: Option<&str>) -> Result<()> {
        let command = match from {
            Some(store) => {
                let mut command = program::nix(self.layout, &["copy", "--from", store]);
                command.arg(path.path());
                command
            }
            None => {
                let mut command = program::command(self.layout, "nix-store");
                command.arg("--realise").arg(path.path());
                command
            }
        };
        let limit = self.config.copy_timeout;
        program::run("copy the version here", command, &self.log, limit).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_directly_in_the_store_are_taken() {
        let layout = Layout::new(Path::new("/"));
        let hash = "0123456789abcdfghijklmnpqrsvwxyz";
        let good = format!("/nix/store/{hash}-nixos-system-web-24.05");
        let path = StorePath::parse(&layout, &good).unwrap();
        assert_eq!(path.version().as_str(), good);
        assert_eq!(path.version().short(), &hash[..10]);
        let long = "x".repeat(LONGEST_NAME + 1);
        for bad in [
            "",
            "/nix/store",
            &format!("/nix/store/{hash}"),
            &format!("/nix/store/{hash}-"),
            &format!("/nix/store/{hash}-a/b"),
            &format!("/nix/store/../{hash}-a"),
            &format!("/nix/store/{hash}-a b"),
            &format!("/nix/store/{hash}-{long}"),
            &format!("/nix/store/{}-a", hash.replace('z', "e")),
            &format!("/other/{hash}-a"),
            &format!("{hash}-a"),
        ] {
            assert!(StorePath::parse(&layout, bad).is_err(), "{bad}");
        }
    }
}
