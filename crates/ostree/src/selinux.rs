//! The labels that a system's SELinux policy wants its files to have.
//!
//! Read as `libselinux` 3.4 reads it: `etc/selinux/config` names the policy, and below
//! `etc/selinux/NAME/contexts/files` are `file_contexts`, `.homedirs`, `.local`, and the
//! substitutions `.subs_dist` and `.subs`.

mod contexts;
mod substitutions;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use durable::Doing;

use self::contexts::Contexts;
use self::substitutions::Substitutions;
use crate::{Checksum, Error, Repo, Result};

/// No file of a policy is longer.
const LIMIT: u64 = 64 << 20;

/// Where a system keeps its policy.
const RUNNING: &str = "etc/selinux";
/// Where a commit of one does.
const COMMITTED: &str = "usr/etc/selinux";

/// What the policy of a system says of files.
#[derive(Debug)]
pub struct SePolicy {
    contexts: Contexts,
    substitutions: Substitutions,
}

/// Reads a file of a system by its path from the root; `None` where there is none.
type Read<'a> = dyn Fn(&Path) -> Result<Option<Vec<u8>>> + 'a;

impl SePolicy {
    /// The policy of the system in a directory; `None` where it has none, or where it is
    /// disabled.
    ///
    /// # Errors
    /// The disk's; a policy that is named and not there; lines that say nothing.
    pub fn of_dir(root: &Path) -> Result<Option<Self>> {
        Self::load(&[RUNNING, COMMITTED], &|path| {
            let path = root.join(path);
            match std::fs::read(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                other => Ok(Some(other.doing("read", &path)?)),
            }
        })
    }

    /// The policy of the system that a commit holds, as [`SePolicy::of_dir`].
    ///
    /// # Errors
    /// As there; missing or damaged objects.
    pub fn of_commit(repo: &Repo, commit: &Checksum) -> Result<Option<Self>> {
        Self::load(&[COMMITTED], &|path| repo.read_file(commit, path, LIMIT))
    }

    /// The policy that these files alone make: `file_contexts`, and `file_contexts.subs_dist`.
    ///
    /// # Errors
    /// Lines that say nothing; no label for the root.
    pub fn parse(file_contexts: &[u8], subs_dist: &[u8]) -> Result<Self> {
        Self::named(Path::new(""), &|path| {
            Ok(match path.extension().and_then(|e| e.to_str()) {
                None => Some(file_contexts.to_owned()),
                Some("subs_dist") => Some(subs_dist.to_owned()),
                Some(_) => None,
            })
        })
    }

    fn load(places: &[&str], read: &Read<'_>) -> Result<Option<Self>> {
        for place in places {
            let path = Path::new(place).join("config");
            if let Some(config) = read(&path)? {
                return match policy_name(&String::from_utf8_lossy(&config)) {
                    Some(name) => Self::named(&Path::new(place).join(name), read).map(Some),
                    None => Ok(None),
                };
            }
        }
        Ok(None)
    }

    /// The policy in `etc/selinux/NAME`.
    fn named(dir: &Path, read: &Read<'_>) -> Result<Self> {
        let main = dir.join("contexts/files/file_contexts");
        let with = |suffix| PathBuf::from(format!("{}{suffix}", main.display()));
        let mut contexts = Contexts::default();
        let text = read(&main)?.ok_or_else(|| wrong(&main, "it is not there".to_owned()))?;
        contexts.add(&main, &text)?;
        for suffix in [".homedirs", ".local"] {
            if let Some(text) = read(&with(suffix))? {
                contexts.add(&with(suffix), &text)?;
            }
        }
        let mut substitutions = Substitutions::default();
        for suffix in [".subs", ".subs_dist"] {
            let text = read(&with(suffix))?.unwrap_or_default();
            substitutions.then(&String::from_utf8_lossy(&text));
        }
        let policy = Self {
            contexts: contexts.sorted(),
            substitutions,
        };
        match policy.label(Path::new("/"), crate::format::TYPE_DIR)? {
            Some(_) => Ok(policy),
            None => Err(wrong(&main, "it has no label for /".to_owned())),
        }
    }

    /// The label of what is at an absolute path and has the type in `mode`; `None` where
    /// the policy wants none.
    ///
    /// # Errors
    /// A pattern that is no regular expression, or one that is not known here.
    pub fn label(&self, path: &Path, mode: u32) -> Result<Option<&str>> {
        // Policies label what is mounted there, not the directory under it; `ostree` takes it
        // for any place to mount something.
        let path = match path == Path::new("/proc") {
            true => Path::new("/mnt"),
            false => path,
        };
        let path = self.substitutions.apply(path.as_os_str().as_bytes());
        self.contexts.find(&path, mode)
    }
}

/// The name of the policy in a `config`, unless it is disabled.
fn policy_name(config: &str) -> Option<String> {
    let of = |key: &str| {
        config
            .lines()
            .filter_map(|l| l.strip_prefix(key))
            .next_back()
    };
    let mode = of("SELINUX=")?.to_ascii_lowercase();
    let enabled = ["enforcing", "permissive"]
        .iter()
        .any(|m| mode.starts_with(m));
    enabled.then(|| of("SELINUXTYPE=").unwrap_or_default().trim().to_owned())
}

fn wrong(path: &Path, why: String) -> Error {
    let path = path.to_owned();
    Error::SePolicy { path, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_names_its_policy() {
        let cases = [
            (
                "SELINUX=enforcing\nSELINUXTYPE=targeted \n",
                Some("targeted"),
            ),
            (
                "# SELINUX=disabled\nSELINUX=Permissive\nSELINUXTYPE=mls",
                Some("mls"),
            ),
            ("SELINUX=disabled\nSELINUXTYPE=targeted", None),
            ("SELINUXTYPE=targeted", None),
            ("", None),
        ];
        for (config, name) in cases {
            assert_eq!(policy_name(config).as_deref(), name, "{config:?}");
        }
    }
}
