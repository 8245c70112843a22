//! The digests of files that were read before, so that a tree which hardly changed is
//! committed again without reading it.
//!
//! A digest is used only where the kernel vouches that the file is what it was.
//! `docs/formats/repository.md` says why that is never wrong; in short:
//!
//! - A file is the same while its mount (a number that comes never again before a
//!   reboot), inode, length and times are. The change time cannot be set; every write
//!   sets it. Where that is not sure, on other filesystems than ext4 and XFS, in another
//!   boot, after the clock was set back, nothing is known.
//! - A file that changed in the seconds before it was read is not remembered: the next
//!   change might get the same time.
//! - A page that is mapped and dirty changes without a new time until it is written out.
//!   So the filesystem is synced before anything of it is read that is to be remembered.

mod codec;
mod moment;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use durable::Version;

use self::codec::{Entry, Inode, Table};
use self::moment::Moment;
use crate::{Checksum, Repo};

/// Where they are, below the repository.
const PATH: &str = "tmp/cache/backstop-digests";

/// The largest table that is read: 4 million files.
const MAX_BYTES: u64 = 512 << 20;

/// A file must have been left alone for so long before it is read. Far longer than a
/// filesystem's times are coarse.
const SETTLED: Duration = Duration::from_secs(2);

/// What a file object's digest depends on besides what [`Version`] stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct As {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
    /// Whether its extended attributes are part of it.
    pub(crate) xattrs: bool,
}

/// The digests that are known, and those that become so.
#[derive(Debug)]
pub(crate) struct Digests {
    path: PathBuf,
    now: Moment,
    known: Table,
    /// When the filesystem of each mount was synced; `None` where that is of no use.
    synced: Mutex<HashMap<u64, Option<Duration>>>,
    learned: Mutex<HashMap<Inode, Entry>>,
}

impl Digests {
    /// Those that a repository has, as far as they still count. `None`: there can be none.
    pub(crate) fn open(repo: &Repo) -> Option<Self> {
        let now = Moment::now()?;
        let path = repo.path().join(PATH);
        // Whatever keeps us from reading them: then the files are read.
        let bytes = durable::read_bounded(repo.fs(), &path, MAX_BYTES).ok();
        let known = bytes.and_then(|bytes| Table::decode(&bytes));
        let known = known.filter(|table| table.moment.holds_at(&now));
        Some(Self {
            path,
            known: known.unwrap_or_else(|| Table::new(now)),
            now,
            synced: Mutex::default(),
            learned: Mutex::default(),
        })
    }

    /// The digest that a file has as an object.
    pub(crate) fn find(&self, version: &Version, like: As) -> Option<Checksum> {
        self.known.find(version, like)
    }

    /// Whether a file that is read from now on may be remembered as this version.
    pub(crate) fn may_learn(&self, repo: &Repo, path: &Path, version: &Version) -> bool {
        let mut synced = lock(&self.synced);
        let synced = synced.entry(version.mount).or_insert_with(|| {
            let before = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
            let (fs, dir) = (repo.fs(), path.parent()?);
            let usable = fs.tells_changes(dir) && fs.sync_filesystem(dir).is_ok();
            usable.then_some(before)
        });
        let (seconds, nanos) = version.changed;
        let changed = u64::try_from(seconds).map(|s| Duration::new(s, nanos));
        synced.is_some_and(|synced| changed.is_ok_and(|changed| changed + SETTLED < synced))
    }

    /// Remembers the digest of a file that was read.
    pub(crate) fn learn(&self, version: &Version, like: As, checksum: Checksum) {
        let entry = Entry::new(version, like, checksum);
        lock(&self.learned).insert(Inode::of(version), entry);
    }

    /// Keeps what was learned for the next time.
    pub(crate) fn save(self, repo: &Repo) {
        let learned = self.learned.into_inner();
        let learned = learned.unwrap_or_else(PoisonError::into_inner);
        if learned.is_empty() {
            return;
        }
        let mut table = self.known;
        table.moment = self.now;
        table.take_in(learned);
        // What is not kept is read again.
        let _ = durable::publish_file(repo.fs(), &self.path, &table.encode(), 0o600);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
