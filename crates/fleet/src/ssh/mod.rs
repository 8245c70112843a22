//! Connections to hosts, by the `ssh` program.
//!
//! A host's *session* is one login over which everything is done; other programs
//! may share it (`ControlMaster`). The *fresh* connection of a confirmation
//! shares nothing: a TCP connection, key exchange and login of its own.

mod bootstrap;
mod command;
mod connection;
mod limit;
mod listener;
mod plain;

pub use bootstrap::Programs;
pub(crate) use command::shared;
pub use command::{Controls, Way};
pub use connection::{Connection, Opening, Password, Ran};
pub use plain::run as run_plain;
