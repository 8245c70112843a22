//! `backstop status`.

use engine::{Host, Memory, Open, Phase, VersionId};
use image::source;
use serde::Serialize;
use sysroot::{Deployment, Standing};

use crate::args::Global;
use crate::exit::Ended;
use crate::output::{Output, Table, Tone};
use crate::session::Session;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Status {
    host: String,
    running: VersionId,
    attempts_left: Option<u8>,
    under_way: Option<Open>,
    deployments: Vec<Row>,
}

/// One deployment.
#[derive(Debug, Serialize)]
struct Row {
    version: VersionId,
    stateroot: String,
    booted: bool,
    boots: String,
    known: String,
}

/// Runs the command.
pub fn run(global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let mut session = Session::open(global)?;
    let memory = session.journal.load()?;
    let running = session.host.running().map_err(crate::session::as_anyhow)?;
    let booted = session.host.booted()?;
    let deployments = session.host.sysroot().deployments()?;
    let rows = deployments.iter().map(|d| row(d, d.id == booted, &memory));
    let status = Status {
        host: session.host.describe(),
        running: running.version,
        attempts_left: running.attempts_left,
        under_way: memory.state.open().cloned(),
        deployments: rows.collect(),
    };
    print(&status, out)?;
    out.json(&status)?;
    Ok(Ended::Done)
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
    let known = match memory.knowledge.bad(&version) {
        Some(reason) => format!("bad: {reason}"),
        None if memory.knowledge.is_good(&version) => "good".to_owned(),
        None if matches!(deployment.standing, Standing::Good(_)) => "taken for good".to_owned(),
        None => "untried".to_owned(),
    };
    Row {
        version,
        stateroot: deployment.id.stateroot.clone(),
        booted,
        boots,
        known,
    }
}

fn print(status: &Status, out: &mut Output) -> std::io::Result<()> {
    out.line(&format!(
        "{}, running {}",
        status.host,
        out.tone(Tone::Strong, status.running.short())
    ))?;
    match &status.under_way {
        Some(open) => out.line(&under_way(open, status.attempts_left, out))?,
        None => out.line("No upgrade is under way.")?,
    }
    out.line("")?;
    let mut table = Table::new(&["", "version", "stateroot", "boots", "known as"]);
    for row in &status.deployments {
        table.row(vec![
            if row.booted { "*" } else { "" }.to_owned(),
            row.version.short().to_owned(),
            row.stateroot.clone(),
            row.boots.clone(),
            row.known.clone(),
        ]);
    }
    table.print(out)
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
