//! `backstop health`: at the end of boot.

use std::time::Duration;

use engine::{Journal, Pause, Phase, Scope};

use crate::args::Global;
use crate::exit::Ended;
use crate::output::Output;
use crate::progress::Terminal;
use crate::session::{Session, as_anyhow};
use crate::timeline::Printer;

/// How often is looked at what another process does.
const LOOK: Duration = Duration::from_millis(500);

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
    let pause = session.driver(&printer, &monitor, Scope::All).resume()?;
    Ok(match pause {
        Pause::Elsewhere => of_another(&session.journal)?,
        Pause::Idle(Some(engine::Outcome::Kept { .. })) | Pause::AwaitingConfirm => Ended::Done,
        Pause::Idle(_) | Pause::Ready | Pause::AwaitingBoot => Ended::Done,
        _ => Ended::Unhealthy,
    })
}

/// How the checks end that another process runs, such as the supervisor: this boot is as
/// healthy as that finds it. If it hangs, the deadline ends the boot.
fn of_another(journal: &Journal) -> anyhow::Result<Ended> {
    loop {
        match journal.load()?.state.open().map(|open| &open.phase) {
            None => return Ok(Ended::Done),
            Some(Phase::Trial(trial)) if trial.healthy => return Ok(Ended::Done),
            Some(Phase::Trial(_) | Phase::Keeping { .. }) => std::thread::sleep(LOOK),
            Some(_) => return Ok(Ended::Unhealthy),
        }
    }
}
