//! What is pardoned: nobody's vote on it counts, until a time.
//!
//! PURE: no clock, no I/O.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::model::clock::UnixTime;

/// At most this many pardons of one kind are kept; of more, the one that ends soonest goes.
pub const MOST_PARDONS: usize = 10_000;

/// Pardons of one kind, each with its end.
#[derive(Clone, Debug, Default)]
pub struct Pardons(BTreeMap<IpNet, UnixTime>);

impl Pardons {
    /// Pardons this address or network.
    pub fn put(&mut self, net: IpNet, end: UnixTime) {
        self.0.insert(net, end);
        if self.0.len() > MOST_PARDONS {
            let soonest = self.0.iter().min_by_key(|(_, end)| **end).map(|(net, _)| *net);
            soonest.map(|net| self.0.remove(&net));
        }
    }

    /// Takes back the pardon of exactly this; whether there was one.
    pub fn remove(&mut self, net: &IpNet) -> bool {
        self.0.remove(net).is_some()
    }

    /// Takes back all others; those that went.
    pub fn keep_only(&mut self, kept: &BTreeSet<IpNet>) -> Vec<IpNet> {
        let gone = self.0.keys().filter(|net| !kept.contains(*net)).copied().collect();
        self.0.retain(|net, _| kept.contains(net));
        gone
    }

    /// The latest end of all that pardon this: the same, or a network around it.
    pub fn around(&self, net: &IpNet) -> Option<UnixTime> {
        if self.0.is_empty() {
            return None;
        }
        let around = (0..=net.prefix_len()).filter_map(|len| IpNet::new(net.addr(), len).ok());
        around.filter_map(|around| self.0.get(&around.trunc()).copied()).max()
    }

    /// Drops what has ended.
    pub fn expire(&mut self, now: UnixTime) {
        self.0.retain(|_, end| *end > now);
    }

    /// The wall clock was set: moves all ends by as much.
    pub fn shift(&mut self, shift: impl Fn(UnixTime) -> UnixTime) {
        self.0.values_mut().for_each(|end| *end = shift(*end));
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, UnixTime)> + '_ {
        self.0.iter().map(|(net, end)| (*net, *end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn of_too_many_the_one_that_ends_soonest_goes() {
        let mut pardons = Pardons::default();
        let address = |n: u32| IpNet::from(IpAddr::from((n + (11 << 24)).to_be_bytes()));
        let count = u32::try_from(MOST_PARDONS).unwrap() + 7;
        for n in 0..count {
            pardons.put(address(n), UnixTime(10 + u64::from(n)));
        }
        assert_eq!(pardons.iter().count(), MOST_PARDONS);
        assert_eq!(pardons.around(&address(6)), None);
        assert!(pardons.around(&address(7)).is_some() && pardons.around(&address(count - 1)).is_some());
    }
}
