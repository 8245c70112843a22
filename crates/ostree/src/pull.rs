//! From one repository on this machine to another.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use durable::{Doing, LockMode};
use monitor::{Monitor, Progress, Unit};

use crate::format::{Commit, DirMeta, DirTree};
use crate::store::Staging;
use crate::workers::{Tasks, work_through};
use crate::{Checksum, Error, ObjectKind, ObjectName, Repo, Result};

/// How to pull.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// Files the refs under this remote's name (`REMOTE:NAME`) instead of taking
    /// them over as they are.
    pub remote: Option<String>,
    /// How many commits before the wanted one come along; `None`: all that the
    /// source has.
    pub depth: Option<u32>,
    /// How files are brought over.
    pub files: PullFiles,
}

/// How files are brought from one repository to another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PullFiles {
    /// Read and verified; then linked where both repositories have the same mode,
    /// filesystem and owner, else copied.
    #[default]
    Verified,
    /// Linked without being read, where mode and filesystem allow it, else verified
    /// and copied. Damage in the source comes along.
    TrustedLinks,
    /// Verified and copied. What happens to the source later does not matter.
    Copies,
}

/// What came of a pull.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullSummary {
    /// The wanted names and the commits that they are.
    pub commits: Vec<(String, Checksum)>,
    /// Objects that were not there before.
    pub objects_written: u64,
    /// Bytes of those that were copied.
    pub bytes_written: u64,
}

/// What the workers share.
struct Pull<'a> {
    from: &'a Repo,
    to: &'a Repo,
    staging: &'a Staging<'a>,
    monitor: &'a dyn Monitor,
    depth: Option<u32>,
    /// Whether files are read before they are linked.
    verify: bool,
    /// Whether hard links are (still) worth a try.
    link: AtomicBool,
    seen: Mutex<HashSet<ObjectName>>,
    done: AtomicU64,
}

/// An object to fetch; for a commit, how many parents come along.
type Task = (ObjectName, Option<u32>);

impl Repo {
    /// Fetches commits, named as in [`Repo::resolve`], with all that they are made
    /// of, from another repository; each object is verified. Refs are set when
    /// everything is durable.
    ///
    /// # Errors
    /// Missing or damaged objects in the source; the disk's; too little space.
    /// No ref has changed then; objects that came over stay, and the next pull does
    /// not fetch them again.
    pub fn pull_local(
        &self,
        from: &Repo,
        what: &[String],
        options: &PullOptions,
        monitor: &dyn Monitor,
    ) -> Result<PullSummary> {
        let _lock = self.lock(LockMode::Shared, monitor)?;
        let mut commits = Vec::new();
        for name in what {
            commits.push((name.clone(), from.resolve(name)?));
        }
        let summary = self
            .fetch(from, commits, options, monitor)
            .map_err(|e| e.explain_full(self.path()))?;
        for (name, checksum) in &summary.commits {
            self.set_pulled_ref(from, name, checksum, options)?;
        }
        Ok(summary)
    }

    fn set_pulled_ref(
        &self,
        from: &Repo,
        name: &str,
        checksum: &Checksum,
        options: &PullOptions,
    ) -> Result<()> {
        if !matches!(from.read_ref(name), Ok(Some(_))) {
            return Ok(());
        }
        let bare = name.rsplit_once(':').map_or(name, |(_, bare)| bare);
        let target = match &options.remote {
            Some(remote) => format!("{remote}:{bare}"),
            None => name.to_owned(),
        };
        self.set_ref(&target, Some(checksum))
    }

    /// Whether files may be shared with the other repository. Unless it is trusted,
    /// both must belong to the same user, who may write in either: then what is
    /// shared is no less safe than copies.
    fn may_link(&self, from: &Repo, files: PullFiles) -> Result<bool> {
        let owner = |repo: &Repo| {
            let objects = repo.path().join("objects");
            Ok::<_, Error>(repo.fs().metadata(&objects).doing("look at", &objects)?.uid)
        };
        let same = from.mode() == self.mode();
        Ok(match files {
            PullFiles::Verified => same && owner(self)? == owner(from)?,
            PullFiles::TrustedLinks => same,
            PullFiles::Copies => false,
        })
    }

    fn fetch(
        &self,
        from: &Repo,
        commits: Vec<(String, Checksum)>,
        options: &PullOptions,
        monitor: &dyn Monitor,
    ) -> Result<PullSummary> {
        let staging = Staging::begin(self)?;
        let link = self.may_link(from, options.files)?;
        if link {
            // Links are part of this repository at once, so what they link to must
            // not be lost in a crash, whoever wrote it.
            let (fs, path) = (from.fs(), from.path());
            fs.sync_filesystem(path)
                .doing("sync the filesystem of", path)?;
        }
        let pull = Pull {
            from,
            to: self,
            staging: &staging,
            monitor,
            depth: options.depth,
            verify: options.files != PullFiles::TrustedLinks,
            link: AtomicBool::new(link),
            seen: Mutex::default(),
            done: AtomicU64::new(0),
        };
        let first: Vec<Task> = commits
            .iter()
            .map(|(_, checksum)| {
                (
                    ObjectName::new(*checksum, ObjectKind::Commit),
                    options.depth,
                )
            })
            .filter(|(object, _)| pull.is_first(*object))
            .collect();
        work_through(first, Vec::new, |task, buffer, tasks| {
            pull.work(task, buffer, tasks)
        })?;
        let (objects_written, bytes_written) = staging.written();
        staging.publish()?;
        Ok(PullSummary {
            commits,
            objects_written,
            bytes_written,
        })
    }
}

