//! A rollout as it is seen: a line for each host at work on a terminal, plain
//! lines in a pipe, JSON for programs.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fleet::deploy::{Happening, Watcher};
use fleet::rollout::End;
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::output::{Output, Tone};

/// How often a line that is at something is drawn anew.
const TICK: Duration = Duration::from_millis(120);
/// In a pipe, what is sent is worth a line this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A rollout as it is seen.
#[derive(Debug)]
pub struct View {
    out: Mutex<Output>,
    bars: Option<MultiProgress>,
    started: Instant,
    hosts: Mutex<BTreeMap<String, Line>>,
}

/// A host at work.
#[derive(Debug)]
struct Line {
    bar: Option<ProgressBar>,
    step: String,
    since: Instant,
    told: Instant,
}

/// An event as programs read it.
#[derive(Serialize)]
struct Told<'a> {
    /// Seconds since the rollout began.
    at: f64,
    #[serde(flatten)]
    what: &'a Happening,
}

impl View {
    /// Lines that move where standard output is a terminal and no machine reads.
    pub fn new(json: bool, out: &Output) -> Self {
        let moves = std::io::stdout().is_terminal() && !json;
        Self {
            out: Mutex::new(out.clone()),
            bars: moves.then(|| {
                MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::stdout_with_hz(12))
            }),
            started: Instant::now(),
            hosts: Mutex::default(),
        }
    }

    /// Takes away what moves.
    pub fn clear(&self) {
        if let Some(bars) = &self.bars {
            // The lines that stay are printed already.
            let _ = bars.clear();
        }
    }

    /// Prints a line that stays. A closed pipe ends no rollout.
    fn print(&self, line: &str) {
        let time = format!("{:7.1}s", self.started.elapsed().as_secs_f64());
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{}  {line}", out.tone(Tone::Dim, &time));
        match &self.bars {
            Some(bars) => drop(bars.println(line)),
            None => drop(out.line(&line)),
        }
    }

    fn json(&self, what: &Happening) {
        let at = (self.started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = out.json(&Told { at, what });
        let _ = std::io::stdout().lock().flush();
    }

    fn tone(&self, tone: Tone, word: &str) -> String {
        let out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.tone(tone, word)
    }

    fn step(&self, host: &str, step: &str) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let line = hosts.entry(host.to_owned()).or_insert_with(|| Line {
            bar: self.bars.as_ref().map(|bars| bar(bars, host)),
            step: String::new(),
            since: Instant::now(),
            told: Instant::now(),
        });
        if line.step == step {
            return;
        }
        step.clone_into(&mut line.step);
        line.since = Instant::now();
        match &line.bar {
            Some(bar) => {
                bar.reset_elapsed();
                bar.set_message(step.to_owned());
            }
            None => {
                drop(hosts);
                self.print(&format!("{host:<16} {step}"));
            }
        }
    }

    fn ended(&self, host: &str, end: &End) {
        let line = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            hosts.remove(host)
        };
        if let Some(bar) = line.and_then(|line| line.bar) {
            bar.finish_and_clear();
        }
        let tone = match end {
            _ if end.arrived() => Tone::Good,
            End::Skipped { .. } | End::Staged { .. } => Tone::Warn,
            _ => Tone::Bad,
        };
        let word = self.tone(tone, end.name());
        self.print(&format!("{host:<16} {word}: {}", end.detail()));
    }

    fn log(&self, host: &str, lines: &[String]) {
        let most = if self.bars.is_some() {
            room()
        } else {
            usize::MAX
        };
        for line in lines {
            let line: String = line.chars().take(most).collect();
            let line = self.tone(Tone::Dim, &format!("| {line}"));
            self.print(&format!("{host:<16} {line}"));
        }
    }
}

/// A host's moving line, at the end of the others.
fn bar(bars: &MultiProgress, host: &str) -> ProgressBar {
    // Only once it is one of them may it be drawn.
    let bar = bars.add(ProgressBar::new_spinner());
    let style = "       {spinner:.cyan}  {prefix:<16} {msg} {elapsed:.dim}";
    let style = ProgressStyle::with_template(style);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_prefix(host.to_owned());
    bar.enable_steady_tick(TICK);
    bar
}

/// How many characters of a host's log fit into the terminal's line.
fn room() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    let columns = size.map_or(80, |size| usize::from(size.ws_col));
    columns.saturating_sub(30).max(20)
}

impl Watcher for View {
    fn happened(&self, what: &Happening) {
        self.json(what);
        match what {
            Happening::Begun { rollout, hosts, waves } => {
                self.print(&format!("rollout {rollout}: {hosts} hosts in {waves} waves"));
            }
            Happening::Wave { wave, hosts } => {
                self.print(&self.tone(Tone::Strong, &format!("wave {wave}: {hosts} hosts")));
            }
            Happening::Pause { seconds } => self.print(&format!("waiting {seconds} s before the next wave")),
            Happening::Step { host, step } => self.step(host, step),
            Happening::Login { .. } => {}
            Happening::Log { host, lines } => self.log(host, lines),
            Happening::Ended { host, outcome } => self.ended(host, outcome),
            Happening::Interrupted => self.print(
                "interrupted: nothing new begins; hosts in their trial are seen through (again to leave them to themselves)",
            ),
        }
    }

    fn progress(&self, host: &str, bytes: u64) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(line) = hosts.get_mut(host) else {
            return;
        };
        let text = format!("{} {}", line.step, HumanBytes(bytes));
        match &line.bar {
            Some(bar) => bar.set_message(text),
            None if line.told.elapsed() >= LINE_EVERY => {
                line.told = Instant::now();
                drop(hosts);
                self.print(&format!("{host:<16} {text}"));
            }
            None => {}
        }
    }
}
