//! A kernel set for each address family, which one rule of our chain looks up: what a packet costs does not grow with the
//! number of blocks, and the kernel ends each by itself, also when nobody is left to do it.
//!
//! All changes go through `ipset restore -exist`, one process for both sets. That is no transaction: it hands over
//! some lines at a time and stops at the first that is refused, whose number it tells. But with `-exist` a line
//! that is said again changes nothing, so after a failure all lines but the refused one are just said again.

mod admitted;
mod listing;
pub(super) mod lists;
mod set;
mod tool;

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use ipnet::IpNet;

use self::admitted::Admitted;
use self::listing::Header;
use self::set::Set;
use self::tool::Tool;
use super::body::Origin;
use super::change::{MAX_CULPRITS, Step, not_in_effect, settle};
use super::family::Family;
use super::filter::{Filter, Losers, all_done, succeed};
use super::run::Failure;
use super::shield::{Shed, Shield};
use super::{Applied, Change, Error, Firewall, FoundBlock, Refused, Traffic, Verified, succession};
use crate::config::{FirewallConfig, SET_TIMEOUT_MAX, ShieldMode};
use crate::model::book::Book;
use crate::model::clock::UnixTime;
use crate::model::target::Holder;

/// In between, verify counts entries and looks at each only if the number is wrong: with 60,000 that is 8 ms against
/// 150.
const CLOSE_LOOK_EVERY: u32 = 6;

/// The backend `ipset`.
#[derive(Debug)]
pub struct Ipset {
    filter: Filter,
    tool: Tool,
    sets: Sets,
    shielded: bool,
    /// Whom the shield lets pass.
    admitted: Admitted,
    losers: Losers,
    /// Verifies until each entry is looked at again.
    until_close_look: u32,
}

/// The sets of both families.
#[derive(Debug)]
struct Sets {
    v4: Set,
    v6: Set,
}

impl Ipset {
    /// Looks the programs up; touches no rule and no set.
    ///
    /// # Errors
    /// If iptables or ipset is not installed, or the traffic cannot be told to iptables.
    pub fn new(config: &FirewallConfig, traffic: Traffic) -> Result<Ipset, Error> {
        Ipset::with(Filter::new(config, traffic, Some(&config.set_name))?, config)
    }

    fn with(filter: Filter, config: &FirewallConfig) -> Result<Ipset, Error> {
        let tool = Tool::find(config.ipset_path.as_deref())?;
        let [v4, v6] = Family::BOTH.map(|family| Set::new(family, &config.set_name, config.maxelem));
        Ok(Ipset {
            filter,
            tool,
            sets: Sets { v4, v6 },
            shielded: config.shield.mode != ShieldMode::Off,
            admitted: Admitted::new(&config.set_name),
            losers: Losers::new(),
            until_close_look: 0,
        })
    }

    fn text(&self, steps: &[Step], now: UnixTime) -> String {
        let mut text = String::with_capacity(48 * steps.len());
        for step in steps {
            let net = step.net();
            let name = &self.sets.get(Family::of(&net)).name;
            let _ = match step {
                Step::Add(_, end) => writeln!(text, "add {name} {net} timeout {}", timeout(*end, now)),
                Step::Remove(_) => writeln!(text, "del {name} {net}"),
            };
        }
        text
    }

    /// Sees to it that what is added fits.
    fn make_room(&mut self, steps: &[Step]) {
        for family in Family::BOTH {
            let more = steps.iter().filter(|step| !step.removes() && Family::of(&step.net()) == family).count();
            let set = self.sets.get_mut(family);
            if more > 0 {
                // It may still fit. If it does not, the kernel says so, and verify finds out more.
                if let Err(error) = set.make_room(&self.tool, more) {
                    log::warn!("set {} cannot be made larger: {error}", set.name);
                }
            }
        }
    }

    /// After a failure: something was not as thought, or a line is a culprit. First makes sure of what stays and that
    /// there is room, then does what can be done.
    fn apply_again(&mut self, book: &Book, mut steps: Vec<Step>, now: UnixTime, applied: &mut Applied) {
        self.until_close_look = 0;
        let verified = self.verify(book, now);
        applied.mended.extend(verified.mended);
        if let Some(error) = verified.failed.first() {
            applied.refused.extend(steps.iter().map(|step| step.refused(&error.0)));
            return;
        }
        self.make_room(&steps);
        let mut culprits = 0;
        while let Err(failure) = self.tool.run(&self.text(&steps, now)) {
            match failed_line(&failure).filter(|line| (1..=steps.len()).contains(line)) {
                Some(line) if culprits < MAX_CULPRITS => {
                    culprits += 1;
                    applied.refused.push(steps.remove(line - 1).refused(&failure.to_string()));
                }
                _ => {
                    applied.refused.extend(self.not_in_effect(&steps, &failure));
                    break;
                }
            }
        }
    }

