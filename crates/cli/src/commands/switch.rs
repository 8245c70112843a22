//! `backstop switch`.

use clap::Args;

use super::trial::TrialArgs;
use super::wanted::WantedArgs;
use crate::args::Global;
use crate::exit::Ended;
use crate::output::Output;
use crate::session::Session;

/// What `backstop switch` takes.
#[derive(Debug, Args)]
pub struct SwitchArgs {
    #[command(flatten)]
    wanted: WantedArgs,
    #[command(flatten)]
    trial: TrialArgs,
}

/// Runs the command.
pub fn run(args: SwitchArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let mut session = Session::open(global)?;
    begin(args.wanted, args.trial, &mut session, global, out)
}

/// Finds the version that is wanted and tries it.
pub fn begin(
    wanted: WantedArgs,
    trial: TrialArgs,
    session: &mut Session,
    global: &Global,
    out: &mut Output,
) -> anyhow::Result<Ended> {
    let policy = session.policy()?;
    let wanted = wanted.find(session, &policy, global)?;
    let mut request = trial.request(wanted.version, &wanted.source, &policy);
    request.provenance = wanted.provenance;
    trial.begin(session, request, global, out)
}
