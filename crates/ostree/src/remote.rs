//! Remotes: other repositories that this one pulls from.
//!
//! A remote is a group `[remote "NAME"]` in the `config` file, or, for a system's own
//! repository, in a file of `/etc/ostree/remotes.d`.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use durable::{Doing, FileKind};

use crate::keyfile::{KeyFile, with_key, without_group};
use crate::{Error, Repo, Result, check_ref_name};

/// Where the repository of the system that runs is.
const HOST_REPO: &str = "/sysroot/ostree/repo";

/// Another repository, by name, and how to get at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    name: String,
    options: Vec<(String, String)>,
}

/// What to do when a remote of the name exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IfExists {
    /// That is an error.
    #[default]
    Fail,
    /// It stays as it is.
    Keep,
    /// The new one takes its place.
    Replace,
}

impl Remote {
    /// A remote with an address.
    ///
    /// # Errors
    /// The name cannot be one.
    pub fn new(name: &str, url: &str) -> Result<Self> {
        let mut remote = Self::named(name)?;
        remote.set("url", Some(url));
        Ok(remote)
    }

    /// A remote without any settings.
    fn named(name: &str) -> Result<Self> {
        if name.contains('/') || check_ref_name(name).is_err() {
            return Err(Error::RemoteName(name.to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
            options: Vec::new(),
        })
    }

    /// Its name here.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A setting.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.options.iter().rev().find(|(k, _)| k == key);
        found.map(|(_, value)| value.as_str())
    }

    /// Sets a setting, or removes it.
    pub fn set(&mut self, key: &str, value: Option<&str>) {
        self.options.retain(|(k, _)| k != key);
        if let Some(value) = value {
            self.options.push((key.to_owned(), value.to_owned()));
        }
    }

    /// All settings, in their order.
    pub fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        self.options.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// The address; `mirrorlist=` before it means that a list of addresses is there.
    ///
    /// # Errors
    /// There is none.
    pub fn url(&self) -> Result<&str> {
        self.get("url").ok_or_else(|| Error::BadRemote {
            name: self.name.clone(),
            key: "url".to_owned(),
            why: "is not set",
        })
    }

    /// Where it is: `metalink=` and the address of a metalink, where one is set, or the
    /// address.
    ///
    /// # Errors
    /// There is neither.
    pub fn address(&self) -> Result<Cow<'_, str>> {
        match self.get("metalink") {
            Some(url) => Ok(format!("metalink={url}").into()),
            None => Ok(self.url()?.into()),
        }
    }

    /// The refs that a pull brings when it is told none: `branches`, separated by `;`.
    #[must_use]
    pub fn branches(&self) -> Vec<&str> {
        let list = self.get("branches").unwrap_or_default();
        let names = list.split([';', ',']).map(str::trim);
        names.filter(|name| !name.is_empty()).collect()
    }

    /// A setting that is `true` or `false` (or `1`, `0`).
    ///
    /// # Errors
    /// It is neither.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.get(key) {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(Error::BadRemote {
                name: self.name.clone(),
                key: key.to_owned(),
                why: "is neither true nor false",
            }),
        }
    }

    /// Whether commits must carry an OpenPGP signature: they must, unless
    /// `gpg-verify=false`.
    ///
    /// # Errors
    /// The setting is neither true nor false.
    pub fn gpg_verify(&self) -> Result<bool> {
        Ok(self.flag("gpg-verify")?.unwrap_or(true))
    }

    /// Whether the summary must carry an OpenPGP signature.
    ///
    /// # Errors
    /// The setting is neither true nor false.
    pub fn gpg_verify_summary(&self) -> Result<bool> {
        Ok(self.flag("gpg-verify-summary")?.unwrap_or(false))
    }

    /// The kinds of key (`ed25519`) of which one must have signed each commit; empty
    /// when none need to. `sign-verify=true` is any kind, written `*` here.
    #[must_use]
    pub fn sign_verify(&self) -> Vec<&str> {
        match self.get("sign-verify") {
            None | Some("false" | "0") => Vec::new(),
            Some("true" | "1") => vec!["*"],
            Some(list) => {
                let kinds = list.split([';', ',']).map(str::trim);
                kinds.filter(|kind| !kind.is_empty()).collect()
            }
        }
    }

    /// Whether the summary must carry such a signature.
    ///
    /// # Errors
    /// The setting is neither true nor false.
    pub fn sign_verify_summary(&self) -> Result<bool> {
        Ok(self.flag("sign-verify-summary")?.unwrap_or(false))
    }

    /// What keeps this remote from being used, in its keeper's own words.
    #[must_use]
    pub fn unconfigured_state(&self) -> Option<&str> {
        self.get("unconfigured-state")
    }

    fn group(&self) -> String {
        format!("remote \"{}\"", self.name)
    }
}

