//! What the reader knows of the others' streams.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::fleet::budget::Budget;
use crate::fleet::place::Id;
use crate::fleet::votes::Lacks;

/// At most this many are remembered whose keys are gone.
const MOST_GONE: usize = 1_024;

/// What is known of another's stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) read: Option<Id>,
    pub(super) budget: Budget,
    /// The set of its live blocks is to be read before anything else of it.
    pub(super) set: Option<Lacks>,
    /// It is asked for alone: it may be the one whose answer is too long, or that is no stream.
    pub(super) alone: bool,
    pub(super) muted: Option<Duration>,
    /// When it gave its last sign of life.
    pub(super) signed: Option<Duration>,
}

impl Stream {
    pub(super) fn new(now: Duration) -> Stream {
        Stream { read: None, budget: Budget::new(now), set: None, alone: false, muted: None, signed: None }
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

/// The streams that are read, and what is still held against members whose keys are gone: whoever deletes them and writes
/// new ones is read no sooner for it.
#[derive(Debug)]
pub(super) struct Streams {
    /// By the names of their members.
    pub(super) here: BTreeMap<String, Stream>,
    gone: BTreeMap<String, Stream>,
}

impl Streams {
    pub(super) fn new(here: BTreeMap<String, Stream>) -> Streams {
        Streams { here, gone: BTreeMap::new() }
    }

    /// From now on reads these and no others.
    pub(super) fn keep(&mut self, names: &BTreeSet<String>, now: Duration) {
        for (name, stream) in std::mem::take(&mut self.here) {
            let kept = if names.contains(&name) { &mut self.here } else { &mut self.gone };
            kept.insert(name, stream);
        }
        for name in names.iter().filter(|name| !self.here.contains_key(*name)).collect::<Vec<_>>() {
            // Its votes may have been dropped meanwhile, so its set is to be read again.
            let back = self.gone.remove(name).map(|stream| Stream { read: None, ..stream });
            self.here.insert(name.clone(), back.unwrap_or_else(|| Stream::new(now)));
        }
        self.gone.retain(|_, stream| stream.is_muted(now) || !stream.budget.is_new(now));
        while self.gone.len() > MOST_GONE {
            self.gone.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::budget::{A_MINUTE, MOST_LIVE};

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn who_deletes_its_keys_gets_neither_its_budget_nor_its_voice_anew() {
        let mut streams = Streams::new(BTreeMap::new());
        streams.keep(&names(&["mad", "mute", "pbx1"]), seconds(0));
        let of = |streams: &mut Streams, name: &str| streams.here.remove(name).unwrap();
        streams.here.get_mut("mad").unwrap().budget.spend(A_MINUTE as usize);
        streams.here.get_mut("mute").unwrap().muted = Some(seconds(600));
        streams.keep(&names(&["pbx1"]), seconds(1));
        streams.keep(&names(&["mad", "mute", "pbx1"]), seconds(2));
        assert!(of(&mut streams, "mad").budget.entries(seconds(2)) <= 20);
        assert!(of(&mut streams, "mute").is_muted(seconds(2)));
    }

    #[test]
    fn a_set_is_free_once_an_hour_whatever_becomes_of_the_keys() {
        let mut streams = Streams::new(BTreeMap::new());
        for second in [0, 10] {
            streams.keep(&names(&["mad"]), seconds(second));
            streams.here.get_mut("mad").unwrap().budget.spend_set(MOST_LIVE, seconds(second));
            streams.keep(&names(&[]), seconds(second + 5));
        }
        streams.keep(&names(&["mad"]), seconds(20));
        assert!(!streams.here.get_mut("mad").unwrap().may_be_read(seconds(900)));
    }

    #[test]
    fn what_is_held_against_those_that_are_gone_ends_and_is_bounded() {
        let mut streams = Streams::new(BTreeMap::new());
        for round in 0..10 {
            let some: BTreeSet<String> = (0..256).map(|n| format!("mad{round}-{n}")).collect();
            streams.keep(&some, seconds(round));
            streams.here.values_mut().for_each(|stream| stream.budget.spend(100));
        }
        streams.keep(&names(&[]), seconds(10));
        assert_eq!(streams.gone.len(), MOST_GONE);
        streams.keep(&names(&[]), seconds(100));
        assert_eq!(streams.gone.len(), 0);
    }
}
