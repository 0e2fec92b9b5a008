//! PURE: how often each network was blocked, for any number of networks, in bounded memory.

use std::collections::HashMap;

use ipnet::IpNet;

use super::line::Moment;

/// How often a network came, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub blocks: u32,
    pub first: Moment,
    pub last: Moment,
}

/// Counts exactly as long as it has room. When it has none, it takes the same number off every count and forgets
/// those that have no more: a method of Misra and Gries. What came more often than the total divided by half the
/// room is never forgotten, and no count lacks more than [`Census::lacking`].
#[derive(Debug)]
pub(super) struct Census {
    records: HashMap<IpNet, Record>,
    room: usize,
    /// The largest number of networks that were held at once.
    most: usize,
    /// What was taken off every count to make room.
    lacking: u32,
}

impl Record {
    /// One block.
    pub(super) fn once(at: Moment) -> Record {
        Record { blocks: 1, first: at, last: at }
    }

    /// The blocks of both.
    pub(super) fn and(self, other: Record) -> Record {
        Record {
            blocks: self.blocks.saturating_add(other.blocks),
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}

impl Census {
    /// Counts at most `room` networks at once. Memory is taken only as they come.
    pub(super) fn new(room: usize) -> Census {
        Census { records: HashMap::new(), room, most: 0, lacking: 0 }
    }

    /// Adds to the record of a network. What has to be taken off the counts to make room goes to `taken`.
    pub(super) fn add(&mut self, net: IpNet, more: Record, taken: impl FnMut(IpNet, Record)) {
        self.records.entry(net).and_modify(|record| *record = record.and(more)).or_insert(more);
        if self.records.len() > self.room {
            self.thin(taken);
        }
    }

    /// Takes over what another one counted.
    pub(super) fn absorb(&mut self, other: Census, mut taken: impl FnMut(IpNet, Record)) {
        self.lacking = self.lacking.saturating_add(other.lacking);
        self.most = self.most.max(other.most);
        for (net, record) in other.records {
            self.add(net, record, &mut taken);
        }
    }

    /// The networks, in no order.
    pub(super) fn records(&self) -> impl ExactSizeIterator<Item = (IpNet, Record)> {
        self.records.iter().map(|(net, record)| (*net, *record))
    }

    /// How many networks came: exactly if nothing is [lacking](Census::lacking), else at least this many.
    pub(super) fn distinct(&self) -> usize {
        self.most.max(self.records.len())
    }

    /// How much any count may lack; 0 if all of them are exact.
    pub(super) fn lacking(&self) -> u32 {
        self.lacking
    }

    /// Takes the median of all counts off each of them, so that at least half of the networks are forgotten.
    fn thin(&mut self, mut taken: impl FnMut(IpNet, Record)) {
        self.most = self.most.max(self.records.len());
        let mut counts: Vec<u32> = self.records.values().map(|record| record.blocks).collect();
        let middle = counts.len() / 2;
        let less = *counts.select_nth_unstable(middle).1;
        self.lacking = self.lacking.saturating_add(less);
        self.records.retain(|net, record| {
            let blocks = record.blocks.min(less);
            taken(*net, Record { blocks, ..*record });
            record.blocks -= blocks;
            record.blocks > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(number: u32) -> IpNet {
        IpNet::from(std::net::IpAddr::from(number.to_be_bytes()))
    }

    #[test]
    fn counts_are_exact_as_long_as_there_is_room() {
        let mut census = Census::new(3);
        for (number, time) in [(1, 10), (2, 20), (1, 30), (3, 40), (1, 5)] {
            census.add(net(number), Record::once(Moment(time)), |_, _| panic!("there is room"));
        }
        assert_eq!((census.lacking(), census.distinct()), (0, 3));
        let record = census.records().find(|(held, _)| *held == net(1)).unwrap().1;
        assert_eq!(record, Record { blocks: 3, first: Moment(5), last: Moment(30) });
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_count_lacks_more_than_said(
            numbers in proptest::collection::vec(prop_oneof![0..4u32, 0..200u32], 0..400),
            room in 2..40usize,
            cut in 0..400usize,
        ) {
            let (mut census, mut other) = (Census::new(room), Census::new(room));
            let mut taken = 0;
            for (n, number) in numbers.iter().enumerate() {
                let census = if n < cut { &mut census } else { &mut other };
                census.add(net(*number), Record::once(Moment(0)), |_, record| taken += u64::from(record.blocks));
                prop_assert!(census.records().len() <= room);
            }
            census.absorb(other, |_, record| taken += u64::from(record.blocks));
            let held: std::collections::HashMap<IpNet, Record> = census.records().collect();
            let sum: u64 = held.values().map(|record| u64::from(record.blocks)).sum();
            prop_assert_eq!(sum + taken, numbers.len() as u64);
            prop_assert!(census.distinct() <= numbers.iter().collect::<std::collections::HashSet<_>>().len());
            for number in 0..200 {
                let real = numbers.iter().filter(|other| **other == number).count() as u32;
                let counted = held.get(&net(number)).map_or(0, |record| record.blocks);
                prop_assert!(counted <= real && real <= counted + census.lacking());
            }
        }
    }
}
