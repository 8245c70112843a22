//! `backstop` upgrades Linux hosts and puts them back when the upgrade goes wrong.
//!
//! This crate is the only one that prints or exits. Each command has a file under
//! `commands`; what a command decides is decided below, in the libraries.

mod args;
mod commands;
mod exit;
mod follow;
mod host;
mod output;
mod progress;
mod rollout_view;
mod session;
mod timeline;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let mut out = output::Output::new(args.global.json);
    exit::code(commands::run(args, &mut out), &mut out)
}
