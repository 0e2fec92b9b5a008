//! What the owner makes of the fleet: votes of others come into force, or not, in a firewall apart; blocks made here are
//! told.
//!
//! The blocks of others are kept by a second firewall of the same backend, whose chain, set or table has `-fleet` behind
//! its name: with rules and counters of its own, and so that nothing that happens to them touches a block made here.
//!
//! INVARIANT: the book of the others claims only what the kernel was seen to take, and nobody in it is protected, lives
//! here or is a member.

mod asked;
mod force;
mod members;

use std::collections::BTreeSet;
use std::ops::Bound;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use log::{Level, info, warn};

use super::startup::MakeFirewall;
use super::{Owner, passed};
use crate::console::request::LinkStatus;
use crate::firewall::{Change, Error, Firewall, Refused};
use crate::fleet::budget::MOST_LIVE;
use crate::fleet::entry::{Entry, Live, is_for_all};
use crate::fleet::sign::Sign;
use crate::fleet::votes::{Memory, Votes};
use crate::fleet::{Fleet, Heard, Order, memory};
use crate::logging::{Budget, escape};
use crate::model::allowlist::Allowlist;
use crate::model::block::{Block, Reason};
use crate::model::book::Book;
use crate::model::clock::{Now, UnixTime};
use crate::model::member::ADMIN;

/// Seconds until what could not come into force is thought over again.
const AGAIN: u64 = 10;

/// Seconds between two looks at what has ended.
const TIDY: u64 = 30;

/// Seconds between two writings of the file of what is remembered. What the administrator unblocked is written at once.
const REMEMBER: u64 = 300;

/// An end that moves by no more than this many seconds stays as it is in the kernel.
const SAME_END: u64 = 5;

/// At most this many changes of others' blocks are named in the log at once, and as many again in an hour; the rest is
/// counted. A member that went mad leaves room for what is blocked here.
const LINES: u64 = 20_000;

/// Seconds that a block lasts which was found in force without an end, until a vote says more.
const FOUND: u64 = 3_600;

/// What the owner needs for a fleet.
pub struct FleetParts {
    /// The threads.
    pub link: Fleet,
    /// Makes the firewall of the blocks of others, given the traffic to lead through it.
    pub firewall: MakeFirewall,
    /// What an earlier process knew.
    pub memories: Vec<Memory>,
    /// The file of that.
    pub memory: PathBuf,
}

/// The others, and what of theirs is in force.
pub(super) struct Others {
    link: Fleet,
    firewall: Box<dyn Firewall>,
    book: Book,
    votes: Votes,
    /// To be thought over again. No more than there are votes.
    doubtful: BTreeSet<IpNet>,
    /// The last of them that was.
    doubted: IpNet,
    thought: Now,
    /// Whose vote was withdrawn, since the last second: many are freed at the price of one.
    withdrawn: BTreeSet<IpNet>,
    members: Vec<Sign>,
    /// The members' own addresses.
    addresses: Allowlist,
    links: [LinkStatus; 2],
    behind: Duration,
    /// How often something counted for nothing.
    unfit: u64,
    memory: PathBuf,
    /// Whether there is anything new to remember, and when it was written last.
    changed: bool,
    remembered: Now,
    tidied: Now,
    verified: Now,
    lines: Budget,
}

impl Owner {
    /// Begins with what is remembered and what is in force.
    pub(super) fn join_fleet(&mut self, parts: FleetParts, now: Now) -> Result<(), Error> {
        let FleetParts { link, firewall, memories, memory } = parts;
        let mut firewall = firewall(&self.config, self.covered.traffic())?;
        let mut votes = Votes::default();
        memories.into_iter().for_each(|memory| votes.restore(memory, now.wall));
        let mut book = Book::default();
        for found in firewall.set_up(now.wall)? {
            let end = now.wall + found.remaining.unwrap_or(FOUND);
            book.insert(found.net, Block::new(now.wall, end, Reason::Adopted));
        }
        let never = LinkStatus { up: false, since: now.wall, text: "not tried yet".into() };
        let mut others = Others {
            link,
            firewall,
            doubtful: BTreeSet::new(),
            doubted: IpNet::default(),
            thought: now,
            withdrawn: BTreeSet::new(),
            members: Vec::new(),
            addresses: members::addresses(&votes),
            links: [never.clone(), never],
            behind: Duration::ZERO,
            unfit: 0,
            memory,
            changed: false,
            remembered: now,
            tidied: now,
            verified: now,
            lines: Budget::new(LINES),
            book,
            votes,
        };
        let found = others.book.by_end().map(|(net, _)| net).filter(|net| self.why_spared(&others, net).is_some());
        let change = Change { add: Vec::new(), remove: found.collect() };
        others.enforce(&change, now.wall);
        for net in &change.remove {
            others.book.remove(net);
        }
        let all = others.votes.all();
        self.think_over(&mut others, all, now);
        info!("FLEET => {}, {} blocks of others in force", others.firewall.describe(), others.book.len());
        self.others = Some(others);
        self.tell_own_addresses();
        Ok(())
    }

