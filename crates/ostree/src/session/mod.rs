//! A pull from far away, without the network: what to ask for next, and what to do
//! with what comes.
//!
//! Whoever has the connection asks [`PullSession::next`] for a [`Request`], hands the
//! bytes that arrive for it to a [`Receiver`], and asks again. Nothing that arrives
//! counts before it has the digest that names it, and nothing is seen in the
//! repository before [`PullSession::publish`].
//!
//! Objects lie in a staging directory meanwhile. When a pull fails, or its process
//! is killed, the next one takes the directory over, verifies what it needs of
//! it, and asks only for the rest.

mod commit;
mod delta;
mod follow;
mod options;
mod queue;
mod receive;
mod request;
mod room;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use durable::{FsLock, LockMode};
use monitor::{Monitor, Progress, Unit};

use crate::config::RepoMode;
use crate::format::FileHeader;
use crate::store::Staging;
use crate::{Checksum, Error, Metadata, ObjectKind, ObjectName, Repo, Result, Verifier};

pub use options::{SessionOptions, Wanted};
pub use receive::{Receiver, Scratch};
pub use request::Request;

use commit::Pending;
use queue::Queue;
use request::What;
use room::Room;

/// What to do next.
#[derive(Debug)]
pub enum Next {
    /// Ask for this.
    Fetch(Request),
    /// Something was done without asking. What is under way may be looked after; then
    /// ask again.
    Again,
    /// Nothing now: more may turn up when what is under way has arrived.
    Wait,
    /// All has arrived.
    Done,
}

/// So many requests are satisfied without the network before the caller may look
/// after it.
const AT_ONCE: usize = 64;

/// What came of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionSummary {
    /// The wanted refs and commits; the name is empty for a commit without one.
    pub commits: Vec<(String, Checksum)>,
    /// Objects that are new in the repository.
    pub objects_written: u64,
    /// Their bytes, as they lie on the disk or nearly so.
    pub bytes_written: u64,
    /// How many of them an earlier run had already fetched.
    pub objects_resumed: u64,
    /// How many came from other repositories on this machine.
    pub objects_cached: u64,
    /// How many arrived over the network.
    pub objects_fetched: u64,
    /// How many of those were metadata, signatures among them.
    pub metadata_fetched: u64,
    /// How often something was asked for that need not be there, and was not.
    pub absent: u64,
    /// Files that came from other repositories on this machine.
    pub content_cached: u64,
    /// The bytes that arrived.
    pub bytes_fetched: u64,
}

/// A pull that is under way. All of its calls may come from several threads.
pub struct PullSession<'r> {
    repo: &'r Repo,
    options: SessionOptions,
    verifier: &'r dyn Verifier,
    monitor: &'r dyn Monitor,
    staging: Staging<'r>,
    room: Room,
    queue: Mutex<Queue>,
    pending: Mutex<HashMap<Checksum, Pending>>,
    detached: Mutex<Vec<(Checksum, Metadata)>>,
    commits: Mutex<Vec<Checksum>>,
    cached: AtomicU64,
    fetched: AtomicU64,
    metadata: AtomicU64,
    absent: AtomicU64,
    content_cached: AtomicU64,
    bytes: AtomicU64,
    _lock: Mutex<Box<dyn FsLock>>,
}

