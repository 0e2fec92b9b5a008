//! The lists of others in a table of their own, which looks like that of the blocks: the same hook, the same ports, and
//! for each list a set of each kind.
//!
//! A list that is put is loaded into sets that no rule knows. One small transaction then makes the rules lead to them and
//! drops those before. A number in the names of the sets tells them apart.

use std::collections::BTreeMap;
use std::fmt::Write;

use ipnet::IpNet;

use super::batch::Batch;
use super::elements::{Unmade, in_pieces};
use super::netlink::{Netlink, NoAnswer, ROOM};
use super::plan;
use super::sets::{Key, Set};
use super::shown::{self, Structure};
use super::words::{Features, Plan, Ports, RULES};
use crate::config::FirewallConfig;
use crate::firewall::lists::{Lists, Look, PIECE};
use crate::firewall::run::Program;
use crate::firewall::{Error, Traffic};

/// What the names of our sets begin with, before the name of the list.
const START: &str = "list-";

/// The table of the lists.
#[derive(Debug)]
pub struct Table {
    plan: Plan,
    nft: Program,
    /// Name and version, such as `nftables v1.0.6`.
    tool: String,
    netlink: Netlink,
    lists: BTreeMap<String, List>,
    /// The number of the sets that are made next.
    next: u32,
    /// What the kernel showed when all was as it should be.
    sound: Structure,
}

/// A list in force.
#[derive(Clone, Debug)]
struct List {
    number: u32,
    /// Some of its addresses: where they are, the others are too.
    samples: Vec<IpNet>,
}

impl Table {
    /// Looks the program up; touches nothing. `config` is that of the lists.
    ///
    /// # Errors
    /// If nft is not installed, the kernel's nf_tables cannot be read, or the traffic cannot be told to it.
    pub fn new(config: &FirewallConfig, traffic: &Traffic) -> Result<Table, Error> {
        let nft = Program::find("nft", config.iptables_path.as_deref())?;
        let version = nft.run(&["--version"], "")?.stdout;
        let tool = version.split('(').next().unwrap_or_default().trim().to_owned();
        let netlink = Netlink::open().map_err(|error| Error::from(NoAnswer::from(error)))?;
        let plan = Plan { features: Features { counters: false, local: true }, ..plan(config, traffic)? };
        let (lists, sound) = (BTreeMap::new(), Structure::default());
        Ok(Table { plan, nft, tool, netlink, lists, next: 0, sound })
    }

    fn run(&self, text: &str) -> Result<(), crate::firewall::run::Failure> {
        self.nft.run(&["-f", "-"], text).map(drop)
    }

    /// The rules for these lists, and the way to them. All other sets of ours go.
    fn structure(&self, lists: &BTreeMap<String, List>) -> Result<String, Error> {
        let table = &self.plan.table;
        let mut text =
            format!("add table inet {table}\nadd chain inet {table} {RULES}\nflush chain inet {table} {RULES}\n");
        let mut wanted = Vec::new();
        for (name, list) in lists {
            for set in Set::ALL {
                let set_name = set_name(name, list.number, set);
                let _ = writeln!(text, "add rule inet {table} {RULES} {}", self.plan.block(set, &set_name));
                wanted.push(set_name);
            }
        }
        text += &self.plan.entrance();
        let there = shown::sets(&self.netlink, table)?;
        for set in there.iter().filter(|set| set.starts_with(START) && !wanted.contains(set)) {
            let _ = writeln!(text, "delete set inet {table} {set}");
        }
        Ok(text)
    }

    /// Puts these lists in force, of which all sets are there, and learns how the kernel shows that.
    fn enforce(&mut self, lists: BTreeMap<String, List>) -> Result<(), Error> {
        self.run(&self.structure(&lists)?)?;
        self.lists = lists;
        self.sound = self.show()?;
        if self.lists.iter().any(|(name, list)| !is_whole(&self.sound, name, list)) {
            let program = &self.nft;
            return Err(Error(format!("`{program}` ended with success, but what it was to make is not there")));
        }
        Ok(())
    }

    fn show(&self) -> Result<Structure, NoAnswer> {
        Structure::with_sets(&self.netlink, &self.plan.table, |set| set.starts_with(START))
    }

