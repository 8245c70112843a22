//! `backstop switch`.

use anyhow::bail;
use clap::Args;
use engine::Request;

use super::trial::TrialArgs;
use super::wanted::WantedArgs;
use crate::args::Global;
use crate::exit::Ended;
use crate::host::AnyHost;
use crate::output::Output;
use crate::session::Session;

/// Why a Nix host is put into none.
pub const NO_STATEROOTS: &str = "only image hosts have stateroots, and this is a Nix host";

/// What `backstop switch` takes.
#[derive(Debug, Args)]
pub struct SwitchArgs {
    #[command(flatten)]
    wanted: WantedArgs,
    /// Image hosts: put it into this stateroot, beside the one that runs and with a /var of
    /// its own. Upgrades in it follow what is named here
    #[arg(long, value_name = "NAME", conflicts_with = "flake")]
    stateroot: Option<String>,
    #[command(flatten)]
    trial: TrialArgs,
}

/// Runs the command.
pub fn run(args: SwitchArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let mut session = Session::open(global)?;
    let mut request = request(&args.wanted, &args.trial, &session, global)?;
    if let Some(name) = &args.stateroot {
        let AnyHost::Image(host) = &session.host else {
            bail!(NO_STATEROOTS);
        };
        host.ask_for_stateroot(&mut request, name)?;
    }
    args.trial.begin(&mut session, request, global, out)
}

/// Finds the version that is wanted and tries it.
pub fn begin(
    wanted: WantedArgs,
    trial: TrialArgs,
    session: &mut Session,
    global: &Global,
    out: &mut Output,
) -> anyhow::Result<Ended> {
    let request = request(&wanted, &trial, session, global)?;
    trial.begin(session, request, global, out)
}

fn request(
    wanted: &WantedArgs,
    trial: &TrialArgs,
    session: &Session,
    global: &Global,
) -> anyhow::Result<Request> {
    let policy = session.policy()?;
    let wanted = wanted.find(session, &policy, global)?;
    let mut request = trial.request(wanted.version, &wanted.source, &policy);
    request.provenance = wanted.provenance;
    Ok(request)
}
