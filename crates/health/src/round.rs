//! What the checks of one run know of each other.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One run of several checks at once.
#[derive(Debug)]
pub(crate) struct Round {
    state: Mutex<State>,
    changed: Condvar,
    /// Whether all are waited for, whatever comes of the others.
    patient: bool,
}

#[derive(Debug)]
struct State {
    /// Checks that have not ended, without those that only watch.
    open: usize,
    /// Whether a failure already decides.
    decided: bool,
}

impl Round {
    /// For so many checks, watchers not counted. It ends early: once the version has
    /// failed, nothing is waited for any longer.
    pub(crate) fn new(open: usize) -> Self {
        let decided = false;
        Self {
            state: Mutex::new(State { open, decided }),
            changed: Condvar::new(),
            patient: false,
        }
    }

    /// The same, but each check is given all of its tries.
    pub(crate) fn patient(open: usize) -> Self {
        Self {
            patient: true,
            ..Self::new(open)
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A check has ended; `decides`: its failure counts.
    pub(crate) fn end(&self, watched: bool, decides: bool) {
        let mut state = self.state();
        state.open -= usize::from(!watched);
        state.decided |= decides && !self.patient;
        self.changed.notify_all();
    }

    /// Whether a failure has decided already.
    pub(crate) fn is_decided(&self) -> bool {
        self.state().decided
    }

    /// Whether there are checks to be watched for.
    pub(crate) fn goes_on(&self) -> bool {
        let state = self.state();
        state.open > 0 && !state.decided
    }

    /// Waits, but not once it is decided.
    pub(crate) fn pause(&self, pause: Duration) {
        let undecided = |state: &mut State| !state.decided;
        // Who wakes up sooner or later only looks sooner or later.
        let _ = self
            .changed
            .wait_timeout_while(self.state(), pause, undecided);
    }

    /// Waits as long as there are checks to be watched for.
    pub(crate) fn watch(&self, pause: Duration) {
        let open = |state: &mut State| state.open > 0 && !state.decided;
        let _ = self.changed.wait_timeout_while(self.state(), pause, open);
    }
}
