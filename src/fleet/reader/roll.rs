//! Whom of all whose keys are at the server to read.
//!
//! The keys of a member that is gone for good stay for more than a year, so that there can be more names than members
//! that count. Those that give a sign of life come first, then those that gave one last.
//!
//! PURE: no clock, no I/O.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::fleet::members::MOST_MEMBERS;
use crate::model::member::ADMIN;

/// At most this many names of either kind are compared. Of more, those are passed over that the server names last.
const MOST_NAMES: usize = 1_024;

/// The names that were found.
#[derive(Debug, Default)]
pub(super) struct Roll {
    alive: BTreeSet<String>,
    silent: BTreeSet<String>,
}

impl Roll {
    /// A key of this member is there; `beats` if it is its sign of life.
    pub(super) fn found(&mut self, name: &str, beats: bool, is_known: bool) {
        let names = if beats { &mut self.alive } else { &mut self.silent };
        if names.len() < MOST_NAMES || is_known {
            names.insert(name.to_owned());
        }
    }

    /// At most [`MOST_MEMBERS`] of them; `last_sign` tells when one that is known gave its last sign of life.
    pub(super) fn chosen(self, last_sign: impl Fn(&str) -> Option<Duration>) -> BTreeSet<String> {
        let Roll { alive, silent } = self;
        let silent = silent.into_iter().filter(|name| !alive.contains(name)).map(|name| (false, name));
        let mut all: Vec<(bool, String)> = silent.collect();
        all.extend(alive.into_iter().map(|name| (true, name)));
        // The administrator is no PBX and gives no sign of life.
        all.sort_by_cached_key(|(alive, name)| Reverse((name == ADMIN, *alive, last_sign(name))));
        all.into_iter().take(MOST_MEMBERS).map(|(_, name)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody(_: &str) -> Option<Duration> {
        None
    }

    #[test]
    fn who_gives_a_sign_of_life_is_read_however_many_are_gone() {
        let mut roll = Roll::default();
        roll.found("zoe", true, false);
        roll.found("zoe", false, false);
        roll.found(ADMIN, false, false);
        (0..9 * MOST_NAMES).for_each(|n| roll.found(&format!("Gone{n}"), false, false));
        assert_eq!(roll.silent.len(), MOST_NAMES);
        let chosen = roll.chosen(nobody);
        assert_eq!(chosen.len(), MOST_MEMBERS);
        assert!(chosen.contains("zoe") && chosen.contains(ADMIN));
    }

    #[test]
    fn of_those_that_are_silent_the_last_to_give_a_sign_are_read() {
        let mut roll = Roll::default();
        (0..MOST_MEMBERS + 9).for_each(|n| roll.found(&format!("pbx{n}"), false, true));
        let chosen = roll.chosen(|name| name.strip_prefix("pbx")?.parse().ok().map(Duration::from_secs));
        let missing = (0..MOST_MEMBERS + 9).filter(|n| !chosen.contains(&format!("pbx{n}")));
        assert_eq!(missing.collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
    }

    #[test]
    fn no_more_than_count_are_read_and_who_was_read_before_stays() {
        let mut roll = Roll::default();
        roll.found("zoe", true, true);
        (0..9 * MOST_NAMES).for_each(|n| roll.found(&format!("pbx{n}"), true, false));
        let chosen = roll.chosen(|name| (name == "zoe").then_some(Duration::ZERO));
        assert_eq!((chosen.len(), chosen.contains("zoe")), (MOST_MEMBERS, true));
    }
}
