//! Which file of the old commit a new file most likely came from.

use std::collections::{HashMap, HashSet};

use crate::{Checksum, ObjectKind, ObjectName, Repo, Result};

/// All that a commit is made of, but for the commit itself.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Its `dirtree` and `dirmeta` objects, in the order of the tree.
    pub(super) metadata: Vec<ObjectName>,
    /// Its files, each with the first path at which it is.
    pub(super) files: Vec<(Checksum, String)>,
    /// All objects.
    pub(super) objects: HashSet<ObjectName>,
}

impl Contents {
    /// Reads the whole tree of a commit.
    pub(super) fn of(repo: &Repo, commit: &Checksum) -> Result<Self> {
        let mut found = Self::default();
        let commit = repo.load_commit(commit)?;
        found.metadata(commit.root_meta, ObjectKind::DirMeta);
        found.walk(repo, commit.root_tree, "", 0)?;
        Ok(found)
    }

    fn metadata(&mut self, checksum: Checksum, kind: ObjectKind) -> bool {
        let object = ObjectName::new(checksum, kind);
        let new = self.objects.insert(object);
        if new {
            self.metadata.push(object);
        }
        new
    }

    fn walk(&mut self, repo: &Repo, tree: Checksum, path: &str, depth: usize) -> Result<()> {
        if depth > crate::listing::MAX_DEPTH {
            return Err(crate::Error::TooDeep { path: path.into() });
        }
        if !self.metadata(tree, ObjectKind::DirTree) {
            return Ok(());
        }
        let tree = repo.load_dirtree(&tree)?;
        for file in tree.files {
            let object = ObjectName::new(file.checksum, ObjectKind::File);
            if self.objects.insert(object) {
                self.files
                    .push((file.checksum, format!("{path}/{}", file.name)));
            }
        }
        for dir in tree.dirs {
            self.metadata(dir.meta, ObjectKind::DirMeta);
            self.walk(repo, dir.tree, &format!("{path}/{}", dir.name), depth + 1)?;
        }
        Ok(())
    }
}

/// A regular file of the old commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OldFile {
    pub(super) checksum: Checksum,
    pub(super) size: u64,
}

/// The old commit's files by path and by name.
pub(super) struct OldFiles<'r> {
    repo: &'r Repo,
    by_path: HashMap<String, Checksum>,
    by_name: HashMap<String, Vec<Checksum>>,
    by_stem: HashMap<String, Vec<Checksum>>,
    known: HashMap<Checksum, Option<OldFile>>,
}

/// A name up to its first dot: `libc` of `libc.so.6`.
fn stem(name: &str) -> Option<&str> {
    name.split_once('.')
        .map(|(stem, _)| stem)
        .filter(|s| !s.is_empty())
}

fn name_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Files that are compressed as a whole change as a whole. Not `gz`, which may have
/// been made so that it does not.
fn is_compressed(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    matches!(extension, Some("xz" | "bz2" | "zst"))
}

impl<'r> OldFiles<'r> {
    pub(super) fn new(repo: &'r Repo, files: Vec<(Checksum, String)>) -> Self {
        let mut old = Self {
            repo,
            by_path: HashMap::new(),
            by_name: HashMap::new(),
            by_stem: HashMap::new(),
            known: HashMap::new(),
        };
        for (checksum, path) in files {
            let name = name_of(&path).to_owned();
            if let Some(stem) = stem(&name) {
                old.by_stem
                    .entry(stem.to_owned())
                    .or_default()
                    .push(checksum);
            }
            old.by_name.entry(name).or_default().push(checksum);
            old.by_path.insert(path, checksum);
        }
        old
    }

    /// The file that a new one at `path` is like: the one that was there; else one of
    /// the same name; else one whose name begins the same, each of a size that is not
    /// far off.
    pub(super) fn like(&mut self, path: &str, size: u64) -> Result<Option<OldFile>> {
        let name = name_of(path);
        if size == 0 || is_compressed(name) {
            return Ok(None);
        }
        if let Some(checksum) = self.by_path.get(path).copied()
            && let Some(old) = self.usable(checksum)?
            && old.size / 4 <= size
            && size / 4 <= old.size
        {
            return Ok(Some(old));
        }
        let same = self.by_name.get(name).cloned().unwrap_or_default();
        if let Some(old) = self.nearest(&same, size)? {
            return Ok(Some(old));
        }
        let alike = stem(name).and_then(|s| self.by_stem.get(s)).cloned();
        self.nearest(&alike.unwrap_or_default(), size)
    }

    /// The one nearest in size, within 30 percent.
    fn nearest(&mut self, candidates: &[Checksum], size: u64) -> Result<Option<OldFile>> {
        let mut best: Option<OldFile> = None;
        // So many of one name are not worth to look at.
        for checksum in candidates.iter().take(1000) {
            let Some(old) = self.usable(*checksum)? else {
                continue;
            };
            let apart = old.size.abs_diff(size);
            if apart <= size / 10 * 3 && best.is_none_or(|b| apart < b.size.abs_diff(size)) {
                best = Some(old);
            }
        }
        Ok(best)
    }

    /// A file that whoever applies the delta can read: a regular one, with content,
    /// and readable by all, for they may not be root.
    fn usable(&mut self, checksum: Checksum) -> Result<Option<OldFile>> {
        if let Some(known) = self.known.get(&checksum) {
            return Ok(*known);
        }
        let file = self.repo.open_file(&checksum)?;
        let readable = file.header.mode & 0o004 != 0;
        let found = (!file.header.is_symlink() && readable && file.size > 0).then_some(OldFile {
            checksum,
            size: file.size,
        });
        self.known.insert(checksum, found);
        Ok(found)
    }
}
