//! `backstop deadman`: a timer has run out.

use clap::Args;
use engine::{Deadman, DriveError, Scope};

use crate::args::Global;
use crate::exit::Ended;
use crate::progress::Terminal;
use crate::session::Session;
use crate::timeline::Printer;

/// What `backstop deadman` takes.
#[derive(Debug, Args)]
pub struct DeadmanArgs {
    /// Which timer, such as 12-checks
    deadman: Deadman,
}

/// Runs the command.
pub fn run(args: DeadmanArgs, global: &Global) -> anyhow::Result<Ended> {
    machine::processes::begin_job();
    let mut session = Session::open(global)?;
    let printer = Printer { quiet: false };
    let monitor = Terminal::new(global.json);
    let mut driver = session.driver(&printer, &monitor, Scope::All);
    match driver.deadline(args.deadman) {
        // What it waited for has happened meanwhile.
        Err(DriveError::Refused(_)) | Ok(_) => Ok(Ended::Done),
        Err(e) => Err(e.into()),
    }
}
