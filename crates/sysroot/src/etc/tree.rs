//! What is in a configuration tree, as far as a merge compares it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use durable::{Attributes, Doing, FileKind, Fs, Metadata, Xattr};
use sha2::{Digest, Sha256};

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Dir,
    File([u8; 32]),
    Symlink(PathBuf),
    Other,
}

/// One file, directory or symlink. Times are not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub content: Content,
    pub mode: u32,
    pub owner: (u32, u32),
    pub xattrs: Vec<Xattr>,
}

impl Node {
    pub(crate) fn is_dir(&self) -> bool {
        self.content == Content::Dir
    }

    /// Whether both are files, or both directories, or both symlinks.
    pub(crate) fn same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(&self.content) == std::mem::discriminant(&other.content)
    }

    /// The attributes for a copy of it.
    pub(crate) fn attributes(&self) -> Attributes {
        Attributes {
            owner: Some(self.owner),
            mode: Some(self.mode & 0o7777),
            xattrs: self.xattrs.clone(),
            mtime: None,
        }
    }
}

/// The nodes below a directory, by their path relative to it; it itself is `""`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree(pub BTreeMap<PathBuf, Node>);

impl Tree {
    pub(crate) fn get(&self, path: &Path) -> Option<&Node> {
        self.0.get(path)
    }

    /// Takes a node out, with all below it.
    pub(crate) fn remove(&mut self, path: &Path) {
        self.0.retain(|p, _| !p.starts_with(path));
    }

    /// A node and all below it, parents first.
    pub(crate) fn subtree<'a>(
        &'a self,
        path: &'a Path,
    ) -> impl Iterator<Item = (&'a Path, &'a Node)> {
        // Paths compare by component, so what is below follows without a gap.
        let from = (Bound::Included(path), Bound::Unbounded);
        let range = self.0.range::<Path, _>(from);
        range
            .map(|(p, n)| (p.as_path(), n))
            .take_while(move |(p, _)| p.starts_with(path))
    }

    /// The paths one level below a directory.
    pub(crate) fn children<'a>(&'a self, dir: &'a Path) -> impl Iterator<Item = PathBuf> + 'a {
        let below = self.subtree(dir).map(|(p, _)| p);
        below
            .filter(move |p| *p != dir && p.parent() == Some(dir))
            .map(Path::to_owned)
    }
}

/// Reads a tree; one that is not there is empty.
pub(crate) fn scan(fs: &dyn Fs, root: &Path) -> durable::Result<Tree> {
    let mut tree = Tree::default();
    match fs.metadata(root) {
        Ok(_) => scan_into(fs, root, Path::new(""), &mut tree)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e).doing("look at", root),
    }
    Ok(tree)
}

fn scan_into(fs: &dyn Fs, root: &Path, at: &Path, tree: &mut Tree) -> durable::Result<()> {
    let path = join(root, at);
    let node = node(fs, &path)?;
    let is_dir = node.is_dir();
    tree.0.insert(at.to_owned(), node);
    if is_dir {
        for entry in fs.read_dir(&path).doing("list", &path)? {
            scan_into(fs, root, &at.join(entry.name), tree)?;
        }
    }
    Ok(())
}

/// `root` itself for the empty path, without a slash at the end.
pub(crate) fn join(root: &Path, at: &Path) -> PathBuf {
    if at.as_os_str().is_empty() {
        return root.to_owned();
    }
    root.join(at)
}

/// Reads one node.
pub(crate) fn node(fs: &dyn Fs, path: &Path) -> durable::Result<Node> {
    let meta = fs.metadata(path).doing("look at", path)?;
    Ok(Node {
        content: content(fs, path, &meta)?,
        mode: match meta.kind {
            FileKind::Symlink => 0,
            _ => meta.mode & 0o7777,
        },
        owner: (meta.uid, meta.gid),
        xattrs: xattrs(fs, path)?,
    })
}

/// Without those that say how the repository keeps a file, or that the next
/// start of the system sets anew.
fn xattrs(fs: &dyn Fs, path: &Path) -> durable::Result<Vec<Xattr>> {
    let mut all = fs.xattrs(path).doing("read the attributes of", path)?;
    all.retain(|(name, _)| name != b"user.ostreemeta" && name != b"security.selinux");
    Ok(all)
}

fn content(fs: &dyn Fs, path: &Path, meta: &Metadata) -> durable::Result<Content> {
    Ok(match meta.kind {
        FileKind::Dir => Content::Dir,
        FileKind::Symlink => Content::Symlink(fs.read_link(path).doing("read the symlink", path)?),
        FileKind::File => Content::File(digest(fs, path)?),
        FileKind::Other => Content::Other,
    })
}

fn digest(fs: &dyn Fs, path: &Path) -> durable::Result<[u8; 32]> {
    let mut file = fs.open(path).doing("open", path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer).doing("read", path)? {
            0 => return Ok(hash.finalize().into()),
            n => hash.update(&buffer[..n]),
        }
    }
}
