//! What was done to a simulated filesystem, in order.

use super::tree::{Effect, Ino};

/// A call that makes earlier ones durable, or fails to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sync {
    /// `fsync` of a file.
    File(Ino),
    /// `fsync` of a directory.
    Dir(Ino),
    /// `syncfs`.
    Filesystem,
    /// The journal is emptied too.
    Checkpoint,
    /// An `fsync` that failed: what was dirty is marked clean and may never
    /// reach the disk, whatever is synced later.
    Failed(Ino),
}

/// What a recorded call did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// It changed the tree.
    Change(Vec<Effect>),
    /// It synced.
    Sync(Sync),
    /// The test noted that it got here.
    Mark(String),
    /// It failed and did nothing.
    Nothing,
}

/// One recorded call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// For people: `rename /a -> /b`.
    pub text: String,
    /// What it did.
    pub step: Step,
}
