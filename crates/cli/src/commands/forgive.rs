//! `backstop forgive`.

use anyhow::bail;
use clap::Args;
use engine::{Event, Scope};

use super::confirm::who;
use crate::args::Global;
use crate::exit::Ended;
use crate::output::Output;
use crate::progress::Terminal;
use crate::session::Session;
use crate::timeline::Printer;

/// What `backstop forgive` takes.
#[derive(Debug, Args)]
pub struct ForgiveArgs {
    /// The version, or the beginning of its name
    version: String,
}

/// Runs the command.
pub fn run(args: ForgiveArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let mut session = Session::open(global)?;
    let knowledge = session.journal.load()?.knowledge;
    let found: Vec<_> = knowledge
        .find(&args.version)
        .into_iter()
        .filter(|version| knowledge.bad(version).is_some())
        .cloned()
        .collect();
    let version = match found.as_slice() {
        [version] => version.clone(),
        [] => bail!(
            "no version that begins with `{}` is known to be bad; `backstop history` lists them",
            args.version
        ),
        _ => bail!(
            "`{}` is the beginning of several bad versions",
            args.version
        ),
    };
    let event = Event::Forgiven {
        version: version.clone(),
        by: who(),
    };
    let printer = Printer { quiet: true };
    let monitor = Terminal::new(global.json);
    session
        .driver(&printer, &monitor, Scope::Short)
        .feed(event)?;
    out.line(&format!("Version {} may be tried again.", version.short()))?;
    Ok(Ended::Done)
}
