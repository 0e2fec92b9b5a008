//! Bounds how much is logged about refusals.

use std::collections::HashMap;
use std::time::Duration;

/// How long nothing more is logged about a source.
const QUIET: Duration = Duration::from_secs(600);

/// At most this many sources are remembered. So no more than these are logged within that time.
const SOURCES: usize = 64;

/// Has each source logged once, and then, at most every ten minutes, how often it came again.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// When each source was last logged, and how often it came since.
    told: HashMap<String, (Duration, u64)>,
}

impl Refusals {
    /// Whether to log a refusal of `who` now, and how many went unlogged before. `now` is monotonic.
    pub(super) fn tell(&mut self, who: &str, now: Duration) -> Option<u64> {
        if let Some((at, unlogged)) = self.told.get_mut(who) {
            if now.saturating_sub(*at) < QUIET {
                *unlogged += 1;
                return None;
            }
            *at = now;
            return Some(std::mem::take(unlogged));
        }
        if self.told.len() >= SOURCES {
            self.told.retain(|_, (at, _)| now.saturating_sub(*at) < QUIET);
        }
        if self.told.len() >= SOURCES {
            return None;
        }
        self.told.insert(who.to_owned(), (now, 0));
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_logged_once_a_source_and_in_bounded_number() {
        let (mut refusals, minute) = (Refusals::default(), Duration::from_secs(60));
        assert_eq!(refusals.tell("nobody", minute), Some(0));
        assert_eq!(refusals.tell("nobody", 2 * minute), None);
        assert_eq!(refusals.tell("192.0.2.7", 2 * minute), Some(0));
        assert_eq!(refusals.tell("nobody", 3 * minute), None);
        assert_eq!(refusals.tell("nobody", 11 * minute), Some(2));

        let logged = (0..10_000).filter(|n| refusals.tell(&n.to_string(), 12 * minute).is_some()).count();
        assert!(logged < SOURCES);
        assert_eq!(refusals.told.len(), SOURCES);
        assert_eq!(refusals.tell("new", 60 * minute), Some(0), "old ones make room");
    }
}