    /// The addresses of the other members.
    pub(super) fn member_addresses(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.others.iter().flat_map(|others| others.addresses.iter())
    }

    /// Takes in what the others say.
    pub(super) fn hear_fleet(&mut self, heard: Heard, now: Now) {
        let Some(mut others) = self.others.take() else { return };
        let longest = self.config.lengths.longest;
        match heard {
            Heard::Link(side, link) => self.note_link(&mut others, side, link, now),
            Heard::Members(signs) => {
                self.note_members(&mut others, signs, now);
                self.others = Some(others);
                return self.protect_in_lists();
            }
            Heard::Behind(behind) => others.behind = behind,
            Heard::Entries { origin, entries, read } => {
                let pardon = |entry: &Entry| match entry {
                    Entry::Pardon { net, .. } => Some(*net),
                    _ => None,
                };
                let pardoned: Vec<IpNet> = entries.iter().filter_map(pardon).collect();
                let mut nets = Vec::new();
                for entry in entries {
                    let can_wait = matches!(entry, Entry::Unblock(_)) && origin != ADMIN;
                    let net = others.votes.hear(&origin, entry, longest, now.wall);
                    if can_wait {
                        others.withdrawn.extend(net);
                    } else {
                        nets.extend(net);
                    }
                }
                others.votes.read_up_to(&origin, read, now.wall);
                others.changed = true;
                self.think_over_of(&origin, &mut others, nets, now);
                self.others = Some(others);
                return self.pardon(&pardoned, now);
            }
            Heard::Set { origin, set, lacks, read } => {
                let nets = others.votes.hear_set(&origin, &set, lacks, longest, now.wall);
                others.votes.read_up_to(&origin, read, now.wall);
                others.changed = true;
                self.think_over_of(&origin, &mut others, nets, now);
            }
            Heard::Unfit { origin, why } => {
                others.unfit += 1;
                let text = format!("FLEET => part of what {} says counts for nothing: {why}", escape(&origin));
                self.say_once(Level::Warn, &text, now);
            }
            Heard::WantAll => others.link.order(Order::All(self.all_to_tell(now.wall))),
        }
        self.others = Some(others);
    }

    /// What is to be done every second.
    pub(super) fn tick_fleet(&mut self, now: Now) {
        let Some(mut others) = self.others.take() else { return };
        let ended = others.book.due(now.wall);
        if !ended.is_empty() {
            self.change_others(
                &mut others,
                Vec::new(),
                ended.iter().map(|net| (*net, "Timeout Unblock")).collect(),
                now,
            );
        }
        let withdrawn = std::mem::take(&mut others.withdrawn);
        self.think_over(&mut others, withdrawn, now);
        if passed(others.thought, now) >= AGAIN {
            others.thought = now;
            let doubtful = others.take_doubtful();
            self.think_over(&mut others, doubtful, now);
        }
        if let Some(lines) = others.lines.unnamed(now) {
            info!("FLEET => {lines} changes more than are told one by one");
        }
        if passed(others.tidied, now) >= TIDY {
            others.tidied = now;
            others.votes.expire(now.wall);
        }
        if others.changed && passed(others.remembered, now) >= REMEMBER {
            others.remember(now);
        }
        if passed(others.verified, now) >= self.config.firewall.verify {
            others.verified = now;
            let verified = others.firewall.verify(&others.book, now.wall);
            self.tell_repair(&verified.mended, now);
            for why in &verified.failed {
                self.say_once(Level::Error, &format!("ERROR => {why}"), now);
            }
            for Refused { net, .. } in verified.lost {
                others.book.remove(&net);
                others.doubtful.insert(net);
            }
        }
        self.others = Some(others);
    }

