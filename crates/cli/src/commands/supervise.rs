//! `backstop supervise`: sees an open transaction through.

use engine::{Event, Pause, Scope};
use monitor::Monitor;

use crate::args::Global;
use crate::exit::Ended;
use crate::progress::Terminal;
use crate::session::Session;
use crate::timeline::Printer;

/// Runs the command.
pub fn run(global: &Global) -> anyhow::Result<Ended> {
    machine::processes::begin_job();
    let mut session = Session::open(global)?;
    let printer = Printer { quiet: false };
    let monitor = Terminal::new(global.json);
    let pause = session.driver(&printer, &monitor, Scope::All).resume()?;
    if pause == Pause::Ready
        && let Some(event) = go_ahead(&session, &monitor)?
    {
        session.driver(&printer, &monitor, Scope::All).feed(event)?;
    }
    Ok(Ended::Done)
}

/// The word that a version which is ready waits for, by the policy.
fn go_ahead(session: &Session, monitor: &dyn Monitor) -> anyhow::Result<Option<Event>> {
    let (state, policy) = (session.journal.load()?.state, session.policy()?);
    let baseline = || session.host.baseline(monitor);
    agent::go_ahead(&state, &policy, &jiff::Zoned::now(), baseline)
}
