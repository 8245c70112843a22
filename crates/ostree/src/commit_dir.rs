//! From a directory to a commit.
//!
//! Workers walk the tree depth first. A directory's `dirtree` is written by
//! whoever finishes its last part, then handed up to the parent directory.

mod draft;
mod file;
mod intake;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use durable::{DirEntry, Doing, FileKind, LockMode};
use monitor::{Monitor, Progress, Unit};

use self::draft::Draft;
use self::intake::Intake;
use crate::commit_options::{CommitOptions, CommitSummary, Parent, Source};
use crate::format::{DirMeta, DirRef, DirTree, Xattrs, check_name};
use crate::store::Staging;
use crate::workers::Tasks;
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
    intake: &'a Intake<'a>,
    /// Where the tree is.
    top: &'a Path,
    /// Digests of files that have several names.
    linked: Mutex<HashMap<(u64, u64), Checksum>>,
    /// The objects of the repository by inode, where files may be links to them.
    known: HashMap<(u64, u64), Checksum>,
    hits: AtomicU64,
    unread: AtomicU64,
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
        let intake = Intake::new(self, &staging, options, monitor).remembering();
        let mut draft = Draft::new(intake);
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
        let Draft { intake, counts } = draft;
        let digests = intake.digests;
        let summary = publish(self, staging, (&checksum, counts), options, monitor)?;
        // They count only for objects that are there.
        if let Some(digests) = digests {
            digests.save(self);
        }
        Ok(summary)
    }

    /// Stages a directory; its tree and attributes.
    pub(crate) fn stage_dir(
        &self,
        dir: &Path,
        staging: &Staging<'_>,
        options: &CommitOptions,
    ) -> Result<(Checksum, Checksum)> {
        let intake = Intake::new(self, staging, options, &monitor::Silent);
        intake.walk(dir, &mut Counts::default())
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
    unread: u64,
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
            unread: self.unread,
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
    fn new(intake: &'a Intake<'a>, top: &'a Path, known: HashMap<(u64, u64), Checksum>) -> Self {
        Self {
            intake,
            top,
            known,
            hits: AtomicU64::new(0),
            unread: AtomicU64::new(0),
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
                report(
                    self.intake.monitor,
                    "storing files",
                    n + refs.len() as u64,
                    None,
                );
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
        let fs = self.intake.repo.fs();
        let meta = self.dirmeta(&path)?;
        let mut entries = fs.read_dir(&path).doing("list", &path)?;
        let within = self.inside(&path);
        entries.retain(|e| !self.intake.modified.skips(&within, &e.name));
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
            let checksum = self
                .intake
                .staging
                .metadata(ObjectKind::DirTree, &tree.encode())?;
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
        let stat = self
            .intake
            .repo
            .fs()
            .metadata(path)
            .doing("look at", path)?;
        if stat.kind != FileKind::Dir {
            return Err(Error::Uncommittable {
                path: path.to_owned(),
                why: "it is not a directory",
            });
        }
        let owner = (stat.uid, stat.gid);
        let inside = self.inside(path);
        let (uid, gid, mode) = self.intake.modified.attributes(
            self.intake.repo,
            self.intake.options,
            &inside,
            owner,
            stat.mode,
        );
        let xattrs = self.xattrs(path, mode)?;
        let meta = DirMeta {
            uid,
            gid,
            mode,
            xattrs,
        };
        self.intake
            .staging
            .metadata(ObjectKind::DirMeta, &meta.encode())
    }

    /// The path in the commit of what is at `path`.
    fn inside(&self, path: &Path) -> PathBuf {
        Path::new("/").join(path.strip_prefix(self.top).unwrap_or(path))
    }

    fn xattrs(&self, path: &Path, mode: u32) -> Result<Xattrs> {
        let repo = self.intake.repo;
        let at = (self.inside(path), mode);
        self.intake.options.xattrs(repo, (&at.0, at.1), || {
            let found = repo.fs().xattrs(path);
            Ok(Xattrs::new(found.doing("read the attributes of", path)?))
        })
    }
}
