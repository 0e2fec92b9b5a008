//! A number of places, each given back by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Places, some of them taken.
pub(super) struct Places {
    taken: Arc<AtomicUsize>,
    all: usize,
}

/// A taken place. It is free again when this is dropped.
pub(super) struct Place(Arc<AtomicUsize>);

impl Places {
    pub(super) fn of(all: usize) -> Places {
        Places { taken: Arc::default(), all }
    }

    /// Takes one, if one is free.
    pub(super) fn take(&self) -> Option<Place> {
        let one_more = |taken| (taken < self.all).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(Place(Arc::clone(&self.taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