    /// Whether others' blocks cover this.
    pub(super) fn is_blocked_by_others(&self, net: &IpNet) -> bool {
        self.others.as_ref().is_some_and(|others| others.book.covering(net).is_some())
    }

    /// Tells the others what was blocked and freed here.
    pub(super) fn tell_fleet(&self, blocked: &[(IpNet, Block)], freed: &[(IpNet, &'static str)], now: UnixTime) {
        let Some(others) = &self.others else { return };
        let is_told = |(net, block): &&(IpNet, Block)| is_for_all(net) && block.reason != Reason::Adopted;
        let blocks = blocked.iter().filter(is_told).map(|&(net, block)| Entry::Block {
            net,
            reason: block.reason,
            seconds: block.end.since(now),
        });
        // What has ended has ended for all.
        let frees = freed.iter().filter(|(net, why)| is_for_all(net) && *why != "Timeout Unblock");
        let entries: Vec<Entry> = blocks.chain(frees.map(|(net, _)| Entry::Unblock(*net))).collect();
        if !entries.is_empty() {
            others.link.order(Order::Tell(entries));
        }
    }

    /// The wall clock was set.
    pub(super) fn shift_others(&mut self, shift: impl Fn(UnixTime) -> UnixTime) {
        if let Some(others) = &mut self.others {
            others.book.shift(&shift);
            others.votes.shift(&shift);
        }
    }

    /// The firewall of the others' blocks.
    pub(super) fn firewall_of_others(&mut self) -> Option<(&mut Box<dyn Firewall>, &Book)> {
        self.others.as_mut().map(|others| (&mut others.firewall, &others.book))
    }

    /// Writes down what is known, for the next process.
    pub(super) fn leave_fleet(&mut self, now: UnixTime) {
        let Some(others) = &mut self.others else { return };
        others.votes.expire(now);
        if let Some(lines) = others.lines.finish() {
            info!("FLEET => {lines} changes more than are told one by one");
        }
        if let Err(why) = memory::save(&others.memory, &memory::text(others.votes.memories())) {
            log::error!("ERROR => cannot write {}: {why}", others.memory.display());
        }
    }

    /// All that is blocked here and that others are to know, the surest first where there is too much.
    fn all_to_tell(&self, now: UnixTime) -> Vec<(Live, u64)> {
        let told =
            self.book.least_sure().rev().filter(|(net, block)| is_for_all(net) && block.reason != Reason::Adopted);
        let live = |(net, block): (IpNet, Block)| (Live { net, reason: Some(block.reason) }, block.end.since(now));
        told.map(live).filter(|(_, left)| *left > 0).take(MOST_LIVE).collect()
    }

    fn tell_own_addresses(&self) {
        if let Some(others) = &self.others {
            let own = self.protection.machine().filter(|address| is_for_all(&IpNet::from(*address)));
            others.link.order(Order::Own(own.collect()));
        }
    }
}

impl Others {
    fn enforce(&mut self, change: &Change, now: UnixTime) -> Vec<Refused> {
        let applied = self.firewall.apply(&self.book, change, now);
        if !applied.mended.is_empty() {
            warn!("REPAIR => {} of the fleet's blocks", applied.mended.join(", "));
        }
        applied.refused
    }

    /// Some of those to be thought over again, in turn: there may be many for which there is no room.
    fn take_doubtful(&mut self) -> Vec<IpNet> {
        let later = self.doubtful.range((Bound::Excluded(self.doubted), Bound::Unbounded));
        let some: Vec<IpNet> = later.chain(self.doubtful.range(..=self.doubted)).take(MOST_LIVE).copied().collect();
        self.doubted = some.last().copied().unwrap_or_default();
        for net in &some {
            self.doubtful.remove(net);
        }
        some
    }

    fn remember(&mut self, now: Now) {
        self.remembered = now;
        self.changed = !self.link.remember(|| memory::text(self.votes.memories()));
    }
}
