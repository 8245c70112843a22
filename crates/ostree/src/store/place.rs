//! Staging directories below a repository's `tmp`: taking one, and removing those that
//! dead processes left.

use std::io;
use std::path::{Path, PathBuf};

use durable::{Doing, FsLock, LockMode};

use super::Staging;
use super::takeover::is_worth_keeping;
use crate::{Error, Repo, Result};

/// What the names of staging directories start with. `ostree` uses another word, so
/// neither takes over what the other left.
pub(super) const PREFIX: &str = "backstop-";
/// The same for pulls over a network, which carry on where another stopped.
pub(super) const PULL_PREFIX: &str = "backstop-pull-";
/// How long what a pull left is kept for the next one, in seconds.
pub(super) const KEEP_PULLS: i64 = 86_400;

/// A staging directory, its lock's file, and the lock that shows that we live.
pub(super) type Place = (PathBuf, PathBuf, Box<dyn FsLock>);

/// A directory of our own.
pub(super) fn allocate(repo: &Repo, tmp: &Path, prefix: &str) -> Result<Place> {
    let fs = repo.fs();
    let mut n = 0u32;
    loop {
        let name = format!("{prefix}{}-{n}", std::process::id());
        n += 1;
        let (dir, lock_path) = (tmp.join(&name), tmp.join(name + ".lock"));
        let Some(lock) = fs
            .try_lock(&lock_path, LockMode::Exclusive)
            .doing("lock", &lock_path)?
        else {
            continue;
        };
        match fs.create_dir(&dir, 0o700) {
            // Between its making and our lock, another process may have taken the lock
            // for a dead one's and removed it: then this directory is not safe.
            Ok(()) if fs.metadata(&lock_path).is_err() => {
                durable::remove_tree(fs, &dir)?;
            }
            Ok(()) => return Ok((dir, lock_path, lock)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => {
                return Err(e)
                    .doing("create the directory", &dir)
                    .map_err(Error::from);
            }
        }
    }
}

/// What the names start with that `ostree` gives its staging directories; the
/// identifier of the boot follows.
const THEIR_PREFIX: &str = "staging-";

/// This boot's identifier, as `ostree` has it.
fn boot_id() -> Option<String> {
    let set = std::env::var("OSTREE_BOOTID").ok();
    let kernel = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    let id = set.or_else(kernel)?;
    let id = id.trim();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (!id.is_empty() && id.bytes().all(plain)).then(|| id.to_owned())
}

impl Staging<'_> {
    /// Leaves what is here, all of it written, under a name by which `ostree` takes it
    /// over in this boot, and removes it in a later one.
    pub(crate) fn leave_to_ostree(&self) -> Result<()> {
        self.keep();
        let Some(id) = boot_id() else {
            return Ok(());
        };
        let name = format!("{THEIR_PREFIX}{id}-{:06}", std::process::id() % 1_000_000);
        let to = self.dir.with_file_name(name);
        Ok(durable::rename_and_sync(self.repo.fs(), &self.dir, &to)?)
    }
}

impl Repo {
    /// Removes what writers left that died, and what `ostree` left in this or another boot,
    /// as that program does when it deploys. With `failing` it ends with that failure and
    /// leaves what a writer leaves that is cut off, for those who test that.
    ///
    /// # Errors
    /// The disk's; the failure that is wanted.
    pub fn clear_abandoned(&self, failing: Option<&'static str>) -> Result<()> {
        let staging = Staging::begin(self)?;
        if let Some(why) = failing {
            staging.leave_to_ostree()?;
            return Err(Error::Wanted(why));
        }
        remove_theirs(self, &self.path().join("tmp"), None)
    }
}

/// Removes what `ostree` left in a boot other than `this`, unless somebody holds its lock.
fn remove_theirs(repo: &Repo, tmp: &Path, this: Option<&str>) -> Result<()> {
    let fs = repo.fs();
    let ours = this.map(|id| format!("{THEIR_PREFIX}{id}-"));
    for entry in fs.read_dir(tmp).doing("list", tmp)? {
        let name = entry.name.to_string_lossy().into_owned();
        let theirs = name.starts_with(THEIR_PREFIX) && !name.ends_with("-lock");
        if !theirs || ours.as_ref().is_some_and(|ours| name.starts_with(ours)) {
            continue;
        }
        let lock = tmp.join(format!("{name}-lock"));
        let held = fs
            .try_lock(&lock, LockMode::Exclusive)
            .doing("lock", &lock)?;
        if held.is_some() {
            durable::remove_tree(fs, &tmp.join(&name))?;
            durable::remove_tree(fs, &lock)?;
        }
    }
    Ok(())
}

/// Removes staging directories whose lock nobody holds.
pub(super) fn remove_abandoned(repo: &Repo, tmp: &Path) -> Result<()> {
    let fs = repo.fs();
    if let Some(id) = boot_id() {
        remove_theirs(repo, tmp, Some(&id))?;
    }
    for entry in fs.read_dir(tmp).doing("list", tmp)? {
        let name = entry.name.to_string_lossy().into_owned();
        let Some(dir) = name.strip_suffix(".lock").filter(|d| d.starts_with(PREFIX)) else {
            continue;
        };
        let lock_path = tmp.join(&name);
        let left = tmp.join(dir);
        if is_worth_keeping(repo, &name, &lock_path) && repo.fs().metadata(&left).is_ok() {
            continue;
        }
        let held = fs
            .try_lock(&lock_path, LockMode::Exclusive)
            .doing("lock", &lock_path)?;
        if held.is_some() {
            durable::remove_tree(fs, &tmp.join(dir))?;
            durable::remove_tree(fs, &lock_path)?;
        }
    }
    Ok(())
}
