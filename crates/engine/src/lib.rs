//! The upgrade transaction.
//!
//! A transaction brings one version onto a host, tries it, and keeps it or puts
//! the one before back. [`step()`] holds all the rules and does no I/O; the
//! [`Journal`] remembers; a [`Host`] does the work; the [`Driver`] goes between.

mod action;
mod drive;
mod event;
mod fault;
mod frame;
mod history;
mod host;
mod journal;
mod knowledge;
mod observer;
mod reason;
mod refusal;
mod request;
mod state;
mod step;
mod version;

pub use action::{Action, BadDeadman, Deadman, Wait};
pub use drive::{DriveError, Driver, Pause, Scope};
pub use event::{Event, Running};
pub use fault::Fault;
pub use history::{Chronicle, history};
pub use host::{Host, HostError, HostResult, Job, Preflight};
pub use journal::{Journal, JournalError, Memory, Record, Work};
pub use knowledge::{Knowledge, Learned, Standing};
pub use observer::{Observer, Timeline, Unwatched};
pub use reason::{Failure, Outcome, Reason};
pub use refusal::Refusal;
pub use request::{Confirm, IfRefused, KargsChange, Request, Transaction, TrialKind};
pub use state::{Cause, Open, Phase, State, Then, Trial};
pub use step::{Step, step};
pub use version::{BootId, Now, TxId, VersionId};
