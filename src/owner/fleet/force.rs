//! Which votes of others come into force here, and which do not.

use std::collections::BTreeSet;

use ipnet::IpNet;
use log::{Level, info};

use super::super::Owner;
use super::super::gate::Plan;
use super::{Others, SAME_END};
use crate::firewall::{Change, Refused};
use crate::fleet::votes::Word;
use crate::hook::Fact;
use crate::judge;
use crate::model::block::{Block, Proof};
use crate::model::clock::Now;
use crate::model::member::ADMIN;
use crate::model::net::Plain;

/// What is to become of an address that others block.
enum Stance {
    /// It is blocked.
    Block(Block, String),
    /// Nobody, or not enough, want it.
    Nothing(&'static str),
    /// It is not, because of this, in words.
    Spare(String),
    /// It stays as it is until this has passed.
    Wait,
}

impl Owner {
    /// Thinks over all that is in force: who is protected may have changed.
    pub(in crate::owner) fn spare_others(&mut self, now: Now) {
        let Some(mut others) = self.others.take() else { return };
        let spared = others.book.by_end().map(|(net, _)| net).filter(|net| self.why_spared(&others, net).is_some());
        let spared: Vec<IpNet> = spared.collect();
        self.think_over(&mut others, spared, now);
        self.others = Some(others);
        self.tell_own_addresses();
    }

    /// Thinks over what `origin` said something of. What the administrator says of a network is so for all within it.
    pub(super) fn think_over_of(&mut self, origin: &str, others: &mut Others, nets: Vec<IpNet>, now: Now) {
        if origin == ADMIN { self.think_over_within(others, nets, now) } else { self.think_over(others, nets, now) }
    }

    /// The same as [`Owner::think_over`] for these and all that others said of anything within them.
    pub(super) fn think_over_within(&mut self, others: &mut Others, nets: Vec<IpNet>, now: Now) {
        let is_wide = |net: &&IpNet| net.prefix_len() < net.max_prefix_len();
        let within: Vec<IpNet> = nets.iter().filter(is_wide).flat_map(|net| others.votes.within(net)).collect();
        let all: BTreeSet<IpNet> = nets.into_iter().chain(within).collect();
        self.think_over(others, all, now);
    }

    /// Decides what is to become of these, and does it.
    pub(super) fn think_over(&mut self, others: &mut Others, nets: impl IntoIterator<Item = IpNet>, now: Now) {
        let (mut blocks, mut frees) = (Vec::new(), Vec::new());
        let mut room = others.firewall.capacity().saturating_sub(others.book.len());
        for net in nets {
            let held = others.book.get(&net).copied();
            match self.stance(others, &net, now) {
                Stance::Block(..) if held.is_none() && room == 0 => drop(others.doubtful.insert(net)),
                Stance::Block(block, origins) => {
                    room -= usize::from(held.is_none());
                    let is_same =
                        |held: &Block| held.end.0.abs_diff(block.end.0) <= SAME_END && held.reason == block.reason;
                    if !held.as_ref().is_some_and(is_same) {
                        blocks.push((net, block, origins));
                    }
                }
                Stance::Nothing(why) => frees.extend(held.map(|_| (net, why))),
                Stance::Spare(text) => {
                    if self.spared.allow(Level::Info, &text, now) {
                        info!("{text}");
                    }
                    frees.extend(held.map(|_| (net, "White List")));
                }
                Stance::Wait => drop(others.doubtful.insert(net)),
            }
        }
        self.change_others(others, blocks, frees, now);
    }

    fn stance(&self, others: &Others, net: &IpNet, now: Now) -> Stance {
        let Some(Word { end, reason, origins }) = others.votes.word(net, self.config.fleet.votes as usize, now.wall)
        else {
            let is_pardoned = others.votes.pardon(net, now.wall).is_some();
            return Stance::Nothing(if is_pardoned { "Pardoned" } else { "Withdrawn" });
        };
        let by_admin = origins.contains(&ADMIN);
        let origins = origins.join(", ");
        if let Some(why) = self.why_spared(others, net) {
            return Stance::Spare(format!("FLEET => {} not blocked ({reason}, says {origins}): {why}", Plain(*net)));
        }
        let is_new = others.book.get(net).is_none();
        // What others see may be what is wrong here too: a directory of accounts that all of them share.
        let is_bad_weather = self.evidence.refusing().is_some() && !by_admin;
        if is_new && is_bad_weather {
            return Stance::Wait;
        }
        Stance::Block(Block { proof: Proof::Claimed, ..Block::new(now.wall, end, reason) }, origins)
    }

    /// Why others cannot have this blocked here, in words.
    pub(super) fn why_spared(&self, others: &Others, net: &IpNet) -> Option<String> {
        let protected = self.gate().forbids(net).map(|denied| denied.to_string());
        let member = || others.addresses.meets(net).then(|| "it is a member of the fleet".to_owned());
        // What lives in a /64 is known by all of it.
        let around = judge::source(&self.evidence, &self.policy, net.addr());
        let is_home = || self.evidence.lives_in(net) || self.evidence.lives_in(&around);
        let home = || is_home().then(|| "accounts live here".to_owned());
        protected.or_else(member).or_else(home)
    }

    /// Enforce, commit, tell.
    pub(super) fn change_others(
        &mut self,
        others: &mut Others,
        blocks: Vec<(IpNet, Block, String)>,
        frees: Vec<(IpNet, &'static str)>,
        now: Now,
    ) {
        if blocks.is_empty() && frees.is_empty() {
            return;
        }
        let change = Change {
            add: blocks.iter().map(|(net, block, _)| (*net, block.end)).collect(),
            remove: frees.iter().map(|(net, _)| *net).collect(),
        };
        let refusals = others.enforce(&change, now.wall);
        let refused: BTreeSet<IpNet> = refusals.iter().map(|refusal| refusal.net).collect();
        let mut lines = Vec::new();
        for (net, why) in frees.into_iter().filter(|(net, _)| !refused.contains(net)) {
            others.book.remove(&net);
            self.tell_hook(|| Fact::FleetUnblock { net, why });
            lines.push(format!("FLEET => {} freed ({why})", Plain(net)));
        }
        for (net, block, origins) in blocks.into_iter().filter(|(net, ..)| !refused.contains(net)) {
            if others.book.get(&net).is_none() {
                lines.push(format!("FLEET => {} blocked ({}, says {origins})", Plain(net), block.reason));
                let told = || Fact::FleetBlock {
                    net,
                    end: block.end,
                    origins: origins.replace(", ", ","),
                    reason: block.reason,
                };
                self.tell_hook(told);
            }
            others.book.insert(net, block);
        }
        for Refused { net, why } in refusals {
            let text = format!("ERROR => what others say of {} is not in force, to be tried again: {why}", Plain(net));
            self.say_once(Level::Error, &text, now);
            others.doubtful.insert(net);
        }
        let named = others.lines.take(lines.len(), now);
        if named > 0 {
            info!("{}", lines[..named].join("\n"));
        }
    }

    /// The administrator of the fleet frees these here too.
    pub(super) fn pardon(&mut self, nets: &[IpNet], now: Now) {
        let mut plan = Plan::default();
        for (net, _) in self.book.by_end().filter(|(net, _)| nets.iter().any(|pardoned| pardoned.contains(net))) {
            plan.free(net, "Pardoned");
        }
        for net in nets {
            self.evidence.forget(net);
        }
        self.carry_out(plan, now);
    }
}
