//! The policy's files.
//!
//! `backstop.toml` and the drop-ins in `backstop.toml.d`, below
//! `/usr/lib/backstop` and `/etc/backstop`. A later file overrides an earlier
//! one key by key: first the two main files, then all drop-ins in the order of
//! their names, where one in `/etc` replaces one of the same name in `/usr/lib`.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use engine::{Confirm, IfRefused, TrialKind};
use health::Span;
use serde::Deserialize;

use crate::policy::{Policy, Reboot};
use crate::window::Window;

/// No policy file is longer.
const LONGEST: u64 = 64 * 1024;
/// Where policy files are, below the root; later ones win.
const DIRECTORIES: [&str; 2] = ["usr/lib/backstop", "etc/backstop"];

/// A policy file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It could not be read.
    #[error("cannot read the policy in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// It is no TOML, or has a key that does not exist.
    #[error("the policy in {} cannot be used", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        source: Box<toml::de::Error>,
    },
    /// A value makes no sense.
    #[error("the policy in {} cannot be used: {key}: {what}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        what: String,
    },
}

/// A policy file as written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct PolicyFile {
    upgrade: UpgradeTable,
    reboot: RebootTable,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct UpgradeTable {
    source: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    flake: Option<String>,
    flags: Option<Vec<String>>,
    path: Option<PathBuf>,
    if_refused: Option<IfRefused>,
    kind: Option<TrialKind>,
    confirm: Option<Word>,
    confirm_within: Option<Span>,
    attempts: Option<u8>,
    boot_deadline: Option<Span>,
    check_deadline: Option<Span>,
}

/// Whose word is needed.
#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Word {
    Checks,
    Person,
    Deployer,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RebootTable {
    when: Option<When>,
    windows: Option<Vec<String>>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum When {
    Now,
    Never,
}

impl Policy {
    /// Reads the policy of the system below `root`. Without any file, an
    /// upgrade is tried by a reboot at once, and kept when it is healthy.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub fn load(root: &Path) -> Result<Self, PolicyError> {
        Self::load_over(Self::default(), root)
    }

    /// As [`Policy::load`], with another policy where no file says otherwise.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub fn load_over(usual: Self, root: &Path) -> Result<Self, PolicyError> {
        let mut policy = usual;
        let mut confirm = match policy.upgrade.confirm {
            Confirm::Checks => Word::Checks,
            Confirm::Person { .. } => Word::Person,
            Confirm::Deployer { .. } => Word::Deployer,
        };
        for path in files(root)? {
            if let Some(text) = read(&path)? {
                policy.apply(&path, &text, &mut confirm)?;
            }
        }
        Ok(policy)
    }

    /// Lays one file over what came before.
    fn apply(&mut self, path: &Path, text: &str, word: &mut Word) -> Result<(), PolicyError> {
        let file: PolicyFile = toml::from_str(text).map_err(|source| PolicyError::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        self.apply_upgrade(path, file.upgrade, word)?;
        self.apply_reboot(path, &file.reboot)
    }

    fn apply_upgrade(
        &mut self,
        path: &Path,
        table: UpgradeTable,
        word: &mut Word,
    ) -> Result<(), PolicyError> {
        let bad = |key, what: &str| PolicyError::Value {
            path: path.to_owned(),
            key,
            what: what.to_owned(),
        };
        if table.attempts == Some(0) {
            return Err(bad("upgrade.attempts", "at least one is needed"));
        }
        let confirm_within = table.confirm_within.map(|span| span.0);
        *word = table.confirm.unwrap_or(*word);
        let upgrade = &mut self.upgrade;
        let within = confirm_within.or(upgrade.confirm.within());
        upgrade.confirm = match (*word, within) {
            (Word::Checks, _) if confirm_within.is_some() => {
                let what = "it is of use only with confirm = \"person\" or \"deployer\"";
                return Err(bad("upgrade.confirm_within", what));
            }
            (Word::Checks, _) => Confirm::Checks,
            (_, None) => return Err(bad("upgrade.confirm", "confirm_within is missing")),
            (Word::Person, Some(within)) => Confirm::Person { within },
            (Word::Deployer, Some(within)) => Confirm::Deployer { within },
        };
        upgrade.source = table.source.or(upgrade.source.take());
        upgrade.reference = table.reference.or(upgrade.reference.take());
        upgrade.flake = table.flake.or(upgrade.flake.take());
        upgrade.flags = table.flags.unwrap_or(std::mem::take(&mut upgrade.flags));
        upgrade.path = table.path.or(upgrade.path.take());
        upgrade.if_refused = table.if_refused.or(upgrade.if_refused);
        upgrade.kind = table.kind.unwrap_or(upgrade.kind);
        upgrade.attempts = table.attempts.unwrap_or(upgrade.attempts);
        let or = |span: Option<Span>, before| span.map_or(before, |s| s.0);
        upgrade.boot_deadline = or(table.boot_deadline, upgrade.boot_deadline);
        upgrade.check_deadline = or(table.check_deadline, upgrade.check_deadline);
        Ok(())
    }

    fn apply_reboot(&mut self, path: &Path, table: &RebootTable) -> Result<(), PolicyError> {
        let bad = |key, what: String| PolicyError::Value {
            path: path.to_owned(),
            key,
            what,
        };
        let windows = match (&table.when, &table.windows) {
            (None, None) => return Ok(()),
            (Some(_), Some(_)) => {
                let what = "give either `when` or `windows`".to_owned();
                return Err(bad("reboot", what));
            }
            (Some(when), None) => {
                self.reboot = match when {
                    When::Now => Reboot::Now,
                    When::Never => Reboot::Never,
                };
                return Ok(());
            }
            (None, Some(windows)) => windows,
        };
        if windows.is_empty() {
            let what = "no window at all; say when = \"never\" instead".to_owned();
            return Err(bad("reboot.windows", what));
        }
        let parsed: Result<Vec<Window>, _> = windows.iter().map(|w| w.parse()).collect();
        let parsed = parsed.map_err(|e| bad("reboot.windows", e.to_string()))?;
        self.reboot = Reboot::Windows(parsed);
        Ok(())
    }
}

/// The files to read, in the order in which they override each other.
fn files(root: &Path) -> Result<Vec<PathBuf>, PolicyError> {
    let mut files: Vec<_> = DIRECTORIES
        .iter()
        .map(|dir| root.join(dir).join("backstop.toml"))
        .collect();
    let mut drop_ins = BTreeMap::new();
    for dir in DIRECTORIES {
        let dir = root.join(dir).join("backstop.toml.d");
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(source) => return Err(PolicyError::Read { path: dir, source }),
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "toml") {
                drop_ins.insert(entry.file_name(), path);
            }
        }
    }
    files.extend(drop_ins.into_values());
    Ok(files)
}

/// A file's text; `None` where there is no file.
fn read(path: &Path) -> Result<Option<String>, PolicyError> {
    let failed = |source| PolicyError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let mut text = String::new();
    let read = file.take(LONGEST + 1).read_to_string(&mut text);
    if read.map_err(failed)? as u64 > LONGEST {
        let why = format!("it is longer than {LONGEST} bytes");
        return Err(failed(std::io::Error::new(ErrorKind::InvalidData, why)));
    }
    Ok(Some(text))
}
