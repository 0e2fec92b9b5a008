//! Our table as the kernel shows it.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::netlink::{Ask, Netlink, NoAnswer};
use super::sets::{Element, Set};
use super::strangers;
use super::wire::{Attributes, attribute, text};
use super::words::{DROPPED, HOOKED, PORTS, RULES};

/// All of the table but the blocks, each part as the kernel's own bytes. They are the same whenever the same was asked
/// for, so what was seen once to be right is compared with what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Structure {
    /// By the name of the part, such as `set b4`.
    parts: BTreeMap<String, Vec<u8>>,
    /// Chains that are none of ours.
    pub strange: Vec<String>,
}

impl Structure {
    /// # Errors
    /// If there is no such table, or nothing can be read.
    pub(super) fn read(netlink: &Netlink, table: &str) -> Result<Structure, NoAnswer> {
        let blocks = Set::ALL.into_iter().map(|set| set.name().to_owned());
        let known: Vec<String> = blocks.chain(strangers::sets()).collect();
        Structure::with_sets(netlink, table, |set| known.iter().any(|known| known == set))
    }

    /// The same of a table with other sets.
    pub(super) fn with_sets(
        netlink: &Netlink,
        table: &str,
        is_ours: impl Fn(&str) -> bool,
    ) -> Result<Structure, NoAnswer> {
        let mut structure = Structure::default();
        netlink.get(Ask::Table, &text(1, table), |answer| answer.text(1).map(drop))?;
        let ours = |answer: &Attributes<'_>| answer.text(1) == Some(table);

        // Name, hook, policy and type.
        let chains = netlink.list(Ask::Chains, &text(1, table), |answer, found: &mut Vec<(String, Vec<u8>)>| {
            found.extend(ours(&answer).then(|| Some((answer.text(3)?.to_owned(), only(answer, &[4, 5, 7])))).flatten());
        })?;
        // Flags, type and length of the key, timeout, expressions.
        let sets = netlink.list(Ask::Sets, &text(1, table), |answer, found: &mut Vec<(String, Vec<u8>)>| {
            let parts = [3, 4, 5, 11, 17, 18];
            found.extend(ours(&answer).then(|| Some((answer.text(2)?.to_owned(), only(answer, &parts)))).flatten());
        })?;
        // Of each rule, its chain and its expressions.
        let rules = netlink.list(Ask::Rules, &text(1, table), |answer, found: &mut Vec<(String, Vec<u8>)>| {
            found.extend(ours(&answer).then(|| Some((answer.text(2)?.to_owned(), only(answer, &[4])))).flatten());
        })?;
        for (name, bytes) in chains {
            match &name[..] {
                name if is_chain_of_ours(name) => drop(structure.parts.insert(format!("chain {name}"), bytes)),
                _ => structure.strange.push(name),
            }
        }
        for (name, bytes) in sets.into_iter().filter(|(name, _)| name == PORTS || is_ours(name)) {
            structure.parts.insert(format!("set {name}"), bytes);
        }
        for (chain, bytes) in rules.into_iter().filter(|(chain, _)| is_chain_of_ours(chain)) {
            structure.parts.entry(format!("rules of chain {chain}")).or_default().extend(bytes);
        }
        if structure.parts.contains_key(&format!("set {PORTS}")) {
            let mut ports = netlink.list(Ask::Elements, &named(table, PORTS), |answer, found: &mut Vec<Vec<u8>>| {
                let elements = answer.within(3).into_iter().flat_map(Attributes::iter);
                found.extend(elements.filter_map(|(_, element)| Some(Attributes(element).within(1)?.get(1)?.to_vec())));
            })?;
            ports.sort_unstable();
            structure.parts.insert(format!("ports in set {PORTS}"), ports.concat());
        }
        Ok(structure)
    }

    /// Whether each of our chains, sets and lists of rules is there, those of the shield too if there is to be one.
    pub(super) fn is_whole(&self, shielded: bool) -> bool {
        let shield = if shielded { 2 * strangers::CHAINS.len() + strangers::sets().count() } else { 0 };
        self.parts.len() == 2 + 2 + Set::ALL.len() + 2 + shield
    }

    /// Whether anything of the shield is there.
    pub(super) fn has_shield(&self) -> bool {
        let chains = strangers::CHAINS.into_iter().map(|chain| format!("chain {chain}"));
        chains.chain(strangers::sets().map(|set| format!("set {set}"))).any(|part| self.parts.contains_key(&part))
    }

    /// Whether it has our chains and sets, and no other chain.
    pub(super) fn is_ours(&self) -> bool {
        self.strange.is_empty() && [HOOKED, RULES].iter().all(|name| self.parts.contains_key(&format!("chain {name}")))
    }

    /// Whether it has this set.
    pub(super) fn has_set(&self, name: &str) -> bool {
        self.parts.contains_key(&format!("set {name}"))
    }

    /// The parts of this one that `other` lacks or has otherwise.
    pub(super) fn lacking(&self, other: &Structure) -> Vec<String> {
        let differs = |(name, bytes): &(&String, &Vec<u8>)| other.parts.get(*name) != Some(bytes);
        self.parts.iter().filter(differs).map(|(name, _)| name.clone()).collect()
    }
}

/// The names of all sets of a table; none if there is no such table.
pub(super) fn sets(netlink: &Netlink, table: &str) -> Result<Vec<String>, NoAnswer> {
    let listed = netlink.list(Ask::Sets, &text(1, table), |answer, found: &mut Vec<String>| {
        found.extend((answer.text(1) == Some(table)).then(|| answer.text(2).map(str::to_owned)).flatten());
    });
    match listed {
        Err(NoAnswer::NotThere) => Ok(Vec::new()),
        listed => listed,
    }
}

/// The elements of a set.
pub(super) fn elements(netlink: &Netlink, table: &str, set: &str) -> Result<Vec<Element>, NoAnswer> {
    netlink.list(Ask::Elements, &named(table, set), Element::read)
}

/// One element of a set of addresses, without listing the others.
pub(super) fn element(netlink: &Netlink, table: &str, set: &str, net: &IpNet) -> Result<Element, NoAnswer> {
    let which = [named(table, set), Set::element_of(net)].concat();
    netlink.get(Ask::Elements, &which, |answer| {
        let mut found = Vec::new();
        Element::read(answer, &mut found);
        found.pop()
    })
}

/// Packets that the rules of the blocks have dropped.
pub(super) fn dropped(netlink: &Netlink, table: &str) -> Result<u64, NoAnswer> {
    const COUNTER: u32 = 1;
    let which = [named(table, DROPPED), attribute(3, &COUNTER.to_be_bytes())].concat();
    netlink.get(Ask::Object, &which, |answer| answer.within(4)?.long_number(2))
}

fn is_chain_of_ours(name: &str) -> bool {
    [HOOKED, RULES].contains(&name) || strangers::CHAINS.contains(&name)
}

/// A set or a counter of the table.
fn named(table: &str, name: &str) -> Vec<u8> {
    [text(1, table), text(2, name)].concat()
}

/// Attributes of these types, each with its type before it.
fn only(attributes: Attributes<'_>, kinds: &[u16]) -> Vec<u8> {
    let chosen = attributes.iter().filter(|(kind, _)| kinds.contains(kind));
    chosen.flat_map(|(kind, value)| kind.to_ne_bytes().into_iter().chain(value.iter().copied())).collect()
}
