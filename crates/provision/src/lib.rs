//! Making a host.
//!
//! - [`tree`] turns a plain Debian root filesystem into one that can be
//!   deployed: `backstop tree prepare`.
//! - [`disk`] puts the first deployment on a disk or in a directory: `backstop install`.
//! - [`adopt`] takes over a host that `ostree admin` made: `backstop adopt`.
//! - `units/` and `initramfs/` beside `src/` hold the files that it puts there.
//!
//! Every operation is planned first, from what is there; the plan is data that
//! prints as what would be done.

pub mod adopt;
pub mod disk;
pub mod error;
pub mod program;
pub mod tree;

pub use error::{Error, Result};
