//! What is still to be asked for.

use std::collections::HashSet;

use super::request::{Request, Scope, What};
use crate::{Error, ObjectKind, ObjectName, Result};

/// More objects than this are taken for an attack on our memory.
const MAX_OBJECTS: usize = 20_000_000;

/// Requests that wait, metadata before files: so it is soon known how many there are.
#[derive(Debug, Default)]
pub(super) struct Queue {
    metadata: Vec<Request>,
    files: Vec<ObjectName>,
    seen: HashSet<ObjectName>,
    under_way: usize,
    done: u64,
    total: u64,
}

impl Queue {
    /// Adds a request, unless its like has been here before.
    pub(super) fn push(&mut self, request: Request) -> Result<()> {
        if let What::Object(object) = request.what
            && request.scope == Scope::All
            && !self.seen.insert(object)
        {
            return Ok(());
        }
        if self.total >= MAX_OBJECTS as u64 {
            return Err(Error::TooMany(MAX_OBJECTS as u64));
        }
        self.total += 1;
        match request.what {
            What::Object(object) if object.kind == ObjectKind::File => self.files.push(object),
            _ => self.metadata.push(request),
        }
        Ok(())
    }

    /// The next request; it is under way from now on.
    pub(super) fn pop(&mut self) -> Option<Request> {
        let next = self.metadata.pop().or_else(|| {
            let file = self.files.pop()?;
            Some(Request::object(file.checksum, file.kind))
        })?;
        self.under_way += 1;
        Some(next)
    }

    /// One that was under way is over: how many are done, of how many.
    pub(super) fn settle(&mut self) -> (u64, u64) {
        self.under_way = self.under_way.saturating_sub(1);
        self.done += 1;
        (self.done, self.total)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.metadata.is_empty() && self.files.is_empty()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.is_empty() && self.under_way == 0
    }
}
