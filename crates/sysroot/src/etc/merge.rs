//! A merge, decided from the trees as they are.

use std::path::{Path, PathBuf};

use durable::Fs;

use super::plan::{Action, Scanned, outcome, plan};
use super::tree::{self, Tree};
use super::{EtcReport, EtcTrees, apply};

/// systemd's note that services saw this `/etc`, which in a new deployment they have not.
pub(crate) const UPDATED: &str = ".updated";

/// A merge that is decided.
pub(crate) struct Merge<'a> {
    trees: EtcTrees<'a>,
    scanned: Scanned,
    actions: Vec<Action>,
    /// What becomes of the local changes.
    pub(crate) report: EtcReport,
}

/// What the result of a merge lacks that was made some time ago.
pub(crate) struct Since {
    /// Whether it is another than would result now.
    pub(crate) stale: bool,
    /// What is to be told of that, but for what was told then.
    pub(crate) report: EtcReport,
}

impl<'a> Merge<'a> {
    /// Decides a merge.
    pub(crate) fn new(fs: &dyn Fs, trees: EtcTrees<'a>) -> durable::Result<Self> {
        let scanned = Scanned {
            base: tree::scan(fs, trees.old_default)?,
            local: tree::scan(fs, trees.local)?,
            new: tree::scan(fs, trees.new_default)?,
        };
        let (actions, report) = plan(&scanned);
        Ok(Self {
            trees,
            scanned,
            actions,
            report,
        })
    }

    /// Makes the result at `to`, where nothing is yet.
    pub(crate) fn make(&self, fs: &dyn Fs, to: &Path) -> durable::Result<()> {
        apply::copy_tree(fs, self.trees.new_default, to)?;
        let local = &self.scanned.local;
        apply::apply(fs, &self.actions, local, self.trees.local, to)?;
        durable::remove_tree(fs, &to.join(UPDATED))
    }

    /// Compares with the result of an earlier merge into the same defaults.
    pub(crate) fn since(&self, fs: &dyn Fs, made: &Path) -> durable::Result<Since> {
        let made = tree::scan(fs, made)?;
        let mut wanted = outcome(&self.scanned, &self.actions);
        wanted.remove(Path::new(UPDATED));
        let changed = differing(&wanted, &made);
        // The earlier merge said what one says that finds its result on the host.
        let earlier = Scanned {
            base: self.scanned.base.clone(),
            local: made,
            new: self.scanned.new.clone(),
        };
        let told = plan(&earlier).1.conflicts;
        let mut conflicts = self.report.conflicts.clone();
        conflicts.retain(|conflict| !told.contains(conflict) || changed.contains(&conflict.0));
        let alone = |path: &&PathBuf| conflicts.iter().all(|(at, _)| at != *path);
        let carried = changed.iter().filter(alone).cloned().collect();
        Ok(Since {
            stale: !changed.is_empty(),
            report: EtcReport { carried, conflicts },
        })
    }
}

/// The paths at which two trees are not alike; of what only one of them has, the
/// topmost.
fn differing(one: &Tree, other: &Tree) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut only_in_one: Option<&PathBuf> = None;
    let paths: std::collections::BTreeSet<_> = one.0.keys().chain(other.0.keys()).collect();
    for path in paths {
        let (a, b) = (one.get(path), other.get(path));
        let below = |top: &PathBuf| path.starts_with(top);
        if a == b || only_in_one.is_some_and(below) {
            continue;
        }
        if a.is_none() || b.is_none() {
            only_in_one = Some(path);
        }
        found.push(path.clone());
    }
    found
}
