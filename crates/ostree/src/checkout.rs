//! From a commit to a directory.
//!
//! Workers walk the tree depth first. A directory gets its owner, mode and time
//! from whoever finishes its last part, so that read-only directories can be
//! filled.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use durable::{Attributes, Doing};
use monitor::{Monitor, Progress, Unit};

use crate::format::{DirMeta, FileHeader, FileRef, TYPE_MASK};
use crate::store::{BARE_USER_ONLY_BITS, digest_long, digest_of, link_allowed, write_copy};
use crate::workers::{Tasks, work_through};
use crate::{Checksum, Error, ObjectKind, ObjectName, Repo, RepoMode, Result};

/// How files are brought into a checkout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Links {
    /// As hard links to the repository's objects; as copies where that cannot be.
    #[default]
    Prefer,
    /// As hard links, or not at all.
    Require,
    /// As copies. They can be changed without harm to the repository.
    Never,
}

/// How a commit is checked out.
#[derive(Debug, Clone, Default)]
pub struct CheckoutOptions {
    /// Leaves owners and extended attributes out, for unprivileged users.
    pub user_mode: bool,
    /// Links or copies.
    pub links: Links,
    /// Checks out this directory or file of the commit only.
    pub subpath: Option<PathBuf>,
    /// Fills a destination that exists. Directories that are there stay as they
    /// are.
    pub into_existing: bool,
    /// What is done with a file that is in the way.
    pub overwrite: Overwrite,
    /// `.wh.NAME` removes what was called `NAME`, `.wh..wh..opq` all that was in its
    /// directory.
    pub whiteouts: bool,
    /// `.ostree-wh.NAME` becomes the device that hides `NAME` in an overlay.
    pub overlay_whiteouts: bool,
    /// Paths in the checkout that are left out, with all below them.
    pub skip: BTreeSet<PathBuf>,
    /// Takes set-id and sticky bits and others' write bits off directories.
    pub harmless_dirs: bool,
    /// Keeps uncompressed copies in an archive repository, and links to them.
    pub cache: bool,
    /// Copies empty files instead of linking them: one object has only so many links.
    pub copy_empty: bool,
}

/// What is done with a file that is in the way of one that is checked out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// It is an error.
    #[default]
    Refuse,
    /// It is replaced.
    Replace,
    /// It stays.
    Keep,
    /// It stays if it is the same; else it is an error.
    Same,
}

/// What a checkout consists of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckoutSummary {
    /// Directories made.
    pub dirs: u64,
    /// Files that are hard links to objects.
    pub linked: u64,
    /// Files that are copies.
    pub copied: u64,
    /// Bytes in those copies.
    pub copied_bytes: u64,
}

/// A directory whose parts are not all done.
struct OpenDir {
    path: PathBuf,
    /// `None` when it was there before.
    meta: Option<DirMeta>,
    parent: Option<Arc<OpenDir>>,
}

/// A part of the work.
enum Task {
    /// Make this directory: tree, attributes, path.
    Dir(Checksum, Checksum, PathBuf, Option<Arc<OpenDir>>),
    /// Make these files in a directory.
    Files(Arc<OpenDir>, Vec<FileRef>),
}

/// As many files of one directory are one task.
const FILES_PER_TASK: usize = 128;

/// What the workers share.
struct Walk<'a> {
    repo: &'a Repo,
    top: &'a Path,
    options: &'a CheckoutOptions,
    monitor: &'a dyn Monitor,
    /// Whether hard links are (still) worth a try.
    link: AtomicBool,
    dirs: AtomicU64,
    linked: AtomicU64,
    copied: AtomicU64,
    copied_bytes: AtomicU64,
}

