//! Coming back: what a source was blocked for is remembered when its block has ended, and each further block lasts
//! longer, `timer.growth` times the one before, up to `timer.longest`.
//!
//! Forged: who forges failures of a stranger's address long enough has it blocked again and again, for longer each
//! time, as long as he goes on. An address where somebody lives begins with `timer.home`.
//!
//! Memory: [`OFFENDER`] bytes for each source. When there is no room for more, those whose block ended longest ago go
//! first.

use std::collections::HashMap;

use ipnet::IpNet;

use super::{DAY, room};
use crate::config::Lengths;
use crate::model::clock::UnixTime;
use crate::model::memory::Offence;

/// Bytes that a source takes, with its place in the table.
pub(super) const OFFENDER: usize = 96;

/// All sources that were blocked.
#[derive(Debug, Default)]
pub(super) struct Offenders {
    known: HashMap<IpNet, Offence>,
    /// Those to be remembered beyond this process.
    news: Vec<(IpNet, Offence)>,
}

impl Offenders {
    /// Seconds that the next block of this source lasts.
    pub(super) fn next(&self, source: &IpNet, home: bool, lengths: &Lengths) -> u64 {
        let first = if home && lengths.home > 0 { lengths.home } else { lengths.ban };
        match self.known.get(source) {
            // What was begun by a stranger is no measure for those who live there now.
            Some(offence) if offence.home == home && lengths.growth > 0 => {
                let longest = lengths.longest.max(first);
                offence.seconds.saturating_mul(lengths.growth).clamp(first, longest)
            }
            _ => first,
        }
    }

    /// A source is blocked for the next time; returns for how many seconds.
    pub(super) fn block(&mut self, source: IpNet, home: bool, lengths: &Lengths, now: UnixTime) -> u64 {
        let seconds = self.next(&source, home, lengths);
        let blocks = self.known.get(&source).map_or(0, |offence| offence.blocks).saturating_add(1);
        let offence = Offence { blocks, seconds, end: now + seconds, home };
        self.known.insert(source, offence);
        self.news.push((source, offence));
        seconds
    }

    pub(super) fn get(&self, source: &IpNet) -> Option<&Offence> {
        self.known.get(source)
    }

    pub(super) fn forget(&mut self, source: &IpNet) {
        self.known.remove(source);
    }

    /// Takes over what an earlier process knew.
    pub(super) fn restore(&mut self, offences: impl IntoIterator<Item = (IpNet, Offence)>) {
        self.known.extend(offences);
    }

    /// Offences to be remembered beyond this process, each once.
    pub(super) fn take_news(&mut self) -> Vec<(IpNet, Offence)> {
        std::mem::take(&mut self.news)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (IpNet, Offence)> + '_ {
        self.known.iter().map(|(source, offence)| (*source, *offence))
    }

    /// Forgets blocks that ended `longest` seconds ago, and a day ago at least: for that long nobody may go on.
    pub(super) fn expire(&mut self, longest: u64, now: UnixTime) {
        self.known.retain(|_, offence| now.since(offence.end) < longest.max(DAY.as_secs()));
    }

    /// Keeps room for one more of at most `most`.
    pub(super) fn bound(&mut self, most: usize) {
        room(&mut self.known, most, |offence| offence.end);
    }

    /// The wall clock was set: the ends move with it.
    pub(super) fn shift(&mut self, seconds: i64) {
        for offence in self.known.values_mut() {
            offence.end = UnixTime(offence.end.0.saturating_add_signed(seconds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: Lengths = Lengths { ban: 86_400, home: 600, growth: 4, longest: 30 * 86_400 };

    fn source(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn each_further_block_lasts_longer_up_to_the_longest() {
        let mut offenders = Offenders::default();
        let one = source("203.0.113.7/32");
        let days: Vec<u64> = (0..5).map(|_| offenders.block(one, false, &LENGTHS, UnixTime(0)) / 86_400).collect();
        assert_eq!(days, [1, 4, 16, 30, 30]);
        let minutes: Vec<u64> = (0..3).map(|_| offenders.block(one, true, &LENGTHS, UnixTime(0)) / 60).collect();
        assert_eq!(minutes, [10, 40, 160]);
        assert_eq!(offenders.take_news().len(), 8);
        assert_eq!(offenders.get(&one).unwrap().blocks, 8);
    }

    #[test]
    fn without_growth_every_block_is_like_the_first_and_without_home_like_any_other() {
        let mut offenders = Offenders::default();
        let lengths = Lengths { growth: 0, home: 0, ..LENGTHS };
        for _ in 0..3 {
            assert_eq!(offenders.block(source("203.0.113.7/32"), true, &lengths, UnixTime(0)), 86_400);
        }
    }

    #[test]
    fn a_ban_longer_than_the_longest_stays_as_long_as_it_is() {
        let lengths = Lengths { ban: 90 * 86_400, ..LENGTHS };
        let mut offenders = Offenders::default();
        for _ in 0..3 {
            assert_eq!(offenders.block(source("203.0.113.7/32"), false, &lengths, UnixTime(0)), lengths.ban);
        }
    }

    #[test]
    fn a_flood_of_offenders_stays_within_its_bound_and_the_latest_remain() {
        let mut offenders = Offenders::default();
        for n in 0..10_000_u32 {
            offenders.bound(100);
            offenders.block(IpNet::from(std::net::IpAddr::from(n.to_be_bytes())), false, &LENGTHS, UnixTime(n.into()));
            assert!(offenders.known.len() <= 101);
        }
        assert!(offenders.get(&IpNet::from(std::net::IpAddr::from(9_999_u32.to_be_bytes()))).is_some());
    }
}
