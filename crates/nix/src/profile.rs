//! The system profile and its generations.

use std::path::PathBuf;
use std::time::Duration;

use durable::{Doing, Fs};

use crate::error::{Result, file};
use crate::layout::Layout;
use crate::program::{self, ask};
use crate::store::StorePath;

/// One generation of the system profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileGeneration {
    /// Its number.
    pub number: u64,
    /// Where it leads.
    pub path: StorePath,
}

/// The system profile.
#[derive(Debug)]
pub(crate) struct Profile<'a> {
    pub fs: &'a dyn Fs,
    pub layout: &'a Layout,
    pub limit: Duration,
}

impl Profile<'_> {
    /// The version that the profile leads to, if there is one.
    pub fn current(&self) -> Result<Option<StorePath>> {
        let profile = self.layout.profile();
        if std::fs::symlink_metadata(&profile).is_err() {
            return Ok(None);
        }
        StorePath::resolve(self.layout, &profile).map(Some)
    }

    /// The number of the generation that the profile leads to.
    pub fn current_number(&self) -> Option<u64> {
        let link = std::fs::read_link(self.layout.profile()).ok()?;
        number(link.file_name()?.to_str()?)
    }

    /// All generations, oldest first. One whose version is gone is left out.
    pub fn generations(&self) -> Result<Vec<ProfileGeneration>> {
        let dir = self.layout.profiles();
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(file("list", &dir)(e)),
        };
        let generation = |entry: std::fs::DirEntry| {
            let number = number(entry.file_name().to_str()?)?;
            let path = StorePath::resolve(self.layout, &entry.path()).ok()?;
            Some(ProfileGeneration { number, path })
        };
        let mut all: Vec<_> = entries.flatten().filter_map(generation).collect();
        all.sort_by_key(|generation| generation.number);
        Ok(all)
    }

    /// Makes the profile lead to a version, durably. If the newest generation is of
    /// that version, none is added.
    pub fn set(&self, path: &StorePath) -> Result<()> {
        if self.current()?.as_ref() == Some(path) {
            return self.sync();
        }
        let path = path.path().to_string_lossy().into_owned();
        self.change("set the system profile", &["--set", &path])
    }

    /// Makes the profile lead to the newest generation of a version, durably,
    /// without adding one. Answers `false` where there is none.
    pub fn switch_to(&self, path: &StorePath) -> Result<bool> {
        let of_path = |g: &&ProfileGeneration| g.path == *path;
        let generations = self.generations()?;
        let Some(generation) = generations.iter().rev().find(of_path) else {
            return Ok(false);
        };
        if self.current_number() != Some(generation.number) {
            let number = generation.number.to_string();
            self.change(
                "switch the system profile",
                &["--switch-generation", &number],
            )?;
        }
        self.sync()?;
        Ok(true)
    }

    fn change(&self, doing: &str, arguments: &[&str]) -> Result<()> {
        let dir = self.layout.profiles();
        durable::create_dir_all(self.fs, &dir, 0o755)?;
        let mut command = program::command(self.layout, "nix-env");
        command
            .arg("--profile")
            .arg(self.layout.profile())
            .args(arguments);
        ask(doing, command, self.limit)?;
        self.sync()
    }

    /// Nix does not sync its links.
    fn sync(&self) -> Result<()> {
        for dir in self.directories() {
            self.fs.sync_dir(&dir).doing("sync", &dir)?;
        }
        Ok(())
    }

    fn directories(&self) -> Vec<PathBuf> {
        let auto = self.layout.state().join("gcroots/auto");
        let dirs = [self.layout.profiles(), auto];
        dirs.into_iter().filter(|dir| dir.is_dir()).collect()
    }
}

/// The number in `system-12-link`.
fn number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("system-")?.strip_suffix("-link")?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_generations() {
        let table = [
            ("system-12-link", Some(12)),
            ("system-0-link", Some(0)),
            ("system", None),
            ("system-x-link", None),
            ("per-user", None),
            ("other-12-link", None),
        ];
        for (name, found) in table {
            assert_eq!(number(name), found, "{name}");
        }
    }
}
