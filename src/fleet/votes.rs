//! Who of the fleet says that an address is to be blocked, and whether that is enough.
//!
//! INVARIANT: no origin has more than [`MOST_LIVE`] votes, no vote lasts longer than what it was heard with, and what
//! was pardoned, here or by the admin, is not wanted whoever votes for it.
//!
//! PURE: no clock, no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::fleet::budget::MOST_LIVE;
use crate::fleet::entry::{Entry, Live};
use crate::fleet::members::{Member, Members};
use crate::fleet::pardons::Pardons;
use crate::fleet::place::Id;
use crate::fleet::sign::Sign;
use crate::model::block::Reason;
use crate::model::clock::UnixTime;
use crate::model::member::ADMIN;

/// All votes, by what they are about.
#[derive(Clone, Debug, Default)]
pub struct Votes {
    members: Members,
    votes: BTreeMap<(IpNet, u16), Vote>,
    /// What the admin pardoned everywhere.
    pardons: Pardons,
    /// What was unblocked here.
    tombstones: Pardons,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Vote {
    end: UnixTime,
    reason: Reason,
}

/// What those who voted for a block come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word<'a> {
    /// Until when enough of them want it.
    pub end: UnixTime,
    /// Why, in the words of the one who wants it longest.
    pub reason: Reason,
    /// Who they are, the one who wants it longest first.
    pub origins: Vec<&'a str>,
}

/// What became of the set of an origin's live blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacks {
    /// What the set lacks is blocked no more.
    Ended,
    /// What it lacks may only not be there again yet.
    Unknown,
}

/// What is remembered of the fleet beyond this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Memory {
    /// The stream of a member was read up to here.
    Read(String, Id),
    /// A member's own addresses.
    Addresses(String, Vec<IpAddr>),
    /// A member's vote.
    Vote(String, IpNet, UnixTime, Reason),
    /// The admin's pardon.
    Pardon(IpNet, UnixTime),
    /// What was unblocked here.
    Tombstone(IpNet, UnixTime),
}

impl Votes {
    /// Takes in what an origin says. Its time is cut to `longest` seconds. Returns what is to be thought over: this
    /// network and all within it.
    pub fn hear(&mut self, origin: &str, entry: Entry, longest: u64, now: UnixTime) -> Option<IpNet> {
        let member = self.members.place(origin, now)?;
        match entry {
            Entry::Block { net, reason, seconds } => self.vote(member, net, seconds.min(longest), reason, now),
            Entry::Unblock(net) => self.withdraw(member, net),
            Entry::Pardon { net, seconds } => {
                self.pardons.put(net, now + seconds.min(longest));
                Some(net)
            }
            Entry::Unpardon(net) => self.pardons.remove(&net).then_some(net),
            Entry::Whole => None,
        }
    }

    /// Takes in an origin's live blocks, each with the seconds it has left. Returns what is to be thought over.
    pub fn hear_set(
        &mut self,
        origin: &str,
        set: &[(Live, u64)],
        lacks: Lacks,
        longest: u64,
        now: UnixTime,
    ) -> Vec<IpNet> {
        let Some(member) = self.members.place(origin, now) else { return Vec::new() };
        let mut changed = Vec::new();
        if lacks == Lacks::Ended {
            let held: BTreeSet<IpNet> = set.iter().map(|(live, _)| live.net).collect();
            let ended: Vec<IpNet> = self.of(member).map(|(net, _)| *net).filter(|net| !held.contains(net)).collect();
            changed.extend(ended.into_iter().filter_map(|net| self.withdraw(member, net)));
            if origin == ADMIN {
                changed.extend(self.pardons.keep_only(&held));
            }
        }
        for &(Live { net, reason }, seconds) in set {
            match reason {
                Some(reason) => changed.extend(self.vote(member, net, seconds.min(longest), reason, now)),
                None => {
                    self.pardons.put(net, now + seconds.min(longest));
                    changed.push(net);
                }
            }
        }
        changed
    }

