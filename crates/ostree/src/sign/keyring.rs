//! The OpenPGP keys that a remote's signatures are checked with:
//! `REMOTE.trustedkeys.gpg` in the repository.

use std::io;
use std::path::{Path, PathBuf};

use durable::{Doing, FileKind};

use super::gpg::{run, said};
use super::{Gpg, SignError};
use crate::{Error, Repo, Result};

/// Where keys lie that count for every remote that has none of its own, unless
/// [`GLOBAL_VARIABLE`] names another directory.
const GLOBAL: &str = "/usr/share/ostree/trusted.gpg.d";
/// What `ostree` calls that directory in the environment.
const GLOBAL_VARIABLE: &str = "OSTREE_GPG_HOME";
/// Where a host's remotes are configured, and their keyrings may lie.
const REMOTES: &str = "/etc/ostree/remotes.d";

/// The longest keyring that is read.
const LIMIT: u64 = 16 << 20;

impl Repo {
    /// The keyring that belongs to a remote, whether it is there or not.
    #[must_use]
    pub fn keyring_path(&self, remote: &str) -> PathBuf {
        self.path().join(format!("{remote}.trustedkeys.gpg"))
    }

    /// The keyrings that count for a remote: its own; else, the global ones. `None`
    /// asks for the global ones.
    ///
    /// # Errors
    /// The disk's.
    pub fn keyrings(&self, remote: Option<&str>) -> Result<Vec<PathBuf>> {
        if let Some(own) = remote.and_then(|remote| self.own_keyring(remote)) {
            return Ok(vec![own]);
        }
        let global = std::env::var_os(GLOBAL_VARIABLE).map_or(GLOBAL.into(), PathBuf::from);
        match self.fs().read_dir(&global) {
            Ok(entries) => Ok(entries
                .iter()
                .map(|e| global.join(&e.name))
                .filter(|path| path.extension().is_some_and(|e| e == "gpg"))
                .collect()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Ok(Err(e).doing("list", &global)?),
        }
    }

    /// The keyring of a remote, if it has one: here, with the host's settings, or
    /// in a repository that stands behind this one.
    fn own_keyring(&self, remote: &str) -> Option<PathBuf> {
        let in_etc = Path::new(REMOTES).join(format!("{remote}.trustedkeys.gpg"));
        let places = [self.keyring_path(remote), in_etc];
        let mut there = places.into_iter();
        let found = there.find(|path| self.fs().metadata(path).is_ok());
        found.or_else(|| self.parent()?.own_keyring(remote))
    }

    /// The file of keys of this name, or all files in the directory.
    pub(super) fn key_files(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let kind = match self.fs().metadata(path) {
            Ok(found) => found.kind,
            Err(source) => {
                let path = path.to_owned();
                return Err(SignError::Keyring { path, source }.into());
            }
        };
        if kind != FileKind::Dir {
            return Ok(vec![path.to_owned()]);
        }
        let entries = self.fs().read_dir(path).doing("list", path)?;
        let files = entries.iter().map(|e| path.join(&e.name));
        let is_file = |p: &PathBuf| {
            self.fs()
                .metadata(p)
                .is_ok_and(|m| m.kind == FileKind::File)
        };
        Ok(files.filter(is_file).collect())
    }

    /// Adds OpenPGP keys (binary or armoured) to those that are trusted for a
    /// remote: all of `keys`, or those that `only` names. Answers how many keys were
    /// not there before.
    ///
    /// # Errors
    /// What `gpg` says; the disk's. The keyring is as it was then.
    pub fn import_keys(&self, remote: &str, keys: &[&Path], only: &[String]) -> Result<usize> {
        crate::check_ref_name(remote)?;
        let home = self
            .path()
            .join("tmp")
            .join(format!("backstop-gpg-{}", std::process::id()));
        durable::remove_tree(self.fs(), &home)?;
        durable::create_dir_all(self.fs(), &home, 0o700)?;
        let added = self.import_in(&home, remote, keys, only);
        durable::remove_tree(self.fs(), &home)?;
        added
    }

    fn import_in(
        &self,
        home: &Path,
        remote: &str,
        keys: &[&Path],
        only: &[String],
    ) -> Result<usize> {
        let gpg = Gpg {
            home: Some(home.to_owned()),
            keyrings: Vec::new(),
        };
        let keyring = self.keyring_path(remote);
        let (all, some) = (home.join("all.gpg"), home.join("some"));
        let chosen = home.join("chosen.gpg");
        // `gpg` is given copies: what is to be read may be a pipe of ours.
        let mut copies = Vec::new();
        for (number, path) in keys.iter().enumerate() {
            let bytes = durable::read_bounded(self.fs(), path, LIMIT)?;
            let copy = home.join(format!("given-{number}"));
            durable::publish_file(self.fs(), &copy, &bytes, 0o600)?;
            copies.push(copy);
        }
        let copies: Vec<_> = copies.iter().map(PathBuf::as_path).collect();
        gpg_import(&gpg, &all, &copies)?;
        let bytes = gpg_export(&gpg, &all, only)?;
        durable::publish_file(self.fs(), &some, &bytes, 0o600)?;
        gpg_import(&gpg, &chosen, &[&some])?;
        let new = gpg_list(&gpg, &chosen)?;
        let mut old = Vec::new();
        if self.fs().metadata(&keyring).is_ok() {
            let existing = durable::read_bounded(self.fs(), &keyring, LIMIT)?;
            let copy = home.join("existing");
            durable::publish_file(self.fs(), &copy, &existing, 0o600)?;
            let before = home.join("before.gpg");
            gpg_import(&gpg, &before, &[&copy])?;
            old = gpg_list(&gpg, &before)?;
            gpg_import(&gpg, &chosen, &[&copy])?;
        }
        let bytes = gpg_export(&gpg, &chosen, &[])?;
        durable::publish_file(self.fs(), &keyring, &bytes, 0o644)?;
        Ok(new.iter().filter(|key| !old.contains(key)).count())
    }

    /// The keys in a remote's own keyring; `None` asks for the global ones.
    ///
    /// # Errors
    /// The disk's.
    pub fn own_gpg(&self, remote: Option<&str>) -> Result<Gpg> {
        let keyrings = match remote {
            Some(remote) => self.own_keyring(remote).into_iter().collect(),
            None => self.keyrings(None)?,
        };
        Ok(Gpg::with_keyrings(keyrings))
    }

    /// The fingerprints of the keys that are trusted for a remote.
    ///
    /// # Errors
    /// What `gpg` says; the disk's.
    pub fn trusted_keys(&self, remote: Option<&str>) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for keyring in self.keyrings(remote)? {
            found.extend(gpg_list(&Gpg::default(), &keyring)?);
        }
        Ok(found)
    }
}

