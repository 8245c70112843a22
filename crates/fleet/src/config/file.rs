//! `fleet.toml`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::flake::{self, from_flake};
use super::host::Host;
use super::rollout::RolloutTable;
use super::settings::Settings;
use crate::{Error, Result};

/// No description is longer.
const LONGEST: u64 = 4 << 20;
/// No fleet has more hosts than this.
const MOST_HOSTS: usize = 10_000;

/// The file as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FleetFile {
    /// An editor's hint where the schema is.
    #[serde(rename = "$schema")]
    _schema: Option<String>,
    /// A flake whose `nixosConfigurations` are hosts too.
    flake: Option<String>,
    #[serde(default)]
    rollout: RolloutTable,
    #[serde(default)]
    defaults: Settings,
    #[serde(default)]
    tags: BTreeMap<String, Settings>,
    #[serde(default)]
    hosts: BTreeMap<String, Settings>,
}

/// A fleet: its hosts, and how they are rolled out to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// The hosts, by name.
    pub hosts: Vec<Host>,
    /// How a rollout goes.
    pub rollout: RolloutTable,
}

impl Description {
    /// Reads `fleet.toml`. Relative paths in it are relative to its directory.
    ///
    /// # Errors
    /// The file can't be read, or what is wrong with it, with the line.
    pub fn load(path: &Path) -> Result<Self> {
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text))
            .map_err(Error::file("read", path))?;
        let wrong = |why: String| Error::Description {
            path: path.to_owned(),
            why,
        };
        if text.len() as u64 > LONGEST {
            return Err(wrong(format!("it is longer than {LONGEST} bytes")));
        }
        let file: FleetFile =
            toml::from_str(&text).map_err(|e| wrong(e.to_string().trim_end().to_owned()))?;
        let dir = path.parent().unwrap_or(Path::new("."));
        Self::of_file(file, dir).map_err(|e| match e {
            Error::Host { host, why } => wrong(format!("host {host}: {why}")),
            e => e,
        })
    }

    /// The hosts of a flake, without any file.
    ///
    /// # Errors
    /// It can't be evaluated.
    pub fn of_flake(flake: &str) -> Result<Self> {
        let file = FleetFile {
            flake: Some(flake.to_owned()),
            ..FleetFile::default()
        };
        Self::of_file(file, Path::new("."))
    }

    fn of_file(file: FleetFile, dir: &Path) -> Result<Self> {
        let mut settings = BTreeMap::new();
        if let Some(flake) = &file.flake {
            let flake = flake::absolute(flake, dir);
            settings = from_flake(&flake)?;
        }
        for (name, own) in file.hosts {
            let merged = match settings.remove(&name) {
                // A host of the flake that is also in the file: the file's word counts.
                Some(of_flake) => own.over(&of_flake),
                None => own,
            };
            settings.insert(name, merged);
        }
        if settings.len() > MOST_HOSTS {
            let why = format!("more than {MOST_HOSTS} hosts");
            return Err(Error::Selection(why));
        }
        let resolve = |(name, own): (String, Settings)| {
            let merged = cascade(own, &file.tags, &file.defaults);
            Host::new(&name, merged, dir)
        };
        Ok(Self {
            hosts: settings.into_iter().map(resolve).collect::<Result<_>>()?,
            rollout: file.rollout,
        })
    }

    /// The directory to which a description's relative paths are relative.
    pub(super) fn absolute(path: &Path, dir: &Path) -> PathBuf {
        if path.is_absolute() {
            path.to_owned()
        } else {
            dir.join(path)
        }
    }
}

/// A host's own settings over those of its tags, in order, over those of all.
fn cascade(own: Settings, tags: &BTreeMap<String, Settings>, defaults: &Settings) -> Settings {
    let names = own.tags.clone().or_else(|| defaults.tags.clone());
    let mut merged = own;
    for tag in names.iter().flatten() {
        if let Some(of_tag) = tags.get(tag) {
            merged = merged.over(of_tag);
        }
    }
    merged.tags = names;
    merged.over(defaults)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]
    use super::*;
    use std::time::Duration;

    fn load(text: &str) -> Result<Description> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fleet.toml");
        std::fs::write(&path, text).unwrap();
        Description::load(&path)
    }

    #[test]
    fn settings_cascade_from_all_to_tag_to_host() {
        let fleet = load(
            r#"
            [defaults]
            target_user = "deploy"
            confirm_timeout = "30s"
            [tags.web]
            confirm_timeout = "60s"
            attempts = 2
            [tags.slow]
            confirm_timeout = "5m"
            attempts = 5
            [hosts.a]
            tags = ["web", "slow"]
            store_path = "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-x"
            [hosts.b]
            tags = ["slow"]
            targetHost = "10.0.0.2"
            attempts = 1
            fetch = "/srv/repo:stable"
            "#,
        )
        .unwrap();
        let seen: Vec<_> = fleet
            .hosts
            .iter()
            .map(|h| (h.name.as_str(), h.address.host.as_str(), h.bounds.confirm))
            .collect();
        let seconds = Duration::from_secs;
        assert_eq!(
            seen,
            [("a", "a", seconds(60)), ("b", "10.0.0.2", seconds(300))]
        );
        let attempts: Vec<_> = fleet.hosts.iter().map(|h| h.attempts).collect();
        assert_eq!(attempts, [Some(2), Some(1)]);
        assert!(fleet.hosts.iter().all(|h| h.sudo));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let table = [
            ("[hosts.a]\ntarget_hots = 'x'", "line 2"),
            ("[hosts.a]\ntarget_port = 70000", "line 2"),
            ("[defaults]\nconfirm_timeout = 'soon'", "line 2"),
            ("[rollout]\nwaves = [1, 'half']", "line 2"),
            ("[hosts.a]\nimage = '/r:x'\nfetch = '/r:x'", "host a"),
            ("[hosts.a]\nimage = 'no colon'", "REPOSITORY:REF"),
            ("[hosts.a]\nstore_path = '/etc/passwd'", "host a"),
            (
                "[hosts.a]\nfetch='/r:x'\n[hosts.a.keys.k]\nmode='0600'",
                "key `k`",
            ),
            (
                "[hosts.a]\nfetch='/r:x'\n[hosts.a.keys.k]\nenv='X'\nmode='999'",
                "key `k`",
            ),
            (
                "[hosts.a]\nfetch='/r:x'\n[hosts.a.keys.k]\nfile='/nix/store/x'",
                "in the store",
            ),
            (
                "[hosts.a]\nfetch='/r:x'\n[hosts.a.checks.c]\nretries=1",
                "check `c`",
            ),
            ("[hosts.'-oProxyCommand=x']\nfetch='/r:x'", "name of a host"),
            ("[hosts.a]\nfetch='/r:x'\ntarget_host='-x'", "begins with"),
            ("[hosts.a]\nfetch='/r:x'\nprogram_dir='/a b'", "program_dir"),
        ];
        for (text, expected) in table {
            let error = load(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
