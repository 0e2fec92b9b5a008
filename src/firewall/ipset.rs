//! A kernel set for each IP version, which one rule of our chain looks up: what a packet costs does not grow with the
//! number of blocks, and the kernel ends each by itself, also when nobody is left to do it.
//!
//! All changes go through `ipset restore -exist`, one process for both sets. That is no transaction: it hands over
//! some lines at a time and stops at the first that is refused, whose number it tells. But with `-exist` a line
//! that is said again changes nothing, so after a failure all lines but the refused one are just said again.

mod listing;
mod set;
mod tool;

use std::collections::HashSet;
use std::fmt::Write;

use ipnet::IpNet;

use self::set::Set;
use self::tool::Tool;
use super::filter::{Filter, Version, all_done, succeed};
use super::run::Failure;
use super::{Change, Entry, Error, Firewall, Refused, Scope};
use crate::config::FirewallConfig;
use crate::model::book::Book;
use crate::model::clock::UnixTime;

/// Most seconds the kernel counts: 2^31 milliseconds, almost 25 days.
const LONGEST: u64 = 2_147_483;

/// How many refused lines are looked for one by one, before the kernel is asked what it holds.
const MOST_CULPRITS: usize = 16;

/// In between, verify counts entries and looks at each only if the number is wrong: with 60,000 that is 8 ms against
/// 150.
const CLOSE_LOOK_EVERY: u32 = 6;

/// The backend `ipset`.
#[derive(Debug)]
pub struct Ipset {
    filter: Filter,
    tool: Tool,
    sets: Sets,
    /// Verifies until each entry is looked at again.
    until_close_look: u32,
}

#[derive(Debug)]
struct Sets {
    v4: Set,
    v6: Set,
}

/// One line of a change.
#[derive(Clone, Copy, Debug)]
enum Step {
    Add(IpNet, UnixTime),
    Remove(IpNet),
}

impl Ipset {
    /// Checks the configuration and looks the programs up; touches no rule and no set.
    ///
    /// # Errors
    /// If the chain's name or the target of a block cannot be used, or iptables or ipset is not installed.
    pub fn new(config: &FirewallConfig, scope: Scope) -> Result<Ipset, Error> {
        Ipset::with(Filter::new(config, scope)?, config)
    }

    fn with(filter: Filter, config: &FirewallConfig) -> Result<Ipset, Error> {
        let tool = Tool::find(config.ipset_path.as_deref())?;
        let [v4, v6] = Version::BOTH.map(|version| Set::new(version, &config.set_name, config.maxelem));
        Ok(Ipset { filter, tool, sets: Sets { v4, v6 }, until_close_look: 0 })
    }

    fn text(&self, steps: &[Step], now: UnixTime) -> String {
        let mut text = String::with_capacity(48 * steps.len());
        for step in steps {
            let net = step.net();
            let name = &self.sets.get(Version::of(&net)).name;
            let _ = match step {
                Step::Add(_, end) => writeln!(text, "add {name} {net} timeout {}", timeout(*end, now)),
                Step::Remove(_) => writeln!(text, "del {name} {net}"),
            };
        }
        text
    }

