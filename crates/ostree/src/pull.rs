//! From one repository on this machine to another.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use durable::{Doing, LockMode};
use monitor::{Monitor, Progress, Unit};

use crate::collection;
use crate::format::{Commit, DirMeta, Xattrs};
use crate::store::{BARE_USER_ONLY_BITS, Staging, decode_dirtree};
use crate::workers::{Tasks, work_through};
use crate::{
    Checksum, Error, FetchedCommit, FetchedSummary, ObjectKind, ObjectName, Repo, RepoMode, Result,
    Summary, Verifier,
};

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
    /// Brings over the commits, but not what they are made of.
    pub commits_only: bool,
    /// Refuses files whose mode could do harm: set-id and sticky bits, and others'
    /// write bit.
    pub harmless_files: bool,
    /// Refuses commits that do not belong to the ref that leads to them.
    pub verify_bindings: bool,
    /// Who judges the commits, before they or anything that they name is stored; and,
    /// with [`Self::verify_summary`], the summary.
    pub verifier: Option<Arc<dyn Verifier>>,
    /// Whether the source must have a summary that the verifier believes, and be as
    /// that says.
    pub verify_summary: bool,
}

/// How files are brought from one repository to another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PullFiles {
    /// Read and verified; then linked where both repositories have the same mode,
    /// filesystem and owner, else copied.
    #[default]
    Verified,
    /// Linked without being read, where mode and filesystem allow it, else copied.
    /// Damage in the source comes along.
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
    /// Those of them that are files.
    pub content_written: u64,
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
    commits_only: bool,
    /// The mode bits that files may have.
    file_bits: u32,
    /// Commits that came with all that they are made of.
    whole: Mutex<Vec<Checksum>>,
    /// Commits that came alone.
    alone: Mutex<Vec<Checksum>>,
    /// Who judges commits.
    verifier: Option<&'a dyn Verifier>,
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
        let summary = match options.verify_summary {
            true => Some(believed_summary(from, options)?),
            false => None,
        };
        let mut commits = Vec::new();
        for name in what {
            let commit = match &summary {
                // Only what is signed counts.
                Some(summary) => match (name.parse(), summary.refs.get(name)) {
                    (Ok(checksum), _) => checksum,
                    (Err(_), Some(listed)) => listed.commit,
                    (Err(_), None) => return Err(Error::NoSuchRev(name.clone())),
                },
                None => from.resolve(name)?,
            };
            if options.verify_bindings {
                check_binding(from, name, &commit)?;
            }
            commits.push((name.clone(), commit));
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
        if files == PullFiles::TrustedLinks && from.is_wider(self) {
            return Ok(true);
        }
        Ok(match files {
            PullFiles::Verified => same && owner(self)? == owner(from)?,
            PullFiles::TrustedLinks => same,
            PullFiles::Copies => false,
        })
    }

    /// Whether files here say more than those of `to` can, and are else the same.
    fn is_wider(&self, to: &Repo) -> bool {
        (self.mode(), to.mode()) == (RepoMode::BareUser, RepoMode::BareUserOnly)
    }

    fn fetch(
        &self,
        from: &Repo,
        commits: Vec<(String, Checksum)>,
        options: &PullOptions,
        monitor: &dyn Monitor,
    ) -> Result<PullSummary> {
        let staging = Staging::begin(self)?;
        let only = RepoMode::BareUserOnly;
        let narrows = self.mode() == only && from.mode() != only;
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
            commits_only: options.commits_only,
            file_bits: match options.harmless_files || narrows {
                true => BARE_USER_ONLY_BITS,
                false => 0o7777,
            },
            whole: Mutex::default(),
            alone: Mutex::default(),
            verifier: options.verifier.as_deref(),
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
        let content_written = staging.files_written();
        pull.publish()?;
        Ok(PullSummary {
            commits,
            objects_written,
            content_written,
            bytes_written,
        })
    }
}

/// The source's summary, if the verifier believes it.
fn believed_summary(from: &Repo, options: &PullOptions) -> Result<Summary> {
    let bytes = from.summary_bytes()?.ok_or(Error::NoSummary)?;
    let signatures = from.summary_signatures()?;
    if let Some(verifier) = &options.verifier {
        let judged = verifier.verify_summary(&FetchedSummary {
            bytes: &bytes,
            signatures: signatures.as_deref(),
        });
        let what = "the summary of the source".to_owned();
        judged.map_err(|source| Error::Refused { what, source })?;
    }
    Summary::decode(&bytes).map_err(|_| Error::NoSummary)
}