impl Pull<'_> {
    /// Whether this object has not been met yet.
    fn is_first(&self, object: ObjectName) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(object)
    }

    fn work(
        &self,
        (object, depth): Task,
        buffer: &mut Vec<u8>,
        tasks: &Tasks<Task, Error>,
    ) -> Result<()> {
        match object.kind {
            ObjectKind::File => self.file(object, buffer)?,
            kind => {
                let data = self.metadata(object)?;
                self.follow(object, &data, depth, tasks)?;
                self.staging.metadata(kind, &data)?;
            }
        }
        self.monitor.progress(Progress {
            step: "pulling objects",
            done: self.done.fetch_add(1, Ordering::Relaxed) + 1,
            total: None,
            unit: Unit::Items,
        });
        Ok(())
    }

    /// A metadata object, from wherever it is whole.
    fn metadata(&self, object: ObjectName) -> Result<Vec<u8>> {
        self.from.load(object)
    }

    /// Makes tasks of what a metadata object names.
    fn follow(
        &self,
        object: ObjectName,
        data: &[u8],
        depth: Option<u32>,
        tasks: &Tasks<Task, Error>,
    ) -> Result<()> {
        let damaged = |source| Error::Damaged { object, source };
        let want = |checksum, kind, depth| {
            let object = ObjectName::new(checksum, kind);
            if self.is_first(object) {
                tasks.push((object, depth));
            }
        };
        match object.kind {
            ObjectKind::Commit => {
                let commit = Commit::decode(data).map_err(damaged)?;
                want(commit.root_tree, ObjectKind::DirTree, None);
                want(commit.root_meta, ObjectKind::DirMeta, None);
                self.follow_parent(&commit, depth, want)?;
            }
            ObjectKind::DirTree => {
                let tree = DirTree::decode(data).map_err(damaged)?;
                for file in &tree.files {
                    want(file.checksum, ObjectKind::File, None);
                }
                for dir in &tree.dirs {
                    want(dir.meta, ObjectKind::DirMeta, None);
                    want(dir.tree, ObjectKind::DirTree, None);
                }
            }
            ObjectKind::DirMeta => drop(DirMeta::decode(data).map_err(damaged)?),
            ObjectKind::File => {}
        }
        Ok(())
    }

    /// The parent comes along while the depth lasts and the source has it.
    fn follow_parent(
        &self,
        commit: &Commit,
        depth: Option<u32>,
        want: impl Fn(Checksum, ObjectKind, Option<u32>),
    ) -> Result<()> {
        let left = match (self.depth, depth) {
            (None, _) => None,
            (Some(_), Some(left)) if left > 0 => Some(left - 1),
            _ => return Ok(()),
        };
        if let Some(parent) = commit.parent
            && self
                .from
                .has(&ObjectName::new(parent, ObjectKind::Commit))?
        {
            want(parent, ObjectKind::Commit, left);
        }
        Ok(())
    }

    fn file(&self, object: ObjectName, buffer: &mut Vec<u8>) -> Result<()> {
        let link = self.link.load(Ordering::Relaxed);
        // A link says by itself that the object is there.
        if link && !self.verify && self.link(object)? {
            return Ok(());
        }
        if self.to.has(&object)? {
            return Ok(());
        }
        if link && self.verify {
            let file = self.from.open_file(&object.checksum)?;
            // A sink takes everything.
            let _ = file.copy_verified(object.checksum, buffer, &mut io::sink())?;
            if self.link(object)? {
                return Ok(());
            }
        }
        let file = self.from.open_file(&object.checksum)?;
        self.staging.copy_file(object.checksum, file, buffer)
    }

    /// Links a file; `false` when it has to be copied.
    fn link(&self, object: ObjectName) -> Result<bool> {
        use io::ErrorKind::{CrossesDevices, NotFound, PermissionDenied, TooManyLinks};
        let original = self.from.object_path(&object);
        match self.staging.link(object, &original) {
            Ok(()) => Ok(true),
            Err(Error::Disk(e)) => match e.source.kind() {
                TooManyLinks => Ok(false),
                CrossesDevices | PermissionDenied => {
                    self.link.store(false, Ordering::Relaxed);
                    Ok(false)
                }
                NotFound => Err(Error::Missing(object)),
                _ => Err(Error::Disk(e)),
            },
            Err(other) => Err(other),
        }
    }
}
