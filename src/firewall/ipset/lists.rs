//! The lists of others in sets of ipset, one for each list and address family, which rules of a chain of their own look up.

use std::collections::BTreeMap;
use std::fmt::Write;

use ipnet::IpNet;

use super::remove_set;
use super::tool::Tool;
use crate::config::FirewallConfig;
use crate::firewall::body::{Body, Origin};
use crate::firewall::family::Family;
use crate::firewall::filter::{Filter, all_done};
use crate::firewall::lists::{Lists, Look, PIECE};
use crate::firewall::{Error, Traffic, Verified};
use crate::model::clock::{Clock, UnixTime};

/// What the name of each set ends in while it is being loaded, and is then exchanged.
const DRAFT: &str = "~";

/// At most 13 letters of `ipset.set_name` begin the names: with the list's 12 and what is between and behind that is 28
/// of the 31 that the kernel takes.
const START: usize = 13;

/// The sets of the lists.
#[derive(Debug)]
pub struct Sets {
    filter: Filter,
    tool: Tool,
    /// What the names of the sets begin with.
    start: String,
    /// How many entries the sets of each list hold, IPv4 and IPv6.
    lists: BTreeMap<String, [usize; 2]>,
    clock: Clock,
}

impl Sets {
    /// Looks the programs up; touches no rule and no set. `config` is that of the lists.
    ///
    /// # Errors
    /// If iptables or ipset is not installed, or the traffic cannot be told to iptables.
    pub fn new(config: &FirewallConfig, traffic: Traffic) -> Result<Sets, Error> {
        let tool = Tool::find(config.ipset_path.as_deref())?;
        let filter = Filter::new(config, traffic, None)?;
        Ok(Sets { filter, tool, start: start(config), lists: BTreeMap::new(), clock: Clock::start() })
    }

    fn name(&self, list: &str, family: Family) -> String {
        let end = if family == Family::V4 { 4 } else { 6 };
        format!("{}{list}+{end}", self.start)
    }

    /// The rules of the chain of a family.
    fn body(&self, family: Family) -> Body {
        let blocks = self.lists.keys().map(|list| Origin::Set(self.name(list, family))).collect();
        Body { blocks, ..Body::default() }
    }

