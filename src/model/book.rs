//! The ban book: every block in force, by address and by end.
//!
//! PURE: no clock, no I/O. Only what the kernel took is entered.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::model::block::{Block, BlockLine};
use crate::model::clock::UnixTime;

/// All blocks in force. Networks are kept truncated (no bits behind the prefix).
#[derive(Clone, Debug, Default)]
pub struct Book {
    blocks: BTreeMap<IpNet, Block>,
    ends: BTreeSet<(UnixTime, IpNet)>,
    /// How many blocks there are of each kind and prefix length, so that covering is a few look-ups.
    lengths: [Vec<u32>; 2],
}

impl Book {
    /// Enters a block, or changes the one that is there.
    pub fn insert(&mut self, net: IpNet, block: Block) {
        let net = net.trunc();
        match self.blocks.insert(net, block) {
            Some(old) => {
                self.ends.remove(&(old.end, net));
            }
            None => *self.count(&net) += 1,
        }
        self.ends.insert((block.end, net));
    }

    /// Takes a block out.
    pub fn remove(&mut self, net: &IpNet) -> Option<Block> {
        let net = net.trunc();
        let block = self.blocks.remove(&net)?;
        self.ends.remove(&(block.end, net));
        *self.count(&net) -= 1;
        Some(block)
    }

    /// The block of exactly this address or network.
    pub fn get(&self, net: &IpNet) -> Option<&Block> {
        self.blocks.get(&net.trunc())
    }

    /// The block, of itself or of a network around it, that covers `net`; the widest if several do.
    pub fn covering(&self, net: &IpNet) -> Option<(IpNet, Block)> {
        let lengths = &self.lengths[family(net)];
        (0..=net.prefix_len()).filter(|len| lengths.get(usize::from(*len)).is_some_and(|&n| n > 0)).find_map(|len| {
            let around = IpNet::new(net.addr(), len).ok()?.trunc();
            self.blocks.get(&around).map(|block| (around, *block))
        })
    }

    /// The blocks that end at `now` or before, soonest first.
    pub fn due(&self, now: UnixTime) -> impl Iterator<Item = IpNet> + '_ {
        self.ends.iter().take_while(move |(end, _)| *end <= now).map(|(_, net)| *net)
    }

    /// All blocks, soonest end first.
    pub fn by_end(&self) -> impl DoubleEndedIterator<Item = (IpNet, Block)> + '_ {
        self.ends.iter().map(|(_, net)| (*net, self.blocks[net]))
    }

    /// All blocks as the console lists them, soonest end first.
    pub fn lines(&self) -> Vec<BlockLine> {
        self.by_end().map(|(net, block)| BlockLine { net, end: block.end, reason: block.reason }).collect()
    }

    /// Number of blocks.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether nobody is blocked.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
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
        Block { since: UnixTime(0), end: UnixTime(end), reason: Reason::Manual }
    }

    #[test]
    fn due_blocks_come_soonest_first_and_later_ones_stay() {
        let mut book = Book::default();
        book.insert(net("192.0.2.1/32"), until(30));
        book.insert(net("192.0.2.2/32"), until(10));
        book.insert(net("192.0.2.3/32"), until(20));
        let due: Vec<IpNet> = book.due(UnixTime(20)).collect();
        assert_eq!(due, [net("192.0.2.2/32"), net("192.0.2.3/32")]);
    }

    #[test]
    fn a_changed_end_leaves_no_trace_of_the_old_one() {
        let mut book = Book::default();
        book.insert(net("192.0.2.1/32"), until(10));
        book.insert(net("192.0.2.1/32"), until(50));
        assert_eq!(book.due(UnixTime(40)).count(), 0);
        assert_eq!(book.len(), 1);
        book.remove(&net("192.0.2.1/32"));
        assert_eq!(book.by_end().count(), 0);
        assert_eq!(book.covering(&net("192.0.2.1/32")), None);
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
