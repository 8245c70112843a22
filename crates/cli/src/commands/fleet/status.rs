//! `backstop fleet status`.

use clap::Args;
use fleet::deploy::Facts;
use serde_json::json;

use super::{Fleet, on};
use crate::exit::Ended;
use crate::output::{Output, Table, Tone};

/// So many hosts are asked at once.
const AT_ONCE: usize = 20;

/// What `backstop fleet status` takes.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Names, globs and @tags; without any, all hosts
    hosts: Vec<String>,
}

/// Runs the command.
pub fn run(args: StatusArgs, fleet: &Fleet, out: &mut Output) -> anyhow::Result<Ended> {
    let hosts = fleet.select(&args.hosts)?;
    let shared = fleet.shared()?;
    let mut table = Table::new(&["host", "runs", "under way"]);
    let mut unknown = 0;
    let mut printed = Ok(());
    let ask = |at: usize, host: &_| on(host, at, &shared).facts();
    fleet::sweep(&hosts, AT_ONCE, ask, |at, facts| {
        let name = &hosts[at].name;
        unknown += usize::from(facts.is_err());
        let line = match &facts {
            Ok(facts) => {
                json!({ "host": name, "running": facts.running, "under_way": facts.under_way })
            }
            Err(e) => json!({ "host": name, "error": fleet::chain(e) }),
        };
        if let Err(e) = out.json(&line) {
            printed = Err(e);
        }
        table.row(row(name, &facts, out));
    });
    printed?;
    table.print(out)?;
    if unknown > 0 {
        anyhow::bail!("{unknown} of {} hosts could not be asked", hosts.len());
    }
    Ok(Ended::Done)
}

fn row(name: &str, facts: &fleet::Result<Facts>, out: &Output) -> Vec<String> {
    match facts {
        Ok(facts) => {
            let running = engine::VersionId::new(facts.running.as_str());
            let under_way = facts.under_way.as_ref().map(|open| {
                let target = open.transaction.target().short();
                format!("{} to {target}: {}", open.transaction.id, open.phase.name())
            });
            vec![
                name.to_owned(),
                running.short().to_owned(),
                under_way.unwrap_or_else(|| "-".to_owned()),
            ]
        }
        Err(e) => vec![
            name.to_owned(),
            "?".to_owned(),
            out.tone(Tone::Bad, &fleet::chain(e)),
        ],
    }
}
