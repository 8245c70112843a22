//! `backstop health`: at the end of boot.

use std::time::Duration;

use engine::{Pause, Scope};

use crate::args::Global;
use crate::exit::Ended;
use crate::output::Output;
use crate::progress::Terminal;
use crate::session::{Session, as_anyhow};
use crate::timeline::Printer;

/// Runs the command: the checks of a version on trial decide; without a trial,
/// they only say how this boot is.
pub fn run(global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let mut session = Session::open(global)?;
    if session.journal.load()?.state.tx().is_none() {
        return super::check::report(&session, health::Stage::Boot, global, out);
    }
    let now = session.host.as_host().now().map_err(as_anyhow)?;
    let state = session.journal.load()?.state;
    if state
        .open()
        .is_some_and(|open| open.has_supervisor(&now.boot))
    {
        return Ok(Ended::Done);
    }
    let printer = Printer { quiet: false };
    let monitor = Terminal::new(global.json);
    let mut driver = session.driver(&printer, &monitor, Scope::All);
    // The supervisor may run the checks: this boot is as healthy as it finds it. If it hangs,
    // the deadline ends the boot.
    driver.patience = Duration::MAX;
    Ok(match driver.resume()? {
        Pause::Idle(_) | Pause::AwaitingConfirm | Pause::Ready | Pause::AwaitingBoot => Ended::Done,
        _ => Ended::Unhealthy,
    })
}