/// Checks that a commit belongs to the ref that leads to it.
fn check_binding(from: &Repo, name: &str, commit: &Checksum) -> Result<()> {
    let bare = name.rsplit_once(':').map_or(name, |(_, bare)| bare);
    if !matches!(from.read_ref(name), Ok(Some(_))) {
        return Ok(());
    }
    let metadata = from.load_commit(commit)?.metadata;
    // Refs that the source has from a remote are of that one's collection.
    let own = from.collection_id()?.filter(|_| bare == name);
    collection::check_binding(&metadata, commit, own.as_deref(), bare)
}

impl Pull<'_> {
    /// Publishes what is staged. Commits that came alone are marked before they are
    /// there; the marks of those that are whole now go last.
    fn publish(&self) -> Result<()> {
        let alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        for commit in alone.iter() {
            self.to.mark_partial(commit)?;
        }
        self.staging.publish()?;
        let whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        for commit in whole.iter().chain(alone.iter()) {
            if let Some(detached) = self.from.detached_metadata(commit)? {
                self.to.set_detached_metadata(commit, Some(&detached))?;
            }
        }
        for commit in whole.iter() {
            self.to.remove(&self.to.partial_mark(commit))?;
        }
        Ok(())
    }

    /// Refuses a file whose mode could do harm.
    fn check_mode(&self, object: ObjectName) -> Result<()> {
        let header = self.from.open_file(&object.checksum)?.header;
        let (mode, bits) = (header.mode, header.mode & 0o7777 & !self.file_bits);
        match header.is_symlink() || bits == 0 {
            true => Ok(()),
            false => Err(Error::HarmfulMode { object, mode, bits }),
        }
    }

    /// Refuses a commit that the verifier does not believe.
    fn judge(&self, checksum: &Checksum, bytes: &[u8]) -> Result<()> {
        let Some(verifier) = self.verifier else {
            return Ok(());
        };
        let detached = self.from.detached_metadata(checksum)?;
        let judged = verifier.verify_commit(&FetchedCommit {
            checksum,
            bytes,
            detached: detached.as_ref(),
        });
        let what = format!("the commit {checksum}");
        judged
            .map(drop)
            .map_err(|source| Error::Refused { what, source })
    }

    /// Whether a commit is here, with all that it is made of.
    fn is_whole(&self, commit: ObjectName) -> Result<bool> {
        Ok(self.to.has(&commit)? && !self.to.is_partial(&commit.checksum)?)
    }

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
                if self.verify
                    || !self
                        .staging
                        .share(object, &self.from.object_path(&object))?
                {
                    self.staging.metadata(kind, &data)?;
                }
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
                self.judge(&object.checksum, data)?;
                if self.commits_only {
                    if !self.is_whole(object)? {
                        let mut alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
                        alone.push(object.checksum);
                    }
                    return self.follow_parent(&commit, depth, want);
                }
                let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
                whole.push(object.checksum);
                drop(whole);
                want(commit.root_tree, ObjectKind::DirTree, None);
                want(commit.root_meta, ObjectKind::DirMeta, None);
                self.follow_parent(&commit, depth, want)?;
            }
            ObjectKind::DirTree => {
                let tree = decode_dirtree(object, data)?;
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
        if self.to.parents_have(&object)? {
            return Ok(());
        }
        if self.file_bits != 0o7777 {
            if self.to.has(&object)? {
                return Ok(());
            }
            self.check_mode(object)?;
        }
        // A link says by itself that the object is there.
        if link && !self.verify && self.is_same_there(object)? && self.link(object)? {
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
        self.staging
            .copy_file(object.checksum, file, self.verify, buffer)
    }

    /// Whether a file of the source is, as it lies there, what it would be here.
    fn is_same_there(&self, object: ObjectName) -> Result<bool> {
        if !self.from.is_wider(self.to) {
            return Ok(true);
        }
        let header = self.from.open_file(&object.checksum)?.header;
        let path = self.from.object_path(&object);
        let lies = self.from.fs().metadata(&path).doing("look at", &path)?;
        Ok(!header.is_symlink()
            && (header.uid, header.gid) == (0, 0)
            && header.xattrs == Xattrs::default()
            && lies.mode & 0o7777 == header.mode & 0o7777)
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