    /// Sees to it that what is added fits.
    fn make_room(&mut self, steps: &[Step]) {
        for version in Version::BOTH {
            let more = steps.iter().filter(|step| matches!(step, Step::Add(net, _) if Version::of(net) == version));
            let more = more.count();
            let set = self.sets.get_mut(version);
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
    fn apply_again(&mut self, book: &Book, mut steps: Vec<Step>, now: UnixTime) -> Vec<Refused> {
        self.until_close_look = 0;
        if let Err(error) = self.verify(book, now) {
            return steps.iter().map(|step| step.refused(&error.0)).collect();
        }
        self.make_room(&steps);
        let mut refused = Vec::new();
        while let Err(failure) = self.tool.run(&self.text(&steps, now)) {
            match failed_line(&failure).filter(|line| (1..=steps.len()).contains(line)) {
                Some(line) if refused.len() < MOST_CULPRITS => {
                    refused.push(steps.remove(line - 1).refused(&failure.to_string()));
                }
                _ => {
                    refused.extend(self.not_in_effect(&steps, &failure));
                    break;
                }
            }
        }
        refused
    }

    /// What the kernel does not show.
    fn not_in_effect(&self, steps: &[Step], failure: &Failure) -> Vec<Refused> {
        let why = failure.to_string();
        let mut held = HashSet::new();
        for set in [&self.sets.v4, &self.sets.v6] {
            if steps.iter().any(|step| self.sets.get(Version::of(&step.net())).name == set.name) {
                // A set that cannot be read is as good as none.
                held.extend(set::blocked(self.tool.entries(&set.name).unwrap_or_default()));
            }
        }
        let failed = steps.iter().filter(|step| match step {
            Step::Add(net, _) => !held.contains(net),
            Step::Remove(net) => held.contains(net),
        });
        failed.map(|step| step.refused(&why)).collect()
    }

    /// Empties a set that cannot be destroyed, so that at least it blocks nobody.
    fn remove_set(&self, name: &str) -> Result<(), Error> {
        self.tool.destroy(name).map_err(|error| {
            let _ = self.tool.run(&format!("flush {name}\n"));
            Error(format!("set {name} is empty but stays, because rules of others use it: {error}"))
        })
    }
}

impl Firewall for Ipset {
    fn set_up(&mut self, _now: UnixTime) -> Result<Vec<Entry>, Error> {
        let Ipset { filter, tool, sets, .. } = self;
        filter.set_up(|family, found| sets.get_mut(family.version()).set_up(tool, family, &found))
    }

    fn apply(&mut self, book: &Book, change: &Change, now: UnixTime) -> Vec<Refused> {
        let (change, mut refused) = self.filter.settle(book, change);
        // Removals first: they make room.
        let removals = change.remove.into_iter().map(Step::Remove);
        let steps: Vec<Step> = removals.chain(change.add.into_iter().map(|(net, end)| Step::Add(net, end))).collect();
        if steps.is_empty() {
            return refused;
        }
        self.make_room(&steps);
        for step in &steps {
            if let Step::Add(net, _) = step {
                self.sets.get_mut(Version::of(net)).expect(1);
            }
        }
        match self.tool.change(&self.text(&steps, now)) {
            Ok(()) => {}
            Err(failure) if failure.timed_out() => refused.extend(self.not_in_effect(&steps, &failure)),
            Err(_) => refused.extend(self.apply_again(book, steps, now)),
        }
        refused
    }

    fn capacity(&self) -> usize {
        262_144
    }

    fn prepare(&mut self) {
        self.tool.prepare();
    }

    fn verify(&mut self, book: &Book, now: UnixTime) -> Result<Option<String>, Error> {
        let Ipset { filter, tool, sets, until_close_look } = self;
        let headers = tool.headers()?;
        let ours =
            || Version::BOTH.into_iter().filter(|version| filter.guards(*version)).map(|version| sets.get(version));
        let others: usize = ours().map(|set| set.others).sum();
        // None if this ipset is too old to count.
        let entries: Option<usize> =
            ours().map(|set| headers.get(&set.name).map_or(Some(0), |header| header.entries)).sum();
        let closely = *until_close_look == 0 || entries != Some(book.len() + others);
        *until_close_look = if closely { CLOSE_LOOK_EVERY } else { *until_close_look } - 1;
        filter.verify(|family| {
            let set = sets.get_mut(family.version());
            let mut faults = match headers.get(&set.name) {
                Some(header) if set.is_sound(header) && !closely => {
                    set.note(header);
                    Vec::new()
                }
                header => set.mend(tool, family, header, book, now)?,
            };
            faults.extend(family.mend(&set.body())?);
            Ok(faults)
        })
    }

    fn set_scope(&mut self, scope: Scope) -> Result<(), Error> {
        self.filter.set_scope(scope)
    }

    fn reconfigure(&mut self, config: &FirewallConfig, scope: Scope, book: &Book, now: UnixTime) -> Result<(), Error> {
        let new = Ipset::with(self.filter.successor(config, scope)?, config)?;
        succeed(self, new, book, now)
    }

    fn packets(&mut self, net: &IpNet) -> Option<u64> {
        let held = self.tool.entries(&self.sets.get(Version::of(net)).name).ok()?;
        let (packets, _) = held.into_iter().find(|held| held.net == *net)?.counted?;
        Some(packets)
    }

    fn tear_down(&mut self) -> Result<(), Error> {
        let rules = self.filter.tear_down();
        let there = self.tool.headers()?;
        let names = [&self.sets.v4.name, &self.sets.v6.name].into_iter().filter(|name| there.contains_key(*name));
        all_done([rules].into_iter().chain(names.map(|name| self.remove_set(name))))
    }

    fn describe(&self) -> String {
        let Sets { v4, v6 } = &self.sets;
        let v6 = if self.filter.guards(Version::V6) { format!(" and {}", v6.name) } else { String::new() };
        self.filter.describe(&format!(", {}, set {}{v6}", self.tool.version, v4.name))
    }
}

impl Sets {
    fn get(&self, version: Version) -> &Set {
        match version {
            Version::V4 => &self.v4,
            Version::V6 => &self.v6,
        }
    }

    fn get_mut(&mut self, version: Version) -> &mut Set {
        match version {
            Version::V4 => &mut self.v4,
            Version::V6 => &mut self.v6,
        }
    }
}

impl Step {
    fn net(self) -> IpNet {
        match self {
            Step::Add(net, _) | Step::Remove(net) => net,
        }
    }

    fn refused(self, why: &str) -> Refused {
        Refused { net: self.net(), why: why.to_owned() }
    }
}

/// Seconds until `end`, as far as the kernel counts; it takes 0 for never. What ends later is renewed by verify.
fn timeout(end: UnixTime, now: UnixTime) -> u64 {
    end.since(now).clamp(1, LONGEST)
}

/// The number of the line at which ipset stopped: `ipset v7.17: Error in line 6: ...`.
fn failed_line(failure: &Failure) -> Option<usize> {
    let (_, rest) = failure.complaint().split_once("Error in line ")?;
    rest.split_once(':')?.0.parse().ok()
}
