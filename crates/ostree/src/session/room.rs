//! Memory for what arrives, of which all requests together have only so much.

use std::sync::atomic::{AtomicU64, Ordering};

/// What all requests together may hold besides what each of them may anyway, in bytes.
const ALL: u64 = 8 << 20;

/// How much is left.
#[derive(Debug)]
pub(super) struct Room {
    left: AtomicU64,
}

impl Room {
    pub(super) fn new() -> Self {
        Self {
            left: AtomicU64::new(ALL),
        }
    }

    /// Takes `bytes`, if they are there, until what is answered is dropped.
    pub(super) fn take(&self, bytes: u64) -> Option<Taken<'_>> {
        let less = |left: u64| left.checked_sub(bytes);
        let order = Ordering::Relaxed;
        self.left.fetch_update(order, order, less).ok()?;
        Some(Taken { room: self, bytes })
    }
}

/// Memory that a request may use.
#[derive(Debug)]
pub(super) struct Taken<'s> {
    room: &'s Room,
    bytes: u64,
}

impl Taken<'_> {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.room.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_only_so_much() {
        let room = Room::new();
        let most = room.take(ALL - 10).unwrap();
        assert!(room.take(11).is_none());
        let rest = room.take(10).unwrap();
        assert!(room.take(1).is_none());
        assert!(room.take(0).is_some());
        drop(most);
        assert!(room.take(ALL - 10).is_some());
        drop(rest);
        assert!(room.take(ALL).is_some());
    }
}
