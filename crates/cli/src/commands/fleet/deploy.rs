//! `backstop fleet deploy` and `backstop fleet plan`.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use durable::{Fs, RealFs};
use fleet::config::{Description, Host, OnFailure, RolloutTable, Trial};
use fleet::deploy::{Happening, Shared, Watcher};
use fleet::executor::Executor;
use fleet::rollout::{End, Log, Plan, Rollout, WaveSize};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::{Fleet, list, rollouts_dir};
use crate::args::Global;
use crate::exit::Ended;
use crate::output::{Output, Table, Tone};
use crate::rollout_view::View;

/// How a rollout goes, where not as described.
#[derive(Debug, Args)]
pub struct RolloutArgs {
    /// Names, globs and @tags; without any, all hosts
    hosts: Vec<String>,
    /// The sizes of the waves, such as 1,10%,rest
    #[arg(long, value_name = "SIZES", value_delimiter = ',', value_parser = WaveSize::from_str)]
    waves: Vec<WaveSize>,
    /// How many hosts may fail before the rollout stops
    #[arg(long, value_name = "N")]
    max_failures: Option<usize>,
    /// What then becomes of the hosts that were changed
    #[arg(long, value_enum, value_name = "WHAT")]
    on_failure: Option<Failure>,
    /// How many hosts may be in each step at once
    #[arg(long, value_name = "N")]
    parallel: Option<usize>,
}

/// What becomes of hosts that a failed rollout has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Failure {
    /// They stay as they are
    Stop,
    /// They go back to the version that they ran before
    PutBack,
}

/// What `backstop fleet plan` takes.
#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    rollout: RolloutArgs,
}

/// What `backstop fleet deploy` takes.
#[derive(Debug, Args)]
pub struct DeployArgs {
    #[command(flatten)]
    rollout: RolloutArgs,
    /// Try versions in the running systems, without reboots
    #[arg(long, conflicts_with = "boot")]
    live: bool,
    /// Try versions by booting into them
    #[arg(long)]
    boot: bool,
    /// Try versions although hosts know them to be bad
    #[arg(long)]
    force: bool,
    /// Take up a rollout that was interrupted or stopped: this one, or the newest
    #[arg(long, value_name = "ROLLOUT", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["hosts", "waves"])]
    resume: Option<String>,
}

impl RolloutArgs {
    /// The description's word, with ours over it.
    fn over(&self, mut table: RolloutTable) -> RolloutTable {
        if !self.waves.is_empty() {
            table.waves.clone_from(&self.waves);
        }
        table.max_failures = self.max_failures.unwrap_or(table.max_failures);
        table.on_failure = match self.on_failure {
            Some(Failure::Stop) => OnFailure::Stop,
            Some(Failure::PutBack) => OnFailure::PutBack,
            None => table.on_failure,
        };
        if let Some(n) = self.parallel {
            let parallel = &mut table.parallel;
            (parallel.reach, parallel.copy, parallel.activate) = (n, n, n);
        }
        table
    }

    fn plan(&self, fleet: &Description) -> anyhow::Result<Plan> {
        let chosen = fleet::select(&fleet.hosts, &self.hosts)?;
        let table = self.over(fleet.rollout.clone());
        Ok(Plan::new(&fleet.hosts, &chosen, &table)?)
    }
}

/// Runs `backstop fleet plan`.
pub fn plan(args: PlanArgs, fleet: &Fleet, out: &mut Output) -> anyhow::Result<Ended> {
    let description = fleet.load()?;
    let plan = args.rollout.plan(&description)?;
    out.json(&plan)?;
    let mut table = Table::new(&["wave", "host", "address", "version from"]);
    for planned in &plan.hosts {
        let host = find(&description, &planned.name)?;
        table.row(vec![
            (planned.wave + 1).to_string(),
            host.name.clone(),
            host.address.to_string(),
            list::from(host),
        ]);
    }
    table.print(out)?;
    let then = match plan.on_failure {
        OnFailure::Stop => "stops",
        OnFailure::PutBack => "stops, and puts back what it changed",
    };
    out.line(&format!(
        "{} hosts in {} waves; it {then} when more than {} have failed.",
        plan.hosts.len(),
        plan.waves(),
        plan.max_failures
    ))?;
    Ok(Ended::Done)
}

fn find<'a>(fleet: &'a Description, name: &str) -> anyhow::Result<&'a Host> {
    let found = fleet.hosts.iter().find(|host| host.name == name);
    found.with_context(|| format!("the fleet no longer has the host {name}"))
}

