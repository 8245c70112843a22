//! `backstop fleet exec`.

use clap::Args;
use serde_json::json;

use super::{Fleet, on};
use crate::exit::Ended;
use crate::output::{Output, Tone};

/// What `backstop fleet exec` takes.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// Names, globs and @tags; without any, all hosts
    hosts: Vec<String>,
    /// Run it as root
    #[arg(long)]
    root: bool,
    /// So many hosts at once
    #[arg(long, value_name = "N", default_value_t = 20)]
    parallel: usize,
    /// How long it may take
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    limit: std::time::Duration,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

fn time(text: &str) -> Result<std::time::Duration, String> {
    health::Span::parse(text).map(|span| span.0)
}

/// What a command printed, or why it failed.
type Came = Result<String, String>;

/// Runs the command.
pub fn run(args: ExecArgs, fleet: &Fleet, out: &mut Output) -> anyhow::Result<Ended> {
    let hosts = fleet.select(&args.hosts)?;
    let shared = fleet.shared()?;
    let ask = |at: usize, host: &fleet::config::Host| -> Came {
        if !args.root {
            return fleet::ssh::run_plain(host, &args.command, args.limit)
                .map_err(|e| fleet::chain(&e));
        }
        let asked = on(host, at, &shared).run_as_root(&args.command, args.limit);
        match asked {
            Ok(asked) if asked.code == Some(0) => Ok(asked.text),
            Ok(asked) => Err(asked.errors),
            Err(e) => Err(fleet::chain(&e)),
        }
    };
    let mut failed = 0;
    let mut printed = Ok(());
    fleet::sweep(&hosts, args.parallel, ask, |at, came| {
        failed += usize::from(came.is_err());
        if let Err(e) = print(&hosts[at].name, &came, out) {
            printed = Err(e);
        }
    });
    printed?;
    if failed > 0 {
        anyhow::bail!("it failed on {failed} of {} hosts", hosts.len());
    }
    Ok(Ended::Done)
}

fn print(host: &str, came: &Came, out: &mut Output) -> std::io::Result<()> {
    match came {
        Ok(text) => {
            for line in text.lines() {
                out.line(&format!("{}  {line}", out.tone(Tone::Dim, host)))?;
            }
            out.json(&json!({ "host": host, "output": text }))
        }
        Err(why) => {
            out.line(&format!(
                "{}  {}",
                out.tone(Tone::Dim, host),
                out.tone(Tone::Bad, why)
            ))?;
            out.json(&json!({ "host": host, "error": why }))
        }
    }
}
