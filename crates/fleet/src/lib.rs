//! The deployer: many hosts over SSH, in waves, each on trial.
//!
//! | part | does |
//! | --- | --- |
//! | [`config`] | reads `fleet.toml`, or a flake's hosts |
//! | [`select()`] | chooses hosts by name, glob and tag |
//! | [`rollout`] | decides who does what next; no I/O |
//! | [`executor`] | carries that out, a thread for each host |
//! | [`sweep()`] | asks many hosts at once |
//! | [`deploy`] | one host's way: reach, build, copy, try, confirm |
//! | [`ssh`] | a session, and fresh connections, by the `ssh` program |
//! | [`target`] | the host's end of a connection |
//! | [`wire`] | what the two ends say to each other |

pub mod config;
pub mod deploy;
mod error;
pub mod executor;
pub mod local;
pub mod rollout;
mod select;
mod source;
pub mod ssh;
mod sweep;
pub mod target;
pub mod wire;

pub use error::{Error, Result, chain};
pub use select::select;
pub use sweep::sweep;
