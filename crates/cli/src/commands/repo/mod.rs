//! `backstop repo`: one file per subcommand.

use clap::Subcommand;

use crate::args::Global;
use crate::exit::Ended;
use crate::output::Output;

/// A subcommand of `backstop repo`.
#[derive(Debug, Subcommand)]
pub enum RepoCommand {}

/// Runs it.
pub fn run(command: RepoCommand, _global: &Global, _out: &mut Output) -> anyhow::Result<Ended> {
    match command {}
}
