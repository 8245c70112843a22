//! `backstop going-down`: the host shuts down.

use engine::Scope;

use crate::args::Global;
use crate::exit::Ended;
use crate::progress::Terminal;
use crate::session::Session;
use crate::timeline::Printer;

/// Runs the command.
pub fn run(global: &Global) -> anyhow::Result<Ended> {
    let mut session = Session::open(global)?;
    let printer = Printer { quiet: false };
    let monitor = Terminal::new(global.json);
    session
        .driver(&printer, &monitor, Scope::Short)
        .going_down()?;
    Ok(Ended::Done)
}
