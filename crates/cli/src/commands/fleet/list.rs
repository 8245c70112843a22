//! `backstop fleet list`.

use clap::Args;
use fleet::config::{Host, Source};

use super::Fleet;
use crate::exit::Ended;
use crate::output::{Output, Table};

/// What `backstop fleet list` takes.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Names, globs and @tags; without any, all hosts
    hosts: Vec<String>,
}

/// Runs the command.
pub fn run(args: ListArgs, fleet: &Fleet, out: &mut Output) -> anyhow::Result<Ended> {
    let mut table = Table::new(&["host", "address", "tags", "version from"]);
    for host in fleet.select(&args.hosts)? {
        out.json(&serde_json::json!({
            "host": host.name,
            "address": host.address.to_string(),
            "tags": host.tags,
            "kind": host.kind,
            "from": from(&host),
        }))?;
        table.row(vec![
            host.name.clone(),
            host.address.to_string(),
            host.tags.join(" "),
            from(&host),
        ]);
    }
    table.print(out)?;
    Ok(Ended::Done)
}

/// Where a host's version comes from, in a few words.
pub fn from(host: &Host) -> String {
    match &host.source {
        None => "-".to_owned(),
        Some(Source::StorePath { path, .. }) => path.clone(),
        Some(Source::Flake {
            flake, attribute, ..
        }) => format!("{flake}#{attribute}"),
        Some(Source::Image(image)) => image.to_string(),
        Some(Source::Fetch(image)) => format!("{image} (fetched by the host)"),
    }
}
