//! The ban book: blocks by address, by end and by how sure they are.
//!
//! PURE: no clock, no I/O. The owner's book holds what the kernel was seen to take. Other books of its own hold blocks
//! that are still to be made.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::model::block::{Block, BlockLine, Proof};
use crate::model::clock::UnixTime;

/// A set of blocks. Networks are kept truncated (no bits behind the prefix).
#[derive(Clone, Debug, Default)]
pub struct Book {
    blocks: BTreeMap<IpNet, Block>,
    /// Their ends, the blocks of each [`Proof`] in a set of their own.
    ends: [BTreeSet<(UnixTime, IpNet)>; Proof::ALL.len()],
    /// How many blocks there are of each kind and prefix length, so that covering is a few look-ups.
    lengths: [Vec<u32>; 2],
}

impl Book {
    /// Enters a block, or changes the one that is there.
    pub fn insert(&mut self, net: IpNet, block: Block) {
        let net = net.trunc();
        match self.blocks.insert(net, block) {
            Some(old) => {
                self.ends_of(&old).remove(&(old.end, net));
            }
            None => *self.count(&net) += 1,
        }
        self.ends_of(&block).insert((block.end, net));
    }

    /// Enters all blocks of another book, or changes those that are there.
    pub fn append(&mut self, other: Book) {
        if self.is_empty() {
            *self = other;
        } else {
            other.blocks.into_iter().for_each(|(net, block)| self.insert(net, block));
        }
    }

    /// Takes a block out.
    pub fn remove(&mut self, net: &IpNet) -> Option<Block> {
        let net = net.trunc();
        let block = self.blocks.remove(&net)?;
        self.ends_of(&block).remove(&(block.end, net));
        *self.count(&net) -= 1;
        Some(block)
    }

    /// The block of exactly this address or network.
    pub fn get(&self, net: &IpNet) -> Option<&Block> {
        self.blocks.get(&net.trunc())
    }

    /// The block, of itself or of a network around it, that covers `net`; the widest if several do.
    pub fn covering(&self, net: &IpNet) -> Option<(IpNet, Block)> {
        self.around(net).next()
    }

    /// All blocks that cover `net`, of itself or of a network around it, the widest first.
    pub fn around(&self, net: &IpNet) -> impl Iterator<Item = (IpNet, Block)> + '_ {
        let (lengths, net) = (&self.lengths[family(net)], *net);
        let used = move |len: &u8| lengths.get(usize::from(*len)).is_some_and(|&count| count > 0);
        (0..=net.prefix_len()).filter(used).filter_map(move |len| {
            let around = IpNet::new(net.addr(), len).ok()?.trunc();
            self.blocks.get(&around).map(|block| (around, *block))
        })
    }

    /// The blocks that end at `now` or before, soonest first.
    pub fn due(&self, now: UnixTime) -> Vec<IpNet> {
        let due = |ends: &BTreeSet<_>| ends.iter().take_while(move |(end, _)| *end <= now).copied().collect::<Vec<_>>();
        let mut due: Vec<(UnixTime, IpNet)> = self.ends.iter().flat_map(due).collect();
        due.sort_unstable();
        due.into_iter().map(|(_, net)| net).collect()
    }

    /// All blocks, in the order of their networks.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, Block)> + '_ {
        self.blocks.iter().map(|(net, block)| (*net, *block))
    }

    /// All blocks, soonest end first: dearer by a look-up for each.
    pub fn by_end(&self) -> impl DoubleEndedIterator<Item = (IpNet, Block)> + '_ {
        let mut ends: Vec<&(UnixTime, IpNet)> = self.ends.iter().flatten().collect();
        // They come as a few sorted runs, which this sort merges.
        ends.sort();
        ends.into_iter().map(|(_, net)| (*net, self.blocks[net]))
    }

    /// All blocks, the least sure first, of equally sure ones those that end soonest.
    pub fn least_sure(&self) -> impl DoubleEndedIterator<Item = (IpNet, Block)> + '_ {
        self.ends.iter().flatten().map(|(_, net)| (*net, self.blocks[net]))
    }

    /// All blocks as the console lists them, soonest end first.
    pub fn lines(&self) -> Vec<BlockLine> {
        self.by_end()
            .map(|(net, block)| BlockLine { net, end: block.end, reason: block.reason, origin: None })
            .collect()
    }

    /// The wall clock was set: moves begin and end of every block.
    pub fn shift(&mut self, shift: impl Fn(UnixTime) -> UnixTime) {
        for (net, block) in self.iter().collect::<Vec<_>>() {
            self.insert(net, Block { since: shift(block.since), end: shift(block.end), ..block });
        }
    }

    /// Number of blocks.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether nobody is blocked.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    fn ends_of(&mut self, block: &Block) -> &mut BTreeSet<(UnixTime, IpNet)> {
        &mut self.ends[block.proof as usize]
    }

    fn count(&mut self, net: &IpNet) -> &mut u32 {
        let lengths = &mut self.lengths[family(net)];
        let len = usize::from(net.prefix_len());
        if lengths.len() <= len {
            lengths.resize(len + 1, 0);
        }
        &mut lengths[len]
    }
}