    /// What the kernel does not show.
    fn not_in_effect(&self, steps: &[Step], failure: &Failure) -> Vec<Refused> {
        let mut held = HashSet::new();
        for family in Family::BOTH {
            if steps.iter().any(|step| Family::of(&step.net()) == family) {
                // A set that cannot be read is as good as none.
                held.extend(set::blocked(self.tool.entries(&self.sets.get(family).name).unwrap_or_default()));
            }
        }
        not_in_effect(steps, Some(&held), &failure.to_string())
    }

    /// Of the shield nothing is left when it is switched off.
    fn remove_admitted(&self, headers: &HashMap<String, Header>) -> Vec<Error> {
        self.admitted.there(headers).filter_map(|name| remove_set(&self.tool, name).err()).collect()
    }
}

impl Firewall for Ipset {
    fn set_up(&mut self, _now: UnixTime) -> Result<Vec<FoundBlock>, Error> {
        let Ipset { filter, tool, sets, admitted, shielded, .. } = self;
        if *shielded {
            admitted.set_up(tool)?;
        }
        let found = filter.set_up(|chain, found| sets.get_mut(chain.family()).set_up(tool, chain, &found.blocks))?;
        if !self.shielded {
            // What somebody else's rule needs stays; nobody is unguarded for it.
            for error in self.remove_admitted(&self.tool.headers()?) {
                log::warn!("{error}");
            }
        }
        Ok(found)
    }

    fn apply(&mut self, book: &Book, change: &Change, now: UnixTime) -> Applied {
        // Removals come first, so they make room.
        let (steps, refused) = settle(book, change, |family| self.filter.unguarded(family));
        let mut applied = Applied { refused, mended: Vec::new() };
        if steps.is_empty() {
            return applied;
        }
        self.make_room(&steps);
        for step in steps.iter().filter(|step| !step.removes()) {
            self.sets.get_mut(Family::of(&step.net())).expect(1);
        }
        match self.tool.change(&self.text(&steps, now)) {
            Ok(()) => {}
            Err(failure) if failure.timed_out() => applied.refused.extend(self.not_in_effect(&steps, &failure)),
            Err(_) => self.apply_again(book, steps, now, &mut applied),
        }
        applied
    }

    fn capacity(&self) -> usize {
        262_144
    }

    fn prepare(&mut self) {
        self.tool.prepare();
    }

    fn verify(&mut self, book: &Book, now: UnixTime) -> Verified {
        let Ipset { filter, tool, sets, shielded, admitted, until_close_look, .. } = self;
        let headers = match tool.headers() {
            Ok(headers) => headers,
            Err(error) => return Verified::failed(error),
        };
        let guarded = Family::BOTH.into_iter().filter(|family| filter.unguarded(*family).is_none());
        let ours: Vec<&Set> = guarded.map(|family| sets.get(family)).collect();
        let others: usize = ours.iter().map(|set| set.others).sum();
        // None if this ipset is too old to count.
        let entries: Option<usize> =
            ours.iter().map(|set| headers.get(&set.name).map_or(Some(0), |header| header.entries)).sum();
        let closely = *until_close_look == 0 || entries != Some(book.len() + others);
        *until_close_look = if closely { CLOSE_LOOK_EVERY } else { *until_close_look } - 1;
        // Rules look the sets up, so these come first and go last.
        let mut verified = if *shielded { admitted.verify(tool, &headers, closely) } else { Verified::default() };
        let looked = filter.verify(now, |chain| {
            let set = sets.get_mut(chain.family());
            let header = headers.get(&set.name);
            set.verify(tool, chain, header, closely, book, now)
        });
        verified.join(looked);
        if !self.shielded {
            verified.failed.extend(self.remove_admitted(&headers));
        }
        verified
    }

    fn set_traffic(&mut self, traffic: Traffic) -> Result<(), Error> {
        self.filter.set_traffic(traffic)
    }

    fn reconfigure(
        &mut self,
        config: &FirewallConfig,
        traffic: Traffic,
        book: &Book,
        now: UnixTime,
    ) -> Result<(), Error> {
        let mut new = Ipset::with(self.filter.successor(config, traffic)?, config)?;
        if new.shielded {
            new.admitted.set_up(&new.tool)?;
        }
        succeed(self, new, book, now)
    }

    fn shield(&mut self) -> Option<&mut dyn Shield> {
        self.filter.is_shielded().then_some(self as &mut dyn Shield)
    }