    /// Makes the chains what they should be.
    fn mend(&mut self) -> Result<Vec<String>, Error> {
        let bodies = Family::BOTH.map(|family| (family, self.body(family)));
        let now = self.now();
        let verified = self.filter.verify(now, |chain| {
            let body = bodies.iter().find(|(family, _)| *family == chain.family()).map(|(_, body)| body);
            match chain.mend(body.unwrap_or(&Body::default())) {
                Ok(mended) => Verified { mended, ..Verified::default() },
                Err(unmended) => Verified::failed(unmended.into()),
            }
        });
        match verified.failed.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(verified.mended),
        }
    }

    fn now(&self) -> UnixTime {
        self.clock.now().wall
    }

    /// Loads a list into drafts of its sets. How many entries each got.
    fn load(&self, list: &str, nets: &mut dyn Iterator<Item = IpNet>, most: usize) -> Result<[usize; 2], Error> {
        let maxelem = most.saturating_mul(2).next_power_of_two().max(65_536);
        let hashsize = (most / 4).next_power_of_two().clamp(1024, 1 << 22);
        for family in Family::BOTH {
            let (draft, inet) = (self.name(list, family) + DRAFT, inet(family));
            let _ = self.tool.run(&format!("destroy {draft}\n"));
            // Most lists have few networks of IPv6, if any.
            let hashsize = if family == Family::V4 { hashsize } else { 1024 };
            self.tool.run(&format!("create {draft} hash:net family {inet} hashsize {hashsize} maxelem {maxelem}\n"))?;
        }
        let mut counts = [0, 0];
        loop {
            let mut text = String::new();
            for net in (&mut *nets).take(PIECE) {
                let family = Family::of(&net);
                counts[usize::from(family == Family::V6)] += 1;
                let _ = writeln!(text, "add {}{DRAFT} {net}", self.name(list, family));
            }
            if text.is_empty() {
                return Ok(counts);
            }
            self.tool.run(&text)?;
        }
    }

    /// Puts the drafts in the place of the sets, which are made if they are not there.
    fn exchange(&self, list: &str) -> Result<(), Error> {
        let mut text = String::new();
        for family in Family::BOTH {
            let (name, inet) = (self.name(list, family), inet(family));
            let _ = write!(
                text,
                "create {name} hash:net family {inet}\nswap {name}{DRAFT} {name}\ndestroy {name}{DRAFT}\n"
            );
        }
        // `-exist` makes nothing of a set that is there with other sizes.
        for line in text.lines() {
            match self.tool.run(&format!("{line}\n")) {
                Err(failure) if !line.starts_with("create") => return Err(failure.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// The names of all sets of ours that there are.
    fn there(&self) -> Result<Vec<String>, Error> {
        let headers = self.tool.headers()?;
        Ok(headers.into_keys().filter(|name| name.starts_with(&self.start)).collect())
    }
}

impl Lists for Sets {
    fn set_up(&mut self) -> Result<Vec<String>, Error> {
        let there = self.there()?;
        for name in &there {
            let Some(list) = name.strip_prefix(&self.start).and_then(|rest| rest.strip_suffix("+4")) else { continue };
            if there.contains(&self.name(list, Family::V6)) {
                self.lists.insert(list.to_owned(), [0, 0]);
            }
        }
        let bodies = Family::BOTH.map(|family| (family, self.body(family)));
        self.filter.set_up(|chain, _| {
            let body = bodies.iter().find(|(family, _)| *family == chain.family()).map(|(_, body)| body);
            chain.mend(body.unwrap_or(&Body::default()))?;
            Ok(Vec::new())
        })?;
        // What a load that was cut short left.
        for name in there.iter().filter(|name| name.ends_with(DRAFT)) {
            self.tool.destroy(name)?;
        }
        Ok(self.lists.keys().cloned().collect())
    }

    fn put(&mut self, list: &str, nets: &mut dyn Iterator<Item = IpNet>, most: usize) -> Result<(), Error> {
        let loaded = self.load(list, nets, most).and_then(|counts| self.exchange(list).map(|()| counts));
        let counts = loaded.inspect_err(|_| {
            for family in Family::BOTH {
                let _ = self.tool.run(&format!("destroy {}{DRAFT}\n", self.name(list, family)));
            }
        })?;
        if self.lists.insert(list.to_owned(), counts).is_none() {
            self.mend()?;
        }
        Ok(())
    }

    /// What comes is added first, so that there is no gap.
    fn change(&mut self, list: &str, gone: &[IpNet], come: &[IpNet]) -> Result<bool, Error> {
        if !self.lists.contains_key(list) || gone.len() + come.len() > PIECE {
            return Ok(false);
        }
        let mut text = String::new();
        for (verb, nets) in [("add", come), ("del", gone)] {
            for net in nets {
                let _ = writeln!(text, "{verb} {} {net}", self.name(list, Family::of(net)));
            }
        }
        self.tool.run(&text)?;
        let count = |nets: &[IpNet], family| nets.iter().filter(|net| Family::of(net) == family).count();
        if let Some(counts) = self.lists.get_mut(list) {
            for (held, family) in counts.iter_mut().zip(Family::BOTH) {
                *held = (*held + count(come, family)).saturating_sub(count(gone, family));
            }
        }
        Ok(true)
    }

    fn remove(&mut self, list: &str) -> Result<(), Error> {
        if self.lists.remove(list).is_some() {
            self.mend()?;
            all_done(Family::BOTH.into_iter().map(|family| remove_set(&self.tool, &self.name(list, family))))?;
        }
        Ok(())
    }

    fn verify(&mut self) -> Result<Look, Error> {
        let headers = self.tool.headers()?;
        let mut lost = Vec::new();
        for (list, counts) in &self.lists {
            let is_held = Family::BOTH.into_iter().zip(counts).all(|(family, count)| {
                let header = headers.get(&self.name(list, family));
                // An ipset that does not count is too old to be asked.
                header.is_some_and(|header| header.entries.is_none_or(|entries| entries == *count))
            });
            if !is_held {
                lost.push(list.clone());
            }
        }
        let gone = |list: &String| Family::BOTH.iter().any(|family| !headers.contains_key(&self.name(list, *family)));
        let missing: Vec<String> = lost.iter().filter(|list| gone(list)).cloned().collect();
        // No rule can lead to a set that is not there.
        self.lists.retain(|list, _| !missing.contains(list));
        let mended = self.mend()?;
        Ok(Look { mended, lost })
    }

    fn follow(&mut self, config: &FirewallConfig, traffic: Traffic) -> Result<(), Error> {
        let new = self.filter.successor(config, traffic)?;
        let old = std::mem::replace(&mut self.filter, new);
        if let Err(error) = self.mend() {
            self.filter = old;
            // The next look mends it.
            let _ = self.mend();
            return Err(error);
        }
        Ok(())
    }

    fn tear_down(&mut self) -> Result<(), Error> {
        let rules = self.filter.tear_down();
        let there = self.there()?;
        all_done([rules].into_iter().chain(there.iter().map(|name| remove_set(&self.tool, name))))
    }

    fn describe(&self) -> String {
        self.filter.describe(&format!(", {}, sets {}*", self.tool.version, self.start))
    }
}

/// Removes what lists that are not configured any more have left in sets, or what another backend has.
///
/// # Errors
/// Says what could not be removed.
pub(in crate::firewall) fn remove_left(config: &FirewallConfig) -> Result<bool, Error> {
    let Ok(tool) = Tool::find(config.ipset_path.as_deref()) else { return Ok(false) };
    let start = start(config);
    if !tool.headers()?.keys().any(|name| name.starts_with(&start)) {
        return Ok(false);
    }
    let mut sets = Sets::new(config, Traffic::All)?;
    sets.set_up()?;
    sets.tear_down().map(|()| true)
}

fn start(config: &FirewallConfig) -> String {
    format!("{:.START$}+", config.set_name)
}

fn inet(family: Family) -> &'static str {
    match family {
        Family::V4 => "inet",
        Family::V6 => "inet6",
    }
}
