//! `backstop` upgrades Linux hosts and puts them back when the upgrade goes wrong.
//!
//! This crate is the only one that prints or exits. Each command has a file under
//! `commands`; what a command decides is decided below, in the libraries. Called by
//! the name `ostree`, it speaks that program's command line instead (`ostree_cli`).

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

/// The arguments after the program's name, where that is `ostree`.
fn called_ostree() -> Option<Vec<String>> {
    let mut args = std::env::args_os();
    let name = args.next()?;
    let is_ostree = std::path::Path::new(&name).file_name()? == "ostree";
    is_ostree.then(|| args.map(|a| a.to_string_lossy().into_owned()).collect())
}

fn main() -> ExitCode {
    if let Some(args) = called_ostree() {
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        let status = ostree_cli::run(&args, &mut out, &mut std::io::stderr().lock());
        return ExitCode::from(status);
    }
    let args = args::Args::parse();
    let mut out = output::Output::new(args.global.json);
    exit::code(commands::run(args, &mut out), &mut out)
}