impl FromIterator<(IpNet, Block)> for Book {
    /// Of several blocks of one network the last counts. A book that is made at once takes less memory than one that
    /// has grown: its trees are dense.
    fn from_iter<I: IntoIterator<Item = (IpNet, Block)>>(blocks: I) -> Book {
        let blocks: BTreeMap<IpNet, Block> = blocks.into_iter().map(|(net, block)| (net.trunc(), block)).collect();
        let ends = Proof::ALL.map(|proof| {
            let sure = blocks.iter().filter(|(_, block)| block.proof == proof);
            sure.map(|(net, block)| (block.end, *net)).collect()
        });
        let mut book = Book { ends, ..Book::default() };
        blocks.keys().for_each(|net| *book.count(net) += 1);
        Book { blocks, ..book }
    }
}

fn family(net: &IpNet) -> usize {
    match net {
        IpNet::V4(_) => 0,
        IpNet::V6(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::block::Reason;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn until(end: u64) -> Block {
        Block::new(UnixTime(0), UnixTime(end), Reason::InvalidAccount)
    }

    #[test]
    fn due_blocks_come_soonest_first_and_later_ones_stay() {
        let mut book = Book::default();
        book.insert(net("192.0.2.1/32"), until(30));
        book.insert(net("192.0.2.2/32"), until(10));
        book.insert(net("192.0.2.3/32"), until(20));
        assert_eq!(book.due(UnixTime(20)), [net("192.0.2.2/32"), net("192.0.2.3/32")]);
    }

    #[test]
    fn blocks_of_every_proof_are_in_the_order_of_their_ends_and_the_least_sure_are_found_first() {
        let mut book = Book::default();
        let proofs = [Proof::Ordered, Proof::Claimed, Proof::Shaken, Proof::Claimed, Proof::Repeated];
        for (n, proof) in (1..).zip(proofs) {
            book.insert(net(&format!("192.0.2.{n}/32")), Block { proof, ..until(10 * n) });
        }
        let last = |(net, _): (IpNet, Block)| match net.addr() {
            std::net::IpAddr::V4(v4) => v4.octets()[3],
            std::net::IpAddr::V6(_) => 0,
        };
        assert_eq!(book.by_end().map(last).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(book.by_end().rev().map(last).collect::<Vec<_>>(), [5, 4, 3, 2, 1]);
        assert_eq!(book.least_sure().map(last).collect::<Vec<_>>(), [2, 4, 5, 3, 1]);
        book.insert(net("192.0.2.2/32"), Block { proof: Proof::Ordered, ..until(20) });
        assert_eq!(book.least_sure().map(last).collect::<Vec<_>>(), [4, 5, 3, 1, 2]);
        assert_eq!(book.due(UnixTime(30)).len(), 3);
    }

    #[test]
    fn a_changed_end_leaves_no_trace_of_the_old_one() {
        let mut book = Book::default();
        book.insert(net("192.0.2.1/32"), until(10));
        book.insert(net("192.0.2.1/32"), until(50));
        assert_eq!(book.due(UnixTime(40)), []);
        assert_eq!(book.len(), 1);
        book.remove(&net("192.0.2.1/32"));
        assert_eq!(book.by_end().count(), 0);
        assert_eq!(book.covering(&net("192.0.2.1/32")), None);
    }

    #[test]
    fn a_book_made_at_once_is_like_one_that_has_grown() {
        let blocks = [("192.0.2.1/32", 30), ("203.0.113.9/24", 20), ("192.0.2.1/32", 10), ("2001:db8::1/128", 40)];
        let blocks = blocks.map(|(text, end)| (net(text), until(end)));
        let mut grown = Book::default();
        blocks.iter().for_each(|(net, block)| grown.insert(*net, *block));
        let made: Book = blocks.into_iter().collect();
        let (one, other) = blocks.split_at(2);
        let mut joined = Book::default();
        joined.append(one.iter().copied().collect());
        joined.append(other.iter().copied().collect());
        for book in [made, joined] {
            assert_eq!(book.by_end().collect::<Vec<_>>(), grown.by_end().collect::<Vec<_>>());
            assert_eq!(book.covering(&net("203.0.113.7/32")), grown.covering(&net("203.0.113.7/32")));
            assert_eq!((book.len(), book.due(UnixTime(20))), (grown.len(), grown.due(UnixTime(20))));
        }
    }

    #[test]
    fn a_network_covers_what_is_inside_and_the_widest_answers() {
        let mut book = Book::default();
        book.insert(net("203.0.113.0/24"), until(10));
        book.insert(net("203.0.113.7/32"), until(10));
        assert_eq!(book.covering(&net("203.0.113.7/32")).unwrap().0, net("203.0.113.0/24"));
        assert_eq!(book.covering(&net("203.0.112.7/32")), None);
        assert_eq!(book.covering(&net("203.0.0.0/16")), None);
    }
}
