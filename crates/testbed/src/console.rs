//! What a machine prints on its serial console.

use std::fs::File;
use std::io::{Read, Write as _};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::error::Doing;
use crate::{Error, Result};

/// How many lines an error shows.
const TAIL: usize = 25;

/// One line and when it came, counted from the machine's first start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Since the machine's first start.
    pub at: Duration,
    /// The line, without its end.
    pub text: String,
}

/// The console of one boot: read by a thread, kept in memory and in a file.
#[derive(Debug, Clone)]
pub struct Console {
    shared: Arc<Shared>,
    started: Instant,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line>,
    ended: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Console {
    /// Reads `from` to its end in a thread; times count from `started`. Each
    /// line is also written to `log`.
    ///
    /// # Errors
    /// The log cannot be created.
    pub fn follow(from: impl Read + Send + 'static, log: &Path, started: Instant) -> Result<Self> {
        let log = File::create(log).doing("create", log)?;
        let shared = Arc::new(Shared::default());
        let console = Self {
            shared: Arc::clone(&shared),
            started,
        };
        std::thread::spawn(move || {
            copy_lines(from, log, &shared, started);
            shared.state().ended = true;
            shared.changed.notify_all();
        });
        Ok(console)
    }

    /// All lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.shared.state().lines.clone()
    }

    /// The first line that holds `what`, if it came already.
    #[must_use]
    pub fn find(&self, what: &str) -> Option<Line> {
        let state = self.shared.state();
        state.lines.iter().find(|l| l.text.contains(what)).cloned()
    }

    /// Waits for a line that holds `what`.
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::Stopped`] when the machine ends first.
    pub fn wait_for(&self, what: &str, within: Duration) -> Result<Line> {
        let deadline = Instant::now() + within;
        let mut seen = 0;
        let mut state = self.shared.state();
        loop {
            if let Some(line) = state.lines[seen..].iter().find(|l| l.text.contains(what)) {
                return Ok(line.clone());
            }
            seen = state.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                let (ended, tail) = (state.ended, tail(&state.lines));
                let what = format!("{what:?} on the console");
                return Err(match ended {
                    true => Error::Stopped {
                        waiting_for: what,
                        tail,
                    },
                    false => Error::Timeout { what, within, tail },
                });
            }
            let wait = self.shared.changed.wait_timeout(state, left);
            state = wait.unwrap_or_else(|e| e.into_inner()).0;
        }
    }

    /// The last lines, for a message.
    #[must_use]
    pub fn tail(&self) -> String {
        tail(&self.shared.state().lines)
    }

    /// How long ago the machine was first started.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

fn tail(lines: &[Line]) -> String {
    let from = lines.len().saturating_sub(TAIL);
    lines[from..]
        .iter()
        .map(|l| format!("  {:8.2} {}\n", l.at.as_secs_f64(), l.text))
        .collect()
}

fn copy_lines(mut from: impl Read, mut log: File, shared: &Shared, started: Instant) {
    let mut buffer = [0; 4096];
    let mut partial = Vec::new();
    loop {
        // An error ends the console as an end of file does.
        let n = from.read(&mut buffer).unwrap_or(0);
        partial.extend_from_slice(&buffer[..n]);
        let at = started.elapsed();
        let mut state = shared.state();
        while let Some(end) = partial.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = partial.drain(..=end).collect();
            push(&mut state.lines, &line, at, &mut log);
        }
        if n == 0 {
            if !partial.is_empty() {
                push(&mut state.lines, &partial, at, &mut log);
            }
            return;
        }
        drop(state);
        shared.changed.notify_all();
    }
}

fn push(lines: &mut Vec<Line>, bytes: &[u8], at: Duration, log: &mut File) {
    let text = String::from_utf8_lossy(bytes).trim_end().to_owned();
    // The log is a convenience; the lines in memory are what counts.
    let _ = writeln!(log, "{:9.3} {text}", at.as_secs_f64());
    lines.push(Line { at, text });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_lines_and_notices_the_end() {
        let tmp = tempfile::tempdir().unwrap();
        let log = tmp.path().join("log");
        let console = Console::follow(&b"one\r\ntwo\nthree"[..], &log, Instant::now()).unwrap();
        let limit = Duration::from_secs(5);
        assert_eq!(console.wait_for("thr", limit).unwrap().text, "three");
        let e = console.wait_for("four", limit).unwrap_err();
        assert!(matches!(e, Error::Stopped { .. }), "{e}");
        assert!(e.to_string().contains("two"));
        let texts: Vec<_> = console.lines().into_iter().map(|l| l.text).collect();
        assert_eq!(texts, ["one", "two", "three"]);
        assert!(std::fs::read_to_string(log).unwrap().contains("three"));
    }

    #[test]
    fn gives_up_in_time() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let tmp = tempfile::tempdir().unwrap();
        let console = Console::follow(reader, &tmp.path().join("log"), Instant::now()).unwrap();
        let e = console
            .wait_for("x", Duration::from_millis(50))
            .unwrap_err();
        assert!(matches!(e, Error::Timeout { .. }), "{e}");
    }
}
