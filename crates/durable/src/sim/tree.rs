//! A tree of inodes, and the primitive changes made to it.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use crate::fs::{Attributes, FileKind};

/// An inode number.
pub(super) type Ino = u64;

/// The root directory's number, as on ext4.
pub(super) const ROOT: Ino = 2;

/// Longest name in a directory.
const NAME_MAX: usize = 255;

/// Most symlinks followed in one path, as in the kernel.
const SYMLINKS_MAX: usize = 40;

/// What an inode holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Node {
    /// A file's bytes.
    File(Arc<Vec<u8>>),
    /// A directory's names.
    Dir(BTreeMap<OsString, Ino>),
    /// A symlink's target.
    Symlink(PathBuf),
}

/// Everything of an inode but its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: i64,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub immutable: bool,
}

impl Meta {
    /// Root's, with these permission bits and no extended attributes.
    pub(super) fn new(mode: u32, mtime: i64) -> Self {
        Self {
            mode: mode & 0o7777,
            uid: 0,
            gid: 0,
            mtime,
            xattrs: BTreeMap::new(),
            immutable: false,
        }
    }

    /// This, with `attributes` applied in the order that `Fs` promises.
    pub(super) fn with(&self, attributes: &Attributes, kind: FileKind) -> Self {
        let mut meta = self.clone();
        if let Some((uid, gid)) = attributes.owner {
            (meta.uid, meta.gid) = (uid, gid);
            if kind == FileKind::File {
                // The kernel drops set-user-ID, and set-group-ID of an
                // executable, whenever the owner is set.
                meta.mode &= !0o4000;
                if meta.mode & 0o010 != 0 {
                    meta.mode &= !0o2000;
                }
            }
        }
        if let (Some(mode), true) = (attributes.mode, kind != FileKind::Symlink) {
            meta.mode = mode & 0o7777;
        }
        meta.xattrs.extend(attributes.xattrs.iter().cloned());
        if let Some(mtime) = attributes.mtime {
            meta.mtime = mtime;
        }
        meta
    }
}

/// A file, directory or symlink without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inode {
    pub node: Node,
    pub meta: Meta,
}

impl Inode {
    pub(super) fn kind(&self) -> FileKind {
        match self.node {
            Node::File(_) => FileKind::File,
            Node::Dir(_) => FileKind::Dir,
            Node::Symlink(_) => FileKind::Symlink,
        }
    }
}

/// One primitive change. Applying a change that does not fit (its directory is
/// no directory) does nothing, since a crash image may hold any mixture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// An inode comes into being, without a name.
    New { ino: Ino, inode: Inode },
    /// A name is added or replaced.
    Link { dir: Ino, name: OsString, ino: Ino },
    /// A name goes.
    Unlink { dir: Ino, name: OsString },
    /// A name moves, replacing what is there, as one step.
    Rename {
        from: (Ino, OsString),
        to: (Ino, OsString),
        ino: Ino,
    },
    /// Two names change places, as one step; `inos` is what each had.
    Exchange {
        names: [(Ino, OsString); 2],
        inos: [Ino; 2],
    },
    /// Bytes are written into a file, growing it if they reach past the end.
    Write {
        ino: Ino,
        offset: u64,
        bytes: Arc<Vec<u8>>,
    },
    /// A file gets this length.
    Truncate { ino: Ino, len: u64 },
    /// A file gets this content.
    Content { ino: Ino, bytes: Arc<Vec<u8>> },
    /// Everything but the content changes.
    Meta { ino: Ino, meta: Meta },
}

/// Where a path leads.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The directory that holds the last name.
    pub dir: Ino,
    /// The last name; empty for the root and after `..`.
    pub name: OsString,
    /// What has that name.
    pub ino: Option<Ino>,
}

/// Inodes by number. Cheap to copy: inodes are shared until changed.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    inodes: BTreeMap<Ino, Arc<Inode>>,
}

impl Tree {
    /// An empty root directory.
    pub(super) fn new() -> Self {
        let root = Inode {
            node: Node::Dir(BTreeMap::new()),
            meta: Meta::new(0o755, 0),
        };
        Self {
            inodes: BTreeMap::from([(ROOT, Arc::new(root))]),
        }
    }

