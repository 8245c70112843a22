//! `backstop plan`.

use anyhow::bail;
use clap::Args;
use engine::VersionId;
use nix::NixHost;

use super::switch::NO_STATEROOTS;
use super::upgrade;
use super::wanted::{self, Wanted, WantedArgs};
use crate::args::Global;
use crate::exit::Ended;
use crate::host::AnyHost;
use crate::output::{Output, Tone};
use crate::progress::Terminal;
use crate::session::Session;

/// So many lines of a kind are shown; all are in the JSON.
const SHOWN: usize = 20;

/// What `backstop plan` takes.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The version, as `backstop switch` takes it; without one, what this host
    /// follows
    #[arg(conflicts_with = "flake")]
    version: Option<String>,
    /// Nix hosts: build HOST's system from a flake
    #[arg(long, value_name = "FLAKE[#HOST]")]
    flake: Option<String>,
    /// Image hosts: in this stateroot, beside the one that runs
    #[arg(
        long,
        value_name = "NAME",
        requires = "version",
        conflicts_with = "flake"
    )]
    stateroot: Option<String>,
}

/// Runs the command.
pub fn run(args: PlanArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let mut session = Session::open(global)?;
    let policy = session.policy()?;
    let wanted = if args.version.is_some() || args.flake.is_some() {
        let wanted = WantedArgs {
            version: args.version,
            flake: args.flake,
            from: None,
            substitute: false,
            flags: Vec::new(),
            facts: Vec::new(),
        };
        Some(wanted.find(&session, &policy, global)?)
    } else {
        upgrade::follow(&session, &policy, global)?
    };
    let Some(wanted) = wanted else {
        bail!("nothing says what this host follows: name a version");
    };
    show(
        &wanted,
        args.stateroot.as_deref(),
        &mut session,
        global,
        out,
    )
}

/// Shows what trying a version would do; in a stateroot of its own, if one is named.
pub fn show(
    wanted: &Wanted,
    stateroot: Option<&str>,
    session: &mut Session,
    global: &Global,
    out: &mut Output,
) -> anyhow::Result<Ended> {
    let from = session.running()?;
    if wanted.version == from && stateroot.is_none() {
        out.line(&format!(
            "{} is running: nothing would change.",
            from.short()
        ))?;
        out.json(&serde_json::json!({ "version": wanted.version, "running": from }))?;
        return Ok(Ended::Done);
    }
    out.line(&format!(
        "From {} to {}:",
        from.short(),
        wanted.version.short()
    ))?;
    let ended = match &session.host {
        AnyHost::Nix(_) if stateroot.is_some() => bail!(NO_STATEROOTS),
        AnyHost::Nix(host) => of_closure(host, &wanted.version, global, out)?,
        AnyHost::Image(host) => {
            let (version, source) = (&wanted.version, &wanted.source);
            let plan = host.plan(
                &from,
                version,
                source,
                stateroot,
                &Terminal::new(global.json),
            )?;
            print_image(&plan, out)?;
            Ended::Done
        }
    };
    if let Some(reason) = session.journal.load()?.knowledge.bad(&wanted.version) {
        let line = format!("It failed here before, and is not tried again by itself: {reason}.");
        out.line(&out.tone(Tone::Bad, &line))?;
    }
    Ok(ended)
}

fn of_closure(
    host: &NixHost,
    version: &VersionId,
    global: &Global,
    out: &mut Output,
) -> anyhow::Result<Ended> {
    let target = wanted::store_path(host, version.as_str())?;
    let plan = host.plan(&target, &Terminal::new(global.json))?;
    out.json(&plan)?;
    list(out, "packages", &plan.packages)?;
    list(out, "units", &plan.units)?;
    if let Some(container) = plan.container.as_ref().filter(|c| c.impossible.is_none()) {
        out.line(&format!("Before it is activated, {container}."))?;
    }
    if let Some(why) = &plan.refuses_live {
        let line = format!("It needs a reboot; it cannot be done live: {why}.");
        out.line(&out.tone(Tone::Warn, &line))?;
    }
    if let Some(why) = &plan.fails {
        let line = format!("It would be rejected: {why}.");
        out.line(&out.tone(Tone::Bad, &line))?;
    }
    Ok(match (&plan.fails, &plan.refuses_live) {
        (Some(_), _) => Ended::Unhealthy,
        (None, Some(_)) => Ended::NeedsReboot,
        (None, None) => Ended::Done,
    })
}

fn print_image(plan: &image::Plan, out: &mut Output) -> anyhow::Result<()> {
    out.json(plan)?;
    let packages = plan
        .packages
        .iter()
        .map(|package| match (&package.from, &package.to) {
            (Some(from), Some(to)) => format!("{}: {from} → {to}", package.name),
            (None, Some(to)) => format!("{}: {to}, new", package.name),
            (from, None) => format!(
                "{}: {}, removed",
                package.name,
                from.as_deref().unwrap_or("")
            ),
        });
    list(out, "packages", &packages.collect::<Vec<_>>())?;
    let files = plan.files;
    out.line(&format!(
        "  files: {} new, {} changed, {} removed",
        files.added, files.changed, files.removed
    ))?;
    if let Some(kernel) = &plan.kernel {
        out.line(&format!("  kernel: {} → {}", kernel.from, kernel.to))?;
    }
    let added = plan.kargs.added.iter().map(|arg| format!("+{arg}"));
    let removed = plan.kargs.removed.iter().map(|arg| format!("-{arg}"));
    list(
        out,
        "kernel arguments",
        &added.chain(removed).collect::<Vec<_>>(),
    )?;
    let etc = plan.etc.iter().map(|path| path.display().to_string());
    list(out, "defaults in /etc", &etc.collect::<Vec<_>>())?;
    let conflicts = plan.conflicts.iter();
    let conflicts = conflicts.map(|(path, what)| format!("{}: {what}", path.display()));
    list(out, "local changes in /etc", &conflicts.collect::<Vec<_>>())?;
    match &plan.needs_reboot {
        Some(why) => {
            let line = format!("It needs a reboot: {why}.");
            out.line(&out.tone(Tone::Warn, &line))?;
        }
        None => out.line("It needs no reboot.")?,
    }
    Ok(())
}

/// Shows lines of one kind, as many as one reads.
fn list(out: &mut Output, what: &str, lines: &[String]) -> std::io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    out.line(&format!("  {what}:"))?;
    for line in lines.iter().take(SHOWN) {
        out.line(&format!("    {line}"))?;
    }
    if let Some(more) = lines.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        out.line(&format!("    and {more} more"))?;
    }
    Ok(())
}
