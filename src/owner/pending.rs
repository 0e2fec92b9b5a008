//! What the kernel did not take and is tried again, each time later than the time before.
//!
//! Bounded: at most as many blocks wait as the firewall bears, of which the least sure go first, and an unblock waits
//! only for a block in force.
//!
//! PURE: no clock, no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::IpNet;

use crate::model::block::Block;
use crate::model::book::Book;
use crate::model::clock::{Now, UnixTime};

/// Time after which a change is tried again for the first time; it doubles each time.
const SOON: Duration = Duration::from_secs(1);

/// Longest time between two tries of a change.
const SELDOM: Duration = Duration::from_secs(60);

/// At most this many changes are tried again at once, so that the next attacker does not wait for them.
const AT_ONCE: usize = 4096;

/// A change that the kernel refused, and that is to be attempted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// To block, until the block's end.
    Block(Block),
    /// To free, for this reason.
    Free(&'static str),
}

/// The queue of refused changes. For each address or network there is one, the last that was asked for.
#[derive(Debug, Default)]
pub struct Pending {
    blocks: Book,
    frees: BTreeMap<IpNet, &'static str>,
    tries: BTreeMap<IpNet, Tries>,
    times: BTreeSet<(Duration, IpNet)>,
}

/// How often a change was refused, and when it is tried again (monotonic).
#[derive(Clone, Copy, Debug)]
struct Tries {
    failures: u32,
    again: Duration,
}

impl Pending {
    /// Lets a change wait that the kernel has just refused. Returns the block that is not tried again, if `most` wait
    /// already: the least sure of them, or this one if none is less sure.
    pub fn put(&mut self, net: IpNet, attempt: Attempt, now: Now, most: usize) -> Option<IpNet> {
        let failures = self.tries.get(&net).map_or(0, |tries| tries.failures);
        let before = self.remove(&net);
        let is_same = |before: Attempt| std::mem::discriminant(&before) == std::mem::discriminant(&attempt);
        let failures = if before.is_some_and(is_same) { failures.saturating_add(1) } else { 1 };
        let dropped = match attempt {
            Attempt::Block(block) if self.blocks.len() >= most => {
                let less_sure = self.blocks.least_sure().next().filter(|(_, held)| held.proof < block.proof);
                let Some((less_sure, _)) = less_sure else { return Some(net) };
                self.remove(&less_sure);
                Some(less_sure)
            }
            Attempt::Block(_) | Attempt::Free(_) => None,
        };
        match attempt {
            Attempt::Block(block) => self.blocks.insert(net, block),
            Attempt::Free(why) => drop(self.frees.insert(net, why)),
        }
        let again = now.monotonic + SOON.saturating_mul(2_u32.saturating_pow(failures - 1)).min(SELDOM);
        self.tries.insert(net, Tries { failures, again });
        self.times.insert((again, net));
        dropped
    }

    /// Gives up what waits for this address or network: it was done, or something else was asked for.
    pub fn remove(&mut self, net: &IpNet) -> Option<Attempt> {
        let attempt = self.get(net)?;
        self.blocks.remove(net);
        self.frees.remove(net);
        if let Some(Tries { again, .. }) = self.tries.remove(net) {
            self.times.remove(&(again, *net));
        }
        Some(attempt)
    }

    /// What is to be tried again now. It waits on until its outcome is known.
    pub fn due(&self, now: Now) -> Vec<(IpNet, Attempt)> {
        let due = self.times.iter().take_while(|(again, _)| *again <= now.monotonic).take(AT_ONCE);
        due.filter_map(|(_, net)| Some((*net, self.get(net)?))).collect()
    }

    /// Whether exactly this address or network is to be freed.
    pub fn is_to_be_freed(&self, net: &IpNet) -> bool {
        self.frees.contains_key(net)
    }

    /// Whom the kernel has not freed yet.
    pub fn frees(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.frees.keys().copied()
    }

    /// Whom the kernel has not blocked yet, soonest end first.
    pub fn blocks(&self) -> impl Iterator<Item = (IpNet, Block)> + '_ {
        self.blocks.by_end()
    }

    /// The wall clock was set: moves begin and end of the blocks.
    pub fn shift(&mut self, shift: impl Fn(UnixTime) -> UnixTime) {
        self.blocks.shift(shift);
    }

    fn get(&self, net: &IpNet) -> Option<Attempt> {
        let block = || self.blocks.get(net).copied().map(Attempt::Block);
        self.frees.get(net).copied().map(Attempt::Free).or_else(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::block::Reason;

    fn at(seconds: u64) -> Now {
        Now { wall: UnixTime(seconds), monotonic: Duration::from_secs(seconds) }
    }

    fn net(n: u32) -> IpNet {
        IpNet::from(std::net::IpAddr::from(std::net::Ipv4Addr::from_bits(0xcb00_7100 + n)))
    }

    fn block(end: u64) -> Attempt {
        Attempt::Block(Block::new(UnixTime(0), UnixTime(end), Reason::FailedAcl))
    }

    fn sure() -> Attempt {
        Attempt::Block(Block::new(UnixTime(0), UnixTime(9), Reason::Manual))
    }

    #[test]
    fn what_is_refused_again_and_again_is_tried_more_and_more_rarely() {
        let mut pending = Pending::default();
        pending.put(net(1), block(9), at(0), 9);
        let mut tries = Vec::new();
        for second in 0..200 {
            if let [(net, change)] = pending.due(at(second))[..] {
                tries.push(second);
                pending.put(net, change, at(second), 9);
            }
        }
        assert_eq!(tries, [1, 3, 7, 15, 31, 63, 123, 183]);
    }

    #[test]
    fn the_last_that_was_asked_for_counts_and_begins_anew() {
        let mut pending = Pending::default();
        for _ in 0..5 {
            pending.put(net(1), Attempt::Free("Flush"), at(0), 9);
        }
        pending.put(net(1), block(9), at(0), 9);
        assert!(!pending.is_to_be_freed(&net(1)));
        assert_eq!(pending.due(at(1)), [(net(1), block(9))]);
        assert_eq!(pending.remove(&net(1)), Some(block(9)));
        assert_eq!(pending.due(at(1000)), []);
    }

    #[test]
    fn no_more_blocks_wait_than_there_is_room_for_and_an_unblock_always() {
        let mut pending = Pending::default();
        let mut put = |n, attempt| pending.put(net(n), attempt, at(0), 10);
        assert_eq!((0..100).filter_map(|n| put(n, block(9))).count(), 90);
        assert_eq!(put(200, Attempt::Free("Flush")), None);
        // The last that was asked for, which finds no room.
        assert_eq!(put(200, block(9)), Some(net(200)));
        assert_eq!(put(201, sure()), Some(net(0)));
        assert_eq!(put(202, block(9)), Some(net(202)));
        assert_eq!((pending.blocks().count(), pending.frees().count(), pending.due(at(1)).len()), (10, 0, 10));
        pending.remove(&net(1));
        assert_eq!(pending.put(net(203), block(9), at(0), 10), None);
    }

    #[test]
    fn so_many_are_tried_at_once_and_the_others_a_little_later() {
        let mut pending = Pending::default();
        let all = AT_ONCE as u32 + 10;
        (0..all).for_each(|n| assert_eq!(pending.put(net(n), block(9), at(0), usize::MAX), None));
        let first = pending.due(at(1));
        assert_eq!(first.len(), AT_ONCE);
        for (net, _) in first {
            pending.remove(&net);
        }
        assert_eq!(pending.due(at(1)).len(), 10);
    }
}
