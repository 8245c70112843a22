//! Image hosts: the engine's [`Host`](engine::Host) over an OSTree-format sysroot.
//!
//! | module | holds |
//! | --- | --- |
//! | [`host`] | [`ImageHost`]: each effect of a transaction, done with `sysroot` |
//! | [`plan`] | what trying a version would change |
//! | [`source`] | where versions come from: a repository and a ref in it |
//! | `stateroot` | another operating system beside the one that runs |
//! | `kargs` | a version tried with other kernel arguments |
//! | [`directory`] | [`Directory`]: a machine that lives in a directory |

mod checks;
pub mod directory;
mod error;
mod etc;
pub mod host;
mod kargs;
mod live;
mod packages;
pub mod plan;
mod remote;
pub mod source;
mod stateroot;

pub use directory::{Directory, DirectoryConfig};
pub use error::{Error, Result};
pub use host::ImageHost;
pub use plan::Plan;
pub use source::Source;
