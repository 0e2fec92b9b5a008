//! PURE: which countries and networks those were of who were blocked.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;

use serde::Serialize;

use super::report::most;
use super::tally::Tally;
use crate::geo::{Atlas, Place};

/// All who were blocked, by where they were. Empty where the files that would say so are not configured.
#[derive(Debug, Default)]
pub(super) struct Origins {
    /// Most frequent first.
    pub countries: Vec<Origin>,
    pub operators: Vec<Origin>,
}

/// A country or an operator.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Origin {
    pub name: String,
    pub blocks: u64,
    /// At least this many.
    pub addresses: usize,
}

impl Origins {
    /// Names at most `top` of each.
    pub(super) fn new(tally: &Tally, top: usize, atlas: &Atlas) -> Origins {
        if atlas.is_empty() {
            return Origins::default();
        }
        let (mut countries, mut operators) = (HashMap::new(), HashMap::new());
        let addresses = tally.addresses.records().map(|record| (record, 1));
        for ((net, record), addresses) in addresses.chain(tally.groups.records().map(|record| (record, 0))) {
            let Place { country, network } = atlas.place(net.addr());
            add(&mut countries, country, record.blocks, addresses);
            add(&mut operators, network, record.blocks, addresses);
        }
        Origins { countries: rows(countries, top), operators: rows(operators, top) }
    }
}

fn add<K: Hash + Eq>(counts: &mut HashMap<Option<K>, (u64, usize)>, key: Option<K>, blocks: u32, addresses: usize) {
    let count = counts.entry(key).or_default();
    *count = (count.0 + u64::from(blocks), count.1 + addresses);
}

/// Where nothing at all is known there is no file.
fn rows<K: ToString + Eq + Hash>(counts: HashMap<Option<K>, (u64, usize)>, top: usize) -> Vec<Origin> {
    if counts.keys().all(Option::is_none) {
        return Vec::new();
    }
    let rows = counts.into_iter().map(|(key, (blocks, addresses))| {
        let name = key.map_or_else(|| "(not known)".to_owned(), |key| key.to_string());
        Origin { name, blocks, addresses }
    });
    most(rows.collect(), top, |row| (Reverse(row.blocks), row.name.clone()))
}
