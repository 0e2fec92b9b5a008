//! Whom the shield lets pass, as the owner knows them and as the kernel holds them.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::elements::{Unmade, replace};
use super::netlink::ROOM;
use super::sets::{Element, List, Networks, Set};
use super::{Nft, shown, strangers};
use crate::firewall::shield::{MOST_ADMITTED, Shed, Shield};
use crate::firewall::{Error, Verified};

/// Admitted addresses and networks.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    nets: BTreeSet<IpNet>,
    networks: Networks,
}

impl Admitted {
    pub(super) fn new(nets: BTreeSet<IpNet>) -> Admitted {
        Admitted { networks: Networks::new(nets.iter().copied()), nets }
    }

    /// Admits more; returns which elements go and which come.
    fn add(&mut self, nets: BTreeSet<IpNet>) -> (BTreeSet<IpNet>, BTreeSet<IpNet>) {
        let (ranges, hosts): (Vec<IpNet>, Vec<IpNet>) = nets.iter().partition(|net| Set::of(net).has_ranges());
        self.nets.extend(nets);
        let (gone, mut come) = self.networks.change(&ranges, &[]);
        come.extend(hosts);
        (gone, come)
    }

    /// The elements that the kernel's sets are to have.
    fn elements(&self) -> BTreeSet<IpNet> {
        let hosts = self.nets.iter().copied().filter(|net| !Set::of(net).has_ranges());
        hosts.chain(self.networks.widest()).collect()
    }
}

impl Nft {
    /// The elements of the kernel's sets; none where there is no shield.
    pub(super) fn held_admitted(&self) -> Result<BTreeSet<IpNet>, Error> {
        if self.plan.shield.is_none() {
            return Ok(BTreeSet::new());
        }
        let sets = Set::ALL.into_iter().map(|set| self.nets(List::Admitted, set));
        let held: Vec<_> = sets.collect::<Result<_, _>>()?;
        Ok(held.into_iter().flatten().map(|(net, _)| net).collect())
    }

    /// Makes the kernel's sets equal to what they are to be, and says what they were not.
    pub(super) fn look_at_admitted(&mut self) -> Verified {
        let held = match self.held_admitted() {
            Ok(held) => held,
            Err(error) => return Verified::failed(error),
        };
        let wanted = self.admitted.elements();
        let (missing, surplus) = (&wanted - &held, &held - &wanted);
        if missing.is_empty() && surplus.is_empty() {
            return Verified::default();
        }
        let made = self.commit_admitted(&surplus, &missing).map_err(Error::from);
        match made.and_then(|()| self.held_admitted()) {
            Ok(held) if held == wanted => {}
            Ok(_) => return Verified::failed(self.idle()),
            Err(error) => return Verified::failed(error),
        }
        let told = [(missing.len(), "admitted addresses"), (surplus.len(), "addresses too many that are admitted")];
        let mended = told.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        Verified { mended: mended.collect(), ..Verified::default() }
    }

    /// Removes and adds elements, in as few transactions as the kernel takes.
    fn commit_admitted(&mut self, gone: &BTreeSet<IpNet>, come: &BTreeSet<IpNet>) -> Result<(), Unmade> {
        let made = self.try_to_commit_admitted(gone, come);
        self.elements_in_doubt |= made.is_err();
        made
    }

    fn try_to_commit_admitted(&mut self, gone: &BTreeSet<IpNet>, come: &BTreeSet<IpNet>) -> Result<(), Unmade> {
        let list = List::Admitted;
        let networks = self.admitted.networks.clone();
        self.change_ranges(list, gone, come, &networks)?;
        let hosts = |nets: &BTreeSet<IpNet>| {
            let hosts = nets.iter().filter(|net| !Set::of(net).has_ranges());
            hosts.map(|net| (*net, None)).collect::<Vec<(IpNet, Option<u64>)>>()
        };
        for gone in hosts(gone).chunks(ROOM) {
            self.commit_elements(|batch| replace(batch, list, gone, &[]))?;
        }
        for come in hosts(come).chunks(ROOM) {
            self.commit_elements(|batch| replace(batch, list, &[], come))?;
        }
        Ok(())
    }
}

impl Shield for Nft {
    fn admit(&mut self, nets: &[IpNet]) -> Result<(), Error> {
        let room = MOST_ADMITTED.saturating_sub(self.admitted.nets.len());
        let new = nets.iter().copied().filter(|net| !self.admitted.nets.contains(net)).take(room);
        let new: BTreeSet<IpNet> = new.collect();
        let (gone, come) = self.admitted.add(new);
        Ok(self.commit_admitted(&gone, &come)?)
    }

    fn admit_only(&mut self, nets: &[IpNet]) -> Result<(), Error> {
        let nets: BTreeSet<IpNet> = nets.iter().copied().take(MOST_ADMITTED).collect();
        if nets == self.admitted.nets {
            return Ok(());
        }
        let before = self.admitted.elements();
        self.admitted = Admitted::new(nets);
        let wanted = self.admitted.elements();
        Ok(self.commit_admitted(&(&before - &wanted), &(&wanted - &before))?)
    }

    fn shed(&mut self) -> Result<Vec<Shed>, Error> {
        let mut shed = Vec::new();
        for (name, excess) in strangers::LOSERS {
            let elements = shown::elements(&self.netlink, &self.plan.table, name)?;
            let of = |element: Element| {
                let bits = if element.address.is_ipv4() { 32 } else { 64 };
                let source = IpNet::new(element.address, bits).ok()?.trunc();
                Some(Shed { source, excess, packets: element.packets.unwrap_or_default() })
            };
            shed.extend(elements.into_iter().filter_map(of));
        }
        Ok(shed)
    }
}
