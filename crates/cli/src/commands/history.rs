//! `backstop history`.

use anyhow::Context;
use clap::Args;
use durable::RealFs;
use engine::{Chronicle, Record, TxId};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use machine::LastWords;

use crate::args::Global;
use crate::exit::Ended;
use crate::output::{Output, Table, Tone};
use crate::session::Session;
use crate::timeline;

/// What `backstop history` takes.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Show everything that happened in this upgrade
    upgrade: Option<TxId>,
    /// Show so many, the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    last: usize,
}

/// Runs the command.
pub fn run(args: HistoryArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let session = Session::open(global)?;
    let records = session.journal.records()?;
    let all = engine::history(&records);
    match args.upgrade {
        Some(id) => {
            let one = all.iter().find(|one| one.id == id);
            let one = one.with_context(|| format!("there was no upgrade {id}"))?;
            detail(one, &records, out)?;
            let memory = session.host.memory(&global.sysroot);
            if let Some(words) = LastWords::kept(&RealFs, &memory, id.0) {
                last_words(&words, out)?;
            }
        }
        None => table(&all[all.len().saturating_sub(args.last)..], out)?,
    }
    Ok(Ended::Done)
}

fn table(all: &[Chronicle], out: &mut Output) -> anyhow::Result<()> {
    if all.is_empty() {
        out.line("No upgrade yet.")?;
    }
    let headings = [
        "upgrade", "when", "took", "trial", "version", "before", "end",
    ];
    let mut table = Table::new(&headings);
    for one in all {
        out.json(one)?;
        let took = one.ended_at.map(|end| end.saturating_sub(one.started_at));
        let end = match &one.outcome {
            Some(outcome) => outcome.to_string(),
            None => "under way".to_owned(),
        };
        let tone = match &one.outcome {
            Some(outcome) if timeline::is_kept(outcome) => Tone::Good,
            Some(_) => Tone::Bad,
            None => Tone::Warn,
        };
        table.row(vec![
            one.id.to_string(),
            when(one.started_at),
            took.map_or_else(|| "-".to_owned(), |took| format!("{took} s")),
            one.kind().to_string(),
            one.request.target.short().to_owned(),
            one.previous.short().to_owned(),
            out.tone(tone, &end),
        ]);
    }
    if !all.is_empty() {
        table.print(out)?;
    }
    Ok(())
}

/// Every record of one upgrade. Seconds count from its beginning by the wall
/// clock, since uptimes begin anew with each boot.
fn detail(one: &Chronicle, records: &[Record], out: &mut Output) -> anyhow::Result<()> {
    out.line(&format!(
        "Upgrade {} of {}: {} from {}, before that {}",
        one.id,
        when(one.started_at),
        one.request.target.short(),
        one.request.source,
        one.previous.short()
    ))?;
    for (name, fact) in &one.request.provenance {
        out.line(&format!("  {name:<10} {fact}"))?;
    }
    let mut boot = None;
    for record in one.records.iter().filter_map(|at| records.get(*at)) {
        if boot.replace(&record.now.boot) != Some(&record.now.boot) {
            out.line(&out.tone(Tone::Dim, &format!("  boot {}", record.now.boot)))?;
        }
        let since = record.now.time.saturating_sub(one.started_at);
        out.line(&format!("  {since:>5} s  {}", timeline::line(record)))?;
        out.json(record)?;
    }
    Ok(())
}

/// What the kernel said last.
fn last_words(words: &LastWords, out: &mut Output) -> anyhow::Result<()> {
    out.line(&format!("The kernel's last words, from {}:", words.from))?;
    for line in &words.lines {
        out.line(&format!("  {line}"))?;
    }
    out.json(&serde_json::json!({ "last_words": words.lines, "from": words.from }))?;
    Ok(())
}

/// A time as local clocks show it.
fn when(seconds: u64) -> String {
    let zone = TimeZone::system();
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(
            || "-".to_owned(),
            |time| time.to_zoned(zone).strftime("%F %H:%M:%S").to_string(),
        )
}
