//! Where a command's words go: a terminal, a pipe, or JSON.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

/// Standard output and standard error, and what is known of them.
#[derive(Debug, Clone)]
pub struct Output {
    json: bool,
    color: bool,
}

/// What a word means, for its colour on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Went well.
    Good,
    /// Went wrong.
    Bad,
    /// Worth a look.
    Warn,
    /// Of less importance.
    Dim,
    /// A heading.
    Strong,
}

impl Tone {
    fn escape(self) -> &'static str {
        match self {
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[31m",
            Self::Warn => "\x1b[33m",
            Self::Dim => "\x1b[2m",
            Self::Strong => "\x1b[1m",
        }
    }
}

impl Output {
    /// Looks at what standard output is. Colours need a terminal, and `NO_COLOR`
    /// unset.
    pub fn new(json: bool) -> Self {
        let color = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, color }
    }

    /// Whether a machine reads.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// A word in its tone's colour, where colours are wanted.
    pub fn tone(&self, tone: Tone, word: &str) -> String {
        if self.color {
            format!("{}{word}\x1b[0m", tone.escape())
        } else {
            word.to_owned()
        }
    }

    /// Prints a line for people; nothing when a machine reads.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        writeln!(io::stdout().lock(), "{line}")
    }

    /// Prints bytes as they are, such as a file's content.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::stdout().lock().write_all(bytes)
    }

    /// Prints a value as one line of JSON; nothing when people read.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        if !self.json {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        serde_json::to_writer(&mut stdout, value)?;
        writeln!(stdout)
    }

    /// Prints a warning on standard error.
    pub fn warn(&mut self, message: &str) {
        // Nowhere to report a failing standard error to.
        let _ = writeln!(io::stderr().lock(), "backstop: warning: {message}");
    }

    /// Prints an error with its causes on standard error.
    pub fn error(&mut self, error: &anyhow::Error) {
        let _ = writeln!(io::stderr().lock(), "backstop: {error:#}");
    }
}

/// A table with columns as wide as their widest cell, two spaces apart.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![headings.iter().map(|h| h.to_uppercase()).collect()],
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Prints all rows.
    pub fn print(&self, out: &mut Output) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |i: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(i));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            // The last cell is not padded, so it may hold colours.
            let cells = row.iter().zip(&widths);
            let line: Vec<String> = cells.map(|(cell, w)| format!("{cell:<w$}")).collect();
            out.line(line.join("  ").trim_end())?;
        }
        Ok(())
    }
}