    /// Makes the sets of a list, and loads it into them.
    fn load(&mut self, name: &str, number: u32, nets: &mut dyn Iterator<Item = IpNet>) -> Result<Vec<IpNet>, Error> {
        let table = &self.plan.table;
        let mut text = format!("add table inet {table}\n");
        for set in Set::ALL {
            let kind = if set.is_v4() { "ipv4_addr" } else { "ipv6_addr" };
            let flags = if set.has_ranges() { " flags interval;" } else { "" };
            let _ = writeln!(text, "add set inet {table} {} {{ type {kind};{flags} }}", set_name(name, number, set));
        }
        self.run(&text)?;
        let mut samples = Vec::new();
        loop {
            let piece: Vec<IpNet> = (&mut *nets).take(PIECE).collect();
            let Some(first) = piece.iter().find(|net| !Set::of(net).has_ranges()).or(piece.first()) else { break };
            samples.push(*first);
            self.add(name, number, &piece)?;
        }
        // The first, the last and some between.
        let step = samples.len().div_ceil(8).max(1);
        Ok(samples.into_iter().rev().step_by(step).collect())
    }

    /// Adds elements, in as few transactions as the kernel takes: addresses by itself, ranges through nft.
    fn add(&self, name: &str, number: u32, nets: &[IpNet]) -> Result<(), Error> {
        let (ranges, addresses): (Vec<IpNet>, Vec<IpNet>) = nets.iter().partition(|net| Set::of(net).has_ranges());
        self.change_addresses(name, number, &addresses, |batch, set, keys| {
            batch.add(set, keys.map(|key| (key, None)));
        })?;
        in_pieces(&ranges, |some| self.run(&self.additions(name, number, some)).map(|()| true))?;
        Ok(())
    }

    /// Ranges to be added, in the words of nft.
    fn additions(&self, name: &str, number: u32, nets: &[IpNet]) -> String {
        let mut text = String::with_capacity(24 * nets.len());
        for set in Set::OF_RANGES {
            let mut ours = nets.iter().filter(|net| Set::of(net) == set).peekable();
            if ours.peek().is_some() {
                let _ = write!(text, "add element inet {} {} {{ ", self.plan.table, set_name(name, number, set));
                for net in ours {
                    let _ = write!(text, "{}, ", set.element(net, None));
                }
                text += "}\n";
            }
        }
        text
    }

    /// Has `write` change the addresses in each set of a list.
    fn change_addresses(
        &self,
        name: &str,
        number: u32,
        nets: &[IpNet],
        write: impl Fn(&mut Batch<'_>, &str, &mut dyn Iterator<Item = Key>),
    ) -> Result<(), Unmade> {
        for some in nets.chunks(ROOM) {
            self.netlink.commit(&self.plan.table, None, |batch| {
                for set in Set::OF_ADDRESSES {
                    let mut keys = some.iter().filter(|net| Set::of(net) == set).map(Key::of);
                    write(batch, &set_name(name, number, set), &mut keys);
                }
            })?;
        }
        Ok(())
    }

    fn is_there(&self, name: &str, list: &List, net: &IpNet) -> bool {
        shown::element(&self.netlink, &self.plan.table, &set_name(name, list.number, Set::of(net)), net).is_ok()
    }
}

impl Lists for Table {
    fn set_up(&mut self) -> Result<Vec<String>, Error> {
        let there = shown::sets(&self.netlink, &self.plan.table)?;
        let mut lists = BTreeMap::new();
        for (name, number) in there.iter().filter_map(|set| list_of(set)) {
            self.next = self.next.max(number.wrapping_add(1));
            let list = List { number, samples: Vec::new() };
            let is_whole = Set::ALL.into_iter().all(|set| there.contains(&set_name(name, number, set)));
            // A new one that was cut short has the higher number, and no rule leads to it.
            if is_whole && lists.get(name).is_none_or(|other: &List| other.number > number) {
                lists.insert(name.to_owned(), list);
            }
        }
        if let Err(error) = self.enforce(lists.clone()) {
            self.plan.features.local = false;
            self.enforce(lists).map_err(|_| error)?;
        }
        Ok(self.lists.keys().cloned().collect())
    }