    fn packets(&mut self, net: &IpNet) -> Option<u64> {
        let held = self.tool.entries(&self.sets.get(Family::of(net)).name).ok()?;
        let (packets, _) = held.into_iter().find(|held| held.net == *net)?.counted?;
        Some(packets)
    }

    /// The rule of the set counts; in a chain of few rules that is quickly read.
    fn dropped(&mut self) -> Option<u64> {
        let Ipset { filter, sets, .. } = self;
        let counts = Family::BOTH.into_iter().filter_map(|family| {
            let of_set = Origin::Set(sets.get(family).name.clone());
            Some(filter.chain(family)?.packets(&of_set))
        });
        counts.sum()
    }

    fn tear_down(&mut self) -> Result<(), Error> {
        let rules = self.filter.tear_down();
        let there = self.tool.headers()?;
        let blocks = [&self.sets.v4.name, &self.sets.v6.name].into_iter().filter(|name| there.contains_key(*name));
        let names = blocks.chain(self.admitted.there(&there));
        all_done([rules].into_iter().chain(names.map(|name| remove_set(&self.tool, name))))
    }

    fn holder(&self) -> Holder {
        self.filter.holder()
    }

    fn describe(&self) -> String {
        let Sets { v4, v6 } = &self.sets;
        let v6 = if self.filter.unguarded(Family::V6).is_none() { format!(" and {}", v6.name) } else { String::new() };
        self.filter.describe(&format!(", {}, set {}{v6}", self.tool.version, v4.name))
    }
}

impl Shield for Ipset {
    fn tells_scanners(&self) -> bool {
        self.filter.tells_scanners()
    }

    fn admit(&mut self, nets: &[IpNet]) -> Result<(), Error> {
        self.admitted.add(&self.tool, nets)
    }

    fn admit_only(&mut self, nets: &[IpNet]) -> Result<(), Error> {
        self.admitted.change(&self.tool, nets)
    }

    fn shed(&mut self) -> Result<Vec<Shed>, Error> {
        self.losers.look()
    }
}

/// Empties a set that cannot be destroyed, so that at least it blocks nobody.
fn remove_set(tool: &Tool, name: &str) -> Result<(), Error> {
    tool.destroy(name).map_err(|error| {
        let _ = tool.run(&format!("flush {name}\n"));
        Error(format!("set {name} is empty but stays, because rules of others use it: {error}"))
    })
}

impl Sets {
    fn get(&self, family: Family) -> &Set {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    fn get_mut(&mut self, family: Family) -> &mut Set {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

/// Sets left by this backend, when another one is in use.
pub(super) struct Left {
    tool: Tool,
    sets: Vec<Set>,
    admitted: Vec<String>,
}

impl Left {
    /// Of both families; `None` if there are none of ours.
    pub(super) fn find(config: &FirewallConfig) -> Option<Left> {
        let tool = Tool::find(config.ipset_path.as_deref()).ok()?;
        let headers = tool.headers().ok()?;
        let sets = Family::BOTH.map(|family| Set::new(family, &config.set_name, config.maxelem));
        let ours = |set: &Set| headers.get(&set.name).is_some_and(|header| set.is_ours(header));
        let sets: Vec<Set> = sets.into_iter().filter(ours).collect();
        let admitted = Admitted::new(&config.set_name).there(&headers).cloned().collect();
        (!sets.is_empty()).then_some(Left { tool, sets, admitted })
    }
}

impl succession::Left for Left {
    fn blocks(&self) -> Result<Vec<FoundBlock>, Error> {
        let mut blocks = Vec::new();
        for set in &self.sets {
            let held = self.tool.entries(&set.name)?.into_iter().filter(|held| !held.exempt);
            blocks.extend(held.map(|held| FoundBlock { net: held.net, remaining: held.remaining }));
        }
        Ok(blocks)
    }

    fn remove(&mut self) -> Result<(), Error> {
        let names = self.sets.iter().map(|set| &set.name).chain(&self.admitted);
        all_done(names.map(|name| self.tool.destroy(name)))
    }

    fn describe(&self) -> String {
        format!("set {}", self.sets.iter().map(|set| &set.name[..]).collect::<Vec<_>>().join(" and "))
    }
}

/// Seconds until `end`, as far as the kernel counts; it takes 0 for never. What ends later is renewed by verify.
fn timeout(end: UnixTime, now: UnixTime) -> u64 {
    end.since(now).clamp(1, SET_TIMEOUT_MAX)
}

/// The number of the line at which ipset stopped: `ipset v7.17: Error in line 6: ...`.
fn failed_line(failure: &Failure) -> Option<usize> {
    let (_, rest) = failure.complaint().split_once("Error in line ")?;
    rest.split_once(':')?.0.parse().ok()
}
