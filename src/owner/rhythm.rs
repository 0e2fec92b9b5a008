//! When the rules are looked at next.
//!
//! PURE: no clock, no I/O.

use std::time::Duration;

/// After a repair the rules are looked at again this soon, then each time after twice as long, until all is quiet:
/// whoever undid them may be about to do it again.
const SOON: Duration = Duration::from_millis(100);

/// Blocks that were made are seen to be there at most this long after.
const AFTER_CHANGE: Duration = Duration::from_secs(1);

/// At most one part in 50 of the time is spent on looking: to list a chain of 60,000 rules takes nft a second, in which
/// no attacker is blocked.
const SHARE: u32 = 50;

/// When the rules are looked at, in monotonic time.
#[derive(Debug)]
pub(super) struct Rhythm {
    next: Duration,
    /// Before this, looking would take too large a part of the time.
    earliest: Duration,
    /// The pause after the next look that finds all sound.
    pause: Duration,
}

impl Rhythm {
    /// The first look is due at `now`.
    pub(super) fn new(now: Duration) -> Rhythm {
        Rhythm { next: now, earliest: now, pause: SOON }
    }

    /// How long until the next look.
    pub(super) fn until_next(&self, now: Duration) -> Duration {
        self.next.saturating_sub(now)
    }

    /// A look from `began` to `ended` found all sound. `usual` is the pause of quiet times.
    pub(super) fn sound(&mut self, began: Duration, ended: Duration, usual: Duration) {
        self.pause = (self.pause * 2).min(usual);
        self.set(began, ended, self.pause);
    }

    /// A look found something missing and mended it.
    pub(super) fn repaired(&mut self, began: Duration, ended: Duration) {
        self.pause = SOON;
        self.set(began, ended, SOON);
    }

    /// A look failed. How long it took says nothing of how long the next one takes: it may have waited for a lock.
    pub(super) fn failed(&mut self, ended: Duration, usual: Duration) {
        self.earliest = ended;
        self.next = ended + usual;
    }

    /// Blocks were made or freed.
    pub(super) fn changed(&mut self, now: Duration) {
        self.next = self.next.min((now + AFTER_CHANGE).max(self.earliest));
    }

    /// A change was refused, or found something missing.
    pub(super) fn troubled(&mut self, now: Duration) {
        self.pause = SOON;
        self.next = self.next.min((now + SOON).max(self.earliest));
    }

    fn set(&mut self, began: Duration, ended: Duration, pause: Duration) {
        let took = ended.saturating_sub(began);
        self.earliest = ended + took * SHARE;
        self.next = self.earliest.max(began + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Duration = Duration::from_secs(10);

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Looks so often, each time finding all sound at once; the pauses between.
    fn quiet(rhythm: &mut Rhythm, from: Duration, looks: usize) -> Vec<u64> {
        let mut now = from;
        let mut pauses = Vec::new();
        for _ in 0..looks {
            now += rhythm.until_next(now);
            rhythm.sound(now, now, USUAL);
            pauses.push(rhythm.until_next(now).as_millis() as u64);
        }
        pauses
    }

    #[test]
    fn after_a_repair_it_looks_soon_and_by_and_by_more_rarely() {
        let mut rhythm = Rhythm::new(ms(0));
        quiet(&mut rhythm, ms(0), 20);
        assert_eq!(quiet(&mut rhythm, ms(900_000), 2), [10_000, 10_000]);
        rhythm.repaired(ms(1_000_000), ms(1_000_000));
        assert_eq!(rhythm.until_next(ms(1_000_000)), SOON);
        let pauses = quiet(&mut rhythm, ms(1_000_100), 9);
        assert_eq!(pauses, [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000]);
    }

    #[test]
    fn long_looks_are_rare_but_a_failed_one_does_not_count_as_long() {
        let mut rhythm = Rhythm::new(ms(0));
        rhythm.sound(ms(0), ms(1_000), USUAL);
        assert_eq!(rhythm.until_next(ms(1_000)), ms(50_000));
        rhythm.changed(ms(2_000));
        assert_eq!(rhythm.until_next(ms(1_000)), ms(50_000));
        rhythm.failed(ms(81_000), USUAL);
        assert_eq!(rhythm.until_next(ms(81_000)), USUAL);
    }

    #[test]
    fn what_was_changed_is_looked_at_within_a_second() {
        let mut rhythm = Rhythm::new(ms(0));
        quiet(&mut rhythm, ms(0), 20);
        rhythm.sound(ms(1_000_000), ms(1_000_005), USUAL);
        rhythm.changed(ms(1_002_000));
        assert_eq!(rhythm.until_next(ms(1_002_000)), AFTER_CHANGE);
        rhythm.troubled(ms(1_002_100));
        assert_eq!(rhythm.until_next(ms(1_002_100)), SOON);
    }
}