impl Repo {
    /// Checks a commit out to `dest`, which must not exist (unless the options
    /// say so). Copies are verified against their digest. Nothing is synced: who
    /// needs the checkout to survive a crash syncs its filesystem.
    ///
    /// # Errors
    /// The disk's; missing or damaged objects. What has been made is removed, unless
    /// it was put into a directory that existed.
    pub fn checkout(
        &self,
        checksum: &Checksum,
        dest: &Path,
        options: &CheckoutOptions,
        monitor: &dyn Monitor,
    ) -> Result<CheckoutSummary> {
        // There are no owners to give, then.
        let options = &CheckoutOptions {
            user_mode: options.user_mode || self.mode() == RepoMode::BareUserOnly,
            ..options.clone()
        };
        let link = options.links != Links::Never;
        let caches = options.cache && options.user_mode && self.mode() == RepoMode::Archive;
        let allowed = link_allowed(self.mode(), options.user_mode) || caches;
        if options.links == Links::Require && !allowed {
            return Err(no_links(dest, self.mode(), options.user_mode));
        }
        let walk = Walk {
            repo: self,
            top: dest,
            options,
            monitor,
            link: AtomicBool::new(link && allowed),
            dirs: AtomicU64::new(0),
            linked: AtomicU64::new(0),
            copied: AtomicU64::new(0),
            copied_bytes: AtomicU64::new(0),
        };
        let is_new = self.fs().metadata(dest).is_err();
        walk.run(checksum, dest).map_err(|e| {
            if is_new && !matches!(e, Error::Exists { .. }) {
                // The first error is the one that matters.
                let _ = durable::remove_tree(self.fs(), dest);
            }
            e.explain_full(dest)
        })?;
        Ok(CheckoutSummary {
            dirs: walk.dirs.into_inner(),
            linked: walk.linked.into_inner(),
            copied: walk.copied.into_inner(),
            copied_bytes: walk.copied_bytes.into_inner(),
        })
    }
}

fn no_links(path: &Path, mode: RepoMode, user_mode: bool) -> Error {
    Error::NoHardLinks {
        path: path.to_owned(),
        why: match mode {
            RepoMode::Archive => "an archive repository keeps files compressed",
            RepoMode::Bare if user_mode => "in user mode, only those of a bare-user repository can",
            _ => "its objects can be linked in user mode only",
        },
    }
}

