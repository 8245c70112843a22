//! A stage for stories about Nix hosts: the real program, `ssh` and `nix` on hosts
//! that imitate NixOS.
//!
//! The stories themselves are this crate's tests: one module for each row of the
//! table in `docs/testing.md`.
#![allow(
    clippy::disallowed_methods,
    reason = "makes throw-away files; nothing here has to survive a crash"
)]

mod actor;
mod rollout;
mod stage;

pub use actor::{Actor, Ending, Host};
pub use rollout::{Fleet, Rollout};
pub use stage::{Stage, installed};
