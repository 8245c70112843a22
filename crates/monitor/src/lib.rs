//! How long operations tell what they do.
//!
//! A library function that may take longer than a blink takes a `&dyn Monitor`
//! as its last argument and reports to it; who calls decides what becomes of
//! that: a bar on a terminal, lines in a journal, JSON, or nothing ([`Silent`]).

use std::sync::Mutex;

/// What a progress figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Files, objects, deployments: plain things.
    Items,
    /// Bytes.
    Bytes,
    /// Whole seconds, of a wait.
    Seconds,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The step, as a person would name it: `"checking out"`.
    pub step: &'a str,
    /// How much is done.
    pub done: u64,
    /// How much there is, once known.
    pub total: Option<u64>,
    /// What the two figures count.
    pub unit: Unit,
}

/// Listens to a long operation. May be called from several threads and often:
/// who draws must limit its own rate.
pub trait Monitor: Send + Sync {
    /// A step began or went on. The step ends when another one begins, or with
    /// `done == total`.
    fn progress(&self, progress: Progress<'_>);
    /// Something worth a line by itself, which is no error.
    fn note(&self, message: &str);
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn progress(&self, _: Progress<'_>) {}
    fn note(&self, _: &str) {}
}

/// Keeps the notes and the last figure of each step, for tests.
#[derive(Debug, Default)]
pub struct Recorded {
    /// `(step, done)`, one per step, in order of first report.
    pub steps: Mutex<Vec<(String, u64)>>,
    /// The notes in order.
    pub notes: Mutex<Vec<String>>,
}

impl Monitor for Recorded {
    fn progress(&self, progress: Progress<'_>) {
        let mut steps = self.steps.lock().unwrap_or_else(|e| e.into_inner());
        match steps.iter_mut().find(|(step, _)| step == progress.step) {
            Some((_, done)) => *done = (*done).max(progress.done),
            None => steps.push((progress.step.to_owned(), progress.done)),
        }
    }
    fn note(&self, message: &str) {
        let mut notes = self.notes.lock().unwrap_or_else(|e| e.into_inner());
        notes.push(message.to_owned());
    }
}
