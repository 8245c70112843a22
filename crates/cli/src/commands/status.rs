//! `backstop status`.

use clap::Args;
use engine::{Host, Knowledge, Memory, Open, Phase, TrialKind, VersionId};
use image::{ImageHost, source};
use nix::{NixHost, Overview};
use serde::Serialize;
use sysroot::{Deployment, Standing};

use crate::args::Global;
use crate::exit::Ended;
use crate::host::AnyHost;
use crate::output::{Output, Table, Tone};
use crate::session::Session;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Status {
    host: String,
    /// The host is off, and its disk is looked at from another system: what it runs is
    /// then what it boots when nothing is on trial.
    offline: bool,
    /// What was booted.
    running: VersionId,
    /// What is active: the same, or what was activated live since.
    active: VersionId,
    attempts_left: Option<u8>,
    under_way: Option<Open>,
    /// What boots it.
    loader: &'static str,
    /// What that loader cannot do.
    limits: &'static [&'static str],
    /// GRUB's configuration, if something wrote over backstop's.
    replaced_config: Option<std::path::PathBuf>,
    /// Whether the EFI system partition could not be written when it should have been.
    esp_stays: bool,
    deployments: Vec<Row>,
}

/// One deployment.
#[derive(Debug, Serialize)]
struct Row {
    version: VersionId,
    stateroot: String,
    booted: bool,
    boots: String,
    pinned: bool,
    known: String,
}

/// What `--json` prints for a Nix host.
#[derive(Debug, Serialize)]
struct NixStatus {
    host: String,
    /// What is active.
    running: VersionId,
    attempts_left: Option<u8>,
    under_way: Option<Open>,
    #[serde(flatten)]
    overview: Overview,
    known: Vec<Known>,
}

/// What is known of a version.
#[derive(Debug, Serialize)]
struct Known {
    version: VersionId,
    known: String,
}

/// What `backstop status` takes.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Only what runs and what is under way: the boot loader is not asked
    #[arg(long)]
    brief: bool,
}

/// What `--brief --json` prints.
#[derive(Debug, Serialize)]
struct Brief {
    host: String,
    /// What is active.
    running: VersionId,
    under_way: Option<Open>,
}

/// Runs the command.
pub fn run(args: StatusArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let mut session = Session::open(global)?;
    let memory = session.journal.load()?;
    if args.brief {
        brief(&mut session.host, &memory, out)?;
        return Ok(Ended::Done);
    }
    match &mut session.host {
        AnyHost::Image(host) => image(host, &memory, out)?,
        AnyHost::Nix(host) => nix(host, &memory, out)?,
    }
    Ok(Ended::Done)
}

fn brief(host: &mut AnyHost, memory: &Memory, out: &mut Output) -> anyhow::Result<()> {
    let (host, running) = match host {
        AnyHost::Image(host) => {
            let running = host.running().map_err(crate::session::as_anyhow)?;
            let now = host.now().map_err(crate::session::as_anyhow)?;
            (host.describe(), memory.active(&now.boot, &running.version))
        }
        AnyHost::Nix(host) => (host.describe(), host.active_system()?.version()),
    };
    let status = Brief {
        host,
        running,
        under_way: memory.state.open().cloned(),
    };
    let open = status.under_way.as_ref();
    heading((&status.host, "running", &status.running), open, None, out)?;
    out.json(&status)?;
    Ok(())
}

fn image(host: &mut ImageHost, memory: &Memory, out: &mut Output) -> anyhow::Result<()> {
    let running = host.running().map_err(crate::session::as_anyhow)?;
    let now = host.now().map_err(crate::session::as_anyhow)?;
    let booted = host.booted()?;
    let deployments = host.sysroot().deployments()?;
    let runs = |d: &Deployment| !host.is_offline() && d.id == booted;
    let rows = deployments.iter().map(|d| row(d, runs(d), memory));
    let boots = host.sysroot().boot_settings()?;
    let status = Status {
        offline: host.is_offline(),
        host: host.describe(),
        active: memory.active(&now.boot, &running.version),
        running: running.version,
        attempts_left: running.attempts_left,
        under_way: memory.state.open().cloned(),
        loader: boots.loader.name(),
        limits: boots.limits(),
        replaced_config: host.sysroot().replaced_config()?,
        esp_stays: host.sysroot().esp_stays(),
        deployments: rows.collect(),
    };
    print(&status, out)?;
    out.json(&status)?;
    Ok(())
}

fn nix(host: &mut NixHost, memory: &Memory, out: &mut Output) -> anyhow::Result<()> {
    let overview = host.overview()?;
    let under_way = memory.state.open().cloned();
    let boots = |open: &Open| open.transaction.request.kind == TrialKind::Boot;
    let attempts_left = match under_way.as_ref().is_some_and(boots) {
        true => {
            host.running()
                .map_err(crate::session::as_anyhow)?
                .attempts_left
        }
        false => None,
    };
    let knowledge = &memory.knowledge;
    let known = knowledge.standings().map(|(version, _)| Known {
        version: version.clone(),
        known: known(knowledge, version),
    });
    let status = NixStatus {
        host: host.describe(),
        running: overview.current.clone(),
        attempts_left,
        under_way,
        known: known.collect(),
        overview,
    };
    print_nix(&status, knowledge, out)?;
    out.json(&status)?;
    Ok(())
}

