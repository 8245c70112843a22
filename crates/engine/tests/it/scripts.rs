//! Scripts in, timelines out: each file in `tests/golden` holds commands, after
//! `>`, and what followed from each. `BACKSTOP_BLESS=1` writes them anew.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use durable::RealFs;
use engine::{
    Confirm, DriveError, Driver, Event, IfRefused, Journal, Pause, Request, Scope, Timeline,
    TrialKind, TxId, VersionId,
};
use monitor::Silent;

use crate::simulated::Simulated;

struct Scene {
    host: Simulated,
    journal: Journal,
    _dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            host: Simulated::new(),
            journal: Journal::new(Arc::new(RealFs), dir.path()),
            _dir: dir,
        }
    }

    /// Runs one command and answers with what followed.
    fn run(&mut self, line: &str) -> Vec<String> {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        match words[..] {
            ["reboot"] => {
                self.host.boot();
                return vec![format!("  (came up in {})", self.host.running)];
            }
            ["wrong", ..] => return self.set(line, true),
            ["right", ..] => return self.set(line, false),
            ["status"] => return self.status(),
            ["damage", "journal"] => return self.damage(),
            _ => {}
        }
        let timeline = Timeline::default();
        let scope = if words == ["settle"] {
            Scope::Short
        } else {
            Scope::All
        };
        let tx = self.journal.load().ok().and_then(|m| m.state.tx());
        let mut driver = Driver {
            host: &mut self.host,
            journal: &self.journal,
            observer: &timeline,
            monitor: &Silent,
            scope,
            patience: Duration::ZERO,
        };
        let answer = catch_unwind(AssertUnwindSafe(|| {
            command(&mut driver, &words, tx.unwrap_or(TxId(0)))
        }));
        let mut lines: Vec<_> = timeline.lines().iter().map(|l| hide_dir(l)).collect();
        lines.append(&mut self.host.log);
        lines.push(match answer {
            Ok(Ok(pause)) => format!("= {pause:?}"),
            Ok(Err(e)) => format!("! {}", hide_dir(&chain(&e))),
            Err(died) if died.downcast_ref() == Some(&"killed") => "! killed".to_owned(),
            Err(died) => std::panic::resume_unwind(died),
        });
        lines
    }

    /// `wrong keep: the disk is full`, `right keep`.
    fn set(&mut self, line: &str, wrong: bool) -> Vec<String> {
        let (_, rest) = line.split_once(' ').unwrap();
        let (what, why) = rest.split_once(": ").unwrap_or((rest, ""));
        if wrong {
            self.host.wrong.insert(what.to_owned(), why.to_owned());
        } else {
            self.host.wrong.remove(what).expect("it was wrong before");
        }
        Vec::new()
    }

    fn status(&self) -> Vec<String> {
        let memory = self.journal.load().unwrap();
        let mut lines = vec![format!(
            "  default {}, running {}",
            self.host.default, self.host.running
        )];
        for (version, standing) in memory.knowledge.standings() {
            let bad = memory
                .knowledge
                .bad(version)
                .map(|reason| format!("bad: {reason}"));
            let good = format!("{standing:?}").starts_with("Good");
            assert!(good != bad.is_some());
            lines.push(format!(
                "  {version}: {}",
                bad.unwrap_or_else(|| "good".to_owned())
            ));
        }
        lines
    }

    /// Flips a bit in the middle of the journal.
    fn damage(&self) -> Vec<String> {
        let mut bytes = std::fs::read(self.journal.path()).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 4;
        std::fs::write(self.journal.path(), bytes).unwrap();
        Vec::new()
    }
}

fn chain(error: &dyn Error) -> String {
    let source = error.source().map(|s| format!(": {}", chain(s)));
    format!("{error}{}", source.unwrap_or_default())
}

/// The journal's directory has a different name in each run.
fn hide_dir(line: &str) -> String {
    let temporary = format!("{}/", std::env::temp_dir().display());
    let hide = |word: &str| match word.strip_prefix(&temporary) {
        Some(path) => format!("DIR/{}", path.split_once('/').map_or("", |(_, rest)| rest)),
        None => word.to_owned(),
    };
    line.split(' ').map(hide).collect::<Vec<_>>().join(" ")
}

fn command(driver: &mut Driver<'_>, words: &[&str], tx: TxId) -> Result<Pause, DriveError> {
    let by = "alice".to_owned();
    let version = |v: &str| VersionId::new(v);
    match *words {
        ["request", v, ref options @ ..] => driver.request(request(v, options)),
        ["go"] | ["go", "later"] => driver.feed(Event::GoAhead {
            tx,
            reboot: words.len() == 1,
            baseline: None,
        }),
        ["postpone", ref why @ ..] => driver.feed(Event::Postponed {
            tx,
            why: why.join(" "),
        }),
        ["settle"] => driver.settle(),
        ["resume"] => driver.resume(),
        ["confirm"] => driver.feed(Event::Confirmed {
            tx,
            by,
            connected_ms: None,
        }),
        ["confirm", at] => driver.feed(Event::Confirmed {
            tx,
            by,
            connected_ms: Some(at.parse().unwrap()),
        }),
        ["abort"] => driver.feed(Event::Aborted { tx, by }),
        ["deadline", deadman] => driver.deadline(deadman.parse().unwrap()),
        ["supervisor", "lost"] => driver.feed(Event::SupervisorLost { tx }),
        ["forgive", v] => driver.feed(Event::Forgiven {
            version: version(v),
            by,
        }),
        ["condemn", v] => driver.feed(Event::Condemned {
            version: version(v),
            by,
        }),
        _ => panic!("no such command: {words:?}"),
    }
}

fn request(v: &str, options: &[&str]) -> Request {
    let mut request = Request::new(VersionId::new(v));
    let within = Duration::from_secs(60);
    for option in options {
        match *option {
            "live" => request.kind = TrialKind::Live,
            "boot" => request.kind = TrialKind::Boot,
            "person" => request.confirm = Confirm::Person { within },
            "deployer" => request.confirm = Confirm::Deployer { within },
            "forced" => request.forced = true,
            "or-reject" => request.if_refused = IfRefused::Reject,
            n => request.attempts = n.parse().unwrap(),
        }
    }
    request
}

/// Runs a file's commands and puts what followed after each.
fn replay(script: &str) -> String {
    let mut scene = Scene::new();
    let mut out = String::new();
    for line in script.lines() {
        if line.starts_with('#') || line.is_empty() {
            out.push_str(line);
            out.push('\n');
        } else if let Some(command) = line.strip_prefix("> ") {
            out.push_str(line);
            out.push('\n');
            for line in scene.run(command) {
                out.push_str(&line);
                out.push('\n');
            }
        }
    }
    out
}

#[test]
fn scripts_lead_to_their_timelines() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let script = std::fs::read_to_string(&path).unwrap();
        let replayed = replay(&script);
        if std::env::var_os("BACKSTOP_BLESS").is_some() {
            std::fs::write(&path, &replayed).unwrap();
        } else {
            let name = path.file_name().unwrap();
            assert!(replayed == script, "{name:?} now reads:\n{replayed}");
        }
        count += 1;
    }
    assert!(count >= 10, "only {count} scripts");
}
