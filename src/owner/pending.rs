//! What the kernel did not take and is tried again, each time later than the time before.
//!
//! Bounded: at most as many blocks wait as the firewall bears, and an unblock waits only for a block in force.
//!
//! PURE: no clock, no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::IpNet;

use crate::model::block::Block;
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
    waiting: BTreeMap<IpNet, Waiting>,
    times: BTreeSet<(Duration, IpNet)>,
    /// How many of them are blocks.
    blocks: usize,
}

#[derive(Debug)]
struct Waiting {
    change: Attempt,
    failures: u32,
    again: Duration,
}

impl Pending {
    /// Lets a change wait that the kernel has just refused. Returns false if it is a block, and as many blocks as `most`
    /// wait already: it is then not tried again.
    pub fn put(&mut self, net: IpNet, change: Attempt, now: Now, most: usize) -> bool {
        let before = self.take(&net);
        if matches!(change, Attempt::Block(_)) && self.blocks >= most {
            return false;
        }
        let again_for = |waiting: &Waiting| std::mem::discriminant(&waiting.change) == std::mem::discriminant(&change);
        let failures = before.filter(again_for).map_or(1, |waiting| waiting.failures.saturating_add(1));
        let again = now.monotonic + SOON.saturating_mul(2_u32.saturating_pow(failures - 1)).min(SELDOM);
        self.blocks += usize::from(matches!(change, Attempt::Block(_)));
        self.times.insert((again, net));
        self.waiting.insert(net, Waiting { change, failures, again });
        true
    }

    /// Gives up what waits for this address or network: it was done, or something else was asked for.
    pub fn remove(&mut self, net: &IpNet) -> Option<Attempt> {
        self.take(net).map(|waiting| waiting.change)
    }

    /// What is to be tried again now. It waits on until its outcome is known.
    pub fn due(&self, now: Now) -> Vec<(IpNet, Attempt)> {
        let due = self.times.iter().take_while(|(again, _)| *again <= now.monotonic).take(AT_ONCE);
        due.map(|(_, net)| (*net, self.waiting[net].change)).collect()
    }

    /// Whether exactly this address or network is to be freed.
    pub fn is_to_be_freed(&self, net: &IpNet) -> bool {
        self.waiting.get(net).is_some_and(|waiting| matches!(waiting.change, Attempt::Free(_)))
    }

    /// Whom the kernel has not freed yet.
    pub fn frees(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.waiting.keys().copied().filter(|net| self.is_to_be_freed(net))
    }

    /// Whom the kernel has not blocked yet.
    pub fn blocks(&self) -> impl Iterator<Item = (IpNet, Block)> + '_ {
        self.waiting.iter().filter_map(|(net, waiting)| match waiting.change {
            Attempt::Block(block) => Some((*net, block)),
            Attempt::Free(_) => None,
        })
    }

    /// The wall clock was set: moves begin and end of the blocks.
    pub fn shift(&mut self, shift: impl Fn(UnixTime) -> UnixTime) {
        for waiting in self.waiting.values_mut() {
            if let Attempt::Block(block) = &mut waiting.change {
                (block.since, block.end) = (shift(block.since), shift(block.end));
            }
        }
    }

    fn take(&mut self, net: &IpNet) -> Option<Waiting> {
        let waiting = self.waiting.remove(net)?;
        self.times.remove(&(waiting.again, *net));
        self.blocks -= usize::from(matches!(waiting.change, Attempt::Block(_)));
        Some(waiting)
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
        assert_eq!((0..100).filter(|n| pending.put(net(*n), block(9), at(0), 10)).count(), 10);
        assert!(pending.put(net(200), Attempt::Free("Flush"), at(0), 10));
        assert!(!pending.put(net(200), block(9), at(0), 10));
        pending.remove(&net(0));
        assert!(pending.put(net(201), block(9), at(0), 10));
        assert_eq!((pending.blocks().count(), pending.frees().count()), (10, 0));
    }

    #[test]
    fn so_many_are_tried_at_once_and_the_others_a_little_later() {
        let mut pending = Pending::default();
        let all = AT_ONCE as u32 + 10;
        (0..all).for_each(|n| assert!(pending.put(net(n), block(9), at(0), usize::MAX)));
        let first = pending.due(at(1));
        assert_eq!(first.len(), AT_ONCE);
        for (net, _) in first {
            pending.remove(&net);
        }
        assert_eq!(pending.due(at(1)).len(), 10);
    }
}
