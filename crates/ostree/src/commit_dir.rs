//! From a directory to a commit.
//!
//! Workers walk the tree depth first. A directory's `dirtree` is written by
//! whoever finishes its last part, then handed up to the parent directory.

mod draft;
mod file;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use durable::{DirEntry, Doing, FileKind, LockMode};
use monitor::{Monitor, Progress, Unit};

use self::draft::Draft;
use crate::commit_options::{CommitOptions, CommitSummary, Parent, Source};
use crate::format::{DirMeta, DirRef, DirTree, Xattrs, check_name};
use crate::modify::{LinkedFiles, Modified};
use crate::store::Staging;
use crate::workers::{Tasks, work_through};
use crate::{Checksum, Error, ObjectKind, Repo, Result};

/// A directory whose parts are not all done.
struct OpenDir {
    path: PathBuf,
    name: String,
    parent: Option<Arc<OpenDir>>,
    meta: Checksum,
    tree: Mutex<DirTree>,
}

/// A part of the work.
enum Task {
    /// List this directory, whose name and parent are known.
    Dir(PathBuf, String, Option<Arc<OpenDir>>),
    /// Take in these files of a directory.
    Files(Arc<OpenDir>, Vec<DirEntry>),
}

/// As many files of one directory are one task.
const FILES_PER_TASK: usize = 64;

/// What the workers share.
struct Walk<'a> {
    repo: &'a Repo,
    staging: &'a Staging<'a>,
    options: &'a CommitOptions,
    monitor: &'a dyn Monitor,
    /// Where the tree is.
    top: &'a Path,
    /// Digests of files that have several names.
    linked: Mutex<HashMap<(u64, u64), Checksum>>,
    /// The objects of the repository by inode, where files may be links to them.
    known: HashMap<(u64, u64), Checksum>,
    modified: &'a Modified<'a>,
    hits: AtomicU64,
    files: AtomicU64,
    dirs: AtomicU64,
    root: Mutex<Option<(Checksum, Checksum)>>,
}

impl Repo {
    /// Commits a directory: stores what is new of it, makes a commit, and points
    /// the branch to it. Either all of that is durable or nothing has changed.
    ///
    /// # Errors
    /// The disk's; files that a commit cannot hold (devices, sockets, names that
    /// are not UTF-8); too little space.
    pub fn commit_dir(
        &self,
        dir: &Path,
        options: &CommitOptions,
        monitor: &dyn Monitor,
    ) -> Result<CommitSummary> {
        self.commit(&[Source::Dir(dir.to_owned())], options, monitor)
    }

    /// Commits trees laid over one another, the last one on top, as
    /// [`Repo::commit_dir`] does with one directory.
    ///
    /// # Errors
    /// As there; a file where another tree has a directory.
    pub fn commit(
        &self,
        sources: &[Source],
        options: &CommitOptions,
        monitor: &dyn Monitor,
    ) -> Result<CommitSummary> {
        if let Some(branch) = &options.branch {
            crate::refs::check_refspec(branch)?;
        }
        let _lock = self.lock(LockMode::Shared, monitor)?;
        let summary = self
            .commit_locked(sources, options, monitor)
            .map_err(|e| e.explain_full(self.path()))?;
        for signer in &options.signers {
            self.sign_commit(&summary.checksum, signer)?;
        }
        if let Some(branch) = &options.branch {
            self.set_ref(branch, Some(&summary.checksum))?;
        }
        if options.modify.consume {
            self.consume(sources)?;
        }
        Ok(summary)
    }

    /// Removes the directories that have been committed.
    fn consume(&self, sources: &[Source]) -> Result<()> {
        for source in sources {
            if let Source::Dir(dir) = source {
                durable::remove_tree(self.fs(), dir)?;
            }
        }
        Ok(())
    }

    fn commit_locked(
        &self,
        sources: &[Source],
        options: &CommitOptions,
        monitor: &dyn Monitor,
    ) -> Result<CommitSummary> {
        let parent = self.parent_for(options)?;
        let staging = Staging::begin(self)?;
        let mut draft = Draft::new(self, &staging, options, monitor);
        let root = draft.take_in(sources)?;
        if let (true, Some(parent)) = (options.skip_unchanged, parent) {
            let old = self.load_commit(&parent)?;
            if (old.root_tree, old.root_meta) == root {
                return Ok(draft.counts.summary(parent, (0, 0, 0)));
            }
        }
        let checksum = draft.write(parent, root)?;
        if let Some(why) = options.before_publishing {
            staging.leave_to_ostree()?;
            return Err(Error::Wanted(why));
        }
        let counts = draft.counts;
        publish(self, staging, (&checksum, counts), options, monitor)
    }

