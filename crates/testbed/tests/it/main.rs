//! Machines, as far as this one can make them.
#![allow(clippy::print_stdout, reason = "says what is skipped")]

mod root;
mod support;