/// The remotes that a key file holds.
fn remotes_in(file: &KeyFile) -> Vec<Remote> {
    let mut found = Vec::new();
    for group in file.groups() {
        let quoted = group
            .strip_prefix("remote \"")
            .and_then(|g| g.strip_suffix('"'));
        let Some(Ok(mut remote)) = quoted.map(Remote::named) else {
            continue;
        };
        for (key, value) in file.pairs(group) {
            remote.set(key, Some(value));
        }
        found.push(remote);
    }
    found
}

impl Repo {
    /// The text of the `config` file, and where it is.
    fn config_text(&self) -> Result<(PathBuf, String)> {
        let path = self.path().join("config");
        let text = durable::read_to_string(self.fs(), &path)?;
        Ok((path, text))
    }

    /// The files that hold remotes, as far as they are there: the config, then those
    /// of `/etc/ostree/remotes.d` for a system's own repository.
    fn remote_files(&self) -> Result<Vec<PathBuf>> {
        let mut files = vec![self.path().join("config")];
        let Some(dir) = self.remotes_dir() else {
            return Ok(files);
        };
        let entries = match self.fs().read_dir(&dir) {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound) => return Ok(files),
            other => other.doing("list", &dir)?,
        };
        let is_conf = |e: &&durable::DirEntry| {
            e.kind != FileKind::Dir && Path::new(&e.name).extension().is_some_and(|x| x == "conf")
        };
        files.extend(entries.iter().filter(is_conf).map(|e| dir.join(&e.name)));
        Ok(files)
    }

    /// The root of the system whose own repository this is.
    fn system_root(&self) -> Option<&Path> {
        let own = [HOST_REPO, "/ostree/repo"].map(Path::new);
        let here = || own.contains(&self.path()).then_some(Path::new("/"));
        self.system().or_else(here)
    }

    /// The directory of the system's own remotes. A root that holds the repository
    /// itself has none: its deployments do, each in its `/etc`.
    fn remotes_dir(&self) -> Option<PathBuf> {
        let root = self.system_root()?;
        let is_deployment = self.fs().metadata(&root.join("sysroot")).is_ok();
        is_deployment.then(|| root.join("etc/ostree/remotes.d"))
    }

    /// The file that a new remote is written to, and what is in it.
    fn file_for(&self, remote: &Remote) -> Result<(PathBuf, String)> {
        let wanted = self.config_value("core", "add-remotes-config-dir")?;
        let in_config = wanted.is_some_and(|v| matches!(v.as_str(), "false" | "0"));
        let Some(dir) = self.remotes_dir().filter(|_| !in_config) else {
            return self.config_text();
        };
        durable::create_dir_all(self.fs(), &dir, 0o755)?;
        let path = dir.join(format!("{}.conf", remote.name));
        match durable::read_to_string(self.fs(), &path) {
            Err(e) if e.source.kind() == io::ErrorKind::NotFound => Ok((path, String::new())),
            other => Ok((path, other?)),
        }
    }

    /// Every remote with the file that holds it; the first of a name counts.
    fn remotes_with_files(&self) -> Result<Vec<(Remote, PathBuf)>> {
        let mut found: Vec<(Remote, PathBuf)> = Vec::new();
        for path in self.remote_files()? {
            let text = durable::read_to_string(self.fs(), &path)?;
            let file = KeyFile::parse(&text).map_err(|line| Error::Config {
                path: self.path().to_owned(),
                source: crate::BadConfig::Syntax(line),
            })?;
            for remote in remotes_in(&file) {
                if !found.iter().any(|(known, _)| known.name == remote.name) {
                    found.push((remote, path.clone()));
                }
            }
        }
        found.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        Ok(found)
    }

    /// All remotes, sorted by name.
    ///
    /// # Errors
    /// The disk's, or a file that cannot be understood.
    pub fn remotes(&self) -> Result<Vec<Remote>> {
        let found = self.remotes_with_files()?;
        Ok(found.into_iter().map(|(remote, _)| remote).collect())
    }

    /// All remotes, with those of the repositories that stand behind this one.
    ///
    /// # Errors
    /// The disk's, or a file that cannot be understood.
    pub fn all_remotes(&self) -> Result<Vec<Remote>> {
        let mut all = self.remotes()?;
        if let Some(parent) = self.parent() {
            all.extend(parent.all_remotes()?);
        }
        Ok(all)
    }

    /// The remote of this name, here or in a repository that stands behind this one.
    ///
    /// # Errors
    /// There is none; the disk's; a file that cannot be understood.
    pub fn remote(&self, name: &str) -> Result<Remote> {
        let mut all = self.all_remotes()?.into_iter();
        all.find(|remote| remote.name == name)
            .ok_or_else(|| Error::NoRemote(name.to_owned()))
    }

    /// Writes a remote into the `config` file, or, for a system's own repository, into
    /// a file of its own in that system's `/etc/ostree/remotes.d` (unless
    /// `core.add-remotes-config-dir` is false); answers whether anything changed.
    ///
    /// # Errors
    /// The disk's, or that there is one of the name already.
    pub fn add_remote(&self, remote: &Remote, if_exists: IfExists) -> Result<bool> {
        let known = self.remotes_with_files()?;
        let known = known.iter().find(|(known, _)| known.name == remote.name);
        let (path, mut text) = self.file_for(remote)?;
        match (known, if_exists) {
            (Some(_), IfExists::Keep) => return Ok(false),
            (Some((_, file)), IfExists::Fail) => {
                return Err(Error::RemoteExists {
                    name: remote.name.clone(),
                    file: file.clone(),
                });
            }
            (Some((_, file)), IfExists::Replace) if *file != path => {
                self.remove_remote(&remote.name, file)?;
            }
            _ => {}
        }
        let group = remote.group();
        text = without_group(&text, &group);
        for (key, value) in &remote.options {
            text = with_key(&text, &group, key, Some(value));
        }
        durable::publish_file(self.fs(), &path, text.as_bytes(), 0o644)?;
        Ok(true)
    }

    /// Removes a remote's settings; its refs stay. Answers whether it was there.
    ///
    /// # Errors
    /// The disk's.
    pub fn delete_remote(&self, name: &str) -> Result<bool> {
        let known = self.remotes_with_files()?;
        let Some((_, file)) = known.iter().find(|(remote, _)| remote.name == name) else {
            return Ok(false);
        };
        self.remove_remote(name, file)?;
        // Keys and caches of a remote that is gone must not count for its successor.
        for left in [
            format!("{name}.trustedkeys.gpg"),
            format!("{name}.cookies.txt"),
            format!("tmp/cache/summaries/{name}"),
            format!("tmp/cache/summaries/{name}.sig"),
            format!("state/summary-{name}.seen"),
        ] {
            self.remove(&self.path().join(left))?;
        }
        Ok(true)
    }

    fn remove_remote(&self, name: &str, file: &Path) -> Result<()> {
        let text = durable::read_to_string(self.fs(), file)?;
        let text = without_group(&text, &Remote::named(name)?.group());
        if text.is_empty() && file.file_name() != Some("config".as_ref()) {
            self.remove(file)?;
            let dir = file.parent().unwrap_or(self.path());
            return Ok(self.fs().sync_dir(dir).doing("sync", dir)?);
        }
        Ok(durable::publish_file(
            self.fs(),
            file,
            text.as_bytes(),
            0o644,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(text: &str) -> Remote {
        let text = format!("[remote \"r\"]\n{text}\n");
        remotes_in(&KeyFile::parse(&text).unwrap()).remove(0)
    }

    #[test]
    fn settings() {
        let r = remote("url=http://h/r\nbranches=a;b/c;\ngpg-verify=false\ntls-permissive=1");
        assert_eq!(r.url().unwrap(), "http://h/r");
        assert_eq!(r.branches(), ["a", "b/c"]);
        assert!(!r.gpg_verify().unwrap());
        assert_eq!(r.flag("tls-permissive").unwrap(), Some(true));
        assert_eq!(r.address().unwrap(), "http://h/r");
        let r = remote("url=http://h/r\nmetalink=http://m/");
        assert_eq!(r.address().unwrap(), "metalink=http://m/");
        assert!(remote("a=b").url().is_err() && remote("a=b").address().is_err());
        assert!(remote("gpg-verify=maybe").gpg_verify().is_err());
    }

    #[test]
    fn signatures_are_demanded_unless_switched_off() {
        assert!(remote("a=b").gpg_verify().unwrap());
        assert!(!remote("a=b").gpg_verify_summary().unwrap());
        let cases: [(&str, &[&str]); 5] = [
            ("a=b", &[]),
            ("sign-verify=false", &[]),
            ("sign-verify=true", &["*"]),
            ("sign-verify=ed25519", &["ed25519"]),
            ("sign-verify=ed25519;spki", &["ed25519", "spki"]),
        ];
        for (text, kinds) in cases {
            assert_eq!(remote(text).sign_verify(), kinds, "{text}");
        }
    }

    #[test]
    fn names() {
        for bad in ["", "a/b", "..", "a b", "a\"b", "a]"] {
            assert!(Remote::new(bad, "x").is_err(), "{bad}");
        }
        // A group with such a name is no remote.
        let file = KeyFile::parse("[remote \"../x\"]\nurl=y\n[remote \"ok\"]\nurl=z\n").unwrap();
        assert_eq!(remotes_in(&file), [Remote::new("ok", "z").unwrap()]);
    }
}
