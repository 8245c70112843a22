//! A simulated filesystem with a page cache that can be lost.
//!
//! [`SimFs`] behaves as [`RealFs`](crate::RealFs) does, in memory, and records
//! every call that changes or syncs something. [`Crashes`] replays such a
//! record, cuts it off after each call, and builds the disks that a power cut
//! there may leave: what was synced is certain, everything else may be there,
//! be missing, or be there in part. [`SimFs::fail_call`] and its neighbours
//! make calls fail instead.

mod atoms;
mod content;
mod crash;
mod door;
mod faults;
mod lock;
mod record;
mod tree;

pub use atoms::View;
pub use crash::{Crashes, Failure, Report, When};
pub use faults::each_failure;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faults::Faults;
use lock::Locks;
use record::{Call, Step, Sync};
use tree::{Effect, Tree};

/// A filesystem in memory; clones share it.
#[derive(Debug, Clone)]
pub struct SimFs {
    state: Arc<Mutex<State>>,
    locks: Arc<Locks>,
}

#[derive(Debug)]
struct State {
    tree: Tree,
    calls: Vec<Call>,
    faults: Faults,
    now: i64,
}

impl Default for SimFs {
    fn default() -> Self {
        Self::new()
    }
}

impl SimFs {
    /// An empty root directory.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Tree::new())
    }

    fn of(tree: Tree) -> Self {
        let state = State {
            tree,
            calls: Vec::new(),
            faults: Faults::default(),
            now: 1_600_000_000,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            locks: Arc::default(),
        }
    }

    /// A copy that shares nothing: the same tree, with an empty record, no
    /// locks held and no faults set.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self::of(self.state().tree.clone())
    }

    /// Notes in the record that the operation got here, so that an invariant
    /// can ask [`When::passed`].
    pub fn mark(&self, what: &str) {
        let mut state = self.state();
        state.calls.push(Call {
            text: format!("-- {what}"),
            step: Step::Mark(what.to_owned()),
        });
    }

    /// The calls recorded so far, one a line, as [`Failure`] prints them.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.iter().map(|c| c.text.clone()).collect()
    }

    /// Whether two filesystems hold the same tree: names, content, owners,
    /// modes, extended attributes, hard links; not times.
    #[must_use]
    pub fn same_tree(&self, other: &Self) -> bool {
        let digest = self.state().tree.digest();
        digest == other.state().tree.digest()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a call that changes or syncs something: counts it, and fails it
    /// where a fault is set. `text` is what the record says of it.
    fn begin(&self, text: String) -> std::io::Result<Pending<'_>> {
        let mut state = self.state();
        state.now += 1;
        match state.faults.next(&text) {
            None => Ok(Pending { state, text }),
            Some(errno) => {
                let text = format!("{text} = {errno}");
                let step = Step::Nothing;
                state.calls.push(Call { text, step });
                Err(errno.into())
            }
        }
    }
}

/// A call that has begun; dropped without [`Pending::done`] it leaves no record.
struct Pending<'a> {
    state: MutexGuard<'a, State>,
    text: String,
}

impl Pending<'_> {
    /// Makes the changes and records the call.
    fn done(mut self, effects: Vec<Effect>) {
        for effect in &effects {
            self.state.tree.apply(effect);
        }
        self.record(Step::Change(effects));
    }

    fn synced(mut self, sync: Sync) {
        self.record(Step::Sync(sync));
    }

    fn record(&mut self, step: Step) {
        let text = std::mem::take(&mut self.text);
        self.state.calls.push(Call { text, step });
    }
}

/// A line of the record: the call, a path, and what else matters.
fn line(call: &str, path: &Path, more: &str) -> String {
    format!("{call} {}{more}", path.display())
}
