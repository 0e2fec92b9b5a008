//! What the reader knows of another's stream.

use std::time::Duration;

use crate::fleet::budget::Budget;
use crate::fleet::place::Id;
use crate::fleet::votes::Lacks;

/// What is known of another's stream.
pub(super) struct Stream {
    pub(super) read: Option<Id>,
    pub(super) budget: Budget,
    /// The set of its live blocks is to be read before anything else of it.
    pub(super) set: Option<Lacks>,
    /// It is asked for alone: it may be the one whose answer is too long, or that is no stream.
    pub(super) alone: bool,
    pub(super) muted: Option<Duration>,
}

impl Stream {
    pub(super) fn new(now: Duration) -> Stream {
        Stream { read: None, budget: Budget::new(now), set: None, alone: false, muted: None }
    }

    /// What was said before this entry is to be learned from the set of live blocks.
    pub(super) fn start_over(&mut self, last: Id, lacks: Lacks) {
        self.read = Some(last);
        self.set = Some(lacks);
    }

    pub(super) fn may_be_read(&mut self, now: Duration) -> bool {
        !self.is_muted(now) && self.budget.entries(now) > 0
    }

    pub(super) fn is_muted(&self, now: Duration) -> bool {
        self.muted.is_some_and(|until| now < until)
    }
}
