//! `backstop upgrade`.

use anyhow::bail;
use clap::Args;
use engine::VersionId;
use image::Source;

use super::trial::{self, TrialArgs};
use crate::args::Global;
use crate::exit::Ended;
use crate::output::Output;
use crate::session::Session;

/// What `backstop upgrade` takes.
#[derive(Debug, Args)]
pub struct UpgradeArgs {
    /// Run by the timer: a version known to be bad, or an open upgrade, is no failure
    #[arg(long, hide = true)]
    unattended: bool,
    /// Say whether there is a new version, and change nothing
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    trial: TrialArgs,
}

/// Runs the command.
pub fn run(args: UpgradeArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let mut session = Session::open(global)?;
    let policy = session.policy()?;
    let (Some(repo), Some(rev)) = (&policy.upgrade.source, &policy.upgrade.reference) else {
        if args.unattended {
            out.line("No policy says what this host follows: nothing to do.")?;
            return Ok(Ended::Done);
        }
        bail!(
            "nothing says what this host follows: set `source` and `ref` under [upgrade] in \
             /etc/backstop/backstop.toml, or name a version with `backstop switch`"
        );
    };
    let source = Source {
        repo: repo.into(),
        rev: rev.clone(),
    };
    let target = source.resolve(session.fs.clone())?;
    let running = session.running()?;
    if target == running {
        out.line(&format!(
            "{source} is {}, which is running.",
            target.short()
        ))?;
        return Ok(Ended::Done);
    }
    if args.check {
        return report(&session, &source, &target, out);
    }
    let request = args.trial.request(target, &source.to_string(), &policy);
    if !args.unattended {
        return args.trial.begin(&mut session, request, global, out);
    }
    // An upgrade that waits for its window is looked after again.
    if session.journal.load()?.state.tx().is_some() {
        session.host.start_supervisor()?;
        return Ok(Ended::Done);
    }
    trial::start(&mut session, request, global, out)?;
    Ok(Ended::Done)
}

/// Says what an upgrade would try.
fn report(
    session: &Session,
    source: &Source,
    target: &VersionId,
    out: &mut Output,
) -> anyhow::Result<Ended> {
    let knowledge = session.journal.load()?.knowledge;
    match knowledge.bad(target) {
        Some(reason) => out.line(&format!(
            "{source} is {}, which failed here: {reason}. It is not tried again.",
            target.short()
        ))?,
        None => out.line(&format!("{source} is {}: new.", target.short()))?,
    }
    out.json(&serde_json::json!({
        "source": source.to_string(),
        "version": target,
        "bad": knowledge.bad(target),
    }))?;
    Ok(Ended::Done)
}
