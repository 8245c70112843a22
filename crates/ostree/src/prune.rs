//! Removing what nothing needs.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use durable::{Doing, LockMode};
use monitor::{Monitor, Progress, Unit};

use crate::{Checksum, Error, ObjectKind, ObjectName, Repo, Result};

/// What to keep.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneOptions {
    /// Keeps the commits that a ref leads to, and those before them; without it,
    /// all commits are kept, and only objects that no commit needs are removed.
    pub refs_only: bool,
    /// How many commits before a ref's are kept; `None`: all.
    pub depth: Option<u32>,
    /// Removes nothing, but counts.
    pub dry_run: bool,
    /// For these refs, another number of commits is kept.
    pub branch_depths: BTreeMap<String, Option<u32>>,
    /// Only commits of these refs are removed, where any are named.
    pub only_branches: Vec<String>,
    /// Keeps the commits before a ref's that were made at this time or later, in
    /// seconds since 1970, instead of a number of them.
    pub keep_younger_than: Option<u64>,
    /// Removes commits, but nothing that they are made of.
    pub commits_only: bool,
}

/// What a prune removed, or would remove.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PruneSummary {
    /// Objects that there were.
    pub objects_total: u64,
    /// Objects removed.
    pub objects_removed: u64,
    /// Bytes that they took.
    pub bytes_removed: u64,
}

impl Repo {
    /// Removes the objects that no kept commit needs. Commits go first, so that
    /// none is ever there without its content. Nobody commits or pulls meanwhile.
    ///
    /// # Errors
    /// The disk's; a missing or damaged object that a kept commit needs, before
    /// anything is removed.
    pub fn prune(&self, options: &PruneOptions, monitor: &dyn Monitor) -> Result<PruneSummary> {
        let _lock = self.lock(LockMode::Exclusive, monitor)?;
        let present = self.inventory()?;
        let mut needed = Reachable::new(self);
        for (name, commit) in self.refs(None)? {
            needed.branch(&name, commit, options)?;
        }
        for commit in self.mirrored()? {
            needed.history(commit, options.depth)?;
        }
        if !options.refs_only {
            for object in present.iter().filter(|o| o.kind == ObjectKind::Commit) {
                needed.commit(object.checksum)?;
            }
        }
        let mut gone: Vec<_> = present
            .iter()
            .filter(|o| !needed.seen.contains(o))
            .filter(|o| o.kind == ObjectKind::Commit || !options.commits_only)
            .copied()
            .collect();
        gone.sort_by_key(|o| (o.kind != ObjectKind::Commit, *o));
        let mut summary = PruneSummary {
            objects_total: present.len() as u64,
            objects_removed: gone.len() as u64,
            bytes_removed: 0,
        };
        let commits = gone
            .iter()
            .take_while(|o| o.kind == ObjectKind::Commit)
            .count();
        if !options.dry_run && !gone.is_empty() {
            // The refs and commits that are gone already may have been removed by
            // a run that died before it synced.
            self.sync(self.path())?;
        }
        for part in [&gone[..commits], &gone[commits..]] {
            summary.bytes_removed += self.remove_objects(part, options.dry_run, monitor)?;
        }
        if !options.dry_run {
            self.forget_summaries()?;
        }
        Ok(summary)
    }

    /// Removes kept summaries of remotes that are gone.
    fn forget_summaries(&self) -> Result<()> {
        let dir = self.path().join("tmp/cache/summaries");
        let entries = match self.fs().read_dir(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.doing("list", &dir)?,
        };
        let remotes = self.remotes()?;
        for entry in entries {
            let name = entry.name.to_string_lossy();
            let name = name.strip_suffix(".sig").unwrap_or(&name);
            if !remotes.iter().any(|remote| remote.name() == name) {
                self.remove(&dir.join(&entry.name))?;
            }
        }
        Ok(())
    }

    /// Removes objects, durably when it returns; their bytes.
    fn remove_objects(
        &self,
        objects: &[ObjectName],
        dry_run: bool,
        monitor: &dyn Monitor,
    ) -> Result<u64> {
        let mut bytes = 0;
        for (i, object) in objects.iter().enumerate() {
            let path = self.object_path(object);
            bytes += self.fs().metadata(&path).doing("look at", &path)?.size;
            if dry_run {
                continue;
            }
            match object.kind {
                ObjectKind::Commit => self.remove_commit(&object.checksum)?,
                _ => self.remove(&path)?,
            }
            monitor.progress(Progress {
                step: "removing objects",
                done: i as u64 + 1,
                total: Some(objects.len() as u64),
                unit: Unit::Items,
            });
        }
        if !dry_run && !objects.is_empty() {
            self.sync(self.path())?;
        }
        Ok(bytes)
    }

