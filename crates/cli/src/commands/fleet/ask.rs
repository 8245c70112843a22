//! `backstop fleet check`, `confirm` and `rollback`: the same command on each host.

use std::time::Duration;

use clap::Args;
use fleet::deploy::Asked;
use serde_json::json;

use super::{Fleet, on};
use crate::exit::Ended;
use crate::output::{Output, Tone};

/// So many hosts are asked at once.
const AT_ONCE: usize = 20;

/// Which hosts.
#[derive(Debug, Args)]
pub struct HostArgs {
    /// Names, globs and @tags; without any, all hosts
    hosts: Vec<String>,
}

/// A command that each host is asked to do.
#[derive(Debug)]
pub struct Question {
    words: &'static [&'static str],
    done: &'static str,
    /// What the exit codes of a host that did not fail mean.
    failed: Ended,
}

/// Health checks.
pub const CHECK: Question = Question {
    words: &["check"],
    done: "healthy",
    failed: Ended::Unhealthy,
};
/// Confirmation. Each is a connection of its own, opened now.
pub const CONFIRM: Question = Question {
    words: &["confirm"],
    done: "confirmed",
    failed: Ended::Refused,
};
/// Going back.
pub const ROLLBACK: Question = Question {
    words: &["rollback"],
    done: "put back",
    failed: Ended::Refused,
};

/// Runs the command.
pub fn run(
    args: HostArgs,
    question: &Question,
    fleet: &Fleet,
    out: &mut Output,
) -> anyhow::Result<Ended> {
    let hosts = fleet.select(&args.hosts)?;
    let shared = fleet.shared()?;
    let limit = |host: &fleet::config::Host| {
        let bounds = &host.bounds;
        bounds.activation.max(bounds.boot) + bounds.settle + Duration::from_secs(30)
    };
    let ask = |at: usize, host: &_| on(host, at, &shared).ask(question.words, limit(host));
    let mut unreached = 0;
    let mut failed = 0;
    let mut printed = Ok(());
    fleet::sweep(&hosts, AT_ONCE, ask, |at, came| {
        unreached += usize::from(came.is_err());
        failed += usize::from(came.as_ref().is_ok_and(|asked| asked.code != Some(0)));
        if let Err(e) = print(&hosts[at].name, &came, question, out) {
            printed = Err(e);
        }
    });
    printed?;
    if unreached > 0 {
        anyhow::bail!("{unreached} of {} hosts could not be asked", hosts.len());
    }
    Ok(if failed > 0 {
        question.failed
    } else {
        Ended::Done
    })
}

fn print(
    host: &str,
    came: &fleet::Result<Asked>,
    question: &Question,
    out: &mut Output,
) -> std::io::Result<()> {
    match came {
        Ok(asked) if asked.code == Some(0) => {
            out.line(&format!("{host}: {}", out.tone(Tone::Good, question.done)))?;
            out.json(&json!({ "host": host, "is": question.done }))
        }
        Ok(asked) => {
            let why = why(asked);
            out.line(&format!("{host}: {}", out.tone(Tone::Bad, &why)))?;
            out.json(&json!({ "host": host, "code": asked.code, "why": why }))
        }
        Err(e) => {
            let why = fleet::chain(e);
            out.line(&format!("{host}: {}", out.tone(Tone::Bad, &why)))?;
            out.json(&json!({ "host": host, "error": why }))
        }
    }
}

/// Why a host did not do it: of a report, the checks that count; else its words.
fn why(asked: &Asked) -> String {
    let report: Option<health::Report> = serde_json::from_str(&asked.text).ok();
    match report {
        Some(report) => {
            let failures = report
                .failures()
                .map(|r| format!("{} ({})", r.name, r.status));
            let failures: Vec<String> = failures.collect();
            format!("unhealthy: {}", failures.join(", "))
        }
        None => asked.errors.clone(),
    }
}
