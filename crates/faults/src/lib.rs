//! Machines whose upgrade fails after power-on, in every way there is, and what becomes
//! of them.
//!
//! A virtual machine is brought to the reboot that begins a boot trial. That disk is kept:
//! each [`Case`] damages a copy of it, switches the machine on, and waits until it is in a
//! good system again by itself. What it took is a [`Finding`].
//!
//! | module | holds |
//! | --- | --- |
//! | [`case`](mod@case) | the table of cases and how each must end |
//! | [`damage`] | what is done to a disk |
//! | [`disk`] | changing a disk image without mounting it |
//! | [`host`] | the disk before its trial, and one case run on it |
//! | [`table`] | the findings, printed |
#![allow(
    clippy::disallowed_methods,
    reason = "makes throw-away files; nothing here has to survive a crash"
)]

pub mod case;
pub mod damage;
pub mod disk;
mod error;
pub mod host;
mod platform;
pub mod table;

pub use case::{CASES, Case, End};
pub use damage::Damage;
pub use disk::Disk;
pub use error::{Error, Result};
pub use host::{Finding, Hosts};
pub use platform::Platform;
