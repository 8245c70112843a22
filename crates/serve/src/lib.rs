//! A read-only HTTP server for a repository.
//!
//! It answers `GET` and `HEAD` for the files that a pull asks for, in HTTP/1.1 and in
//! HTTP/2 over plain connections, with ranges and entity tags. It holds nothing in
//! memory but a piece of what each connection is being sent, follows no path out of
//! the repository, and lets no client keep a connection without using it.
//!
//! Encryption and access control belong to a proxy in front of it.

mod answer;
mod body;
mod many;
mod place;
mod range;
mod server;

pub use many::object_names;
pub use server::{Limits, Server, ServerError, Stopper};
