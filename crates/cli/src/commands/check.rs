//! `backstop check`.

use clap::{Args, ValueEnum};
use health::{Baseline, Report, Stage, Verdict};

use crate::args::Global;
use crate::exit::Ended;
use crate::output::{Output, Table, Tone};
use crate::progress::Terminal;
use crate::session::Session;

/// What `backstop check` takes.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// List the checks, where they come from and why, instead of running them
    #[arg(long)]
    list: bool,
    /// Which checks to run
    #[arg(long, value_enum, default_value_t = Which::Boot)]
    stage: Which,
}

/// A stage whose checks can be run on what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Those of a live trial
    Live,
    /// Those after a boot
    Boot,
}

/// Runs the command.
pub fn run(args: CheckArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let session = Session::open(global)?;
    if args.list {
        return list(&session, out);
    }
    let stage = match args.stage {
        Which::Live => Stage::Live,
        Which::Boot => Stage::Boot,
    };
    report(&session, stage, global, out)
}

/// Runs a stage's checks and prints what they found.
pub fn report(
    session: &Session,
    stage: Stage,
    global: &Global,
    out: &mut Output,
) -> anyhow::Result<Ended> {
    let monitor = Terminal::new(global.json);
    // Nothing to compare with: what is broken now is broken.
    let found = session.host.check(stage, &Baseline::default(), &monitor)?;
    print(&found, out)?;
    out.json(&found)?;
    Ok(if found.healthy() {
        Ended::Done
    } else {
        Ended::Unhealthy
    })
}

fn print(report: &Report, out: &mut Output) -> std::io::Result<()> {
    for result in &report.results {
        let word = match result.verdict {
            Verdict::Passed => out.tone(Tone::Good, "passed "),
            Verdict::Counts => out.tone(Tone::Bad, "FAILED "),
            Verdict::FailedBefore | Verdict::OnlyWanted => out.tone(Tone::Warn, "failed "),
        };
        let why = match result.verdict {
            Verdict::Passed => String::new(),
            _ => format!(": {}", result.status),
        };
        out.line(&format!("{word} {}{why}", result.name))?;
        if result.verdict == Verdict::Counts {
            for line in result.output.lines() {
                out.line(&format!("        {line}"))?;
            }
        }
    }
    Ok(())
}

fn list(session: &Session, out: &mut Output) -> anyhow::Result<Ended> {
    let found = session.host.checks()?;
    let mut table = Table::new(&["check", "stages", "need", "from", "why"]);
    for check in &found.checks {
        let stages: Vec<String> = check.stages.iter().map(ToString::to_string).collect();
        let need = match check.need {
            health::Need::Required => "required",
            health::Need::Wanted => "wanted",
        };
        table.row(vec![
            check.name.clone(),
            stages.join(" "),
            need.to_owned(),
            check.origin.to_string(),
            check.description.clone(),
        ]);
        out.json(&serde_json::json!({
            "name": check.name,
            "stages": check.stages,
            "need": check.need,
            "from": check.origin.to_string(),
            "why": check.description,
        }))?;
    }
    table.print(out)?;
    for problem in &found.problems {
        out.warn(&problem.to_string());
    }
    Ok(if found.problems.is_empty() {
        Ended::Done
    } else {
        Ended::Unhealthy
    })
}