/// Runs `backstop fleet deploy`.
pub fn run(
    args: DeployArgs,
    fleet: &Fleet,
    global: &Global,
    out: &mut Output,
) -> anyhow::Result<Ended> {
    let description = fleet.load()?;
    let (log, mut rollout) = begin(&args, &description)?;
    let planned = &rollout.plan().hosts;
    let hosts = planned
        .iter()
        .map(|planned| find(&description, &planned.name));
    let hosts: Vec<&Host> = hosts.collect::<anyhow::Result<_>>()?;
    if hosts.is_empty() {
        bail!("the fleet has no hosts");
    }
    let mut shared: Shared = fleet.shared()?;
    shared.force = args.force;
    shared.trial = match (args.live, args.boot) {
        (true, _) => Some(Trial::Live),
        (_, true) => Some(Trial::Boot),
        _ => None,
    };
    let interrupted = interruption()?;
    let view = View::new(global.json, out);
    view.happened(&Happening::Begun {
        rollout: log.id().to_owned(),
        hosts: hosts.len(),
        waves: rollout.plan().waves(),
    });
    let executor = Executor {
        hosts,
        shared: &shared,
        watcher: &view,
        log: &log,
        interrupted: &interrupted,
    };
    let ends = executor.run(&mut rollout)?;
    view.clear();
    if !rollout.interrupted() && ends.iter().all(End::arrived) {
        log.finished()?;
    }
    let names: Vec<&str> = executor.hosts.iter().map(|h| h.name.as_str()).collect();
    conclude(&names, &ends, rollout.interrupted(), log.id(), out)
}

/// A new rollout, or one that is taken up again.
fn begin(args: &DeployArgs, description: &Description) -> anyhow::Result<(Log, Rollout)> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let dir = rollouts_dir()?;
    let Some(id) = &args.resume else {
        let plan = args.rollout.plan(description)?;
        let log = Log::create(fs, &dir, &plan)?;
        return Ok((log, Rollout::new(plan, &[])));
    };
    let id = Some(id.as_str()).filter(|id| !id.is_empty());
    let (log, story) = Log::resume(fs, &dir, id)?;
    let rollout = Rollout::new(story.plan, &story.ends);
    Ok((log, rollout))
}

/// Set by the first Ctrl-C, after which nothing new begins; the second ends this
/// program at once, and hosts in their trial decide alone.
fn interruption() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, flag.clone())?;
        signal_hook::flag::register(signal, flag.clone())?;
    }
    Ok(flag)
}

/// Says what it came to. The exit status is that of the worst end.
fn conclude(
    names: &[&str],
    ends: &[End],
    interrupted: bool,
    id: &str,
    out: &mut Output,
) -> anyhow::Result<Ended> {
    let mut kinds: Vec<&str> = ends.iter().map(End::name).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let counted = |kind: &&str| {
        let count = ends.iter().filter(|end| end.name() == *kind).count();
        format!("{count} {kind}")
    };
    let summary: Vec<String> = kinds.iter().map(counted).collect();
    let summary = format!("{} hosts: {}.", names.len(), summary.join(", "));
    let well = ends
        .iter()
        .all(|end| end.arrived() || matches!(end, End::Staged { .. }));
    out.line(&out.tone(if well { Tone::Good } else { Tone::Bad }, &summary))?;
    out.json(&serde_json::json!({
        "event": "finished",
        "interrupted": interrupted,
        "hosts": names.iter().zip(ends).collect::<std::collections::BTreeMap<_, _>>(),
    }))?;
    if !well {
        out.line(&format!(
            "`backstop fleet deploy --resume {id}` takes it up again."
        ))?;
    }
    status(ends, interrupted)
}

fn status(ends: &[End], interrupted: bool) -> anyhow::Result<Ended> {
    let any = |is: fn(&End) -> bool| ends.iter().any(is);
    let failed = ends.iter().filter(|end| {
        matches!(
            end,
            End::Failed { .. }
                | End::Unreachable { .. }
                | End::LeftAlone { .. }
                | End::Stranded { .. }
                | End::PutBackFailed { .. }
        )
    });
    match failed.count() {
        0 => {}
        1 => bail!("1 of {} hosts failed", ends.len()),
        n => bail!("{n} of {} hosts failed", ends.len()),
    }
    if interrupted {
        bail!("the rollout was interrupted");
    }
    Ok(
        if any(|e| matches!(e, End::RolledBack { .. } | End::PutBack { .. })) {
            Ended::RolledBack
        } else if any(|e| matches!(e, End::Rejected { .. })) {
            Ended::Rejected
        } else if any(|e| matches!(e, End::Refused { .. } | End::Skipped { .. })) {
            Ended::Refused
        } else {
            Ended::Done
        },
    )
}
