//! `backstop kargs`.

use anyhow::bail;

use clap::Args;
use engine::{TrialKind, VersionId};
use image::ImageHost;
use sysroot::{DeploymentId, KargsSources, KernelArgs};

use super::trial::TrialArgs;
use crate::args::Global;
use crate::exit::Ended;
use crate::host::AnyHost;
use crate::output::Output;
use crate::progress::Terminal;
use crate::session::Session;

/// What `backstop kargs` takes.
#[derive(Debug, Args)]
pub struct KargsArgs {
    /// Add an argument; may be given often
    #[arg(long, value_name = "ARG")]
    append: Vec<String>,
    /// Put NAME=VALUE in the place of every argument of that name; may be given often
    #[arg(long, value_name = "ARG")]
    replace: Vec<String>,
    /// Remove NAME or NAME=VALUE; may be given often
    #[arg(long, value_name = "ARG")]
    delete: Vec<String>,
    /// Reboot into them as a trial: kept when the host is healthy, and else the old ones
    /// come back by themselves. The options of `backstop upgrade` go with it
    #[arg(long = "try", conflicts_with_all = ["once", "of", "live", "if_refused"])]
    on_trial: bool,
    /// Boot with them once; the default keeps its own
    #[arg(long)]
    once: bool,
    /// The version [default: the one that boots first]
    #[arg(long, value_name = "VERSION")]
    of: Option<String>,
    #[command(flatten)]
    trial: TrialArgs,
}

/// Runs the command: shows the kernel arguments of a version, or changes them.
pub fn run(args: KargsArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let mut session = Session::open(global)?;
    let running = match args.on_trial {
        true => Some(session.running()?),
        false => None,
    };
    let AnyHost::Image(host) = &session.host else {
        bail!("a Nix host's kernel arguments are in its configuration: `boot.kernelParams`");
    };
    if !args.on_trial && args.trial != TrialArgs::default() {
        bail!("only with --try are they on trial");
    }
    let id = match &running {
        Some(running) => host.deployment_of(running)?,
        None => deployment(&args, &session, host)?,
    };
    let before = host.sysroot().kargs_of(&id)?;
    let Some(wanted) = edited(&args, &before.effective)? else {
        return show(&id, &before, out);
    };
    if let Some(tx) = session.journal.load()?.state.tx() {
        bail!("upgrade {tx} is under way; `backstop rollback` stops it");
    }
    if let Some(running) = running {
        return try_first(&args, (running, &wanted), &mut session, global, out);
    }
    let monitor = Terminal::new(global.json);
    if args.once {
        host.sysroot().try_kargs(&id, &wanted, &monitor)?;
        out.line("The next start tries them, once. The one after it is as before.")?;
        return Ok(Ended::Done);
    }
    host.sysroot().set_kargs(&id, &wanted, &monitor)?;
    out.line("They count from the next start on.")?;
    show(&id, &host.sysroot().kargs_of(&id)?, out)
}

/// Begins a trial of the version that runs, with these arguments.
fn try_first(
    args: &KargsArgs,
    (running, wanted): (VersionId, &KernelArgs),
    session: &mut Session,
    global: &Global,
    out: &mut Output,
) -> anyhow::Result<Ended> {
    let policy = session.policy()?;
    let trial = args.trial.clone().of_kind(TrialKind::Boot);
    let mut request = trial.request(running, "", &policy);
    if let AnyHost::Image(host) = &session.host {
        host.ask_for_kargs(&mut request, wanted)?;
    }
    trial.begin(session, request, global, out)
}

/// The deployment meant: of the version that was named, or the default.
fn deployment(
    args: &KargsArgs,
    session: &Session,
    host: &ImageHost,
) -> anyhow::Result<DeploymentId> {
    let deployments = host.sysroot().deployments()?;
    let wanted = match &args.of {
        Some(name) => Some(session.host.kept_named(name)?),
        None => None,
    };
    let fits = |id: &DeploymentId| {
        let version = image::source::version(&id.checksum);
        wanted.as_ref().is_none_or(|wanted| *wanted == version)
    };
    match deployments.into_iter().map(|d| d.id).find(fits) {
        Some(id) => Ok(id),
        None => bail!("nothing is deployed on this host"),
    }
}

/// The arguments after the edits; `None` without any.
fn edited(args: &KargsArgs, before: &KernelArgs) -> anyhow::Result<Option<KernelArgs>> {
    if args.append.is_empty() && args.replace.is_empty() && args.delete.is_empty() {
        return Ok(None);
    }
    let mut kargs = before.clone();
    for arg in &args.delete {
        if kargs.delete(arg) == 0 {
            bail!("there is no kernel argument `{arg}`");
        }
    }
    for arg in &args.replace {
        kargs.replace(arg)?;
    }
    for arg in &args.append {
        kargs.append(arg)?;
    }
    Ok(Some(kargs))
}

fn show(id: &DeploymentId, kargs: &KargsSources, out: &mut Output) -> anyhow::Result<Ended> {
    let line = |args: &KernelArgs| match args.is_empty() {
        true => "(none)".to_owned(),
        false => args.to_string(),
    };
    out.line(&format!(
        "Version {}",
        image::source::version(&id.checksum).short()
    ))?;
    out.line(&format!("  of the image  {}", line(&kargs.image)))?;
    out.line(&format!("  added here    {}", line(&kargs.added)))?;
    out.line(&format!("  removed here  {}", line(&kargs.removed)))?;
    out.line(&format!("  all           {}", line(&kargs.effective)))?;
    let list = |args: &KernelArgs| args.iter().map(str::to_owned).collect::<Vec<_>>();
    out.json(&serde_json::json!({
        "deployment": id.to_string(),
        "image": list(&kargs.image),
        "added": list(&kargs.added),
        "removed": list(&kargs.removed),
        "all": list(&kargs.effective),
    }))?;
    Ok(Ended::Done)
}
