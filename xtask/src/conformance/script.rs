//! One script: run with a time limit, and its lines counted.
#![allow(clippy::disallowed_methods, reason = "scratch data of a test run")]

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::suite::{Scratch, Suite};

/// How a script ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All that it checked was in order.
    Passed,
    /// It found that it cannot run here.
    Skipped,
    /// Something was not.
    Failed,
    /// It was stopped.
    TimedOut,
}

/// What came of a script.
#[derive(Debug)]
pub struct Outcome {
    /// The script.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// Checks that were in order.
    pub ok: usize,
    /// Checks that it left out.
    pub skipped: usize,
    /// How long it took.
    pub taken: Duration,
    /// Why it did not pass, as far as its last lines tell.
    pub reason: String,
}

/// Runs a script in a directory of its own.
pub fn run(name: &str, suite: &Suite, scratch: &Scratch, limit: Duration) -> Outcome {
    let started = Instant::now();
    let (ended, text) = match start(name, suite, scratch) {
        Ok(mut child) => {
            let ended = wait(&mut child, limit);
            let text = std::fs::read(scratch.log(name)).unwrap_or_default();
            (ended, String::from_utf8_lossy(&text).into_owned())
        }
        Err(e) => (Some(false), format!("it could not be started: {e:#}")),
    };
    let dir = scratch.bin().with_file_name(name);
    scratch.done_with(&dir);
    judge(name, ended, &text, started.elapsed())
}

fn start(name: &str, suite: &Suite, scratch: &Scratch) -> anyhow::Result<Child> {
    let dir = scratch.fresh(name)?;
    std::fs::write(dir.join(".testtmp"), "")?;
    let log = File::create(scratch.log(name))?;
    let system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut command = Command::new(suite.script(name));
    command
        .current_dir(&dir)
        .env_clear()
        .env("PATH", format!("{}:{system}", scratch.bin().display()))
        .env("HOME", "/root")
        .env("LANG", "C.UTF-8")
        .env("XDG_RUNTIME_DIR", &dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0);
    Ok(command.spawn()?)
}

/// Waits for a script; whether it said that all is well, `None` when it took too
/// long. What it started and left running is ended with it.
fn wait(child: &mut Child, limit: Duration) -> Option<bool> {
    let started = Instant::now();
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status.success()),
            Ok(None) if started.elapsed() > limit => break None,
            Ok(None) => std::thread::sleep(Duration::from_millis(50)),
            Err(_) => break Some(false),
        }
    };
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // Nothing is left of it where this fails.
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
    ended
}

fn judge(name: &str, ended: Option<bool>, text: &str, taken: Duration) -> Outcome {
    let skips = |l: &&str| l.to_ascii_lowercase().replace(' ', "").contains("#skip");
    let oks: Vec<_> = text.lines().filter(|l| l.starts_with("ok")).collect();
    let skipped = oks.iter().copied().filter(|l| skips(l)).count();
    let all_skipped = text.lines().any(|l| l.starts_with("1..0") && skips(&l));
    let complained = text.lines().any(|l| l.starts_with("not ok"));
    let verdict = match ended {
        None => Verdict::TimedOut,
        Some(true) if all_skipped => Verdict::Skipped,
        Some(true) if !complained => Verdict::Passed,
        Some(_) => Verdict::Failed,
    };
    Outcome {
        name: name.to_owned(),
        verdict,
        ok: oks.len() - skipped,
        skipped,
        taken,
        reason: reason(verdict, text),
    }
}

/// The skip's reason, or the last lines that tell of a failure.
fn reason(verdict: Verdict, text: &str) -> String {
    let telling: &[&str] = match verdict {
        Verdict::Skipped => &["SKIP"],
        _ => &[
            "error:",
            "Unexpected nonzero",
            "doesn't match",
            "not ok",
            "ouldn't find",
        ],
    };
    let last = text
        .lines()
        .rev()
        .filter(|l| telling.iter().any(|t| l.contains(t)));
    let mut lines: Vec<_> = last.take(2).map(str::trim).collect();
    lines.reverse();
    let mut text = lines.join(" | ");
    if let Some((at, _)) = text.char_indices().nth(240) {
        text.truncate(at);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let taken = Duration::ZERO;
        let cases = [
            (
                Some(true),
                "1..2\nok a\nok b # SKIP no\n",
                Verdict::Passed,
                1,
                1,
            ),
            (Some(true), "1..0 # SKIP no root\n", Verdict::Skipped, 0, 0),
            (Some(false), "ok a\nerror: no\n", Verdict::Failed, 1, 0),
            (Some(true), "not ok a\n", Verdict::Failed, 0, 0),
            (None, "ok a\n", Verdict::TimedOut, 1, 0),
        ];
        for (ended, text, verdict, ok, skipped) in cases {
            let outcome = judge("x", ended, text, taken);
            assert_eq!(
                (outcome.verdict, outcome.ok, outcome.skipped),
                (verdict, ok, skipped),
                "{text}"
            );
        }
        assert_eq!(
            reason(Verdict::Failed, "ok a\nerror: no such\n"),
            "error: no such"
        );
    }
}
