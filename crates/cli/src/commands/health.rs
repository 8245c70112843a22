//! `backstop health`: at the end of boot.

use engine::{Open, Pause, Phase, Scope, TrialKind};

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
        .is_some_and(|open| open.boot == now.boot && has_supervisor(open))
    {
        return Ok(Ended::Done);
    }
    let printer = Printer { quiet: false };
    let monitor = Terminal::new(global.json);
    let pause = session.driver(&printer, &monitor, Scope::All).resume()?;
    Ok(match pause {
        Pause::Idle(Some(engine::Outcome::Kept { .. })) | Pause::AwaitingConfirm => Ended::Done,
        Pause::Idle(_) | Pause::Ready | Pause::AwaitingBoot => Ended::Done,
        _ => Ended::Unhealthy,
    })
}

/// Whether an upgrade that was asked for in this boot is its supervisor's: a live trial
/// that starts this unit, or a boot trial before its reboot. This unit may run as late as
/// that on a host that came up just now.
fn has_supervisor(open: &Open) -> bool {
    let live = open.transaction.request.kind == TrialKind::Live;
    let prepared = matches!(
        open.phase,
        Phase::Requested
            | Phase::Staged
            | Phase::Ready { .. }
            | Phase::Activating { .. }
            | Phase::AwaitingBoot { .. }
    );
    live || prepared
}
