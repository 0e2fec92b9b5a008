//! What the console asks of the fleet.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::Owner;
use crate::console::request::{FleetBlock, FleetStatus, MemberStatus};
use crate::fleet::Order;
use crate::fleet::sign::Sign;
use crate::fleet::votes::Memory;
use crate::metrics;
use crate::model::block::{Block, BlockLine};
use crate::model::clock::{Now, UnixTime};

impl Owner {
    /// The administrator unblocks it here: no vote of others brings it back before the longest block of it was to end.
    /// True if others had it blocked.
    pub(in crate::owner) fn unblock_others(&mut self, net: &IpNet, now: Now) -> bool {
        let Some(mut others) = self.others.take() else { return false };
        let theirs = others.book.get(net).copied();
        let ours = self.book.get(net).copied();
        if let Some(end) = theirs.into_iter().chain(ours).map(|block| block.end).max() {
            others.votes.bury(*net, end);
            let frees = theirs.iter().map(|_| (*net, "Manual Unblock")).collect();
            self.change_others(&mut others, Vec::new(), frees, now);
            // At once; should this not be taken, with all the rest.
            others.link.order(Order::Note(Memory::Tombstone(*net, end)));
            others.changed = true;
        }
        self.others = Some(others);
        theirs.is_some()
    }

    /// The administrator blocks it here: what he unblocked before counts no more.
    pub(in crate::owner) fn dig_up(&mut self, net: &IpNet) {
        if let Some(others) = &mut self.others {
            others.changed |= others.votes.dig_up(net);
        }
    }

    /// Frees all that is blocked because others say so; their votes until now are forgotten. Returns how many; `None`
    /// without a fleet.
    pub(in crate::owner) fn flush_others(&mut self, now: Now) -> Option<usize> {
        let mut others = self.others.take()?;
        others.votes.forget_votes();
        others.doubtful.clear();
        let all: Vec<_> = others.book.by_end().map(|(net, _)| (net, "Flush")).collect();
        let count = all.len();
        self.change_others(&mut others, Vec::new(), all, now);
        others.remember(now);
        self.others = Some(others);
        Some(count)
    }

    /// The blocks of others as the console lists them, soonest end first.
    pub(in crate::owner) fn lines_of_others(&self, now: UnixTime) -> Vec<BlockLine> {
        let Some(others) = &self.others else { return Vec::new() };
        let line = |(net, block): (IpNet, Block)| BlockLine {
            net,
            end: block.end,
            reason: block.reason,
            origin: Some(others.votes.origins(&net, now).join(", ")),
        };
        others.book.by_end().map(line).collect()
    }

    /// What others say of an address.
    pub(in crate::owner) fn fleet_on(&mut self, address: IpAddr, now: UnixTime) -> Option<FleetBlock> {
        let mut others = self.others.take()?;
        let net = IpNet::from(address);
        let block = others.book.covering(&net);
        let of = block.map_or(net, |(net, _)| net);
        let origins: Vec<String> = others.votes.origins(&of, now).into_iter().map(str::to_owned).collect();
        let spared = match block {
            Some(_) => None,
            None => others.votes.pardon(&net, now).map(|_| "pardoned".to_owned()).or(self.why_spared(&others, &net)),
        };
        let packets = block.and_then(|(net, _)| others.firewall.packets(&net));
        self.others = Some(others);
        let known = !origins.is_empty() || block.is_some();
        known.then(|| FleetBlock { until: block.map(|(_, block)| block.end), origins, spared, packets })
    }

    /// The fleet for `status`.
    pub(in crate::owner) fn fleet_status(&self, now: UnixTime) -> Option<FleetStatus> {
        let others = self.others.as_ref()?;
        let votes = |name: &str| others.votes.members().find(|(of, _)| *of == name).map_or(0, |(_, votes)| votes);
        let member = |sign: &Sign| MemberStatus {
            votes: votes(&sign.name),
            name: sign.name.clone(),
            version: sign.content.as_ref().map(|content| content.version.clone()),
        };
        let [reading, writing] = others.links.clone();
        let gone = [&reading, &writing].into_iter().filter(|link| !link.up).map(|link| now.since(link.since)).max();
        Some(FleetStatus {
            name: self.config.fleet.name.clone(),
            members: others.members.iter().map(member).collect(),
            blocks: others.book.len(),
            votes: others.votes.len(),
            reading,
            writing,
            gone,
            behind: others.behind.as_secs(),
            waiting: others.link.waiting(),
            missed: others.link.missed(),
            unfit: others.unfit,
            firewall: others.firewall.describe(),
        })
    }

    /// The blocks of others that are in force, each with the PBX that wants it longest.
    pub(in crate::owner) fn blocks_of_others(&self, now: UnixTime) -> Vec<(String, IpNet, Block)> {
        let Some(others) = &self.others else { return Vec::new() };
        let first = |net: &IpNet| others.votes.origins(net, now).first().map_or("nobody", |name| *name).to_owned();
        others.book.by_end().map(|(net, block)| (first(&net), net, block)).collect()
    }

    /// How the fleet is doing, in numbers.
    pub(in crate::owner) fn fleet_measures(&self, now: UnixTime) -> Option<metrics::Fleet> {
        let others = self.others.as_ref()?;
        let [reading, writing] = &others.links;
        let unread = if reading.up { 0 } else { now.since(reading.since) };
        Some(metrics::Fleet {
            reading: reading.up,
            writing: writing.up,
            members: others.members.iter().filter(|sign| sign.content.is_some()).count() as u64,
            lag: unread.max(others.behind.as_secs()),
            waiting: others.link.waiting(),
            missed: others.link.missed(),
            unfit: others.unfit,
        })
    }

    /// Packets dropped because of what others block, where the kernel counts them together.
    pub(in crate::owner) fn dropped_for_others(&mut self) -> Option<u64> {
        self.others.as_mut()?.firewall.dropped()
    }

    /// Each member, with the number of its blocks that count.
    pub(in crate::owner) fn votes_of_members(&self) -> Vec<(String, u64)> {
        let members = self.others.iter().flat_map(|others| others.votes.members());
        members.map(|(name, votes)| (name.to_owned(), votes as u64)).collect()
    }
}
