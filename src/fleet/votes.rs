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
use crate::fleet::place::Id;
use crate::model::block::Reason;
use crate::model::clock::UnixTime;
use crate::model::member::ADMIN;

/// At most this many members count. Of others nothing is read.
pub const MOST_MEMBERS: usize = 256;

/// At most this many pardons are kept of each kind; of more, those that end soonest go.
pub const MOST_PARDONS: usize = 10_000;

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

/// What is pardoned, and until when.
type Pardons = BTreeMap<IpNet, UnixTime>;

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
                put(&mut self.pardons, net, now + seconds.min(longest));
                Some(net)
            }
            Entry::Unpardon(net) => self.pardons.remove(&net).map(|_| net),
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
                let ended: Vec<IpNet> = self.pardons.keys().filter(|net| !held.contains(*net)).copied().collect();
                self.pardons.retain(|net, _| held.contains(net));
                changed.extend(ended);
            }
        }
        for &(Live { net, reason }, seconds) in set {
            match reason {
                Some(reason) => changed.extend(self.vote(member, net, seconds.min(longest), reason, now)),
                None => {
                    put(&mut self.pardons, net, now + seconds.min(longest));
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
        put(&mut self.tombstones, net, until);
    }

    /// Whoever blocks by hand what he unblocked before means it.
    pub fn dig_up(&mut self, net: &IpNet) -> bool {
        self.tombstones.remove(net).is_some()
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
        let until = |pardons: &Pardons| {
            let around = (0..=net.prefix_len()).filter_map(|len| IpNet::new(net.addr(), len).ok());
            let ends = around.filter_map(|around| pardons.get(&around.trunc()).copied());
            if pardons.is_empty() { None } else { ends.max() }
        };
        until(&self.pardons).max(until(&self.tombstones)).filter(|end| *end > now)
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
        self.pardons.retain(|_, end| *end > now);
        self.tombstones.retain(|_, end| *end > now);
    }

    /// The wall clock was set: moves all ends by as much.
    pub fn shift(&mut self, shift: impl Fn(UnixTime) -> UnixTime) {
        self.votes.values_mut().for_each(|vote| vote.end = shift(vote.end));
        self.pardons.values_mut().chain(self.tombstones.values_mut()).for_each(|end| *end = shift(*end));
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
            Memory::Pardon(net, end) => put(&mut self.pardons, net, end),
            Memory::Tombstone(net, end) => put(&mut self.tombstones, net, end),
        }
    }

    /// All that is to be remembered beyond this process.
    pub fn memories(&self) -> impl Iterator<Item = Memory> + '_ {
        let read = |member: &Member| Some(Memory::Read(member.name.clone(), member.read?));
        let vote = |(&(net, member), vote): (&(IpNet, u16), &Vote)| {
            Memory::Vote(self.members[usize::from(member)].name.clone(), net, vote.end, vote.reason)
        };
        let pardons = self.pardons.iter().map(|(net, end)| Memory::Pardon(*net, *end));
        let tombstones = self.tombstones.iter().map(|(net, end)| Memory::Tombstone(*net, *end));
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

fn put(pardons: &mut Pardons, net: IpNet, end: UnixTime) {
    pardons.insert(net, end);
    if pardons.len() > MOST_PARDONS {
        let soonest = pardons.iter().min_by_key(|(_, end)| **end).map(|(net, _)| *net);
        soonest.map(|net| pardons.remove(&net));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::net::Plain;

    const NOW: UnixTime = UnixTime(1_000);
    const DAY: u64 = 86_400;

    fn net(text: &str) -> IpNet {
        text.parse::<Plain>().unwrap().0
    }

    fn block(net: IpNet, seconds: u64) -> Entry {
        Entry::Block { net, reason: Reason::InvalidAccount, seconds }
    }

    fn hear(votes: &mut Votes, origin: &str, text: &str, seconds: u64) -> Option<IpNet> {
        votes.hear(origin, block(net(text), seconds), DAY, NOW)
    }

    fn end(votes: &Votes, text: &str, needed: usize) -> Option<u64> {
        votes.word(&net(text), needed, NOW).map(|word| word.end.since(NOW))
    }

    #[test]
    fn a_block_lasts_as_long_as_enough_members_want_it() {
        let mut votes = Votes::default();
        for (origin, seconds) in [("pbx1", 100), ("pbx2", 300), ("pbx3", 200)] {
            assert_eq!(hear(&mut votes, origin, "198.51.100.7", seconds), Some(net("198.51.100.7")));
        }
        let ends: Vec<_> = (1..=4).map(|needed| end(&votes, "198.51.100.7", needed)).collect();
        assert_eq!(ends, [Some(300), Some(200), Some(100), None]);
        let word = votes.word(&net("198.51.100.7"), 1, NOW).unwrap();
        assert_eq!(word.origins, ["pbx2", "pbx3", "pbx1"]);
        assert_eq!(votes.word(&net("198.51.100.7"), 2, NOW + 250), None);
    }

    #[test]
    fn one_member_says_it_as_often_as_it_likes_and_has_one_vote() {
        let mut votes = Votes::default();
        for seconds in 1..9 {
            hear(&mut votes, "mad", "198.51.100.7", seconds);
        }
        assert_eq!(end(&votes, "198.51.100.7", 1), Some(8));
        assert_eq!(end(&votes, "198.51.100.7", 2), None);
        assert_eq!(votes.len(), 1);
    }

    #[test]
    fn the_admin_needs_nobody_elses_vote() {
        let mut votes = Votes::default();
        hear(&mut votes, ADMIN, "198.51.100.0/24", 50);
        assert_eq!(end(&votes, "198.51.100.0/24", 3), Some(50));
    }

    #[test]
    fn time_is_cut_to_our_own() {
        let mut votes = Votes::default();
        hear(&mut votes, "pbx1", "198.51.100.7", u64::MAX);
        assert_eq!(end(&votes, "198.51.100.7", 1), Some(DAY));
        assert_eq!(hear(&mut votes, "pbx1", "198.51.100.8", 0), None);
        votes.expire(NOW + DAY);
        assert!(votes.is_empty());
        assert_eq!(votes.members().collect::<Vec<_>>(), [("pbx1", 0)]);
    }

    #[test]
    fn an_origin_has_so_many_votes_and_no_more_and_takes_no_others_place() {
        let mut votes = Votes::default();
        hear(&mut votes, "pbx1", "198.51.100.7", 60);
        let address = |n: usize| IpNet::from(std::net::IpAddr::from((n as u32 + (11 << 24)).to_be_bytes()));
        let heard = (0..MOST_LIVE + 10).filter_map(|n| votes.hear("mad", block(address(n), 60), DAY, NOW)).count();
        assert_eq!(heard, MOST_LIVE);
        assert_eq!(votes.len(), MOST_LIVE + 1);
        // One that ends makes room for one.
        assert!(votes.hear("mad", Entry::Unblock(address(0)), DAY, NOW).is_some());
        assert!(votes.hear("mad", block(address(MOST_LIVE), 60), DAY, NOW).is_some());
        assert!(votes.hear("mad", block(address(MOST_LIVE + 1), 60), DAY, NOW).is_none());
    }

    #[test]
    fn of_more_members_than_count_nothing_is_kept() {
        let mut votes = Votes::default();
        for n in 0..MOST_MEMBERS + 5 {
            hear(&mut votes, &format!("pbx{n}"), "198.51.100.7", 60);
        }
        assert_eq!(votes.len(), MOST_MEMBERS);
        assert_eq!(votes.members().count(), MOST_MEMBERS);
    }

    #[test]
    fn an_unblock_withdraws_the_vote_of_its_origin_alone() {
        let mut votes = Votes::default();
        hear(&mut votes, "pbx1", "198.51.100.7", 60);
        hear(&mut votes, "pbx2", "198.51.100.7", 60);
        let unblock = Entry::Unblock(net("198.51.100.7"));
        assert!(votes.hear("pbx3", unblock, DAY, NOW).is_none());
        assert!(votes.hear("pbx1", unblock, DAY, NOW).is_some());
        assert_eq!(votes.origins(&net("198.51.100.7"), NOW), ["pbx2"]);
    }

    #[test]
    fn what_was_unblocked_here_no_vote_brings_back_until_it_would_have_ended() {
        let mut votes = Votes::default();
        hear(&mut votes, "pbx1", "198.51.100.7", 60);
        votes.bury(net("198.51.100.7"), NOW + 60);
        hear(&mut votes, "pbx2", "198.51.100.7", DAY);
        assert_eq!(end(&votes, "198.51.100.7", 1), None);
        assert!(votes.word(&net("198.51.100.7"), 1, NOW + 61).is_some());
        assert!(votes.dig_up(&net("198.51.100.7")));
        assert_eq!(end(&votes, "198.51.100.7", 1), Some(DAY));
    }

    #[test]
    fn a_pardon_of_a_network_is_one_of_all_in_it_and_can_be_taken_back() {
        let mut votes = Votes::default();
        hear(&mut votes, "pbx1", "198.51.100.7", 60);
        let pardon = Entry::Pardon { net: net("198.51.100.0/24"), seconds: 30 };
        assert_eq!(votes.hear(ADMIN, pardon, DAY, NOW), Some(net("198.51.100.0/24")));
        assert_eq!(end(&votes, "198.51.100.7", 1), None);
        assert_eq!(votes.within(&net("198.51.100.0/24")), [net("198.51.100.7")]);
        votes.hear(ADMIN, Entry::Unpardon(net("198.51.100.0/24")), DAY, NOW);
        assert_eq!(end(&votes, "198.51.100.7", 1), Some(60));
    }

    #[test]
    fn pardons_are_bounded_and_those_that_end_soonest_go() {
        let mut votes = Votes::default();
        for n in 0..MOST_PARDONS as u32 + 7 {
            votes.bury(IpNet::from(std::net::IpAddr::from((n + (11 << 24)).to_be_bytes())), NOW + 10 + u64::from(n));
        }
        assert_eq!(votes.tombstones.len(), MOST_PARDONS);
        assert!(votes.pardon(&net("11.0.0.6"), NOW).is_none() && votes.pardon(&net("11.0.0.7"), NOW).is_some());
    }

    #[test]
    fn a_whole_set_ends_what_it_lacks_and_one_that_may_not_be_whole_ends_nothing() {
        let live = |text: &str| (Live { net: net(text), reason: Some(Reason::FailedAcl) }, 60);
        for (lacks, left) in [(Lacks::Unknown, 3), (Lacks::Ended, 2)] {
            let mut votes = Votes::default();
            hear(&mut votes, "pbx2", "198.51.100.9", 60);
            hear(&mut votes, "pbx1", "198.51.100.7", 60);
            votes.hear_set("pbx1", &[live("198.51.100.8")], lacks, DAY, NOW);
            assert_eq!(votes.len(), left);
            assert!(end(&votes, "198.51.100.8", 1).is_some() && end(&votes, "198.51.100.9", 1).is_some());
            assert_eq!(end(&votes, "198.51.100.7", 1).is_some(), lacks == Lacks::Unknown);
        }
    }

    #[test]
    fn a_set_that_says_what_is_known_changes_nothing() {
        let mut votes = Votes::default();
        let set = [(Live { net: net("198.51.100.8"), reason: Some(Reason::FailedAcl) }, 60)];
        assert_eq!(votes.hear_set("pbx1", &set, Lacks::Ended, DAY, NOW).len(), 1);
        assert_eq!(votes.hear_set("pbx1", &set, Lacks::Ended, DAY, NOW).len(), 0);
    }

    #[test]
    fn what_is_remembered_is_what_was_known() {
        let mut votes = Votes::default();
        hear(&mut votes, "pbx1", "198.51.100.7", 60);
        hear(&mut votes, ADMIN, "198.51.100.0/24", 90);
        votes.hear(ADMIN, Entry::Pardon { net: net("203.0.113.0/24"), seconds: 30 }, DAY, NOW);
        votes.bury(net("203.0.113.7"), NOW + 9);
        votes.read_up_to("pbx1", Id { milliseconds: 7, number: 1 });
        let mut again = Votes::default();
        votes.memories().for_each(|memory| again.restore(memory, NOW));
        let mut memories: [Vec<String>; 2] =
            [&votes, &again].map(|votes| votes.memories().map(|memory| format!("{memory:?}")).collect());
        memories.iter_mut().for_each(|memories| memories.sort());
        assert_eq!(memories[0], memories[1]);
        assert_eq!(memories[0].len(), 5);
    }

    #[test]
    fn ends_move_with_a_clock_that_was_set() {
        let mut votes = Votes::default();
        hear(&mut votes, "pbx1", "198.51.100.7", 60);
        votes.shift(|at| at + 1_000);
        assert_eq!(votes.word(&net("198.51.100.7"), 1, NOW + 1_000).map(|word| word.end), Some(NOW + 1_060));
    }
}
