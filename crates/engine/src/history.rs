//! Past transactions, told from the journal's records.

use serde::Serialize;

use crate::event::Event;
use crate::journal::Record;
use crate::reason::Outcome;
use crate::request::{Request, TrialKind};
use crate::version::{TxId, VersionId};

/// One transaction from its request to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chronicle {
    /// Its number.
    pub id: TxId,
    /// When it was asked for, seconds since 1970.
    pub started_at: u64,
    /// What was asked for.
    pub request: Request,
    /// The version before.
    pub previous: VersionId,
    /// How it ended; `None` while it is open.
    pub outcome: Option<Outcome>,
    /// When it ended, seconds since 1970.
    pub ended_at: Option<u64>,
    /// The boots in which something was recorded of it.
    pub boots: usize,
    /// Its records' places among all records.
    #[serde(skip)]
    pub records: Vec<usize>,
}

impl Chronicle {
    /// How it was tried.
    #[must_use]
    pub fn kind(&self) -> TrialKind {
        self.request.kind
    }

    fn begun(record: &Record, at: usize) -> Option<Self> {
        let Event::Requested {
            tx,
            request,
            previous,
        } = &record.event
        else {
            return None;
        };
        Some(Self {
            id: *tx,
            started_at: record.now.time,
            request: request.clone(),
            previous: previous.clone(),
            outcome: None,
            ended_at: None,
            boots: 1,
            records: vec![at],
        })
    }
}

/// The transactions in records, oldest first. Records between two transactions,
/// such as a version being forgiven, belong to none.
#[must_use]
pub fn history(records: &[Record]) -> Vec<Chronicle> {
    let mut all: Vec<Chronicle> = Vec::new();
    let mut open = false;
    for (at, record) in records.iter().enumerate() {
        if let Some(begun) = Chronicle::begun(record, at) {
            all.push(begun);
            open = record.outcome.is_none();
            continue;
        }
        let Some(current) = all.last_mut().filter(|_| open) else {
            continue;
        };
        let last = current.records.last().and_then(|i| records.get(*i));
        if last.is_some_and(|last| last.now.boot != record.now.boot) {
            current.boots += 1;
        }
        current.records.push(at);
        if let Some(outcome) = &record.outcome {
            current.outcome = Some(outcome.clone());
            current.ended_at = Some(record.now.time);
            open = false;
        }
    }
    all
}
