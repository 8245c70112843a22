//! `backstop settle`: early at boot.

use engine::{Pause, Scope};

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
    let pause = session.driver(&printer, &monitor, Scope::Short).settle()?;
    // The checks of a boot are the health unit's; anything else that takes long
    // is the supervisor's.
    if matches!(&pause, Pause::Supervisor(action) if !is_boot_check(action)) {
        session.host.start_supervisor()?;
    }
    Ok(Ended::Done)
}

fn is_boot_check(action: &engine::Action) -> bool {
    matches!(
        action,
        engine::Action::RunChecks {
            stage: health::Stage::Boot
        }
    )
}
