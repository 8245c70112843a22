//! `backstop republish`: another program changed the boot entries.

use crate::args::Global;
use crate::exit::Ended;
use crate::host::AnyHost;
use crate::output::Output;
use crate::progress::Terminal;
use crate::session::Session;

/// Runs the command.
pub fn run(global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let session = Session::open(global)?;
    if let AnyHost::Image(host) = &session.host
        && host.republish(&Terminal::new(global.json))?
    {
        out.line("Boot entries that another program wrote are published for the boot loader.")?;
    }
    Ok(Ended::Done)
}
