//! Many sources, each of which did little: how many different ones failed within a day for one account, or out of one
//! neighbourhood.
//!
//! Memory: [`bytes`] for each account or neighbourhood. When there is no room for more, those that are not under siege
//! and were failed for least recently go first.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use ipnet::IpNet;

use super::{DAY, room};

/// Members that are kept beyond the limit, so that one that is taken off leaves no gap.
const SPARE: usize = 10;

/// Crowds by what their members have in common.
#[derive(Debug)]
pub(super) struct Crowds<K>(HashMap<K, Crowd>);

/// The sources that failed within a day.
#[derive(Debug, Default)]
struct Crowd {
    /// Who, and when last; the longest ago first.
    members: Vec<(IpNet, Duration)>,
    last: Duration,
    /// Whether there were more than the limit, and no day has passed without a failure since.
    siege: bool,
}

/// Bytes that a crowd takes at most, with its members and its place in the table.
pub(super) fn bytes(limit: u32) -> usize {
    const MEMBER: usize = 48;
    96 + MEMBER * (limit as usize + SPARE)
}

impl<K> Default for Crowds<K> {
    fn default() -> Crowds<K> {
        Crowds(HashMap::new())
    }
}

impl<K: Hash + Eq + Copy> Crowds<K> {
    /// A source failed. More than `limit` of them are a siege.
    pub(super) fn join(&mut self, key: K, source: IpNet, limit: u32, now: Duration) {
        let crowd = self.0.entry(key).or_default();
        crowd.siege &= now < crowd.last + DAY;
        crowd.last = now;
        crowd.members.retain(|(member, at)| *member != source && now < *at + DAY);
        if crowd.members.len() >= limit as usize + SPARE {
            crowd.members.remove(0);
        }
        crowd.members.push((source, now));
        crowd.siege |= crowd.members.len() > limit as usize;
    }

    /// A source logged in, so it is no attacker.
    pub(super) fn leave(&mut self, key: K, source: &IpNet, limit: u32) {
        if let Some(crowd) = self.0.get_mut(&key) {
            let before = crowd.members.len();
            crowd.members.retain(|(member, _)| member != source);
            crowd.siege &= crowd.members.len() == before || crowd.members.len() > limit as usize;
        }
    }

    /// How many sources failed within the last day.
    pub(super) fn count(&self, key: K, now: Duration) -> u32 {
        self.members(key, now).count() as u32
    }

    /// Whether more than the limit failed, and no day has passed without a failure since.
    pub(super) fn is_siege(&self, key: K, now: Duration) -> bool {
        self.0.get(&key).is_some_and(|crowd| crowd.siege && now < crowd.last + DAY)
    }

    /// Who failed within the last day.
    pub(super) fn members(&self, key: K, now: Duration) -> impl Iterator<Item = IpNet> + '_ {
        let members = self.0.get(&key).into_iter().flat_map(|crowd| &crowd.members);
        members.filter(move |(_, at)| now < *at + DAY).map(|(member, _)| *member)
    }

    /// Takes back what was counted from this moment on.
    pub(super) fn forget_since(&mut self, start: Duration, limit: u32) {
        self.0.retain(|_, crowd| {
            let before = crowd.members.len();
            crowd.members.retain(|(_, at)| *at < start);
            crowd.siege &= crowd.members.len() == before || crowd.members.len() > limit as usize;
            !crowd.members.is_empty()
        });
    }

    /// Drops what is too old to count.
    pub(super) fn expire(&mut self, now: Duration) {
        self.0.retain(|_, crowd| now < crowd.last + DAY);
    }

    /// Keeps room for one more of at most `most`.
    pub(super) fn bound(&mut self, most: usize) {
        room(&mut self.0, most, |crowd| (crowd.siege, crowd.last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    const SECOND: Duration = Duration::from_secs(1);

    fn source(n: u8) -> IpNet {
        IpNet::from(IpAddr::from([203, 0, 113, n]))
    }

    #[test]
    fn more_than_the_limit_are_a_siege_until_a_day_has_passed_without_one() {
        let mut crowds = Crowds::default();
        for n in 0..6 {
            assert!(!crowds.is_siege(1, SECOND));
            crowds.join(1, source(n), 5, SECOND);
        }
        assert_eq!(crowds.count(1, SECOND), 6);
        assert!(crowds.is_siege(1, SECOND) && !crowds.is_siege(2, SECOND));
        // One guess each half a day keeps it up, though no six fall into one day.
        let later = SECOND + DAY / 2;
        crowds.join(1, source(9), 5, later);
        assert!(crowds.is_siege(1, later + DAY - SECOND));
        assert_eq!(crowds.count(1, later + DAY - SECOND), 1);
        assert!(!crowds.is_siege(1, later + DAY));
    }

    #[test]
    fn who_logs_in_is_taken_off_again() {
        let mut crowds = Crowds::default();
        (0..7).for_each(|n| crowds.join(1, source(n), 5, SECOND));
        crowds.leave(1, &source(3), 5);
        assert!(crowds.is_siege(1, SECOND));
        crowds.leave(1, &source(4), 5);
        assert!(!crowds.is_siege(1, SECOND));
        assert_eq!(crowds.count(1, SECOND), 5);
    }

    #[test]
    fn one_source_counts_once_and_members_are_bounded() {
        let mut crowds = Crowds::default();
        (0..100).for_each(|_| crowds.join(1, source(1), 5, SECOND));
        assert_eq!(crowds.count(1, SECOND), 1);
        (0..=255).for_each(|n| crowds.join(1, source(n), 5, SECOND));
        assert_eq!(crowds.count(1, SECOND), 5 + SPARE as u32);
    }

    #[test]
    fn a_million_crowds_stay_within_their_bound_and_the_one_in_use_remains() {
        let mut crowds = Crowds::default();
        for n in 0..100_000_u32 {
            crowds.bound(1000);
            crowds.join(n, source(1), 5, SECOND * n);
            crowds.join(u32::MAX, source((n % 250) as u8), 5, SECOND * n);
            assert!(crowds.0.len() <= 1001);
        }
        assert!(crowds.is_siege(u32::MAX, SECOND * 100_000));
    }
}
