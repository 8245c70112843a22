//! `backstop switch`.

use anyhow::Context;
use clap::Args;
use image::Source;

use super::trial::TrialArgs;
use crate::args::Global;
use crate::exit::Ended;
use crate::output::Output;
use crate::session::Session;

/// What `backstop switch` takes.
#[derive(Debug, Args)]
pub struct SwitchArgs {
    /// REPOSITORY:REF, or a ref or commit of the repository that this host follows
    version: String,
    #[command(flatten)]
    trial: TrialArgs,
}

/// Runs the command.
pub fn run(args: SwitchArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let mut session = Session::open(global)?;
    let policy = session.policy()?;
    let source = match (args.version.parse::<Source>(), &policy.upgrade.source) {
        (Ok(source), _) if source.repo.is_dir() => source,
        (_, Some(repo)) => Source {
            repo: repo.into(),
            rev: args.version.clone(),
        },
        (parsed, None) => parsed.with_context(|| {
            format!("`{}` alone names no version, since no policy says which repository this host follows", args.version)
        })?,
    };
    let target = source.resolve(session.fs.clone())?;
    let request = args.trial.request(target, &source.to_string(), &policy);
    args.trial.begin(&mut session, request, global, out)
}