    /// Notes how far the stream of an origin was read.
    pub fn read_up_to(&mut self, origin: &str, id: Id, now: UnixTime) {
        if let Some(member) = self.members.place(origin, now) {
            self.members.at_mut(member).read = Some(id);
        }
    }

    /// Notes who is there. Returns what is to be thought over, because one that is not gave its place to one that is.
    pub fn meet(&mut self, signs: &[Sign], now: UnixTime) -> Vec<IpNet> {
        let given = self.members.meet(signs, now);
        let lost: Vec<IpNet> = given.iter().flat_map(|member| self.of(*member)).map(|(net, _)| *net).collect();
        if !given.is_empty() {
            self.votes.retain(|(_, member), _| !given.contains(member));
        }
        lost
    }

    /// The addresses that members call their own.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.members.iter().flat_map(|member| member.addresses.iter().copied())
    }

    /// What was unblocked here stays so, whoever votes for it, until the votes there are by then have ended.
    pub fn bury(&mut self, net: IpNet, until: UnixTime) {
        self.tombstones.put(net, until);
    }

    /// Whoever blocks by hand what he unblocked before means it.
    pub fn dig_up(&mut self, net: &IpNet) -> bool {
        self.tombstones.remove(net)
    }

    /// Whether this address or network is to be blocked: if `needed` members say so, or the admin.
    pub fn word(&self, net: &IpNet, needed: usize, now: UnixTime) -> Option<Word<'_>> {
        if self.pardon(net, now).is_some() {
            return None;
        }
        let mut votes = self.on(net, now);
        votes.sort_by_key(|(_, vote)| std::cmp::Reverse(vote.end));
        let (_, longest) = *votes.first()?;
        let admins = votes.iter().find(|(name, _)| *name == ADMIN).map(|(_, vote)| vote.end);
        let enough = votes.get(needed.saturating_sub(1)).map(|(_, vote)| vote.end);
        let end = admins.max(enough)?;
        Some(Word { end, reason: longest.reason, origins: votes.into_iter().map(|(name, _)| name).collect() })
    }

    /// Who says that exactly this is to be blocked, enough or not, the one who wants it longest first.
    pub fn origins(&self, net: &IpNet, now: UnixTime) -> Vec<&str> {
        let mut votes = self.on(net, now);
        votes.sort_by_key(|(_, vote)| std::cmp::Reverse(vote.end));
        votes.into_iter().map(|(name, _)| name).collect()
    }

    /// Until when this is pardoned, here or by the admin.
    pub fn pardon(&self, net: &IpNet, now: UnixTime) -> Option<UnixTime> {
        self.pardons.around(net).max(self.tombstones.around(net)).filter(|end| *end > now)
    }

    /// All that anybody voted for within this network, each once.
    pub fn within(&self, net: &IpNet) -> Vec<IpNet> {
        let from = IpNet::new(net.network(), net.prefix_len()).unwrap_or(*net);
        let inside = self.votes.range((from, 0)..).map(|((held, _), _)| *held);
        let mut inside: Vec<IpNet> =
            inside.take_while(|held| held.addr() <= net.broadcast()).filter(|held| net.contains(held)).collect();
        inside.dedup();
        inside
    }

    /// Everything that anybody voted for, each once.
    pub fn all(&self) -> Vec<IpNet> {
        let mut all: Vec<IpNet> = self.votes.keys().map(|(net, _)| *net).collect();
        all.dedup();
        all
    }

    /// Forgets all votes; pardons and how far was read stay.
    pub fn forget_votes(&mut self) {
        self.votes.clear();
        self.members.iter_mut().for_each(|member| member.live = 0);
    }

    /// How many votes there are.
    pub fn len(&self) -> usize {
        self.votes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.votes.is_empty()
    }

    /// Each member that was heard, with the number of its votes.
    pub fn members(&self) -> impl Iterator<Item = (&str, usize)> {
        self.members.iter().map(|member| (member.name.as_str(), member.live))
    }

    /// Drops what has ended.
    pub fn expire(&mut self, now: UnixTime) {
        let members = &mut self.members;
        self.votes.retain(|(_, member), vote| {
            let keep = vote.end > now;
            members.at_mut(*member).live -= usize::from(!keep);
            keep
        });
        self.pardons.expire(now);
        self.tombstones.expire(now);
    }

    /// The wall clock was set: moves all ends by as much.
    pub fn shift(&mut self, shift: impl Fn(UnixTime) -> UnixTime) {
        self.votes.values_mut().for_each(|vote| vote.end = shift(vote.end));
        self.pardons.shift(&shift);
        self.tombstones.shift(&shift);
        self.members.shift(&shift);
    }

    /// Takes over what an earlier process knew.
    pub fn restore(&mut self, memory: Memory, now: UnixTime) {
        match memory {
            Memory::Read(name, id) => self.read_up_to(&name, id, now),
            Memory::Addresses(name, addresses) => {
                if let Some(member) = self.members.place(&name, now) {
                    self.members.at_mut(member).addresses = addresses;
                }
            }
            Memory::Vote(name, net, end, reason) => {
                if let Some(member) = self.members.place(&name, now) {
                    self.vote(member, net, end.since(now), reason, now);
                }
            }
            Memory::Pardon(net, end) => self.pardons.put(net, end),
            Memory::Tombstone(net, end) => self.tombstones.put(net, end),
        }
    }

    /// All that is to be remembered beyond this process.
    pub fn memories(&self) -> impl Iterator<Item = Memory> + '_ {
        let read = |member: &Member| Some(Memory::Read(member.name.clone(), member.read?));
        let own = |member: &Member| {
            let addresses = Some(&member.addresses).filter(|addresses| !addresses.is_empty());
            addresses.map(|addresses| Memory::Addresses(member.name.clone(), addresses.clone()))
        };
        let vote = |(&(net, member), vote): (&(IpNet, u16), &Vote)| {
            Memory::Vote(self.members.at(member).name.clone(), net, vote.end, vote.reason)
        };
        let pardons = self.pardons.iter().map(|(net, end)| Memory::Pardon(net, end));
        let tombstones = self.tombstones.iter().map(|(net, end)| Memory::Tombstone(net, end));
        let members = self.members.iter().filter_map(read).chain(self.members.iter().filter_map(own));
        members.chain(self.votes.iter().map(vote)).chain(pardons).chain(tombstones)
    }

    fn vote(&mut self, member: u16, net: IpNet, seconds: u64, reason: Reason, now: UnixTime) -> Option<IpNet> {
        let live = &mut self.members.at_mut(member).live;
        let is_there = self.votes.contains_key(&(net, member));
        if seconds == 0 || !is_there && *live >= MOST_LIVE {
            return None;
        }
        *live += usize::from(!is_there);
        let vote = Vote { end: now + seconds, reason };
        (self.votes.insert((net, member), vote) != Some(vote)).then_some(net)
    }

    fn withdraw(&mut self, member: u16, net: IpNet) -> Option<IpNet> {
        self.votes.remove(&(net, member))?;
        self.members.at_mut(member).live -= 1;
        Some(net)
    }

    /// The votes on exactly this.
    fn on(&self, net: &IpNet, now: UnixTime) -> Vec<(&str, Vote)> {
        let votes = self.votes.range((*net, 0)..=(*net, u16::MAX)).filter(|(_, vote)| vote.end > now);
        votes.map(|((_, member), vote)| (self.members.at(*member).name.as_str(), *vote)).collect()
    }

    fn of(&self, member: u16) -> impl Iterator<Item = (&IpNet, &Vote)> {
        self.votes.iter().filter(move |((_, of), _)| *of == member).map(|((net, _), vote)| (net, vote))
    }
}

#[cfg(test)]
mod tests;
