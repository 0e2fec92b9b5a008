//! Who of the fleet says that an address is to be blocked, and whether that is enough.
//!
//! INVARIANT: no origin has more than [`MOST_LIVE`] votes, no vote lasts longer than what it was heard with, and what
//! was pardoned, here or by the admin, is not wanted whoever votes for it.
//!
//! PURE: no clock, no I/O.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::fleet::budget::MOST_LIVE;
use crate::fleet::entry::{Entry, Live};
use crate::fleet::pardons::Pardons;
use crate::fleet::place::Id;
use crate::model::block::Reason;
use crate::model::clock::UnixTime;
use crate::model::member::ADMIN;

/// At most this many members count. Of others nothing is read.
pub const MOST_MEMBERS: usize = 256;

/// All votes, by what they are about.
#[derive(Clone, Debug, Default)]
pub struct Votes {
    members: Vec<Member>,
    votes: BTreeMap<(IpNet, u16), Vote>,
    /// What the admin pardoned everywhere.
    pardons: Pardons,
    /// What was unblocked here.
    tombstones: Pardons,
}

#[derive(Clone, Debug)]
struct Member {
    name: String,
    read: Option<Id>,
    live: usize,
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
        let member = self.member(origin)?;
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
        let Some(member) = self.member(origin) else { return Vec::new() };
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
    pub fn read_up_to(&mut self, origin: &str, id: Id) {
        if let Some(member) = self.member(origin) {
            self.members[usize::from(member)].read = Some(id);
        }
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
            members[usize::from(*member)].live -= usize::from(!keep);
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
    }

    /// Takes over what an earlier process knew.
    pub fn restore(&mut self, memory: Memory, now: UnixTime) {
        match memory {
            Memory::Read(name, id) => self.read_up_to(&name, id),
            Memory::Vote(name, net, end, reason) => {
                if let Some(member) = self.member(&name) {
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
        let vote = |(&(net, member), vote): (&(IpNet, u16), &Vote)| {
            Memory::Vote(self.members[usize::from(member)].name.clone(), net, vote.end, vote.reason)
        };
        let pardons = self.pardons.iter().map(|(net, end)| Memory::Pardon(net, end));
        let tombstones = self.tombstones.iter().map(|(net, end)| Memory::Tombstone(net, end));
        self.members.iter().filter_map(read).chain(self.votes.iter().map(vote)).chain(pardons).chain(tombstones)
    }

    fn vote(&mut self, member: u16, net: IpNet, seconds: u64, reason: Reason, now: UnixTime) -> Option<IpNet> {
        let live = &mut self.members[usize::from(member)].live;
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
        self.members[usize::from(member)].live -= 1;
        Some(net)
    }

    /// The votes on exactly this.
    fn on(&self, net: &IpNet, now: UnixTime) -> Vec<(&str, Vote)> {
        let votes = self.votes.range((*net, 0)..=(*net, u16::MAX)).filter(|(_, vote)| vote.end > now);
        votes.map(|((_, member), vote)| (self.members[usize::from(*member)].name.as_str(), *vote)).collect()
    }

    fn of(&self, member: u16) -> impl Iterator<Item = (&IpNet, &Vote)> {
        self.votes.iter().filter(move |((_, of), _)| *of == member).map(|((net, _), vote)| (net, vote))
    }

    /// The number of a member, which it gets when it is first heard of.
    fn member(&mut self, name: &str) -> Option<u16> {
        let known = self.members.iter().position(|member| member.name == name);
        let place = known.unwrap_or(self.members.len());
        if place >= MOST_MEMBERS {
            return None;
        }
        if known.is_none() {
            self.members.push(Member { name: name.to_owned(), read: None, live: 0 });
        }
        u16::try_from(place).ok()
    }
}

#[cfg(test)]
mod tests;
