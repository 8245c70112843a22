//! `backstop settle`: early at boot.

use durable::RealFs;
use engine::{Open, Pause, Phase, Scope, State, TxId};
use monitor::Monitor as _;

use crate::args::Global;
use crate::exit::Ended;
use crate::progress::Terminal;
use crate::session::Session;
use crate::timeline::Printer;

/// Runs the command.
pub fn run(global: &Global) -> anyhow::Result<Ended> {
    let mut session = Session::open(global)?;
    let before = session.journal.load().ok().map(|memory| memory.state);
    let printer = Printer { quiet: false };
    let monitor = Terminal::new(global.json);
    let pause = session.driver(&printer, &monitor, Scope::Short).settle()?;
    // The checks of a boot are the health unit's; anything else that takes long
    // is the supervisor's.
    if matches!(&pause, Pause::Supervisor(action) if !is_boot_check(action)) {
        session.host.start_supervisor()?;
    }
    if let Some(open) = before.as_ref().and_then(State::open) {
        remember(open, &mut session, global, &monitor);
    }
    Ok(Ended::Done)
}

/// Keeps what the kernel of a failed trial said last, where that can be found. Nothing
/// depends on it.
fn remember(open: &Open, session: &mut Session, global: &Global, monitor: &Terminal) {
    let ended = session.journal.load().is_ok_and(|m| m.state.tx().is_none());
    let tried = matches!(
        open.phase,
        Phase::Activating { .. } | Phase::AwaitingBoot { .. } | Phase::Trial(_)
    );
    if !ended || !tried {
        return;
    }
    // Before it came up for the first time, the boot of the phase is that of the
    // version before.
    let before = match open.phase {
        Phase::Trial(_) => None,
        _ => Some(open.boot.as_str().to_owned()),
    };
    let began = began(session, open.transaction.id);
    let Some(words) = session.host.last_words(began, before.as_deref()) else {
        return;
    };
    let memory = session.host.memory(&global.sysroot);
    if let Err(e) = words.keep(&RealFs, &memory, open.transaction.id.0) {
        monitor.note(&format!("the kernel's last words are not kept: {e}"));
    }
}

/// When an upgrade was asked for, seconds since 1970.
fn began(session: &Session, upgrade: TxId) -> u64 {
    let records = session.journal.records().unwrap_or_default();
    let all = engine::history(&records);
    let one = all.iter().find(|one| one.id == upgrade);
    one.map_or(0, |one| one.started_at)
}

fn is_boot_check(action: &engine::Action) -> bool {
    matches!(
        action,
        engine::Action::RunChecks {
            stage: health::Stage::Boot
        }
    )
}
