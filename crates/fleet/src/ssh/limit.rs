//! How long a connection may be silent.

use std::process::Child;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::local::kill_group;

/// When the connection is to be cut.
#[derive(Debug, Default)]
pub(super) struct Limit {
    pub(super) state: Mutex<LimitState>,
    pub(super) changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct LimitState {
    pub(super) at: Option<Instant>,
    pub(super) expired: bool,
    pub(super) closed: bool,
}

/// Cuts the connection when its time is over.
pub(super) fn watch(limit: &Limit, child: &Mutex<Child>) {
    let mut state = limit.state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if state.closed {
            return;
        }
        let now = Instant::now();
        state = match state.at {
            Some(at) if at <= now => {
                state.expired = true;
                drop(state);
                kill_group(&mut child.lock().unwrap_or_else(PoisonError::into_inner));
                return;
            }
            Some(at) => {
                let waited = limit.changed.wait_timeout(state, at - now);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let woken = limit.changed.wait(state);
                woken.unwrap_or_else(PoisonError::into_inner)
            }
        };
    }
}