impl std::fmt::Debug for PullSession<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PullSession")
            .field("repo", &self.repo)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'r> PullSession<'r> {
    /// Begins a pull, or carries on with one that was cut off.
    ///
    /// # Errors
    /// The disk's.
    pub fn begin(
        repo: &'r Repo,
        options: SessionOptions,
        verifier: &'r dyn Verifier,
        monitor: &'r dyn Monitor,
    ) -> Result<Self> {
        let held = repo.lock(LockMode::Shared, monitor)?;
        let staging = Staging::resume(repo)?;
        let session = Self {
            repo,
            verifier,
            monitor,
            staging,
            room: Room::new(),
            queue: Mutex::default(),
            pending: Mutex::default(),
            detached: Mutex::default(),
            commits: Mutex::default(),
            cached: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
            metadata: AtomicU64::new(0),
            absent: AtomicU64::new(0),
            content_cached: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            _lock: Mutex::new(held),
            options,
        };
        for wanted in &session.options.wanted {
            let request = Request::wanted(wanted, session.options.depth);
            session.push(request)?;
        }
        Ok(session)
    }

    /// The repository that is pulled into.
    #[must_use]
    pub fn repo(&self) -> &'r Repo {
        self.repo
    }

    /// What to ask for next. What can be had without the network is taken from
    /// there on the way.
    ///
    /// # Errors
    /// The disk's; a commit that is refused; too many objects.
    pub fn next(&self, scratch: &mut Scratch) -> Result<Next> {
        for _ in 0..AT_ONCE {
            let Some(request) = lock(&self.queue).pop() else {
                let queue = lock(&self.queue);
                return Ok(match queue.is_finished() {
                    true => Next::Done,
                    false => Next::Wait,
                });
            };
            match self.satisfy(&request, scratch) {
                Ok(true) => self.settle(),
                Ok(false) => return Ok(Next::Fetch(request)),
                Err(e) => return Err(e),
            }
        }
        Ok(Next::Again)
    }

    /// Whether there is something to ask for right now.
    #[must_use]
    pub fn has_work(&self) -> bool {
        let queue = lock(&self.queue);
        !queue.is_empty() || queue.is_finished()
    }

    /// Takes in the bytes of a request. Failing that, it may be begun again.
    #[must_use]
    pub fn receive(&self, request: Request) -> Receiver<'_, 'r> {
        Receiver::new(self, request)
    }

    /// The other side does not have what was asked for.
    ///
    /// # Errors
    /// It has to.
    pub fn absent(&self, request: &Request) -> Result<()> {
        match request.what {
            What::Detached(commit) => self.commit_with(commit, None)?,
            What::Object(_) if request.optional => {}
            What::Object(object) => return Err(Error::NotServed(object)),
        }
        self.absent.fetch_add(1, Ordering::Relaxed);
        self.settle();
        Ok(())
    }

    /// One request is over.
    fn settle(&self) {
        let (done, total) = lock(&self.queue).settle();
        self.monitor.progress(Progress {
            step: "pulling objects",
            done,
            total: Some(total),
            unit: Unit::Items,
        });
    }

    fn push(&self, request: Request) -> Result<()> {
        lock(&self.queue).push(request)
    }

    /// Counts what arrived for one request.
    fn count(&self, request: &Request, bytes: u64) {
        self.fetched.fetch_add(1, Ordering::Relaxed);
        let is_file = |object: ObjectName| object.kind == ObjectKind::File;
        if !request.object_name().is_some_and(is_file) {
            self.metadata.fetch_add(1, Ordering::Relaxed);
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How many bytes have arrived so far, for whoever shows it.
    #[must_use]
    pub fn bytes_fetched(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Tries to do without the network; `false` when it takes that.
    fn satisfy(&self, request: &Request, scratch: &mut Scratch) -> Result<bool> {
        match request.what {
            What::Detached(_) => Ok(false),
            What::Object(object) if object.kind == ObjectKind::File => self.file(object, scratch),
            What::Object(object) => match self.metadata(object)? {
                Some(bytes) => {
                    self.take_metadata(request, object, &bytes)?;
                    Ok(true)
                }
                None => Ok(false),
            },
        }
    }

    /// A file from an earlier run or another repository on this machine.
    fn file(&self, object: ObjectName, scratch: &mut Scratch) -> Result<bool> {
        if self.repo.has(&object)? || self.staging.take_over(object)? {
            return Ok(true);
        }
        for cache in &self.options.local_caches {
            if !cache.has(&object)? {
                continue;
            }
            let copied = cache.open_file(&object.checksum).and_then(|file| {
                self.check_mode(object, &file.header)?;
                let buffer = &mut scratch.out;
                self.staging.copy_file(object.checksum, file, true, buffer)
            });
            match copied {
                Ok(()) => {
                    self.cached.fetch_add(1, Ordering::Relaxed);
                    self.content_cached.fetch_add(1, Ordering::Relaxed);
                    return Ok(true);
                }
                // What is broken there can be whole elsewhere.
                Err(e) if e.is_damage() => self.staging.give_up(object)?,
                Err(e) => return Err(e),
            }
        }
        Ok(false)
    }

    /// Refuses modes that are not plain, where that is wanted.
    fn check_mode(&self, object: ObjectName, header: &FileHeader) -> Result<()> {
        let plain = header.is_symlink() || header.mode & 0o7777 & !0o775 == 0;
        match plain || !self.options.plain_modes_only {
            true => Ok(()),
            false => Err(Error::UnsafeMode {
                object,
                mode: header.mode,
            }),
        }
    }

    /// A metadata object that is on this machine.
    fn metadata(&self, object: ObjectName) -> Result<Option<Vec<u8>>> {
        match self.repo.load(object) {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(Error::Missing(_)) => {}
            // The fetched one does not replace it: `fsck --repair` does.
            Err(e) => return Err(e),
        }
        if let Some(bytes) = self.staging.load(object)? {
            return Ok(Some(bytes));
        }
        for cache in &self.options.local_caches {
            match cache.load(object) {
                Ok(bytes) => {
                    self.cached.fetch_add(1, Ordering::Relaxed);
                    return Ok(Some(bytes));
                }
                Err(e) if e.is_damage() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    /// Makes all that arrived part of the repository, and sets the refs. To be called
    /// when [`Next::Done`] was answered.
    ///
    /// # Errors
    /// The disk's.
    pub fn publish(self) -> Result<SessionSummary> {
        let result = self.publish_all();
        result.map_err(|e| self.failed(e))
    }

    fn publish_all(&self) -> Result<SessionSummary> {
        let (objects_written, bytes_written) = self.staging.written();
        self.publish_detached()?;
        let partial = self.options.is_partial();
        let commits = std::mem::take(&mut *lock(&self.commits));
        if partial {
            for commit in &commits {
                self.repo.mark_partial(commit)?;
            }
        }
        self.staging.publish()?;
        if !partial {
            for commit in &commits {
                self.repo.remove(&self.repo.partial_mark(commit))?;
            }
        }
        for wanted in &self.options.wanted {
            if let Some(name) = wanted.local_ref(&self.options) {
                self.repo.set_ref(&name, Some(&wanted.commit))?;
            }
        }
        let named = |w: &Wanted| (w.name.clone().unwrap_or_default(), w.commit);
        Ok(SessionSummary {
            commits: self.options.wanted.iter().map(named).collect(),
            objects_written,
            bytes_written,
            objects_resumed: self.staging.taken_over(),
            objects_cached: self.cached.load(Ordering::Relaxed),
            objects_fetched: self.fetched.load(Ordering::Relaxed),
            metadata_fetched: self.metadata.load(Ordering::Relaxed),
            absent: self.absent.load(Ordering::Relaxed),
            content_cached: self.content_cached.load(Ordering::Relaxed),
            bytes_fetched: self.bytes.load(Ordering::Relaxed),
        })
    }

    /// The pull failed: says what to do about a full disk, and gives its space back.
    #[must_use]
    pub fn failed(&self, error: Error) -> Error {
        let error = error.explain_full(self.repo.path());
        if matches!(error, Error::Full { .. }) {
            self.staging.forget();
        }
        error
    }

    /// The mode in which files lie at the other side.
    pub(crate) const FAR_MODE: RepoMode = RepoMode::Archive;
}
