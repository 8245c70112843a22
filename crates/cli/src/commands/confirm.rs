//! `backstop confirm`.

use anyhow::bail;
use clap::Args;
use engine::{Event, Pause, Scope, TxId};
use machine::Connection;

use crate::args::Global;
use crate::exit::Ended;
use crate::output::{Output, Tone};
use crate::progress::Terminal;
use crate::session::Session;
use crate::timeline::Printer;

/// What `backstop confirm` takes.
#[derive(Debug, Args)]
pub struct ConfirmArgs {
    /// Confirm this upgrade and no other
    #[arg(long, value_name = "UPGRADE")]
    upgrade: Option<TxId>,
}

/// Runs the command.
pub fn run(args: ConfirmArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let mut session = Session::open(global)?;
    let Some(open) = session.journal.load()?.state.tx() else {
        bail!("nothing is on trial, so there is nothing to confirm");
    };
    let tx = args.upgrade.unwrap_or(open);
    let connected_ms = match machine::connection() {
        Connection::Local => None,
        Connection::Ssh(since) => Some(u64::try_from(since.as_millis())?),
    };
    let event = Event::Confirmed {
        tx,
        by: who(),
        connected_ms,
    };
    let printer = Printer { quiet: true };
    let monitor = Terminal::new(global.json);
    let pause = session
        .driver(&printer, &monitor, Scope::Short)
        .feed(event)?;
    match pause {
        Pause::Idle(Some(outcome)) => {
            out.line(&out.tone(Tone::Good, &outcome.to_string()))?;
            out.json(&outcome)?;
            Ok(Ended::from(&outcome))
        }
        Pause::Stuck => {
            out.line(
                "Confirmed. It could not be kept yet, which is tried again; \
                 `backstop history` says why.",
            )?;
            Ok(Ended::Done)
        }
        _ => {
            out.line("Confirmed. It is kept as soon as its checks have passed.")?;
            Ok(Ended::Done)
        }
    }
}

/// Who confirms: the user, and from where.
pub fn who() -> String {
    let user = std::env::var("SUDO_USER")
        .or_else(|_| std::env::var("USER"))
        .unwrap_or_else(|_| "somebody".to_owned());
    match std::env::var("SSH_CONNECTION") {
        Ok(from) => format!("{user} from {}", from.split(' ').next().unwrap_or("afar")),
        Err(_) => user,
    }
}
