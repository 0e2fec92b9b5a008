//! Messages that come again and again, summed up.

use std::collections::HashMap;
use std::time::Duration;

use log::Level;

use crate::model::clock::Now;

/// The same message is logged at most once in this time.
const WINDOW: Duration = Duration::from_secs(60);

/// At most this many different messages are kept apart; what exceeds them is only counted.
const MOST: usize = 256;

/// Which messages came within the last minute, and how often. A summary has the level of the message.
///
/// ```text
/// if repeats.allow(Level::Error, &text, now) { log::error!("{text}") }      where something goes wrong
/// for (level, text) in repeats.due(now) { log::log!(level, "{text}") }      once a second
/// for (level, text) in repeats.finish() { log::log!(level, "{text}") }      before the end
/// ```
#[derive(Debug, Default)]
pub struct Repeats {
    seen: HashMap<String, Seen>,
    /// Messages that found no room, and since when; the level is that of the most important one.
    others: Option<Seen>,
}

#[derive(Debug)]
struct Seen {
    level: Level,
    since: Duration,
    more: u64,
}

impl Repeats {
    /// Whether to log `text` now; if not, it is counted and comes out of [`Repeats::due`].
    pub fn allow(&mut self, level: Level, text: &str, now: Now) -> bool {
        if let Some(seen) = self.seen.get_mut(text) {
            seen.more += 1;
            return false;
        }
        let new = Seen { level, since: now.monotonic, more: 0 };
        if self.seen.len() >= MOST {
            let others = self.others.get_or_insert(new);
            others.level = others.level.min(level);
            others.more += 1;
            return false;
        }
        self.seen.insert(text.to_owned(), new);
        true
    }

    /// The messages that came again within a minute that is over now, each with its number. A message that did not
    /// is forgotten, so that the next one is logged at once.
    pub fn due(&mut self, now: Now) -> Vec<(Level, String)> {
        let over = |since: Duration| now.monotonic.saturating_sub(since) >= WINDOW;
        let mut due = Vec::new();
        self.seen.retain(|text, seen| {
            if !over(seen.since) {
                return true;
            }
            due.extend(seen.summary(text));
            let came_again = seen.more > 0;
            (seen.since, seen.more) = (now.monotonic, 0);
            came_again
        });
        if self.others.as_ref().is_some_and(|others| over(others.since)) {
            due.extend(self.others.take().and_then(|others| others.summary("other messages")));
        }
        due
    }

    /// All that was counted and not told yet.
    pub fn finish(&mut self) -> Vec<(Level, String)> {
        let others = self.others.take().and_then(|others| others.summary("other messages"));
        self.seen.drain().filter_map(|(text, seen)| seen.summary(&text)).chain(others).collect()
    }
}

impl Seen {
    fn summary(&self, text: &str) -> Option<(Level, String)> {
        let times = if self.more == 1 { "time" } else { "times" };
        (self.more > 0).then(|| (self.level, format!("{text} ({} {times} more in the last minute)", self.more)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clock::UnixTime;
    use log::Level::{Error, Info};

    fn at(seconds: u64) -> Now {
        Now { wall: UnixTime(0), monotonic: Duration::from_secs(seconds) }
    }

    #[test]
    fn a_repeated_message_is_logged_once_and_then_summed_up_each_minute() {
        let mut repeats = Repeats::default();
        assert!(repeats.allow(Error, "no space", at(0)));
        for second in 1..=42 {
            assert!(!repeats.allow(Error, "no space", at(second)));
        }
        assert!(repeats.allow(Error, "another", at(50)));
        assert_eq!(repeats.due(at(59)), []);
        assert_eq!(repeats.due(at(60)), [(Error, "no space (42 times more in the last minute)".to_owned())]);
        assert!(!repeats.allow(Error, "no space", at(61)));
        assert_eq!(repeats.due(at(120)), [(Error, "no space (1 time more in the last minute)".to_owned())]);
        assert_eq!(repeats.due(at(180)), []);
        assert!(repeats.allow(Error, "no space", at(181)));
    }

    #[test]
    fn the_last_count_is_not_lost() {
        let mut repeats = Repeats::default();
        assert!(repeats.allow(Error, "no space", at(0)));
        assert!(!repeats.allow(Error, "no space", at(1)));
        assert_eq!(repeats.finish(), [(Error, "no space (1 time more in the last minute)".to_owned())]);
        assert_eq!(repeats.finish(), []);
    }

    #[test]
    fn a_flood_of_different_messages_is_bounded_and_counted() {
        let mut repeats = Repeats::default();
        let allowed = (0..10_000).filter(|n| repeats.allow(Info, &n.to_string(), at(0))).count();
        assert_eq!(allowed, MOST);
        assert!(!repeats.allow(Error, "an error", at(0)));
        assert_eq!(repeats.due(at(60)), [(Error, "other messages (9745 times more in the last minute)".to_owned())]);
        assert!(repeats.allow(Error, "new", at(61)));
    }
}