    fn put(&mut self, list: &str, nets: &mut dyn Iterator<Item = IpNet>, _most: usize) -> Result<(), Error> {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let put = self.load(list, number, nets).and_then(|samples| {
            let mut lists = self.lists.clone();
            lists.insert(list.to_owned(), List { number, samples });
            self.enforce(lists)
        });
        put.inspect_err(|_| {
            // What was loaded in vain goes, if it can.
            let _ = self.structure(&self.lists).map(|text| self.run(&text));
        })
    }

    /// Ranges are written anew: nft reads all of them before it changes one, and a part that goes while others come would
    /// leave a gap.
    fn change(&mut self, list: &str, gone: &[IpNet], come: &[IpNet]) -> Result<bool, Error> {
        let Some(number) = self.lists.get(list).map(|list| list.number) else { return Ok(false) };
        if gone.iter().chain(come).any(|net| Set::of(net).has_ranges()) || gone.len() + come.len() > PIECE {
            return Ok(false);
        }
        self.change_addresses(list, number, gone, |batch, set, keys| batch.delete(set, keys))?;
        self.add(list, number, come)?;
        if let Some(list) = self.lists.get_mut(list) {
            list.samples.retain(|sample| !gone.contains(sample));
        }
        Ok(true)
    }

    fn remove(&mut self, list: &str) -> Result<(), Error> {
        let mut lists = self.lists.clone();
        if lists.remove(list).is_some() { self.enforce(lists) } else { Ok(()) }
    }

    fn verify(&mut self) -> Result<Look, Error> {
        let shown = match self.show() {
            Ok(shown) => shown,
            Err(NoAnswer::NotThere) => Structure::default(),
            Err(no_answer) => return Err(no_answer.into()),
        };
        let mended = self.sound.lacking(&shown);
        let is_lost = |(name, list): &(&String, &List)| {
            let is_held = |sample: &IpNet| Set::of(sample).has_ranges() || self.is_there(name, list, sample);
            !is_whole(&shown, name, list) || !list.samples.iter().all(is_held)
        };
        let lost: Vec<String> = self.lists.iter().filter(is_lost).map(|(name, _)| name.clone()).collect();
        if !mended.is_empty() {
            let mut lists = self.lists.clone();
            lists.retain(|name, list| is_whole(&shown, name, list));
            self.enforce(lists)?;
        }
        Ok(Look { mended, lost })
    }

    fn follow(&mut self, config: &FirewallConfig, traffic: Traffic) -> Result<(), Error> {
        let features = self.plan.features;
        let new = Plan { features, traffic: Ports::of(&traffic)?, ..plan(config, &traffic)? };
        let old = std::mem::replace(&mut self.plan, new);
        self.enforce(self.lists.clone()).inspect_err(|_| self.plan = old)
    }

    fn tear_down(&mut self) -> Result<(), Error> {
        match self.show() {
            Err(NoAnswer::NotThere) => Ok(()),
            _ => Ok(self.run(&format!("delete table inet {}\n", self.plan.table))?),
        }
    }

    fn describe(&self) -> String {
        format!("{}, table inet {}", self.tool, self.plan.table)
    }
}

fn is_whole(shown: &Structure, name: &str, list: &List) -> bool {
    Set::ALL.into_iter().all(|set| shown.has_set(&set_name(name, list.number, set)))
}

fn set_name(list: &str, number: u32, set: Set) -> String {
    format!("{START}{list}_{number}_{}", set.name())
}

/// The list that a set of this name belongs to, and its number.
fn list_of(set: &str) -> Option<(&str, u32)> {
    let (rest, _) = set.strip_prefix(START)?.rsplit_once('_')?;
    let (list, number) = rest.rsplit_once('_')?;
    Some((list, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_tells_its_list_and_number() {
        for list in ["voipbl", "a_1_b4", "-"] {
            assert_eq!(list_of(&set_name(list, 7, Set::Hosts4)), Some((list, 7)));
        }
        for other in ["b4", "ports", "list-x_y_b4", "list-x"] {
            assert_eq!(list_of(other), None, "{other}");
        }
    }
}
