//! What changed from one commit to another.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use crate::commit_options::CommitOptions;
use crate::format::DirTree;
use crate::listing::MAX_DEPTH;
use crate::store::Staging;
use crate::{Checksum, Error, Repo, Result};

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// Content, attributes or kind are others.
    Modified,
    /// It is gone, with all below it.
    Removed,
    /// It is new.
    Added,
}

/// A changed path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// Where, starting with `/`.
    pub path: PathBuf,
}

/// A name in a directory, with what tells whether it changed.
#[derive(PartialEq, Eq)]
enum Item {
    File(Checksum),
    Dir { tree: Checksum, meta: Checksum },
}

/// One of two trees that are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiffSide {
    /// What a commit holds.
    Commit(Checksum),
    /// A directory.
    Dir(PathBuf),
}

impl Repo {
    /// The same as [`Repo::diff`] for trees of which either may be a directory. The
    /// options say how directories are taken in.
    ///
    /// # Errors
    /// Missing or damaged objects; the disk's.
    pub fn diff_sides(
        &self,
        from: &DiffSide,
        to: &DiffSide,
        options: &CommitOptions,
    ) -> Result<Vec<Change>> {
        // What directories hold is staged, compared, and dropped.
        let staging = Staging::begin(self)?;
        let root = |side: &DiffSide| match side {
            DiffSide::Commit(commit) => {
                let commit = self.load_commit(commit)?;
                Ok((commit.root_tree, commit.root_meta))
            }
            DiffSide::Dir(dir) => self.stage_dir(dir, &staging, options),
        };
        let (from, to) = (root(from)?, root(to)?);
        let mut changes = Vec::new();
        let load = |tree: &Checksum| staging.dirtree(tree);
        diff_roots(&load, from, to, &mut changes)?;
        changes.sort();
        Ok(changes)
    }

    /// The paths that differ between two commits, modified ones first, then
    /// removed and added ones, each sorted. Below a removed directory, and where
    /// a file became a directory, nothing is listed.
    ///
    /// # Errors
    /// Missing or damaged objects.
    pub fn diff(&self, from: &Checksum, to: &Checksum) -> Result<Vec<Change>> {
        let (from, to) = (self.load_commit(from)?, self.load_commit(to)?);
        let from = (from.root_tree, from.root_meta);
        let to = (to.root_tree, to.root_meta);
        let mut changes = Vec::new();
        diff_roots(&|tree| self.load_dirtree(tree), from, to, &mut changes)?;
        changes.sort();
        Ok(changes)
    }
}

/// Where directories come from.
struct Trees<'a>(&'a dyn Fn(&Checksum) -> Result<DirTree>);

fn diff_roots(
    load: &dyn Fn(&Checksum) -> Result<DirTree>,
    (from_tree, from_meta): (Checksum, Checksum),
    (to_tree, to_meta): (Checksum, Checksum),
    changes: &mut Vec<Change>,
) -> Result<()> {
    let root = Path::new("/");
    if from_meta != to_meta {
        add(changes, ChangeKind::Modified, root.to_owned());
    }
    Trees(load).diff_trees(root, &from_tree, &to_tree, 0, changes)
}

impl Trees<'_> {
    fn load_dirtree(&self, tree: &Checksum) -> Result<DirTree> {
        (self.0)(tree)
    }

    fn diff_trees(
        &self,
        path: &Path,
        from: &Checksum,
        to: &Checksum,
        depth: usize,
        changes: &mut Vec<Change>,
    ) -> Result<()> {
        if from == to {
            return Ok(());
        }
        check_depth(path, depth)?;
        let old = items(self.load_dirtree(from)?);
        let new = items(self.load_dirtree(to)?);
        let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some((a, _)), Some((b, _))) => a.cmp(b),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return Ok(()),
            };
            let before = if order.is_le() { old.next() } else { None };
            let after = if order.is_ge() { new.next() } else { None };
            match (before, after) {
                (Some((name, _)), None) => add(changes, ChangeKind::Removed, path.join(name)),
                (None, Some((name, item))) => self.added(path.join(name), item, depth, changes)?,
                (Some((name, a)), Some((_, b))) => {
                    self.compare(path.join(name), &a, &b, depth, changes)?;
                }
                (None, None) => return Ok(()),
            }
        }
    }

    fn compare(
        &self,
        path: PathBuf,
        from: &Item,
        to: &Item,
        depth: usize,
        changes: &mut Vec<Change>,
    ) -> Result<()> {
        if from == to {
            return Ok(());
        }
        match (from, to) {
            (Item::Dir { tree: old, meta: a }, Item::Dir { tree: new, meta: b }) => {
                self.diff_trees(&path, old, new, depth + 1, changes)?;
                if a != b {
                    add(changes, ChangeKind::Modified, path);
                }
            }
            _ => add(changes, ChangeKind::Modified, path),
        }
        Ok(())
    }

    fn added(
        &self,
        path: PathBuf,
        item: Item,
        depth: usize,
        changes: &mut Vec<Change>,
    ) -> Result<()> {
        check_depth(&path, depth)?;
        add(changes, ChangeKind::Added, path.clone());
        if let Item::Dir { tree, .. } = item {
            for (name, item) in items(self.load_dirtree(&tree)?) {
                self.added(path.join(name), item, depth + 1, changes)?;
            }
        }
        Ok(())
    }
}

fn add(changes: &mut Vec<Change>, kind: ChangeKind, path: PathBuf) {
    changes.push(Change { kind, path });
}

fn check_depth(path: &Path, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        let path = path.to_owned();
        return Err(Error::TooDeep { path });
    }
    Ok(())
}

/// All names of a directory, sorted.
fn items(tree: DirTree) -> Vec<(String, Item)> {
    let files = tree
        .files
        .into_iter()
        .map(|f| (f.name, Item::File(f.checksum)));
    let dirs = tree.dirs.into_iter().map(|d| {
        let item = Item::Dir {
            tree: d.tree,
            meta: d.meta,
        };
        (d.name, item)
    });
    let mut all: Vec<_> = files.chain(dirs).collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}
