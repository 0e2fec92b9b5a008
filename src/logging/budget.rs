//! How many lines of one kind a flood may make.

use std::time::Duration;

use crate::model::clock::Now;

/// A budget that is used up is full again after this time.
const REFILL: Duration = Duration::from_secs(3600);

/// At most once in this time it is told how many lines were left out.
const WINDOW: Duration = Duration::from_secs(60);

/// Lines that may still be logged one by one, and how many were not.
#[derive(Debug)]
pub struct Budget {
    most: u64,
    left: u64,
    refilled: Duration,
    unnamed: u64,
    told: Duration,
}

impl Budget {
    /// At most `most` lines at once, and as many again in an hour.
    pub fn new(most: u64) -> Budget {
        Budget { most, left: most, refilled: Duration::ZERO, unnamed: 0, told: Duration::ZERO }
    }

    /// How many of these lines to log now; the others are counted and come out of [`Budget::unnamed`].
    pub fn take(&mut self, lines: usize, now: Now) -> usize {
        let passed = now.monotonic.saturating_sub(self.refilled);
        let more = (passed.as_millis() * u128::from(self.most) / REFILL.as_millis()) as u64;
        if more > 0 {
            self.left = (self.left + more).min(self.most);
            self.refilled = now.monotonic;
        }
        let named = (lines as u64).min(self.left);
        self.left -= named;
        self.unnamed += lines as u64 - named;
        named as usize
    }

    /// Once a minute, how many lines were left out since, if any were.
    pub fn unnamed(&mut self, now: Now) -> Option<u64> {
        if self.unnamed == 0 || now.monotonic.saturating_sub(self.told) < WINDOW {
            return None;
        }
        self.told = now.monotonic;
        self.finish()
    }

    /// How many lines were left out and not told yet, if any were.
    pub fn finish(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.unnamed)).filter(|unnamed| *unnamed > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clock::UnixTime;

    fn at(seconds: u64) -> Now {
        Now { wall: UnixTime(seconds), monotonic: Duration::from_secs(seconds) }
    }

    #[test]
    fn a_flood_is_named_up_to_the_budget_and_then_summed_up() {
        let mut budget = Budget::new(100_000);
        assert_eq!(budget.take(60_000, at(100)), 60_000);
        assert_eq!(budget.take(60_000, at(100)), 40_000);
        assert_eq!(budget.take(5, at(100)), 0);
        assert_eq!(budget.unnamed(at(100)), Some(20_005));
        assert_eq!(budget.unnamed(at(200)), None);
        assert_eq!(budget.take(1, at(101)), 1);
        assert_eq!(budget.take(200_000, at(10_000)), 100_000);
        assert_eq!(budget.finish(), Some(100_000));
        assert_eq!(budget.finish(), None);
    }
}
