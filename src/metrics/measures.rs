//! PURE: what the owner has counted and holds at one moment.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::block::Reason;
use crate::model::clock::UnixTime;

/// All numbers that there are. Counts are since the daemon's start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measures {
    /// Security events, by their kind.
    pub events: BTreeMap<&'static str, u64>,
    /// When the last one came.
    pub last_event: Option<UnixTime>,
    /// Frames that could not be read.
    pub unread: u64,
    /// Whether Asterisk is connected.
    pub ami_up: bool,
    /// Whether it is, and sends no events although it should.
    pub ami_silent: bool,
    /// Blocks in force.
    pub blocks: BTreeMap<Blocks, u64>,
    /// At most as many can be.
    pub capacity: u64,
    /// Blocks made.
    pub blocked: BTreeMap<Reason, u64>,
    /// Changes that the kernel refused, and that are tried again.
    pub refused: u64,
    /// Repairs of rules, and for how many seconds these may have been wrong.
    pub repairs: u64,
    /// Seconds.
    pub unprotected: u64,
    /// Packets dropped because of blocks, by whose these are, where one counter of the kernel has them.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Addresses where accounts live.
    pub homes: u64,
    /// Sources of which evidence is held.
    pub sources: u64,
    /// Whether the PBX refuses its phones, and whether they do not answer it.
    pub refusing: bool,
    /// The second of these.
    pub silent: bool,
    /// The other PBXs, if there is a fleet.
    pub fleet: Option<Fleet>,
    /// Lists of others.
    pub lists: Vec<Listed>,
    /// From the moment a batch of events was judged to the moment when the kernel had taken all of its changes.
    pub enforcing: Histogram<10>,
    /// Blocks and their ends in one batch.
    pub batches: Histogram<6>,
}

/// A list of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What it is called.
    pub name: String,
    /// Entries in force.
    pub entries: u64,
    /// Seconds since its source last said that it holds; `None` if it never has.
    pub age: Option<u64>,
}

/// Blocks that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blocks {
    /// The other PBX that wants them longest; `None` if they were made here.
    pub member: Option<String>,
    /// Why.
    pub reason: Reason,
    /// Whether they are of IPv6.
    pub is_ipv6: bool,
}

/// How the fleet is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Whether the connection that reads works, and the one that writes.
    pub reading: bool,
    /// The second of these.
    pub writing: bool,
    /// Other members that give signs of life.
    pub members: u64,
    /// Age of the oldest word of theirs that was not read yet, or how long nothing could be read, in seconds.
    pub lag: u64,
    /// Changes that wait for the server to come back.
    pub waiting: u64,
    /// Changes that found no room, and were made up for.
    pub missed: u64,
    /// How often something of theirs counted for nothing.
    pub unfit: u64,
}

/// How many values there were up to each bound, and their sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram<const N: usize> {
    bounds: [f64; N],
    counts: [u64; N],
    beyond: u64,
    sum: f64,
}

impl<const N: usize> Histogram<N> {
    const fn with(bounds: [f64; N]) -> Histogram<N> {
        Histogram { bounds, counts: [0; N], beyond: 0, sum: 0.0 }
    }

    /// One more value.
    pub fn observe(&mut self, value: f64) {
        self.sum += value;
        match self.bounds.iter().position(|bound| value <= *bound) {
            // The bound was found among as many.
            Some(place) => self.counts[place] += 1,
            None => self.beyond += 1,
        }
    }

    /// The sum of all values, and how many there were up to each bound but not up to the one before; the last bound is
    /// infinite.
    pub fn buckets(&self) -> (f64, Vec<(f64, u64)>) {
        let bounded = self.bounds.iter().copied().zip(self.counts);
        (self.sum, bounded.chain([(f64::INFINITY, self.beyond)]).collect())
    }
}

impl Default for Histogram<10> {
    /// Seconds that changes of the firewall take.
    fn default() -> Histogram<10> {
        Histogram::with([0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0])
    }
}

impl Default for Histogram<6> {
    /// Changes in a batch.
    fn default() -> Histogram<6> {
        Histogram::with([1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0])
    }
}

impl Histogram<10> {
    /// One more time.
    pub fn took(&mut self, time: Duration) {
        self.observe(time.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_at_the_first_bound_that_it_does_not_exceed() {
        let mut batches = Histogram::<6>::default();
        [1.0, 2.0, 10.0, 1e9].into_iter().for_each(|value| batches.observe(value));
        let (sum, buckets) = batches.buckets();
        assert_eq!(sum, 1_000_000_013.0);
        assert_eq!(buckets.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [1, 2, 0, 0, 0, 0, 1]);
    }
}