    /// Stages a directory; its tree and attributes.
    pub(crate) fn stage_dir(
        &self,
        dir: &Path,
        staging: &Staging<'_>,
        options: &CommitOptions,
    ) -> Result<(Checksum, Checksum)> {
        let modified = Modified::new(&options.modify);
        self.walk(
            dir,
            staging,
            options,
            &modified,
            &monitor::Silent,
            &mut Counts::default(),
        )
    }

    /// Takes a directory in; its tree and attributes.
    fn walk(
        &self,
        dir: &Path,
        staging: &Staging<'_>,
        options: &CommitOptions,
        modified: &Modified<'_>,
        monitor: &dyn Monitor,
        counts: &mut Counts,
    ) -> Result<(Checksum, Checksum)> {
        let known = match options.modify.links {
            LinkedFiles::Read => HashMap::new(),
            _ => self.objects_by_inode()?,
        };
        let walk = Walk::new(self, staging, (dir, options, modified), known, monitor);
        let first = vec![Task::Dir(dir.to_owned(), String::new(), None)];
        work_through(first, Vec::new, |task, buffer, tasks| {
            walk.work(task, buffer, tasks)
        })?;
        counts.dirs += walk.dirs.into_inner();
        counts.files += walk.files.into_inner();
        counts.hits += walk.hits.into_inner();
        let root = walk
            .root
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        root.ok_or(Error::Uncommittable {
            path: dir.to_owned(),
            why: "it is not a directory",
        })
    }

    fn parent_for(&self, options: &CommitOptions) -> Result<Option<Checksum>> {
        match (options.parent, &options.branch) {
            (Parent::Commit(checksum), _) => {
                self.load_commit(&checksum)?;
                Ok(Some(checksum))
            }
            (Parent::OfBranch, Some(branch)) => self.read_ref(branch),
            _ => Ok(None),
        }
    }
}

/// What was met while trees were taken in.
#[derive(Debug, Default)]
struct Counts {
    dirs: u64,
    files: u64,
    hits: u64,
}

impl Counts {
    fn summary(
        &self,
        checksum: Checksum,
        (objects, content, bytes): (u64, u64, u64),
    ) -> CommitSummary {
        CommitSummary {
            checksum,
            metadata_total: 2 * self.dirs + 1,
            content_total: self.files,
            objects_written: objects,
            content_written: content,
            cache_hits: self.hits,
            bytes_written: bytes,
        }
    }
}

fn report(monitor: &dyn Monitor, step: &str, done: u64, total: Option<u64>) {
    monitor.progress(Progress {
        step,
        done,
        total,
        unit: Unit::Items,
    });
}

/// Makes a commit part of the repository.
fn publish(
    repo: &Repo,
    staging: Staging<'_>,
    (checksum, mut counts): (&Checksum, Counts),
    options: &CommitOptions,
    monitor: &dyn Monitor,
) -> Result<CommitSummary> {
    let (objects, bytes) = staging.written();
    let content = staging.files_written();
    report(monitor, "publishing objects", 0, Some(objects));
    staging.publish()?;
    report(monitor, "publishing objects", objects, Some(objects));
    if let Some(detached) = &options.detached {
        repo.set_detached_metadata(checksum, Some(detached))?;
    }
    counts.dirs += u64::from(counts.dirs == 0);
    Ok(counts.summary(*checksum, (objects, content, bytes)))
}

impl<'a> Walk<'a> {
    fn new(
        repo: &'a Repo,
        staging: &'a Staging<'a>,
        (top, options, modified): (&'a Path, &'a CommitOptions, &'a Modified<'a>),
        known: HashMap<(u64, u64), Checksum>,
        monitor: &'a dyn Monitor,
    ) -> Self {
        Self {
            repo,
            staging,
            options,
            monitor,
            top,
            known,
            modified,
            hits: AtomicU64::new(0),
            linked: Mutex::default(),
            files: AtomicU64::new(0),
            dirs: AtomicU64::new(0),
            root: Mutex::new(None),
        }
    }
}

