//! The machine under a host: what runs, what boots, timers, and who is connected.
//!
//! Both kinds of host stand on a [`Machine`]. [`Systemd`] is the real one, and
//! [`Detached`] does where systemd does not run, [`Offline`] where the machine is off; a test or a demonstration brings
//! its own.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod connection;
mod detached;
mod etc;
mod eviction;
mod facts;
mod guard;
mod last_words;
mod offline;
pub mod processes;
mod systemd;

pub use connection::{Connection, connection};
pub use detached::Detached;
pub use eviction::evict;
pub use facts::uptime;
pub use last_words::LastWords;
pub use offline::Offline;
pub use systemd::Systemd;

/// A failure of the machine.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// A file about the machine can't be used.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A program could not be run or said no.
    #[error("cannot {doing}: {why}")]
    Program {
        /// What it was to do.
        doing: String,
        /// What it said.
        why: String,
    },
    /// The disk.
    #[error(transparent)]
    Disk(#[from] durable::Error),
    /// What lies under the machine.
    #[error("cannot {doing}")]
    Other {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No version boots.
    #[error("nothing booted after {0} starts of the machine; its console log says why")]
    NothingBoots(u32),
}

/// Result of the machine's doings.
pub type Result<T> = std::result::Result<T, MachineError>;

/// Two deployments between which a live trial goes.
#[derive(Debug, Clone)]
pub struct LiveSwitch<'a> {
    /// What runs.
    pub from: &'a Path,
    /// What is to run.
    pub to: &'a Path,
    /// Paths, relative to a deployment, in which the two differ.
    pub changed: &'a [PathBuf],
}

/// What a host needs of the machine that it runs on.
pub trait Machine: Debug + Send {
    /// The kernel's id of this boot.
    /// # Errors
    /// It can't be read.
    fn boot_id(&self) -> Result<String>;
    /// Time since the kernel started.
    /// # Errors
    /// It can't be read.
    fn uptime(&self) -> Result<Duration>;
    /// The command line that the kernel was started with.
    /// # Errors
    /// It can't be read.
    fn cmdline(&self) -> Result<String>;
    /// Runs `backstop` with these arguments, outside any login session, now or
    /// after a time. A job of that name that waits or runs already is left alone.
    /// # Errors
    /// It can't be started.
    fn start(&mut self, name: &str, after: Option<Duration>, arguments: &[&str]) -> Result<()>;
    /// Stops the jobs whose names begin so and that still wait, but not `except`.
    /// # Errors
    /// They can't be stopped.
    fn cancel(&mut self, prefix: &str, except: Option<&str>) -> Result<()>;
    /// Lets the next boots settle an open upgrade and check what came up, on a
    /// machine whose versions need not bring units for that. The arguments are for
    /// `backstop`.
    /// # Errors
    /// The disk.
    fn guard_boots(&mut self, _: &[&str]) -> Result<()> {
        Ok(())
    }
    /// Undoes [`Machine::guard_boots`].
    /// # Errors
    /// The disk.
    fn unguard_boots(&mut self) -> Result<()> {
        Ok(())
    }
    /// Says why this switch can't be done in the running system, if it can't.
    fn refuses_live(&self, switch: &LiveSwitch<'_>) -> Option<String>;
    /// Makes the running system that of `to`; doing it again changes nothing.
    /// # Errors
    /// What failed; the system may be half switched.
    fn switch_live(&mut self, switch: &LiveSwitch<'_>) -> Result<()>;
    /// Makes the running system that of `from` again; doing it again changes nothing.
    /// # Errors
    /// What failed.
    fn revert_live(&mut self, switch: &LiveSwitch<'_>) -> Result<()>;
    /// Asks for a reboot and returns.
    /// # Errors
    /// It was refused.
    fn reboot(&mut self, force: bool) -> Result<()>;
    /// What the kernel said last in a boot that came to no good end: one that began
    /// after `since` (seconds since 1970) and is not the one with the id `not_of`.
    fn last_words(&self, _since: u64, _not_of: Option<&str>) -> Option<LastWords> {
        None
    }
    /// The root directory of what was booted. A live switch does not change it.
    /// # Errors
    /// It can't be told.
    fn booted_root(&self) -> Result<PathBuf>;
    /// The root directory of what runs, for its checks.
    /// # Errors
    /// It can't be told.
    fn active_root(&self) -> Result<PathBuf>;
}