/// Runs `gpg` on one keyring alone; what it printed.
fn on_keyring(
    gpg: &Gpg,
    keyring: &Path,
    doing: &'static str,
    args: &[&str],
    paths: &[&Path],
) -> Result<Vec<u8>> {
    let mut command = gpg.command();
    command.args([
        "--no-default-keyring",
        "--no-autostart",
        "--no-auto-check-trustdb",
    ]);
    command
        .arg("--trust-model=always")
        .arg("--keyring")
        .arg(keyring);
    command.args(args);
    if !paths.is_empty() {
        command.arg("--").args(paths);
    }
    let output = run("gpg", &mut command).map_err(Error::from)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(Error::from(SignError::ProgramFailed {
        program: "gpg",
        doing,
        said: said(&output),
    }))
}

fn gpg_import(gpg: &Gpg, into: &Path, keys: &[&Path]) -> Result<()> {
    let args = ["--import-options", "import-clean", "--import"];
    on_keyring(gpg, into, "import keys", &args, keys).map(drop)
}

fn gpg_export(gpg: &Gpg, from: &Path, only: &[String]) -> Result<Vec<u8>> {
    let mut args = vec!["--export", "--"];
    args.extend(only.iter().map(String::as_str));
    let bytes = on_keyring(gpg, from, "export keys", &args, &[])?;
    if bytes.is_empty() {
        let said = "there is no such key".to_owned();
        let (program, doing) = ("gpg", "export keys");
        return Err(Error::from(SignError::ProgramFailed {
            program,
            doing,
            said,
        }));
    }
    Ok(bytes)
}

/// The fingerprints of the keys in a keyring, without those of subkeys.
fn gpg_list(gpg: &Gpg, keyring: &Path) -> Result<Vec<String>> {
    let args = ["--with-colons", "--fingerprint", "--list-keys"];
    let text = on_keyring(gpg, keyring, "list keys", &args, &[])?;
    Ok(fingerprints(&String::from_utf8_lossy(&text)))
}

/// The `fpr` record that follows each `pub` record.
fn fingerprints(listing: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut primary = false;
    for line in listing.lines() {
        let fields: Vec<_> = line.split(':').collect();
        match (fields[0], fields.get(9)) {
            ("pub", _) => primary = true,
            ("sub", _) => primary = false,
            ("fpr", Some(fingerprint)) if primary => {
                found.push((*fingerprint).to_owned());
                primary = false;
            }
            _ => {}
        }
    }
    found
}
