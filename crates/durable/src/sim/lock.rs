//! Advisory locks of the simulated filesystem.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::tree::Ino;
use crate::fs::{FsLock, LockMode};

/// Who holds a file's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Shared(usize),
    Exclusive,
}

/// The locks held, by inode.
#[derive(Debug, Default)]
pub(super) struct Locks {
    held: Mutex<BTreeMap<Ino, Held>>,
    released: Condvar,
}

impl Locks {
    /// Takes a lock, or answers `None` where it would have to wait and may not.
    pub(super) fn take(self: &Arc<Self>, ino: Ino, mode: LockMode, wait: bool) -> Option<SimLock> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let now = match (held.get(&ino), mode) {
                (None, LockMode::Shared) => Held::Shared(1),
                (None, LockMode::Exclusive) => Held::Exclusive,
                (Some(Held::Shared(n)), LockMode::Shared) => Held::Shared(n + 1),
                _ if !wait => return None,
                _ => {
                    let waited = self.released.wait(held);
                    held = waited.unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
            };
            held.insert(ino, now);
            let locks = Arc::clone(self);
            return Some(SimLock { locks, ino });
        }
    }
}

/// A held lock.
#[derive(Debug)]
pub(super) struct SimLock {
    locks: Arc<Locks>,
    ino: Ino,
}

impl FsLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut held = self
            .locks
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match held.get_mut(&self.ino) {
            Some(Held::Shared(n)) if *n > 1 => *n -= 1,
            _ => {
                held.remove(&self.ino);
            }
        }
        self.locks.released.notify_all();
    }
}
