//! How many lines of one kind a flood may make.

use std::time::Duration;

use crate::model::clock::Now;

/// So many lines at once, about 6 MB of log...
const MOST: u64 = 100_000;

/// ...and as many again in an hour.
const REFILL: Duration = Duration::from_secs(3600);

/// Time over which lines that were left out are summed up.
const WINDOW: Duration = Duration::from_secs(60);

/// Lines that may still be logged one by one, and how many were not.
#[derive(Debug)]
pub struct Budget {
    left: u64,
    refilled: Duration,
    unnamed: u64,
    told: Duration,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { left: MOST, refilled: Duration::ZERO, unnamed: 0, told: Duration::ZERO }
    }
}

impl Budget {
    /// How many of so many lines to log now; the rest are counted and come out of [`Budget::unnamed`].
    pub fn take(&mut self, lines: usize, now: Now) -> usize {
        let passed = now.monotonic.saturating_sub(self.refilled);
        let more = (passed.as_millis() * u128::from(MOST) / REFILL.as_millis()) as u64;
        if more > 0 {
            self.left = (self.left + more).min(MOST);
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
        Some(std::mem::take(&mut self.unnamed))
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
        let mut budget = Budget::default();
        assert_eq!(budget.take(60_000, at(100)), 60_000);
        assert_eq!(budget.take(60_000, at(100)), 40_000);
        assert_eq!(budget.take(5, at(100)), 0);
        assert_eq!(budget.unnamed(at(100)), Some(20_005));
        assert_eq!(budget.unnamed(at(200)), None);
        assert_eq!(budget.take(1, at(101)), 1);
        assert_eq!(budget.take(200_000, at(10_000)), 100_000);
    }
}
