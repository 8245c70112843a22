//! Calls that fail: an error of the disk, a full disk, a disk that cannot be
//! written, a filesystem without extended attributes or one that exchanges no names.

use rustix::io::Errno;

use super::SimFs;

/// The faults that are set.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Changing calls since the faults were set.
    count: usize,
    /// These calls (from, to) fail with this error.
    fail: Option<(std::ops::Range<usize>, Errno)>,
    /// Whether they fail because the process is no more.
    pub(super) dead: bool,
    /// Bytes that files may hold together.
    pub(super) capacity: Option<u64>,
    read_only: bool,
    pub(super) no_xattrs: bool,
    pub(super) no_exchange: bool,
}

impl Faults {
    /// Counts a call; the error it has to fail with.
    pub(super) fn next(&mut self, text: &str) -> Option<Errno> {
        let number = self.count;
        self.count += 1;
        let is_sync = text.starts_with("sync") || text.starts_with("checkpoint");
        if self.read_only && !is_sync {
            return Some(Errno::ROFS);
        }
        let (range, errno) = self.fail.as_ref()?;
        range.contains(&number).then_some(*errno)
    }
}

impl SimFs {
    /// Lets the changing or syncing call number `call` (the next one is 0) fail
    /// with `errno`, without effect. A failed sync makes what it should have
    /// written uncertain for good, as in Linux.
    pub fn fail_call(&self, call: usize, errno: i32) {
        self.set_failing(call..call.saturating_add(1), errno);
    }

    /// Lets that call and all after it fail: the disk is gone.
    pub fn fail_from(&self, call: usize, errno: i32) {
        self.set_failing(call..usize::MAX, errno);
    }

    /// Lets the process die before that call: all calls from there on fail, and
    /// unlike those of a failing disk, syncs that fail lose nothing.
    pub fn die_at(&self, call: usize) {
        self.set_failing(call..usize::MAX, Errno::IO.raw_os_error());
        self.state().faults.dead = true;
    }

    fn set_failing(&self, range: std::ops::Range<usize>, errno: i32) {
        let faults = &mut self.state().faults;
        faults.count = 0;
        faults.fail = Some((range, Errno::from_raw_os_error(errno)));
        faults.dead = false;
    }

    /// Lets files hold `bytes` more before the disk is full; `None` lifts the
    /// limit. The write that meets the limit writes what still fits.
    pub fn set_space(&self, bytes: Option<u64>) {
        let mut state = self.state();
        let used = state.tree.used();
        state.faults.capacity = bytes.map(|b| used.saturating_add(b));
    }

    /// Refuses all changes, as a filesystem mounted read-only does.
    pub fn set_read_only(&self, read_only: bool) {
        self.state().faults.read_only = read_only;
    }

    /// Whether the filesystem knows extended attributes; it does at first.
    pub fn set_xattrs(&self, supported: bool) {
        self.state().faults.no_xattrs = !supported;
    }

    /// Whether the filesystem can exchange two names; it can at first.
    pub fn set_exchange(&self, supported: bool) {
        self.state().faults.no_exchange = !supported;
    }

    /// How many changing or syncing calls were made since faults were last set.
    #[must_use]
    pub fn call_count(&self) -> usize {
        self.state().faults.count
    }

    /// Removes all faults.
    pub fn heal(&self) {
        self.state().faults = Faults::default();
    }
}

/// Runs `operation` on copies of `start`, letting its first, second, … call fail
/// with `errno`, until it makes no more calls. After each, the faults are lifted
/// and `invariant` sees the copy, the operation's result and the number of the
/// call that failed. Answers how many calls were made to fail.
pub fn each_failure<T>(
    start: &SimFs,
    errno: i32,
    operation: impl Fn(&SimFs) -> T,
    invariant: impl Fn(&SimFs, T, usize),
) -> usize {
    let mut call = 0;
    loop {
        let fs = start.snapshot();
        fs.fail_call(call, errno);
        let result = operation(&fs);
        if fs.call_count() <= call {
            return call;
        }
        fs.heal();
        invariant(&fs, result, call);
        call += 1;
    }
}
