//! What is in a commit, without checking it out.

use std::path::{Component, Path, PathBuf};

use crate::format::{DirMeta, FileHeader};
use crate::{Checksum, Error, Repo, Result};

/// How deep a tree may be nested: `PATH_MAX` allows 2048 one-letter names.
pub(crate) const MAX_DEPTH: usize = 2048;

/// What a path in a commit leads to.
pub(crate) enum Found {
    File(Checksum),
    Dir { tree: Checksum, meta: Checksum },
}

/// A file or directory in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path in the commit, starting with `/`.
    pub path: PathBuf,
    /// What is there.
    pub item: Item,
}

/// What a path in a commit holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A file or symlink.
    File {
        /// Its object.
        checksum: Checksum,
        /// Its attributes.
        header: FileHeader,
        /// The length of its content.
        size: u64,
    },
    /// A directory.
    Dir {
        /// Its content.
        tree: Checksum,
        /// Its attributes' object.
        meta: Checksum,
        /// Its attributes.
        attributes: DirMeta,
    },
}

impl Repo {
    /// Follows a path from the root of a commit; symlinks are not followed.
    pub(crate) fn find(&self, commit: &Checksum, path: &Path) -> Result<Found> {
        let commit = self.load_commit(commit)?;
        let mut found = Found::Dir {
            tree: commit.root_tree,
            meta: commit.root_meta,
        };
        let none = || Error::NoSuchPath {
            path: path.to_owned(),
        };
        for component in path.components() {
            let name = match component {
                Component::RootDir | Component::CurDir => continue,
                Component::Normal(name) => name.to_str().ok_or_else(none)?,
                _ => return Err(none()),
            };
            let Found::Dir { tree, .. } = found else {
                return Err(none());
            };
            let tree = self.load_dirtree(&tree)?;
            found = match (tree.file(name), tree.dir(name)) {
                (Some(file), _) => Found::File(file.checksum),
                (_, Some(dir)) => Found::Dir {
                    tree: dir.tree,
                    meta: dir.meta,
                },
                _ => return Err(none()),
            };
        }
        Ok(found)
    }

    /// Reads one file of a commit, verified; `None` when the path is not there.
    ///
    /// # Errors
    /// Missing or damaged objects; a path that is not a regular file; a file
    /// longer than `limit`.
    pub fn read_file(&self, commit: &Checksum, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
        let wrong = || Error::WrongKind {
            path: path.to_owned(),
            wanted: "a regular file",
        };
        let checksum = match self.find(commit, path) {
            Ok(Found::File(checksum)) => checksum,
            Ok(Found::Dir { .. }) => return Err(wrong()),
            Err(Error::NoSuchPath { .. }) => return Ok(None),
            Err(other) => return Err(other),
        };
        match self.load_file(&checksum, limit)? {
            Some((header, _)) if header.is_symlink() => Err(wrong()),
            Some((_, data)) => Ok(Some(data)),
            None => Err(Error::TooLong {
                path: path.to_owned(),
                limit,
            }),
        }
    }

    /// Lists a directory of a commit (itself first, then its files, then its
    /// directories), or one file. With `recursive`, all below it as well.
    ///
    /// # Errors
    /// Missing or damaged objects; a path that is not there.
    pub fn list(&self, commit: &Checksum, path: &Path, recursive: bool) -> Result<Vec<Entry>> {
        let full = Path::new("/").join(path);
        let mut entries = Vec::new();
        match self.find(commit, path)? {
            Found::File(checksum) => entries.push(self.file_entry(full, checksum)?),
            Found::Dir { tree, meta } => {
                entries.push(self.dir_entry(full.clone(), tree, meta)?);
                self.list_below(&full, &tree, recursive, 0, &mut entries)?;
            }
        }
        Ok(entries)
    }

    fn list_below(
        &self,
        path: &Path,
        tree: &Checksum,
        recursive: bool,
        depth: usize,
        entries: &mut Vec<Entry>,
    ) -> Result<()> {
        if depth > MAX_DEPTH {
            let path = path.to_owned();
            return Err(Error::TooDeep { path });
        }
        let tree = self.load_dirtree(tree)?;
        for file in &tree.files {
            entries.push(self.file_entry(path.join(&file.name), file.checksum)?);
        }
        for dir in &tree.dirs {
            let path = path.join(&dir.name);
            entries.push(self.dir_entry(path.clone(), dir.tree, dir.meta)?);
            if recursive {
                self.list_below(&path, &dir.tree, true, depth + 1, entries)?;
            }
        }
        Ok(())
    }

    fn file_entry(&self, path: PathBuf, checksum: Checksum) -> Result<Entry> {
        let file = self.open_file(&checksum)?;
        let item = Item::File {
            checksum,
            size: file.size,
            header: file.header,
        };
        Ok(Entry { path, item })
    }

    fn dir_entry(&self, path: PathBuf, tree: Checksum, meta: Checksum) -> Result<Entry> {
        let attributes = self.load_dirmeta(&meta)?;
        let item = Item::Dir {
            tree,
            meta,
            attributes,
        };
        Ok(Entry { path, item })
    }
}