impl Walk<'_> {
    fn run(&self, checksum: &Checksum, dest: &Path) -> Result<()> {
        let first = match self.repo.find(checksum, self.subpath())? {
            crate::listing::Found::Dir { tree, meta } => {
                Task::Dir(tree, meta, dest.to_owned(), None)
            }
            crate::listing::Found::File(checksum) => return self.one_file(checksum, dest),
        };
        work_through(vec![first], Vec::new, |task, buffer, tasks| {
            self.work(task, buffer, tasks)
        })
    }

    fn subpath(&self) -> &Path {
        self.options.subpath.as_deref().unwrap_or(Path::new("/"))
    }

    /// A checkout of one file: it is put into the directory `dest`.
    fn one_file(&self, checksum: Checksum, dest: &Path) -> Result<()> {
        match self.repo.fs().create_dir(dest, 0o755) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(e)
                    .doing("create the directory", dest)
                    .map_err(Error::from);
            }
            _ => {}
        }
        let name = self.subpath().file_name().unwrap_or_default();
        self.file(&checksum, &dest.join(name), &mut Vec::new())
    }

    /// Whether a path of the checkout is left out.
    fn skips(&self, path: &Path) -> bool {
        if self.options.skip.is_empty() {
            return false;
        }
        let inside = path.strip_prefix(self.top).unwrap_or(path);
        self.options.skip.contains(&Path::new("/").join(inside))
    }

    /// Removes what the whiteouts of a directory name.
    fn white_out(&self, dir: &Path, files: &[FileRef]) -> Result<()> {
        for file in files {
            match file.name.strip_prefix(WHITEOUT) {
                None => {}
                Some(OPAQUE) => {
                    for entry in self.repo.fs().read_dir(dir).doing("list", dir)? {
                        durable::remove_tree(self.repo.fs(), &dir.join(entry.name))?;
                    }
                }
                Some(name) if name.is_empty() || name == "." || name == ".." => {}
                Some(name) => durable::remove_tree(self.repo.fs(), &dir.join(name))?,
            }
        }
        Ok(())
    }

    fn named_file(&self, file: &FileRef, dir: &Path, buffer: &mut Vec<u8>) -> Result<()> {
        let path = dir.join(&file.name);
        let hidden = self.options.whiteouts && file.name.starts_with(WHITEOUT);
        if hidden || self.skips(&path) {
            return Ok(());
        }
        match file.name.strip_prefix(OVERLAY_WHITEOUT) {
            Some(name) if self.options.overlay_whiteouts && !name.is_empty() => {
                self.whiteout_device(&file.checksum, &dir.join(name))
            }
            _ => self.file(&file.checksum, &path, buffer),
        }
    }

    /// Makes the device that hides a name in an overlay, with the attributes of the
    /// file that stands for it.
    fn whiteout_device(&self, checksum: &Checksum, path: &Path) -> Result<()> {
        let header = self.repo.open_file(checksum)?.header;
        let fs = self.repo.fs();
        fs.make_whiteout(path, header.mode & 0o7777)
            .doing("create the whiteout", path)
            .map_err(Error::from)
            .map_err(exists(path))?;
        let user = self.options.user_mode;
        let attributes = Attributes {
            owner: (!user).then_some((header.uid, header.gid)),
            mode: Some(header.mode & 0o7777),
            xattrs: Vec::new(),
            mtime: None,
        };
        Ok(fs
            .set_attributes(path, &attributes)
            .doing("set the attributes of", path)?)
    }

    fn work(&self, task: Task, buffer: &mut Vec<u8>, tasks: &Tasks<Task, Error>) -> Result<()> {
        let dir = match task {
            Task::Dir(tree, meta, path, parent) => self.dir(tree, meta, path, parent, tasks)?,
            Task::Files(dir, files) => {
                for file in &files {
                    self.named_file(file, &dir.path, buffer)?;
                }
                self.monitor.progress(Progress {
                    step: "checking out",
                    done: self.linked.load(Ordering::Relaxed) + self.copied.load(Ordering::Relaxed),
                    total: None,
                    unit: Unit::Items,
                });
                dir
            }
        };
        self.close(dir)
    }

    /// Makes a directory that only we may enter until it is done, and tasks of
    /// its content.
    fn dir(
        &self,
        tree: Checksum,
        meta: Checksum,
        path: PathBuf,
        parent: Option<Arc<OpenDir>>,
        tasks: &Tasks<Task, Error>,
    ) -> Result<Arc<OpenDir>> {
        let meta = self.repo.load_dirmeta(&meta)?;
        let tree = self.repo.load_dirtree(&tree)?;
        let existed = self.make_dir(&path)?;
        if self.options.whiteouts && existed {
            self.white_out(&path, &tree.files)?;
        }
        let dir = Arc::new(OpenDir {
            path,
            meta: (!existed).then_some(meta),
            parent,
        });
        for sub in tree.dirs {
            let path = dir.path.join(&sub.name);
            if self.skips(&path) {
                continue;
            }
            tasks.push(Task::Dir(sub.tree, sub.meta, path, Some(Arc::clone(&dir))));
        }
        let mut files = tree.files.into_iter().peekable();
        while files.peek().is_some() {
            let part = files.by_ref().take(FILES_PER_TASK).collect();
            tasks.push(Task::Files(Arc::clone(&dir), part));
        }
        self.dirs.fetch_add(1, Ordering::Relaxed);
        Ok(dir)
    }

    /// Makes the directory; whether one was there already and is to be filled.
    fn make_dir(&self, path: &Path) -> Result<bool> {
        let fs = self.repo.fs();
        match fs.create_dir(path, 0o700) {
            Ok(()) => Ok(false),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                // A symlink is not followed: it could lead out of the checkout.
                let stat = fs.metadata(path).doing("look at", path)?;
                if self.options.into_existing && stat.kind == durable::FileKind::Dir {
                    return Ok(true);
                }
                let path = path.to_owned();
                Err(Error::Exists { path })
            }
            Err(e) => Err(e)
                .doing("create the directory", path)
                .map_err(Error::from),
        }
    }

    /// Lets go of a directory. Who is the last to do so sets its attributes and
    /// lets go of the parent.
    fn close(&self, dir: Arc<OpenDir>) -> Result<()> {
        let mut next = Arc::into_inner(dir);
        while let Some(dir) = next {
            if let Some(meta) = &dir.meta {
                let attributes = self.dir_attributes(meta);
                let set = self.repo.fs().set_attributes(&dir.path, &attributes);
                set.doing("set the attributes of", &dir.path)?;
            }
            next = dir.parent.and_then(Arc::into_inner);
        }
        Ok(())
    }

    fn dir_attributes(&self, meta: &DirMeta) -> Attributes {
        let user = self.options.user_mode;
        Attributes {
            owner: (!user).then_some((meta.uid, meta.gid)),
            mode: Some(meta.mode & self.dir_bits()),
            xattrs: if user || self.repo.config().disable_xattrs {
                Vec::new()
            } else {
                meta.xattrs.as_slice().to_vec()
            },
            mtime: Some(0),
        }
    }

    /// The mode bits that directories may have.
    fn dir_bits(&self) -> u32 {
        match self.options.harmless_dirs || self.repo.mode() == RepoMode::BareUserOnly {
            true => BARE_USER_ONLY_BITS,
            false => 0o7777,
        }
    }

    /// Checks a file out, minding what is in its way.
    fn file(&self, checksum: &Checksum, path: &Path, buffer: &mut Vec<u8>) -> Result<()> {
        let fs = self.repo.fs();
        match (
            self.new_file(checksum, path, buffer),
            self.options.overwrite,
        ) {
            (Err(Error::Exists { .. }), Overwrite::Keep) => Ok(()),
            (Err(Error::Exists { path }), Overwrite::Same) => {
                match self.is_same(checksum, &path, buffer)? {
                    true => Ok(()),
                    false => Err(Error::Exists { path }),
                }
            }
            (Err(Error::Exists { path }), Overwrite::Replace) => {
                durable::remove_tree(fs, &path)?;
                self.new_file(checksum, &path, buffer)
            }
            (result, _) => result,
        }
    }

    /// Whether the file at a path is what would be checked out there.
    fn is_same(&self, checksum: &Checksum, path: &Path, buffer: &mut Vec<u8>) -> Result<bool> {
        let fs = self.repo.fs();
        let stat = fs.metadata(path).doing("look at", path)?;
        let object = self
            .repo
            .object_path(&ObjectName::new(*checksum, ObjectKind::File));
        if let Ok(original) = fs.metadata(&object)
            && (original.dev, original.ino) == (stat.dev, stat.ino)
        {
            return Ok(true);
        }
        let header = self.repo.open_file(checksum)?.header;
        if stat.mode & TYPE_MASK != header.mode & TYPE_MASK {
            return Ok(false);
        }
        let found = FileHeader {
            mode: stat.mode,
            ..header
        };
        self.digest_at(found, path, buffer)
            .map(|found| found == *checksum)
    }

    /// The digest of a checked-out file, if it had these attributes.
    fn digest_at(
        &self,
        mut header: FileHeader,
        path: &Path,
        buffer: &mut Vec<u8>,
    ) -> Result<Checksum> {
        let fs = self.repo.fs();
        if header.is_symlink() {
            let target = fs.read_link(path).doing("read the symlink", path)?;
            header.target = target.to_string_lossy().into_owned();
            return Ok(digest_of(&header).finish());
        }
        let mut reader = fs.open(path).doing("open", path)?;
        Ok(digest_long(&header, &mut *reader, buffer, path, &mut io::sink())?.0)
    }

    fn new_file(&self, checksum: &Checksum, path: &Path, buffer: &mut Vec<u8>) -> Result<()> {
        if self.link.load(Ordering::Relaxed) && self.link(checksum, path)? {
            self.linked.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let file = self.repo.open_file(checksum)?;
        self.copied_bytes.fetch_add(file.size, Ordering::Relaxed);
        self.copied.fetch_add(1, Ordering::Relaxed);
        let (mut header, mut file) = (file.header.clone(), Some(file));
        if self.options.user_mode && !header.is_symlink() {
            // Whoever checks it out can read it.
            header.mode |= 0o400;
        }
        if header.is_symlink()
            && let Some(file) = file.take()
        {
            let _ = file.copy_verified(*checksum, buffer, &mut io::sink())?;
        }
        let fs = self.repo.fs();
        write_copy(
            fs,
            path,
            &header,
            self.options.user_mode,
            &mut |sink| match file.take() {
                Some(file) => file.copy_verified(*checksum, buffer, sink),
                None => Ok(Ok(())),
            },
        )
        .map_err(exists(path))
    }

    /// Links a file; `false` when it has to be copied.
    fn link(&self, checksum: &Checksum, path: &Path) -> Result<bool> {
        let repo = self.repo;
        if repo.mode() == RepoMode::Archive {
            return self.link_cached(checksum, path);
        }
        if repo.mode() == RepoMode::BareUser || self.options.copy_empty {
            let file = repo.open_file(checksum)?;
            // A symlink is kept as a regular file. Empty files are so many that one
            // object may run out of links, and a copy of one takes no space.
            let kept = repo.mode() != RepoMode::BareUser;
            let symlink = file.header.is_symlink();
            let unreadable = self.options.user_mode && file.header.mode & 0o400 == 0;
            if (symlink && !kept) || (!symlink && (file.size == 0 || unreadable)) {
                return Ok(false);
            }
        }
        let object = ObjectName::new(*checksum, ObjectKind::File);
        let original = repo.object_path(&object);
        let Err(e) = repo.fs().hard_link(&original, path) else {
            return Ok(true);
        };
        use io::ErrorKind as Kind;
        let required = self.options.links == Links::Require;
        match e.kind() {
            // It is in a repository that stands behind this one.
            Kind::NotFound if repo.parent().is_some() && !repo.has(&object)? => Ok(false),
            Kind::NotFound if !repo.has(&object)? => Err(Error::Missing(object)),
            // Too many links to this one object; others may still do.
            Kind::TooManyLinks if !required => Ok(false),
            Kind::CrossesDevices | Kind::PermissionDenied | Kind::Unsupported if !required => {
                self.link.store(false, Ordering::Relaxed);
                Ok(false)
            }
            Kind::CrossesDevices => Err(Error::NoHardLinks {
                path: path.to_owned(),
                why: "it is on another filesystem",
            }),
            _ => Err(e)
                .doing("link", path)
                .map_err(Error::from)
                .map_err(exists(path)),
        }
    }
}

