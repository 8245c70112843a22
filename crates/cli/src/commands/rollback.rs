//! `backstop rollback`.

use anyhow::{Context, bail};
use clap::Args;
use engine::{Event, Pause, Scope, VersionId};
use image::host::THIS_HOST;

use super::confirm::who;
use super::trial::TrialArgs;
use crate::args::Global;
use crate::exit::Ended;
use crate::follow::{self, Wait};
use crate::host::AnyHost;
use crate::output::Output;
use crate::progress::Terminal;
use crate::session::Session;
use crate::timeline::Printer;

/// What `backstop rollback` takes.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The version to go back to, or the beginning of its name [default: the good one
    /// before]
    version: Option<String>,
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
    if matches!(&session.host, AnyHost::Image(host) if host.is_offline()) {
        return offline(args, by, &mut session, global, out);
    }
    if let Some(tx) = session.journal.load()?.state.tx() {
        if args.version.is_some() {
            bail!("an upgrade is under way: `backstop rollback` alone stops it first");
        }
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
    let target = target(&args, &session, &running)?;
    let policy = session.policy()?;
    let request = args.trial.request(target, THIS_HOST, &policy);
    if let AnyHost::Image(host) = &session.host {
        host.check_way_back(&request)?;
        host.name_edits_left(&running, &request.target, &Terminal::new(global.json));
    }
    let event = Event::Condemned {
        version: running,
        by,
    };
    feed(&mut session, event, global)?;
    args.trial.begin(&mut session, request, global, out)
}

/// The version that was named, or else the good one before.
fn target(
    args: &RollbackArgs,
    session: &Session,
    running: &VersionId,
) -> anyhow::Result<VersionId> {
    let Some(name) = &args.version else {
        let before = session.version_before(running)?;
        return before
            .context("no other good version is on this host, so there is none to go back to");
    };
    let named = session.host.kept_named(name)?;
    if named == *running {
        bail!("version {} is the one to go back from", named.short());
    }
    let knowledge = session.journal.load()?.knowledge;
    if let Some(reason) = knowledge.bad(&named).filter(|_| !args.trial.force()) {
        bail!(
            "version {} is known to be bad ({reason}); --force goes back to it",
            named.short()
        );
    }
    Ok(named)
}

/// On the mounted disk of a host that is off: a boot order is written, and the
/// version that was the default is remembered as bad.
fn offline(
    args: RollbackArgs,
    by: String,
    session: &mut Session,
    global: &Global,
    out: &mut Output,
) -> anyhow::Result<Ended> {
    let printer = Printer { quiet: true };
    let monitor = Terminal::new(global.json);
    if session.journal.load()?.state.tx().is_some() {
        // As a boot of the default would: the trial is over.
        session.driver(&printer, &monitor, Scope::Short).resume()?;
    }
    let default = session.running()?;
    let target = target(&args, session, &default)?;
    let event = Event::Condemned {
        version: default,
        by,
    };
    feed(session, event, global)?;
    let knowledge = session.journal.load()?.knowledge;
    let AnyHost::Image(host) = &session.host else {
        bail!("only an image host can be put back while it is off");
    };
    host.set_default(&target, &knowledge, &monitor)?;
    out.line(&format!("The host's next start boots {}.", target.short()))?;
    Ok(Ended::Done)
}

fn feed(session: &mut Session, event: Event, global: &Global) -> anyhow::Result<Pause> {
    let printer = Printer { quiet: true };
    let monitor = Terminal::new(global.json);
    let mut driver = session.driver(&printer, &monitor, Scope::Short);
    Ok(driver.feed(event)?)
}
