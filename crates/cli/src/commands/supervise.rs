//! `backstop supervise`: sees an open transaction through.

use agent::{Answer, may_reboot};
use engine::{Event, Pause, Phase, Scope, TrialKind};
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

/// Whether the version may be activated now, by the policy.
fn go_ahead(session: &Session, monitor: &dyn Monitor) -> anyhow::Result<Option<Event>> {
    let state = session.journal.load()?.state;
    let Some(open) = state.open() else {
        return Ok(None);
    };
    let tx = open.transaction.id;
    let go = |reboot| -> anyhow::Result<Event> {
        // It may have waited for days: what broke meanwhile is not its fault.
        let waited = matches!(open.phase, Phase::Ready { postponed: Some(_) });
        let baseline = waited.then(|| session.host.baseline(monitor)).transpose()?;
        Ok(Event::GoAhead {
            tx,
            reboot,
            baseline,
        })
    };
    if open.transaction.request.kind == TrialKind::Live {
        return go(false).map(Some);
    }
    if open.transaction.request.await_reboot {
        return go(false).map(Some);
    }
    let policy = session.policy()?;
    Ok(Some(match may_reboot(&policy, &jiff::Zoned::now()) {
        Answer::Now => go(true)?,
        Answer::Never => go(false)?,
        Answer::OpensAt(opens) => Event::Postponed {
            tx,
            why: format!("reboots are allowed from {}", opens.strftime("%a %F %H:%M")),
        },
    }))
}
