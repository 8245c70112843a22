//! Trees laid over one another.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::format::{DirRef, DirTree, FileRef};
use crate::listing::MAX_DEPTH;
use crate::store::Staging;
use crate::{Checksum, Error, ObjectKind, Result};

/// A directory that is stored, or one that is being changed.
enum Dir {
    Stored { tree: Checksum, meta: Checksum },
    Open(Box<OpenDir>),
}

struct OpenDir {
    meta: Checksum,
    files: BTreeMap<String, Checksum>,
    dirs: BTreeMap<String, Dir>,
}

/// A tree that grows by other trees and by single files. Only what is changed is
/// loaded.
pub(crate) struct Layers<'a> {
    staging: &'a Staging<'a>,
    root: Option<Dir>,
}

fn in_the_way(path: &Path, why: &'static str) -> Error {
    let path = path.to_owned();
    Error::Uncommittable { path, why }
}

const FILE_OVER_DIR: &str = "it is a file, and another tree has a directory there";
const DIR_OVER_FILE: &str = "it is a directory, and another tree has a file there";

impl Dir {
    /// Loads what is stored; the directory as it may be changed.
    fn open(&mut self, staging: &Staging<'_>) -> Result<&mut OpenDir> {
        let loaded = match self {
            Self::Open(open) => return Ok(open),
            Self::Stored { tree, meta } => OpenDir::load(staging, tree, *meta)?,
        };
        *self = Self::Open(Box::new(loaded));
        self.open(staging)
    }

    /// Stores it; its tree and attributes.
    fn write(self, staging: &Staging<'_>) -> Result<(Checksum, Checksum)> {
        let open = match self {
            Self::Stored { tree, meta } => return Ok((tree, meta)),
            Self::Open(open) => open,
        };
        let mut tree = DirTree::default();
        for (name, checksum) in open.files {
            tree.files.push(FileRef { name, checksum });
        }
        for (name, dir) in open.dirs {
            let (sub, meta) = dir.write(staging)?;
            tree.dirs.push(DirRef {
                name,
                tree: sub,
                meta,
            });
        }
        let checksum = staging.metadata(ObjectKind::DirTree, &tree.encode())?;
        Ok((checksum, open.meta))
    }
}

impl OpenDir {
    fn new(meta: Checksum) -> Self {
        let (files, dirs) = (BTreeMap::new(), BTreeMap::new());
        Self { meta, files, dirs }
    }

    fn load(staging: &Staging<'_>, tree: &Checksum, meta: Checksum) -> Result<Self> {
        let tree = staging.dirtree(tree)?;
        let dir = |d: DirRef| {
            let (tree, meta) = (d.tree, d.meta);
            (d.name, Dir::Stored { tree, meta })
        };
        Ok(Self {
            meta,
            files: tree
                .files
                .into_iter()
                .map(|f| (f.name, f.checksum))
                .collect(),
            dirs: tree.dirs.into_iter().map(dir).collect(),
        })
    }

    fn merge(
        &mut self,
        staging: &Staging<'_>,
        path: &Path,
        (tree, meta): (Checksum, Checksum),
        depth: usize,
    ) -> Result<()> {
        if depth > MAX_DEPTH {
            let path = path.to_owned();
            return Err(Error::TooDeep { path });
        }
        self.meta = meta;
        let tree = staging.dirtree(&tree)?;
        for file in tree.files {
            if self.dirs.contains_key(&file.name) {
                return Err(in_the_way(&path.join(&file.name), FILE_OVER_DIR));
            }
            self.files.insert(file.name, file.checksum);
        }
        for dir in tree.dirs {
            let path = path.join(&dir.name);
            if self.files.contains_key(&dir.name) {
                return Err(in_the_way(&path, DIR_OVER_FILE));
            }
            let (tree, meta) = (dir.tree, dir.meta);
            match self.dirs.get_mut(&dir.name) {
                None => {
                    self.dirs.insert(dir.name, Dir::Stored { tree, meta });
                }
                Some(below) => {
                    let below = below.open(staging)?;
                    below.merge(staging, &path, (tree, meta), depth + 1)?;
                }
            }
        }
        Ok(())
    }
}

impl<'a> Layers<'a> {
    pub(crate) fn new(staging: &'a Staging<'a>) -> Self {
        let root = None;
        Self { staging, root }
    }

