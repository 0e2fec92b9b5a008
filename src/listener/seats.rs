//! A fixed number of seats. Each is free again when whoever took it is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// All seats.
pub(super) struct Seats {
    taken: Arc<AtomicUsize>,
    all: usize,
}

/// A taken seat. It is free again when this is dropped.
pub(super) struct Seat(Arc<AtomicUsize>);

impl Seats {
    pub(super) fn of(all: usize) -> Seats {
        Seats { taken: Arc::default(), all }
    }

    /// Takes one, if one is free.
    pub(super) fn take(&self) -> Option<Seat> {
        let one_more = |taken| (taken < self.all).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(Seat(Arc::clone(&self.taken)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
