//! How much of one member is read in which time: a member that went mad costs the others little.
//!
//! What is over the budget stays in the stream and is read later. The stream keeps a bounded number of entries; of what
//! it lost by then, the member's set of live blocks still tells.
//!
//! PURE: no clock, no I/O.

use std::time::Duration;

/// At most this many entries of one origin are read in a minute.
pub const A_MINUTE: u32 = 600;

/// At most this many live blocks of one origin count.
pub const MOST_LIVE: usize = 10_000;

/// The whole set of live blocks is read once in this time without being counted, as after a restart of the server.
const FREE_SET: Duration = Duration::from_secs(3_600);

/// What may still be read of one origin.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Entries, in milliseconds of their time; below zero after a set that was not free.
    left: i64,
    renewed: Duration,
    free_set: Option<Duration>,
}

/// A set that is not free costs as much as this many entries at least: to look for what it lacks costs the owner time.
const LEAST_SET: usize = 50;

const MINUTE: i64 = 60_000;
const PRICE: i64 = MINUTE / A_MINUTE as i64;

impl Budget {
    /// A full one.
    pub fn new(now: Duration) -> Budget {
        Budget { left: MINUTE, renewed: now, free_set: None }
    }

    /// How many entries may be read now.
    pub fn entries(&mut self, now: Duration) -> usize {
        let passed = now.saturating_sub(self.renewed).as_millis();
        self.renewed = now;
        self.left = self.left.saturating_add(i64::try_from(passed).unwrap_or(MINUTE)).min(MINUTE);
        usize::try_from(self.left / PRICE).unwrap_or(0)
    }

    /// So many entries were read.
    pub fn spend(&mut self, entries: usize) {
        let price = i64::try_from(entries).unwrap_or(i64::MAX).saturating_mul(PRICE);
        self.left = self.left.saturating_sub(price);
    }

    /// Whether nothing of it is used up, so that a full one could stand in its place.
    pub fn is_new(&mut self, now: Duration) -> bool {
        let had_free_set = self.free_set.is_some_and(|at| now.saturating_sub(at) < FREE_SET);
        self.entries(now);
        self.left >= MINUTE && !had_free_set
    }

    /// A set of so many live blocks was read.
    pub fn spend_set(&mut self, entries: usize, now: Duration) {
        match self.free_set {
            Some(at) if now.saturating_sub(at) < FREE_SET => self.spend(entries.max(LEAST_SET)),
            _ => self.free_set = Some(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn six_hundred_entries_a_minute_are_read_and_no_more() {
        let mut budget = Budget::new(seconds(0));
        let (mut read, mut second) = (0, 0);
        while second <= 600 {
            let now = budget.entries(seconds(second));
            budget.spend(now);
            read += now;
            second += 1;
        }
        assert_eq!(read, 600 + 600 * 10);
        assert_eq!(budget.entries(seconds(100_000)), 600);
    }

    #[test]
    fn one_set_an_hour_is_free_and_another_is_paid_off_in_the_time_of_its_entries() {
        let mut budget = Budget::new(seconds(0));
        budget.spend_set(MOST_LIVE, seconds(10));
        assert_eq!(budget.entries(seconds(10)), 600);
        budget.spend_set(MOST_LIVE, seconds(20));
        assert_eq!(budget.entries(seconds(20 + 930)), 0);
        assert_eq!(budget.entries(seconds(20 + 1_000)), 600);
        budget.spend_set(MOST_LIVE, seconds(10 + 3_600));
        assert_eq!(budget.entries(seconds(10 + 3_600)), 600);
    }

    #[test]
    fn empty_sets_without_end_are_read_at_a_pace_too() {
        let mut budget = Budget::new(seconds(0));
        budget.spend_set(0, seconds(0));
        let read = (0..1_000).filter(|_| {
            let may = budget.entries(seconds(0)) > 0;
            if may {
                budget.spend_set(0, seconds(0));
            }
            may
        });
        assert_eq!(read.count(), A_MINUTE as usize / LEAST_SET);
    }

    #[test]
    fn a_clock_that_stands_still_gives_nothing() {
        let mut budget = Budget::new(seconds(5));
        budget.spend(usize::MAX);
        assert_eq!(budget.entries(seconds(5)), 0);
        assert_eq!(budget.entries(seconds(1)), 0);
    }
}