    pub(super) fn get(&self, ino: Ino) -> io::Result<&Inode> {
        let found = self.inodes.get(&ino).map(Arc::as_ref);
        found.ok_or_else(|| Errno::NOENT.into())
    }

    /// The names in a directory.
    pub(super) fn entries(&self, dir: Ino) -> io::Result<&BTreeMap<OsString, Ino>> {
        match &self.get(dir)?.node {
            Node::Dir(entries) => Ok(entries),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    /// The bytes of a file.
    pub(super) fn content(&self, ino: Ino) -> Option<&Arc<Vec<u8>>> {
        match &self.get(ino).ok()?.node {
            Node::File(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A number that no inode has.
    pub(super) fn next_ino(&self) -> Ino {
        self.inodes.last_key_value().map_or(ROOT, |(ino, _)| *ino) + 1
    }

    /// How many names lead to an inode (a directory's `.` and `..` count too).
    pub(super) fn links(&self, ino: Ino) -> u64 {
        let mut count = 0;
        let mut children = 0;
        for (dir, inode) in &self.inodes {
            if let Node::Dir(entries) = &inode.node {
                count += entries.values().filter(|i| **i == ino).count() as u64;
                if *dir == ino {
                    let is_dir = |i: &&Ino| self.get(**i).is_ok_and(|i| i.kind() == FileKind::Dir);
                    children = 1 + entries.values().filter(is_dir).count() as u64;
                }
            }
        }
        count + children + u64::from(ino == ROOT)
    }

    /// Bytes held by files that have a name.
    pub(super) fn used(&self) -> u64 {
        let named = |ino: &&Ino| self.links(**ino) > 0;
        let len = |ino: &Ino| self.content(*ino).map_or(0, |b| b.len() as u64);
        self.inodes.keys().filter(named).map(len).sum()
    }

    /// Follows a path; with `follow`, through a symlink at its end too.
    pub(super) fn walk(&self, path: &Path, follow: bool) -> io::Result<Place> {
        let mut todo: VecDeque<PathBuf> = components(path).collect();
        let mut stack = vec![ROOT];
        let mut links = 0;
        while let Some(component) = todo.pop_front() {
            let dir = *stack.last().unwrap_or(&ROOT);
            let Some(name) = self.step(&component, &mut stack)? else {
                continue;
            };
            let ino = self.lookup(dir, &name)?;
            let last = todo.is_empty();
            match (ino, ino.and_then(|ino| self.target(ino))) {
                (_, Some(target)) if !last || follow => {
                    links += 1;
                    if links > SYMLINKS_MAX {
                        return Err(Errno::LOOP.into());
                    }
                    let rest = std::mem::take(&mut todo);
                    todo = components(target).chain(rest).collect();
                }
                _ if last => return Ok(Place { dir, name, ino }),
                (Some(ino), _) => stack.push(ino),
                (None, _) => return Err(Errno::NOENT.into()),
            }
        }
        let dir = stack.iter().rev().nth(1).copied().unwrap_or(ROOT);
        Ok(Place {
            dir,
            name: OsString::new(),
            ino: stack.last().copied(),
        })
    }

    /// The name that a component is; `None` for `/`, `.` and `..`, which are
    /// followed here.
    fn step(&self, component: &Path, stack: &mut Vec<Ino>) -> io::Result<Option<OsString>> {
        match component.components().next() {
            Some(Component::Normal(name)) => return Ok(Some(name.to_owned())),
            Some(Component::RootDir) => stack.truncate(1),
            Some(Component::ParentDir) => {
                self.entries(*stack.last().unwrap_or(&ROOT))?;
                stack.truncate(stack.len().saturating_sub(1).max(1));
            }
            _ => {}
        }
        Ok(None)
    }

    fn lookup(&self, dir: Ino, name: &OsStr) -> io::Result<Option<Ino>> {
        let entries = self.entries(dir)?;
        if name.len() > NAME_MAX {
            return Err(Errno::NAMETOOLONG.into());
        }
        Ok(entries.get(name).copied())
    }

    fn target(&self, ino: Ino) -> Option<&Path> {
        match &self.get(ino).ok()?.node {
            Node::Symlink(target) => Some(target),
            _ => None,
        }
    }

    /// The inode a path leads to.
    pub(super) fn find(&self, path: &Path, follow: bool) -> io::Result<Ino> {
        let found = self.walk(path, follow)?.ino;
        found.ok_or_else(|| Errno::NOENT.into())
    }

    /// Whether `dir` is `ino` or below it.
    pub(super) fn is_below(&self, dir: Ino, ino: Ino) -> bool {
        if dir == ino {
            return true;
        }
        self.entries(ino).is_ok_and(|entries| {
            entries
                .values()
                .any(|child| *child != ino && self.is_below(dir, *child))
        })
    }

    /// Makes one change.
    pub(super) fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::New { ino, inode } => {
                self.inodes.insert(*ino, Arc::new(inode.clone()));
            }
            Effect::Link { dir, name, ino } => self.name(*dir, name, Some(*ino)),
            Effect::Unlink { dir, name } => self.name(*dir, name, None),
            Effect::Rename { from, to, ino } => {
                self.name(from.0, &from.1, None);
                self.name(to.0, &to.1, Some(*ino));
            }
            Effect::Exchange { names, inos } => {
                self.name(names[0].0, &names[0].1, Some(inos[1]));
                self.name(names[1].0, &names[1].1, Some(inos[0]));
            }
            Effect::Write { ino, offset, bytes } => self.edit(*ino, |content| {
                let start = usize::try_from(*offset).unwrap_or(usize::MAX);
                let end = start.saturating_add(bytes.len());
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[start..end].copy_from_slice(bytes);
            }),
            Effect::Truncate { ino, len } => self.edit(*ino, |content| {
                content.resize(usize::try_from(*len).unwrap_or(usize::MAX), 0);
            }),
            Effect::Content { ino, bytes } => self.edit(*ino, |content| {
                content.clone_from(bytes);
            }),
            Effect::Meta { ino, meta } => {
                if let Some(inode) = self.inodes.get_mut(ino) {
                    Arc::make_mut(inode).meta = meta.clone();
                }
            }
        }
    }

    fn name(&mut self, dir: Ino, name: &OsStr, ino: Option<Ino>) {
        let Some(inode) = self.inodes.get_mut(&dir) else {
            return;
        };
        if let Node::Dir(entries) = &mut Arc::make_mut(inode).node {
            match ino {
                Some(ino) => entries.insert(name.to_owned(), ino),
                None => entries.remove(name),
            };
        }
    }

    fn edit(&mut self, ino: Ino, change: impl FnOnce(&mut Vec<u8>)) {
        let Some(inode) = self.inodes.get_mut(&ino) else {
            return;
        };
        if let Node::File(content) = &mut Arc::make_mut(inode).node {
            change(Arc::make_mut(content));
        }
    }

    /// A digest of all that has a name. Times are left out, and numbers but for
    /// which names share one.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash_below(ROOT, &mut BTreeMap::new(), &mut hasher);
        hasher.finish()
    }

    fn hash_below(&self, ino: Ino, seen: &mut BTreeMap<Ino, usize>, hasher: &mut DefaultHasher) {
        let next = seen.len();
        let number = *seen.entry(ino).or_insert(next);
        number.hash(hasher);
        let Some(inode) = self.inodes.get(&ino).filter(|_| number == next) else {
            return;
        };
        let meta = &inode.meta;
        (meta.mode, meta.uid, meta.gid, meta.immutable).hash(hasher);
        meta.xattrs.hash(hasher);
        match &inode.node {
            Node::File(bytes) => (0u8, bytes).hash(hasher),
            Node::Symlink(target) => (1u8, target.as_os_str()).hash(hasher),
            Node::Dir(entries) => {
                (2u8, entries.len()).hash(hasher);
                for (name, child) in entries {
                    name.hash(hasher);
                    self.hash_below(*child, seen, hasher);
                }
            }
        }
    }
}

/// A path's components, each as a path of its own.
fn components(path: &Path) -> impl DoubleEndedIterator<Item = PathBuf> {
    path.components().map(|c| PathBuf::from(c.as_os_str()))
}
