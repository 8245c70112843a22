//! What trying a version would change, found out without deploying it.
//!
//! The version is brought into the host's repository, as an upgrade would bring it;
//! then only objects and the running deployment are read.

use std::path::{Path, PathBuf};

use boot::kargs;
use engine::VersionId;
use machine::LiveSwitch;
use monitor::Monitor;
use ostree::{Change, ChangeKind, CheckoutOptions, Checksum, Repo};
use serde::Serialize;
use sysroot::DeploymentId;

pub use crate::packages::PackageChange;
use crate::source::{commit, version};
use crate::{Error, ImageHost, Result, host, packages, stateroot};

/// Where a version has its defaults for `/etc`.
const DEFAULTS: &str = "/usr/etc";
/// Where its kernels are.
const MODULES: &str = "/usr/lib/modules";
/// No list of kernel arguments is longer.
const LONGEST: u64 = 1 << 20;

/// What trying a version would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The version.
    pub version: VersionId,
    /// What runs now.
    pub running: VersionId,
    /// Why it takes a reboot, if it does.
    pub needs_reboot: Option<String>,
    /// How many paths there are more, others, and fewer.
    pub files: FileCounts,
    /// The packages that change.
    pub packages: Vec<PackageChange>,
    /// The kernels that go and come; the same one twice is built anew.
    pub kernel: Option<KernelChange>,
    /// The kernel arguments of the version that come and go.
    pub kargs: KargsChange,
    /// Defaults for `/etc` that change.
    pub etc: Vec<PathBuf>,
    /// Local changes in `/etc` that meet a changed default, and what becomes of them.
    pub conflicts: Vec<(PathBuf, String)>,
}

/// How many paths differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FileCounts {
    /// Only in the new version.
    pub added: usize,
    /// In both, but not the same.
    pub changed: usize,
    /// Only in the old version.
    pub removed: usize,
}

/// Another kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KernelChange {
    /// What runs.
    pub from: String,
    /// What would run.
    pub to: String,
}

/// Kernel arguments that come and go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KargsChange {
    /// New ones.
    pub added: Vec<String>,
    /// Those no longer there.
    pub removed: Vec<String>,
}

impl ImageHost {
    /// Finds out what trying a version would change, where `running` runs; in a stateroot of
    /// its own, if one is named. It is brought into the host's repository first; nothing else
    /// is changed.
    ///
    /// # Errors
    /// It can't be had, or be put into that stateroot; the disk's.
    pub fn plan(
        &self,
        running: &VersionId,
        target: &VersionId,
        source: &str,
        stateroot: Option<&str>,
        monitor: &dyn Monitor,
    ) -> Result<Plan> {
        let to = commit(target)?;
        if let Some(name) = stateroot {
            self.check_stateroot(target, name)?;
        }
        if source != host::THIS_HOST {
            self.pull(target, source, monitor)?;
        }
        let running = self.previous(running)?;
        let from = running.checksum;
        let repo = self.sysroot().repo();
        let changes = repo.diff(&from, &to)?;
        let other = stateroot.filter(|name| *name != running.stateroot);
        Ok(Plan {
            version: target.clone(),
            running: version(&from),
            needs_reboot: other
                .map(stateroot::apart)
                .or_else(|| self.needs_reboot(&running, &changes)),
            files: count(&changes),
            packages: packages::changes(repo, &from, &to)?,
            kernel: kernel(repo, &changes, &from, &to)?,
            kargs: kargs_change(&image_kargs(repo, &from)?, &image_kargs(repo, &to)?),
            etc: changed_defaults(&changes),
            conflicts: self.conflicts(&running, &to, monitor)?,
        })
    }

    /// Why these changes can't be made in the running system.
    fn needs_reboot(&self, running: &DeploymentId, changes: &[Change]) -> Option<String> {
        let changed: Vec<PathBuf> = changes
            .iter()
            .map(|change| live_path(&change.path))
            .collect();
        if changed.is_empty() {
            return None;
        }
        let from = self.sysroot().layout().deployment(running);
        self.refuses_live(&LiveSwitch {
            from: &from,
            to: &from,
            changed: &changed,
        })
    }

    /// What would become of local changes in `/etc`: the new defaults are looked at
    /// in a checkout of their own.
    fn conflicts(
        &self,
        running: &DeploymentId,
        to: &Checksum,
        monitor: &dyn Monitor,
    ) -> Result<Vec<(PathBuf, String)>> {
        let fs = &*self.fs();
        let tree = self.sysroot().layout().memory().join("plan");
        durable::remove_tree(fs, &tree)?;
        durable::create_dir_all(fs, &tree.join("usr"), 0o700)?;
        let options = CheckoutOptions {
            subpath: Some(DEFAULTS.into()),
            ..CheckoutOptions::default()
        };
        let repo = self.sysroot().repo();
        let preview = repo
            .checkout(to, &tree.join("usr/etc"), &options, monitor)
            .map_err(Error::from)
            .and_then(|_| Ok(self.sysroot().preview_etc(running, &tree)?));
        durable::remove_tree(fs, &tree)?;
        let conflicts = preview?.conflicts.into_iter();
        Ok(conflicts
            .map(|(path, what)| (path, what.to_string()))
            .collect())
    }
}

