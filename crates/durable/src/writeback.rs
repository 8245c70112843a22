//! To the disk, while more is being written.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;

use crate::fs::Fs;
use crate::{Doing, Error, Result};

/// After so many bytes the disk is given work.
const EVERY: u64 = 64 << 20;

/// Brings what is written to the disk while more is written, so that the sync that
/// counts, later, finds little to do.
///
/// It makes nothing durable: [`Batch`](crate::Batch) or another move still has to sync.
/// [`Writeback::finish`] comes before that, because the kernel tells of an error of the
/// disk once, and that may have been here.
#[derive(Debug)]
pub struct Writeback {
    fs: Arc<dyn Fs>,
    on: PathBuf,
    written: AtomicU64,
    under_way: Mutex<Option<JoinHandle<io::Result<()>>>>,
}

impl Writeback {
    /// For the filesystem that holds `on`.
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>, on: PathBuf) -> Self {
        Self {
            fs,
            on,
            written: AtomicU64::new(0),
            under_way: Mutex::new(None),
        }
    }

    /// So many bytes more were written. Never waits for the disk.
    ///
    /// # Errors
    /// What an earlier piece of writeback failed with.
    pub fn wrote(&self, bytes: u64) -> Result<()> {
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        if before / EVERY == before.saturating_add(bytes) / EVERY {
            return Ok(());
        }
        let mut under_way = match self.under_way.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(e)) => e.into_inner(),
            // Somebody else begins one right now.
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        if under_way.as_ref().is_some_and(|t| !t.is_finished()) {
            return Ok(());
        }
        self.join(&mut under_way)?;
        let (fs, on) = (Arc::clone(&self.fs), self.on.clone());
        let sync = move || fs.sync_filesystem(&on);
        // Without a thread the sync that counts does it all.
        *under_way = std::thread::Builder::new().spawn(sync).ok();
        Ok(())
    }

    /// Waits for what is under way.
    ///
    /// # Errors
    /// What it failed with: some of what was written before is lost.
    pub fn finish(&self) -> Result<()> {
        self.join(&mut self.lock())
    }

    fn join(&self, under_way: &mut Option<JoinHandle<io::Result<()>>>) -> Result<()> {
        let Some(thread) = under_way.take() else {
            return Ok(());
        };
        let done = thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that did it panicked")));
        done.doing("sync the filesystem of", &self.on)
    }

    fn lock(&self) -> MutexGuard<'_, Option<JoinHandle<io::Result<()>>>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Writeback {
    /// Nothing goes on afterwards: it would keep the filesystem from being unmounted.
    fn drop(&mut self) {
        let _: std::result::Result<(), Error> = self.finish();
    }
}
