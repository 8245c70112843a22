//! One file per command.

use clap::Subcommand;

use crate::args::Args;
use crate::exit::Ended;
use crate::output::Output;

mod repo;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Work on a repository of system versions
    Repo(repo::RepoArgs),
}

/// Runs the command.
pub fn run(args: Args, out: &mut Output) -> anyhow::Result<Ended> {
    match args.command {
        Command::Repo(command) => repo::run(command, &args.global, out),
    }
}
