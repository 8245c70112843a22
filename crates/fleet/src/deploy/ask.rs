//! Asking a host, by its own `backstop`.

use std::time::Duration;

use engine::{Open, Outcome, TxId, VersionId};
use serde::Deserialize;

use crate::config::{Host, ImageRef};
use crate::local::one_line;
use crate::ssh::{Connection, Ran};
use crate::wire::Program;
use crate::{Error, Result};

/// What a host says it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The version.
    pub running: String,
    /// The transaction under way.
    pub under_way: Option<Open>,
}

/// As [`Facts`], in the words of `backstop status --brief --json`.
#[derive(Deserialize)]
struct Status {
    running: VersionId,
    under_way: Option<Open>,
}

/// A past transaction in the words of `backstop history --json`.
#[derive(Deserialize)]
struct Past {
    id: TxId,
    outcome: Option<Outcome>,
}

/// What a question came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `backstop`'s exit code there.
    pub code: Option<i32>,
    /// What it printed.
    pub text: String,
    /// What it said on standard error.
    pub errors: String,
}

impl Asked {
    pub(super) fn of(ran: &Ran) -> Self {
        Self {
            code: ran.code,
            text: ran.text(),
            errors: if ran.code == Some(0) {
                ran.errors.clone()
            } else {
                said(ran)
            },
        }
    }
}

/// The words of a `backstop` command for a host.
pub(super) fn words(host: &Host, command: &[&str]) -> Vec<String> {
    let sysroot = host.sysroot.display().to_string();
    let before = ["--json", "--sysroot", &sysroot];
    before
        .iter()
        .chain(command)
        .map(|word| (*word).to_owned())
        .collect()
}

/// Runs a `backstop` command on the host, which must end with status 0.
pub(super) fn backstop(
    connection: &mut Connection,
    host: &Host,
    command: &[&str],
    limit: Duration,
) -> Result<String> {
    let ran = connection.run(
        Program::Backstop,
        &words(host, command),
        None,
        limit,
        &mut |_| {},
    )?;
    if ran.code == Some(0) {
        return Ok(ran.text());
    }
    Err(Error::OnHost {
        host: host.name.clone(),
        doing: format!("do `backstop {}`", command.join(" ")),
        why: said(&ran),
    })
}

/// What a command said when it failed.
pub(super) fn said(ran: &Ran) -> String {
    let words = ran.errors.replace("backstop: warning: ", "");
    let words = words.replace("backstop: ", "");
    match (words.is_empty(), ran.code) {
        (false, _) => words,
        (true, Some(code)) => format!("status {code}"),
        (true, None) => "killed".to_owned(),
    }
}

/// What the host runs, and what is under way.
pub(super) fn facts(connection: &mut Connection, host: &Host) -> Result<Facts> {
    let text = backstop(
        connection,
        host,
        &["status", "--brief"],
        host.bounds.connect * 2,
    )?;
    let status: Status = parse(&host.name, &text)?;
    Ok(Facts {
        running: status.running.as_str().to_owned(),
        under_way: status.under_way,
    })
}

/// How a transaction ended, if it has.
pub(super) fn outcome(
    connection: &mut Connection,
    host: &Host,
    tx: TxId,
) -> Result<Option<Outcome>> {
    let text = backstop(
        connection,
        host,
        &["history", "--last", "50"],
        host.bounds.connect * 2,
    )?;
    for line in text.lines() {
        let past: Past = parse(&host.name, line)?;
        if past.id == tx {
            return Ok(past.outcome);
        }
    }
    Ok(None)
}

/// The commit that a name stands for in a repository that the host sees.
pub(super) fn resolve(
    connection: &mut Connection,
    image: &ImageRef,
    limit: Duration,
) -> Result<String> {
    let repository = image.repository.display().to_string();
    let words = ["repo", "--repo", &repository, "rev-parse", &image.rev].map(str::to_owned);
    let ran = connection.run(Program::Backstop, &words, None, limit, &mut |_| {})?;
    let text = ran.text();
    match (ran.code, text.lines().next()) {
        (Some(0), Some(line)) => Ok(line.trim().to_owned()),
        _ => Err(Error::Program {
            doing: format!("find {image} on the host"),
            why: said(&ran),
        }),
    }
}

/// The last lines of what the host wrote about it.
pub(super) fn log(connection: &mut Connection, host: &Host) -> Vec<String> {
    let console = host.sysroot.join("machine/console.log");
    let console = console.display().to_string();
    // A directory machine has its console; a system with systemd has its journal.
    let script = format!(
        "if [ -f {console} ]; then tail -n 15 {console}; else \
         journalctl -q --no-pager -o cat -n 15 -u \"backstop*\"; fi"
    );
    let words = ["-c".to_owned(), script];
    let limit = Duration::from_secs(10);
    // Without them the reason is known all the same.
    let Ok(said) = connection.must_run("sh", &words, None, limit) else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&said).into_owned();
    let lines = text.lines().map(one_line).filter(|line| !line.is_empty());
    lines.collect()
}

pub(super) fn parse<'a, T: Deserialize<'a>>(host: &str, text: &'a str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::Nonsense {
        from: host.to_owned(),
        what: format!("{e}: {}", one_line(text)),
    })
}