    /// Removes a commit, but nothing that it is made of. Where the settings want
    /// that, a mark stays that says so.
    ///
    /// # Errors
    /// The disk's.
    pub fn remove_commit(&self, commit: &Checksum) -> Result<()> {
        let path = self.object_path(&ObjectName::new(*commit, ObjectKind::Commit));
        if self.config().tombstones {
            self.write_tombstone(commit)?;
        }
        self.remove(&path.with_extension("commitmeta"))?;
        self.remove(&path)?;
        self.remove(&self.partial_mark(commit))
    }

    pub(crate) fn reachable_from(&self, commit: &Checksum) -> Result<HashSet<ObjectName>> {
        let mut reachable = Reachable::new(self);
        reachable.commit(*commit)?;
        Ok(reachable.seen)
    }

    fn sync(&self, path: &Path) -> Result<()> {
        Ok(self
            .fs()
            .sync_filesystem(path)
            .doing("sync the filesystem of", path)?)
    }
}

/// Everything that can be reached from some commits.
struct Reachable<'a> {
    repo: &'a Repo,
    seen: HashSet<ObjectName>,
}

impl<'a> Reachable<'a> {
    fn new(repo: &'a Repo) -> Self {
        let seen = HashSet::new();
        Self { repo, seen }
    }

    /// A ref's commit, and those before it that the options keep.
    fn branch(&mut self, name: &str, commit: Checksum, options: &PruneOptions) -> Result<()> {
        let depth = options.branch_depths.get(name);
        let spared =
            !options.only_branches.is_empty() && !options.only_branches.iter().any(|b| b == name);
        match (depth, options.keep_younger_than) {
            (Some(depth), _) => self.history(commit, *depth),
            _ if spared => self.history(commit, None),
            (None, Some(time)) => self.younger(commit, time),
            (None, None) => self.history(commit, options.depth),
        }
    }

    /// A commit, and those before it for as long as they are young enough.
    fn younger(&mut self, commit: Checksum, time: u64) -> Result<()> {
        self.history(commit, Some(0))?;
        let mut next = Some(commit);
        while let Some(commit) = next {
            let object = ObjectName::new(commit, ObjectKind::Commit);
            if !self.repo.has(&object)? || self.repo.load_commit(&commit)?.timestamp < time {
                return Ok(());
            }
            next = self.commit(commit)?;
        }
        Ok(())
    }

    /// A commit and as many before it; history may end early, where it was not
    /// fetched.
    fn history(&mut self, commit: Checksum, depth: Option<u32>) -> Result<()> {
        let (mut next, mut left) = (Some(commit), depth);
        while let Some(commit) = next {
            let object = ObjectName::new(commit, ObjectKind::Commit);
            if !self.repo.has(&object)? {
                return Ok(());
            }
            next = self.commit(commit)?;
            if let Some(depth) = left {
                match depth.checked_sub(1) {
                    Some(depth) => left = Some(depth),
                    None => return Ok(()),
                }
            }
        }
        Ok(())
    }

    /// One commit and its tree; its parent.
    fn commit(&mut self, checksum: Checksum) -> Result<Option<Checksum>> {
        let commit = self.repo.load_commit(&checksum)?;
        if !self
            .seen
            .insert(ObjectName::new(checksum, ObjectKind::Commit))
        {
            return Ok(commit.parent);
        }
        let partial = self.repo.is_partial(&checksum)?;
        let mut stack = vec![(commit.root_tree, commit.root_meta)];
        while let Some((tree, meta)) = stack.pop() {
            self.seen.insert(ObjectName::new(meta, ObjectKind::DirMeta));
            if !self.seen.insert(ObjectName::new(tree, ObjectKind::DirTree)) {
                continue;
            }
            let tree = match self.repo.load_dirtree(&tree) {
                // Of a commit fetched in part, not all is here.
                Err(Error::Missing(_)) if partial => continue,
                other => other?,
            };
            for file in tree.files {
                self.seen
                    .insert(ObjectName::new(file.checksum, ObjectKind::File));
            }
            stack.extend(tree.dirs.into_iter().map(|d| (d.tree, d.meta)));
        }
        Ok(commit.parent)
    }
}