impl Walk<'_> {
    fn work(&self, task: Task, buffer: &mut Vec<u8>, tasks: &Tasks<Task, Error>) -> Result<()> {
        let dir = match task {
            Task::Dir(path, name, parent) => self.list(path, name, parent, tasks)?,
            Task::Files(dir, entries) => {
                let mut refs = Vec::with_capacity(entries.len());
                for entry in &entries {
                    refs.push(self.file(&dir.path, entry, buffer)?);
                }
                let n = self.files.fetch_add(refs.len() as u64, Ordering::Relaxed);
                report(self.monitor, "storing files", n + refs.len() as u64, None);
                let mut tree = dir.tree.lock().unwrap_or_else(PoisonError::into_inner);
                tree.files.append(&mut refs);
                drop(tree);
                dir
            }
        };
        self.close(dir)
    }

    /// Opens a directory: stores its attributes, and makes tasks of its content.
    fn list(
        &self,
        path: PathBuf,
        name: String,
        parent: Option<Arc<OpenDir>>,
        tasks: &Tasks<Task, Error>,
    ) -> Result<Arc<OpenDir>> {
        let fs = self.repo.fs();
        let meta = self.dirmeta(&path)?;
        let mut entries = fs.read_dir(&path).doing("list", &path)?;
        let within = self.inside(&path);
        entries.retain(|e| !self.modified.skips(&within, &e.name));
        let (dirs, files): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|e| e.kind == FileKind::Dir);
        let dir = Arc::new(OpenDir {
            path,
            name,
            parent,
            meta,
            tree: Mutex::default(),
        });
        for entry in dirs {
            let name = self.name(&dir.path, &entry)?;
            tasks.push(Task::Dir(
                dir.path.join(&name),
                name,
                Some(Arc::clone(&dir)),
            ));
        }
        let mut files = files.into_iter().peekable();
        while files.peek().is_some() {
            let part = files.by_ref().take(FILES_PER_TASK).collect();
            tasks.push(Task::Files(Arc::clone(&dir), part));
        }
        Ok(dir)
    }

    /// Lets go of a directory. Who is the last to do so writes its `dirtree` and
    /// lets go of the parent.
    fn close(&self, dir: Arc<OpenDir>) -> Result<()> {
        let mut next = Arc::into_inner(dir);
        while let Some(dir) = next {
            let mut tree = dir
                .tree
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner);
            tree.sort();
            let checksum = self.staging.metadata(ObjectKind::DirTree, &tree.encode())?;
            self.dirs.fetch_add(1, Ordering::Relaxed);
            let Some(parent) = dir.parent else {
                let mut root = self.root.lock().unwrap_or_else(PoisonError::into_inner);
                *root = Some((checksum, dir.meta));
                return Ok(());
            };
            let mut siblings = parent.tree.lock().unwrap_or_else(PoisonError::into_inner);
            siblings.dirs.push(DirRef {
                name: dir.name,
                tree: checksum,
                meta: dir.meta,
            });
            drop(siblings);
            next = Arc::into_inner(parent);
        }
        Ok(())
    }

    fn name(&self, dir: &Path, entry: &DirEntry) -> Result<String> {
        let wrong = |why| Error::Uncommittable {
            path: dir.join(&entry.name),
            why,
        };
        let name = entry
            .name
            .to_str()
            .ok_or_else(|| wrong("its name is not UTF-8"))?;
        check_name(name).map_err(|_| wrong("its name cannot be stored"))?;
        Ok(name.to_owned())
    }

    fn dirmeta(&self, path: &Path) -> Result<Checksum> {
        let stat = self.repo.fs().metadata(path).doing("look at", path)?;
        if stat.kind != FileKind::Dir {
            return Err(Error::Uncommittable {
                path: path.to_owned(),
                why: "it is not a directory",
            });
        }
        let owner = (stat.uid, stat.gid);
        let inside = self.inside(path);
        let (uid, gid, mode) =
            self.modified
                .attributes(self.repo, self.options, &inside, owner, stat.mode);
        let xattrs = self.xattrs(path)?;
        let meta = DirMeta {
            uid,
            gid,
            mode,
            xattrs,
        };
        self.staging.metadata(ObjectKind::DirMeta, &meta.encode())
    }

    /// The path in the commit of what is at `path`.
    fn inside(&self, path: &Path) -> PathBuf {
        Path::new("/").join(path.strip_prefix(self.top).unwrap_or(path))
    }

    fn xattrs(&self, path: &Path) -> Result<Xattrs> {
        if self.options.drops_xattrs(self.repo) {
            return Ok(Xattrs::default());
        }
        let found = self.repo.fs().xattrs(path);
        Ok(Xattrs::new(found.doing("read the attributes of", path)?))
    }
}