/// What is known of a version, in a word or with its reason.
fn known(knowledge: &Knowledge, version: &VersionId) -> String {
    match knowledge.bad(version) {
        Some(reason) => format!("bad: {reason}"),
        None if knowledge.is_good(version) => "good".to_owned(),
        None => "untried".to_owned(),
    }
}

fn print_nix(status: &NixStatus, known_of: &Knowledge, out: &mut Output) -> std::io::Result<()> {
    let overview = &status.overview;
    let open = status.under_way.as_ref();
    heading(
        (&status.host, "running", &status.running),
        open,
        status.attempts_left,
        out,
    )?;
    out.line("")?;
    out.line(&format!("current  {}", overview.current))?;
    out.line(&format!("booted   {}", overview.booted))?;
    match &overview.default {
        Some(default) => out.line(&format!("default  {default}"))?,
        None => out.line("default  none: the system profile is empty")?,
    }
    if let Some(container) = &overview.container {
        out.line(&format!("before an activation, {container}"))?;
    }
    out.line("")?;
    let mut table = Table::new(&["", "generation", "version", "is", "known as"]);
    for generation in &overview.generations {
        let version = &generation.version;
        let is = [
            ("current", overview.current == *version),
            ("booted", overview.booted == *version),
            ("default", overview.default.as_ref() == Some(version)),
        ];
        let is = is.into_iter().filter_map(|(word, so)| so.then_some(word));
        table.row(vec![
            if generation.current { "*" } else { "" }.to_owned(),
            generation.number.to_string(),
            version.short().to_owned(),
            is.collect::<Vec<_>>().join(", "),
            known(known_of, version),
        ]);
    }
    table.print(out)
}

fn row(deployment: &Deployment, booted: bool, memory: &Memory) -> Row {
    let version = source::version(&deployment.id.checksum);
    let boots = match deployment.standing {
        Standing::Good(0) => "first".to_owned(),
        Standing::Good(_) => "as a fall-back".to_owned(),
        Standing::Trial => "on trial".to_owned(),
        Standing::Bad => "by hand only".to_owned(),
        Standing::Unlisted => "not".to_owned(),
    };
    let in_order = matches!(deployment.standing, Standing::Good(_));
    let known = match known(&memory.knowledge, &version) {
        untried if untried == "untried" && in_order => "taken for good".to_owned(),
        known => known,
    };
    Row {
        version,
        stateroot: deployment.id.stateroot.clone(),
        booted,
        boots,
        pinned: deployment.origin.is_pinned(),
        known,
    }
}

fn print(status: &Status, out: &mut Output) -> std::io::Result<()> {
    let does = if status.offline {
        "which is off; its default is"
    } else {
        "running"
    };
    let open = status.under_way.as_ref();
    heading(
        (&status.host, does, &status.running),
        open,
        status.attempts_left,
        out,
    )?;
    if !status.limits.is_empty() {
        out.line(&format!("It boots by {}, so:", status.loader))?;
    }
    for limit in status.limits {
        out.line(&format!("  - {limit}"))?;
    }
    if let Some(path) = &status.replaced_config {
        let line = format!(
            "Something wrote over /{}: what is kept or on trial does not boot until `backstop adopt` puts it back.",
            path.display()
        );
        out.line(&out.tone(Tone::Bad, &line))?;
    }
    if status.esp_stays {
        let line = "The EFI system partition could not be written and is as it was. It boots the same default; \
                    nothing else can be tried or kept until it is mounted and can be written.";
        out.line(&out.tone(Tone::Bad, line))?;
    }
    out.line("")?;
    let mut table = Table::new(&["", "version", "stateroot", "boots", "known as"]);
    for row in &status.deployments {
        table.row(vec![
            if row.booted { "*" } else { "" }.to_owned(),
            row.version.short().to_owned(),
            row.stateroot.clone(),
            if row.pinned {
                format!("{}, pinned", row.boots)
            } else {
                row.boots.clone()
            },
            row.known.clone(),
        ]);
    }
    table.print(out)
}

/// The first two lines: which host does what with which version, and what is under way.
fn heading(
    (host, does, version): (&str, &str, &VersionId),
    open: Option<&Open>,
    attempts_left: Option<u8>,
    out: &mut Output,
) -> std::io::Result<()> {
    let version = out.tone(Tone::Strong, version.short());
    out.line(&format!("{host}, {does} {version}"))?;
    match open {
        Some(open) => out.line(&under_way(open, attempts_left, out)),
        None => out.line("No upgrade is under way."),
    }
}

/// What is under way, and what it waits for.
fn under_way(open: &Open, attempts_left: Option<u8>, out: &Output) -> String {
    let transaction = &open.transaction;
    let mut line = format!(
        "Upgrade {} to {} is {}",
        transaction.id,
        transaction.target().short(),
        out.tone(Tone::Warn, open.phase.name())
    );
    match &open.phase {
        Phase::Ready {
            postponed: Some(why),
        } => line.push_str(&format!(": {why}")),
        Phase::Trial(trial) if trial.healthy => {
            line.push_str(", healthy; it waits for `backstop confirm`");
        }
        Phase::AwaitingBoot { .. } => line.push_str(" (the next one tries it)"),
        _ => {}
    }
    if let Some(left) = attempts_left {
        line.push_str(&format!(", {left} attempts left"));
    }
    line.push('.');
    line
}
