//! A transaction's records as lines for people.

use std::io::{self, Write};

use engine::{Action, Event, Observer, Outcome, Phase, Record};

/// A record in a line: what happened and where that leads.
pub fn line(record: &Record) -> String {
    let what = match &record.event {
        Event::Requested { request, .. } => format!(
            "upgrade to {} requested ({} trial)",
            request.target.short(),
            request.kind
        ),
        Event::Resumed(running) => {
            format!("looked after by boot {}", short(&record.now.boot, running))
        }
        Event::ChecksFailed { report, .. } => {
            let failed: Vec<String> = report
                .failures()
                .map(|result| format!("{} ({})", result.name, result.status))
                .collect();
            format!("checks failed: {}", failed.join(", "))
        }
        Event::Confirmed { by, .. } => format!("confirmed by {by}"),
        Event::Aborted { by, .. } => format!("stopped by {by}"),
        Event::Deadline { deadman } => deadman.wait.missed().to_owned(),
        Event::Postponed { why, .. } => format!("postponed: {why}"),
        Event::StageFailed { error, .. }
        | Event::PreflightBroken { error, .. }
        | Event::ActivateFailed { error, .. }
        | Event::NotActivated { error, .. }
        | Event::ChecksBroken { error, .. }
        | Event::KeepFailed { error, .. }
        | Event::RollbackFailed { error, .. }
        | Event::RebootFailed { error, .. } => format!("{}: {error}", record.event.name()),
        Event::LiveRefused { why, .. } => format!("cannot be tried live: {why}"),
        event => event.name().to_owned(),
    };
    let next = match (&record.outcome, record.state.open().map(|open| &open.phase)) {
        (Some(outcome), _) => outcome.to_string(),
        (None, Some(Phase::Ready { .. })) => "ready to be activated".to_owned(),
        (None, Some(phase)) => phase.name().to_owned(),
        (None, None) => return what,
    };
    format!("{what} → {next}")
}

fn short(boot: &engine::BootId, running: &engine::Running) -> String {
    let boot: String = boot.as_str().chars().take(8).collect();
    format!("{boot}, running {}", running.version.short())
}

/// Whether an outcome is what was hoped for.
pub fn is_kept(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Kept { .. })
}

/// Prints what a process records and does, for its unit's journal.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    /// Print nothing: somebody else reads the journal aloud.
    pub quiet: bool,
}

impl Printer {
    fn print(self, line: &str) {
        if !self.quiet {
            // A unit whose output is gone still has work to do.
            let _ = writeln!(io::stdout().lock(), "{line}");
        }
    }
}

impl Observer for Printer {
    fn recorded(&self, record: &Record) {
        self.print(&line(record));
    }
    fn acting(&self, action: &Action) {
        self.print(&format!("{} …", action.doing()));
    }
    fn note(&self, message: &str) {
        self.print(&format!("note: {message}"));
    }
}
