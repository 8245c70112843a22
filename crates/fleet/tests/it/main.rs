//! Tests of the deployer against real `ssh` and `sshd`.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]
