//! `backstop follow`: reads an upgrade's journal aloud.

use clap::Args;
use engine::TxId;

use crate::args::Global;
use crate::exit::Ended;
use crate::follow::{self, Wait};
use crate::output::Output;
use crate::session::Session;

/// What `backstop follow` takes.
#[derive(Debug, Args)]
pub struct FollowArgs {
    /// The upgrade
    upgrade: TxId,
}

/// Runs the command.
pub fn run(args: FollowArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let session = Session::open(global)?;
    follow::follow(&session.journal, args.upgrade, Wait::ToTheEnd, out)
}
