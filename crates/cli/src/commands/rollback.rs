//! `backstop rollback`.

use anyhow::bail;
use clap::Args;
use engine::{Event, Pause, Scope};
use image::host::THIS_HOST;

use super::confirm::who;
use super::trial::TrialArgs;
use crate::args::Global;
use crate::exit::Ended;
use crate::follow::{self, Wait};
use crate::output::Output;
use crate::progress::Terminal;
use crate::session::Session;
use crate::timeline::Printer;

/// What `backstop rollback` takes.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// Why, for those who read the history later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    trial: TrialArgs,
}

/// Runs the command: an open upgrade is stopped; without one, the host goes back
/// to the good version before, and the one that runs is remembered as bad.
pub fn run(args: RollbackArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let mut session = Session::open(global)?;
    let by = match &args.reason {
        Some(reason) => format!("{}: {reason}", who()),
        None => who(),
    };
    if let Some(tx) = session.journal.load()?.state.tx() {
        let event = Event::Aborted { tx, by };
        let pause = feed(&mut session, event, global)?;
        if matches!(pause, Pause::Supervisor(_)) {
            // What is left takes long: the checks after going back.
            session.host.start_supervisor()?;
        }
        return match pause {
            Pause::Rebooting => {
                out.line("Stopped. The host reboots into the last good version.")?;
                Ok(Ended::Done)
            }
            _ => follow::follow(&session.journal, tx, Wait::ForNobody, out).map(|_| Ended::Done),
        };
    }
    let running = session.running()?;
    let Some(target) = session.version_before(&running)? else {
        bail!("no other good version is on this host, so there is none to go back to");
    };
    let event = Event::Condemned {
        version: running,
        by,
    };
    feed(&mut session, event, global)?;
    let policy = session.policy()?;
    let request = args.trial.request(target, THIS_HOST, &policy);
    args.trial.begin(&mut session, request, global, out)
}

fn feed(session: &mut Session, event: Event, global: &Global) -> anyhow::Result<Pause> {
    let printer = Printer { quiet: true };
    let monitor = Terminal::new(global.json);
    let mut driver = session.driver(&printer, &monitor, Scope::Short);
    Ok(driver.feed(event)?)
}