/// What the name of a whiteout starts with.
const WHITEOUT: &str = ".wh.";
/// The rest of the name of the one that hides all of a directory.
const OPAQUE: &str = ".wh..opq";
/// What the name of a file starts with that stands for an overlay's whiteout.
const OVERLAY_WHITEOUT: &str = ".ostree-wh.";

impl Walk<'_> {
    /// Links the uncompressed copy of a file that an archive repository keeps, made
    /// when it is not there; `false` for what is not kept.
    fn link_cached(&self, checksum: &Checksum, path: &Path) -> Result<bool> {
        let (repo, fs) = (self.repo, self.repo.fs());
        let name = ObjectName::new(*checksum, ObjectKind::File).relative_path(RepoMode::Bare);
        let cached = repo.path().join("uncompressed-objects-cache").join(name);
        match fs.hard_link(&cached, path) {
            Ok(()) => return Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists {
                    path: path.to_owned(),
                });
            }
            Err(_) => {}
        }
        let file = repo.open_file(checksum)?;
        if file.header.is_symlink() || file.size == 0 {
            return Ok(false);
        }
        let dir = cached.parent().unwrap_or(repo.path()).to_owned();
        durable::create_dir_all(fs, &dir, 0o755)?;
        let number = self.linked.load(Ordering::Relaxed);
        let partial = dir.join(format!(".tmp-{}-{number}-{checksum}", std::process::id()));
        let (header, mut file) = (file.header.clone(), Some(file));
        let mut buffer = Vec::new();
        write_copy(fs, &partial, &header, true, &mut |sink| match file.take() {
            Some(file) => file.copy_verified(*checksum, &mut buffer, sink),
            None => Ok(Ok(())),
        })?;
        fs.rename(&partial, &cached).doing("rename", &partial)?;
        match fs.hard_link(&cached, path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(Error::Exists {
                path: path.to_owned(),
            }),
            Err(_) => Ok(false),
        }
    }
}

/// Names the file that is in the way.
fn exists(path: &Path) -> impl FnOnce(Error) -> Error {
    let path = path.to_owned();
    move |e| match e {
        Error::Disk(e) if e.source.kind() == io::ErrorKind::AlreadyExists => Error::Exists { path },
        other => other,
    }
}
