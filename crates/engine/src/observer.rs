//! Who watches a transaction as it happens.

use std::sync::Mutex;

use crate::action::Action;
use crate::journal::Record;

/// Told of everything, in order: first the record, already on the disk, then
/// the effects that follow from it.
pub trait Observer {
    /// A record is on the disk.
    fn recorded(&self, record: &Record);
    /// An effect begins.
    fn acting(&self, action: &Action);
    /// Something worth a line that changes nothing: an effect without which the
    /// transaction goes on has failed, or an event came too late.
    fn note(&self, message: &str);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Observer for Unwatched {
    fn recorded(&self, _: &Record) {}
    fn acting(&self, _: &Action) {}
    fn note(&self, _: &str) {}
}

/// Keeps a line for each thing, for tests.
#[derive(Debug, Default)]
pub struct Timeline(Mutex<Vec<String>>);

impl Timeline {
    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    fn add(&self, line: String) {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).push(line);
    }
}

impl Observer for Timeline {
    fn recorded(&self, record: &Record) {
        self.add(record.to_string());
    }
    fn acting(&self, action: &Action) {
        self.add(format!("  {action}"));
    }
    fn note(&self, message: &str) {
        self.add(format!("  note: {message}"));
    }
}