/// A path of a version, as it is called in the running system.
fn live_path(path: &Path) -> PathBuf {
    let below = |path: &Path| path.strip_prefix("/").unwrap_or(path).to_owned();
    match path.strip_prefix(DEFAULTS) {
        Ok(rest) => Path::new("etc").join(rest),
        Err(_) => below(path),
    }
}

fn count(changes: &[Change]) -> FileCounts {
    let mut counts = FileCounts::default();
    for change in changes {
        match change.kind {
            ChangeKind::Added => counts.added += 1,
            ChangeKind::Modified => counts.changed += 1,
            ChangeKind::Removed => counts.removed += 1,
        }
    }
    counts
}

fn changed_defaults(changes: &[Change]) -> Vec<PathBuf> {
    let below = |change: &Change| {
        let rest = change.path.strip_prefix(DEFAULTS).ok()?;
        Some(rest.to_owned()).filter(|rest| !rest.as_os_str().is_empty())
    };
    let mut paths: Vec<_> = changes.iter().filter_map(below).collect();
    paths.sort();
    paths
}

/// The kernel, if anything about it is another.
fn kernel(
    repo: &Repo,
    changes: &[Change],
    from: &Checksum,
    to: &Checksum,
) -> Result<Option<KernelChange>> {
    let modules = Path::new(MODULES);
    let concerns = |change: &&Change| {
        let below = change.path.strip_prefix(modules).ok();
        let parts = below.map(|rest| rest.iter().collect::<Vec<_>>());
        // A kernel's directory, or what is booted of it.
        parts.is_some_and(|parts| match parts.as_slice() {
            [_] => true,
            [_, file] => *file == "vmlinuz" || *file == "initramfs.img",
            _ => false,
        })
    };
    if !changes.iter().any(|change| concerns(&change)) {
        return Ok(None);
    }
    let release = |commit| -> Result<String> {
        let entries = match repo.list(commit, modules, false) {
            Ok(entries) => entries,
            Err(ostree::Error::NoSuchPath { .. }) => Vec::new(),
            Err(e) => return Err(e.into()),
        };
        let names = entries.iter().filter(|entry| entry.path != modules);
        let names = names.filter_map(|entry| entry.path.file_name()?.to_str());
        Ok(names.collect::<Vec<_>>().join(" "))
    };
    Ok(Some(KernelChange {
        from: release(from)?,
        to: release(to)?,
    }))
}

/// The default kernel arguments of a version.
fn image_kargs(repo: &Repo, commit: &Checksum) -> Result<Vec<String>> {
    let dir = Path::new("/").join(kargs::DEFAULTS_DIR);
    let entries = match repo.list(commit, &dir, false) {
        Ok(entries) => entries,
        Err(ostree::Error::NoSuchPath { .. }) => return Ok(Vec::new()),
        Err(e) => return Err(e.into()),
    };
    let mut files = Vec::new();
    for entry in entries {
        if entry.path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let name = entry.path.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let bytes = repo.read_file(commit, &entry.path, LONGEST)?;
        files.push((
            name,
            String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned(),
        ));
    }
    let all = kargs::defaults(&files).map_err(|source| sysroot::Error::Kargs {
        of: commit.to_string(),
        source,
    })?;
    Ok(all
        .to_string()
        .split_whitespace()
        .map(str::to_owned)
        .collect())
}

fn kargs_change(from: &[String], to: &[String]) -> KargsChange {
    let only = |these: &[String], those: &[String]| {
        let others = these.iter().filter(|arg| !those.contains(arg));
        others.cloned().collect()
    };
    KargsChange {
        added: only(to, from),
        removed: only(from, to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_named_as_they_are_in_the_running_system() {
        for (path, live) in [
            ("/usr/etc/ssh/sshd_config", "etc/ssh/sshd_config"),
            ("/usr/bin/sh", "usr/bin/sh"),
            ("/usr/etcetera", "usr/etcetera"),
        ] {
            assert_eq!(live_path(Path::new(path)), Path::new(live));
        }
    }

    #[test]
    fn arguments_come_and_go() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let found = kargs_change(&words("a b=1 c"), &words("a b=2"));
        assert_eq!((found.added, found.removed), (words("b=2"), words("b=1 c")));
    }
}
