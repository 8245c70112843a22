//! Draws what a long operation tells: bars on a terminal, lines elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use monitor::{Monitor, Progress, Unit};

/// A step is worth a line in a pipe once it has taken this long.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Draws on standard error, so that standard output stays the command's answer.
#[derive(Debug)]
pub struct Terminal {
    state: Mutex<Drawn>,
}

#[derive(Debug)]
struct Drawn {
    bars: bool,
    step: String,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl Terminal {
    /// Bars when standard error is a terminal and no machine reads.
    pub fn new(json: bool) -> Self {
        Self {
            state: Mutex::new(Drawn {
                bars: std::io::stderr().is_terminal() && !json,
                step: String::new(),
                bar: None,
                last_line: Instant::now(),
            }),
        }
    }
}

fn style(unit: Unit, known: bool) -> ProgressStyle {
    let template = match (unit, known) {
        (Unit::Bytes, true) => "  {msg:<24} {bar:30} {bytes}/{total_bytes} {eta}",
        (Unit::Bytes, false) => "  {msg:<24} {spinner} {bytes}",
        (_, true) => "  {msg:<24} {bar:30} {pos}/{len} {eta}",
        (_, false) => "  {msg:<24} {spinner} {pos}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Drawn {
    fn begin(&mut self, p: &Progress<'_>) {
        p.step.clone_into(&mut self.step);
        self.last_line = Instant::now();
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if self.bars {
            let bar = p
                .total
                .map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            bar.set_style(style(p.unit, p.total.is_some()));
            bar.set_message(p.step.to_owned());
            self.bar = Some(bar);
        }
    }

    fn line(&mut self, p: &Progress<'_>) {
        if self.last_line.elapsed() < LINE_EVERY {
            return;
        }
        self.last_line = Instant::now();
        let of = p.total.map(|t| format!("/{t}")).unwrap_or_default();
        let _ = writeln!(std::io::stderr().lock(), "{}: {}{of}", p.step, p.done);
    }
}

impl Monitor for Terminal {
    fn progress(&self, p: Progress<'_>) {
        let mut drawn = self.state.lock().unwrap_or_else(|e| e.into_inner());
        if drawn.step != p.step {
            drawn.begin(&p);
        }
        let done = p.total.is_some_and(|total| p.done >= total);
        match &drawn.bar {
            Some(bar) if done => bar.finish_and_clear(),
            Some(bar) => {
                if let Some(total) = p.total {
                    bar.set_length(total);
                }
                bar.set_position(p.done);
            }
            None if !drawn.bars => drawn.line(&p),
            None => {}
        }
    }

    fn note(&self, message: &str) {
        let drawn = self.state.lock().unwrap_or_else(|e| e.into_inner());
        let print = || {
            let _ = writeln!(std::io::stderr().lock(), "{message}");
        };
        match &drawn.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}