    /// Lays a stored tree over what is there.
    pub(crate) fn add(&mut self, tree: Checksum, meta: Checksum) -> Result<()> {
        match &mut self.root {
            None => self.root = Some(Dir::Stored { tree, meta }),
            Some(root) => {
                let root = root.open(self.staging)?;
                root.merge(self.staging, Path::new("/"), (tree, meta), 0)?;
            }
        }
        Ok(())
    }

    /// The directory at a path, made with these attributes where it is not there.
    /// Without them, all above it must be there.
    fn dir(&mut self, path: &Path, make: Option<Checksum>) -> Result<&mut OpenDir> {
        let missing = || Error::NoSuchPath {
            path: path.to_owned(),
        };
        let root = match (&mut self.root, make) {
            (Some(root), _) => root,
            (root @ None, Some(meta)) => root.insert(Dir::Open(Box::new(OpenDir::new(meta)))),
            (None, None) => return Err(missing()),
        };
        let mut dir = root.open(self.staging)?;
        let mut here = PathBuf::from("/");
        for component in path.components() {
            let Component::Normal(name) = component else {
                continue;
            };
            let name = name.to_str().ok_or_else(missing)?.to_owned();
            here.push(&name);
            if dir.files.contains_key(&name) {
                return Err(in_the_way(&here, DIR_OVER_FILE));
            }
            let below = match (dir.dirs.entry(name), make) {
                (std::collections::btree_map::Entry::Occupied(found), _) => found.into_mut(),
                (std::collections::btree_map::Entry::Vacant(place), Some(meta)) => {
                    place.insert(Dir::Open(Box::new(OpenDir::new(meta))))
                }
                _ => return Err(Error::NoSuchPath { path: here }),
            };
            dir = below.open(self.staging)?;
        }
        Ok(dir)
    }

    /// Puts a directory at a path, or changes the attributes of the one there.
    pub(crate) fn put_dir(&mut self, path: &Path, meta: Checksum) -> Result<()> {
        if let Some(parent) = path.parent()
            && (parent != Path::new("/") || self.root.is_some())
        {
            self.dir(parent, None)?;
        }
        self.dir(path, Some(meta))?.meta = meta;
        Ok(())
    }

    /// Whether there is a directory at a path.
    pub(crate) fn has_dir(&mut self, path: &Path) -> Result<bool> {
        match self.dir(path, None) {
            Ok(_) => Ok(true),
            Err(Error::NoSuchPath { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Puts a file at a path. A directory there is an error.
    pub(crate) fn put_file(&mut self, path: &Path, file: Checksum) -> Result<()> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        let missing = || Error::NoSuchPath {
            path: path.to_owned(),
        };
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .ok_or_else(missing)?;
        let dir = self.dir(parent, None)?;
        if dir.dirs.contains_key(name) {
            return Err(in_the_way(path, FILE_OVER_DIR));
        }
        dir.files.insert(name.to_owned(), file);
        Ok(())
    }

    /// Whether nothing was put in yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The file at a path.
    pub(crate) fn file(&mut self, path: &Path) -> Result<Option<Checksum>> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
            return Ok(None);
        };
        Ok(self.dir(parent, None)?.files.get(name).copied())
    }

    /// Takes away what is at a path, if anything is.
    pub(crate) fn remove(&mut self, path: &Path) -> Result<()> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        let dir = match self.dir(parent, None) {
            Err(Error::NoSuchPath { .. }) => return Ok(()),
            other => other?,
        };
        if let Some(name) = path.file_name().and_then(|n| n.to_str()) {
            dir.files.remove(name);
            dir.dirs.remove(name);
        }
        Ok(())
    }

    /// Takes away all that is in a directory.
    pub(crate) fn clear(&mut self, path: &Path) -> Result<()> {
        match self.dir(path, None) {
            Err(Error::NoSuchPath { .. }) => Ok(()),
            Err(other) => Err(other),
            Ok(dir) => {
                dir.files.clear();
                dir.dirs.clear();
                Ok(())
            }
        }
    }

    /// Stores what has changed; the tree and attributes of the whole, if there is
    /// any.
    pub(crate) fn finish(self) -> Result<Option<(Checksum, Checksum)>> {
        self.root.map(|root| root.write(self.staging)).transpose()
    }
}
