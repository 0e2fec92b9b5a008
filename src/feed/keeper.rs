//! Thread: keeps the lists in the kernel, without whoever is spared: the protected and those who live here.
//!
//! INVARIANT: whoever is spared is not in the kernel's sets, from about a second after this thread was told.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use ipnet::IpNet;
use log::{error, info, warn};

use super::board::Board;
use super::desk::{Desk, Orders};
use crate::config::FirewallConfig;
use crate::firewall::lists::Lists;
use crate::firewall::{Traffic, choice};
use crate::model::clock::Clock;
use crate::model::nets::{Nets, differences};

/// The kernel's sets are looked at once for so many looks at the blocks (`iptables.verify`).
const LOOKS: u64 = 6;

/// Time between two changes for whoever is spared: many of them together cost no more than one.
const PAUSE: Duration = Duration::from_secs(1);

/// At most 1,000 entries of a list that is in force are changed one by one; with more of them it is exchanged.
const FEW: usize = 1_000;

/// The thread's work.
pub(super) struct Keeper {
    firewall: Box<dyn Lists>,
    config: FirewallConfig,
    board: Arc<Board>,
    clock: Clock,
    /// The names of all lists there may be.
    names: BTreeSet<String>,
    protected: Option<Vec<IpNet>>,
    homes: BTreeSet<IpNet>,
    spared: Nets,
    /// The lists as they are to be.
    wanted: BTreeMap<String, Arc<Nets>>,
    /// Those that the kernel has so, but for whoever is spared.
    in_force: BTreeSet<String>,
    /// Lists that have ended and could not be removed yet.
    ending: BTreeSet<String>,
    is_set_up: bool,
    /// Target, interface and traffic that the rules do not follow yet.
    rules: Option<(FirewallConfig, Traffic)>,
    /// What failed last, told once.
    told: BTreeMap<String, String>,
}

impl Keeper {
    pub(super) fn new(
        firewall: Box<dyn Lists>,
        config: FirewallConfig,
        names: BTreeSet<String>,
        board: Arc<Board>,
        clock: Clock,
    ) -> Keeper {
        Keeper {
            firewall,
            config,
            board,
            clock,
            names,
            protected: None,
            homes: BTreeSet::new(),
            spared: Nets::default(),
            wanted: BTreeMap::new(),
            in_force: BTreeSet::new(),
            ending: BTreeSet::new(),
            is_set_up: false,
            rules: None,
            told: BTreeMap::new(),
        }
    }

    /// Does what is ordered, until told to stop.
    pub(super) fn run(mut self, desk: &Desk, bell: &Receiver<()>) {
        let mut look_at = self.clock.now().monotonic;
        loop {
            let orders = desk.take();
            if let Some(stop) = orders.stop {
                let outcome = if stop.clear { self.firewall.tear_down() } else { Ok(()) };
                let _ = stop.done.try_send(outcome);
                return;
            }
            self.obey(orders);
            if self.clock.now().monotonic >= look_at {
                self.look();
                look_at = self.clock.now().monotonic + Duration::from_secs(LOOKS * self.config.verify);
            }
            let rung = bell.recv_timeout(look_at.saturating_sub(self.clock.now().monotonic));
            if rung == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            let until = self.clock.now().monotonic + PAUSE;
            while rung.is_ok() && !desk.is_to_stop() {
                let left = until.saturating_sub(self.clock.now().monotonic);
                if left.is_zero() || bell.recv_timeout(left).is_err() {
                    break;
                }
            }
        }
    }

    fn obey(&mut self, orders: Orders) {
        let Orders { rules, protected, homes, more_homes, lists, stop: _ } = orders;
        if let Some((config, traffic)) = rules {
            self.config = config.clone();
            self.rules = Some((config, traffic));
            self.follow();
        }
        if protected.is_some() || homes.is_some() || !more_homes.is_empty() {
            self.protected = protected.or(self.protected.take());
            self.homes = homes.map_or_else(|| mem::take(&mut self.homes), BTreeSet::from_iter);
            self.homes.extend(more_homes);
            self.spare();
        }
        for (name, list) in lists {
            match list {
                Some(list) => {
                    if !self.change(&name, &list) {
                        self.in_force.remove(&name);
                    }
                    self.wanted.insert(name, list);
                }
                None => self.end(&name),
            }
        }
        self.put_missing();
    }

    /// Makes the rules follow the last word on them, once there are any. What is refused is tried again at each look.
    fn follow(&mut self) {
        let Some((config, traffic)) = self.rules.take_if(|_| self.is_set_up) else { return };
        let followed = self.firewall.follow(&config.of_lists(), traffic.clone());
        if followed.is_err() {
            self.rules = Some((config, traffic));
        }
        self.tell("traffic", followed.err().map(|why| format!("the rules of the lists stay as they are: {why}")));
    }

    /// Takes whoever is now to be spared out of the lists, and puts back who is not any more.
    fn spare(&mut self) {
        let spared: Nets = self.protected.iter().flatten().chain(&self.homes).copied().collect();
        let old = mem::replace(&mut self.spared, spared);
        if old == self.spared {
            return;
        }
        for name in self.in_force.clone() {
            let Some(list) = self.wanted.get(&name) else { continue };
            let (gone, come) = differences(list.without(&old), list.without(&self.spared));
            let is_same = gone.is_empty() && come.is_empty();
            if !is_same && !matches!(self.firewall.change(&name, &gone, &come), Ok(true)) {
                self.in_force.remove(&name);
            }
        }
    }

    /// Puts the lists that are not in force. Not before it is known whom to spare.
    fn put_missing(&mut self) {
        if self.protected.is_none() || !self.set_up() {
            return;
        }
        for (name, list) in self.wanted.clone() {
            if self.in_force.contains(&name) {
                continue;
            }
            // What is cut into pieces becomes more, each home at most 32 or 64 pieces.
            let most = list.len() + 64 * self.spared.len().min(list.len());
            let put = self.firewall.put(&name, &mut list.without(&self.spared), most);
            let failure = put.err().map(|why| format!("{name} is not in force as it should be: {why}"));
            if failure.is_none() {
                self.in_force.insert(name.clone());
                self.show(&name, &list);
            }
            self.tell(&name, failure);
        }
    }

    /// Changes a list that is in force, if that is a matter of a few entries.
    fn change(&mut self, name: &str, new: &Arc<Nets>) -> bool {
        let Some(old) = self.wanted.get(name).filter(|_| self.in_force.contains(name)) else { return false };
        let (gone, come) = differences(old.without(&self.spared), new.without(&self.spared));
        let changed = gone.len() + come.len() <= FEW && matches!(self.firewall.change(name, &gone, &come), Ok(true));
        if changed {
            self.show(name, new);
        }
        changed
    }

    fn show(&self, name: &str, list: &Arc<Nets>) {
        info!("FEED => {name}: {} entries in force", list.len());
        self.board.write(name, |entry| {
            entry.nets = Arc::clone(list);
            entry.is_in_force = true;
        });
    }

    fn end(&mut self, name: &str) {
        self.wanted.remove(name);
        self.in_force.remove(name);
        let removed = if self.set_up() { self.firewall.remove(name) } else { Ok(()) };
        if removed.is_err() {
            self.ending.insert(name.to_owned());
        }
        self.board.write(name, |entry| {
            entry.nets = Arc::default();
            entry.is_in_force = false;
        });
        self.tell(name, removed.err().map(|why| format!("{name} has ended and is still in force: {why}")));
    }

    fn set_up(&mut self) -> bool {
        if !self.is_set_up {
            match self.firewall.set_up() {
                Ok(found) => {
                    self.is_set_up = true;
                    info!("FEED => {}", self.firewall.describe());
                    self.remove_strange(&found);
                    self.tell("rules", None);
                    self.follow();
                }
                Err(why) => self.tell("rules", Some(format!("no list can be in force: {why}"))),
            }
        }
        self.is_set_up
    }

    /// Lists that are not configured any more, and what another backend holds.
    fn remove_strange(&mut self, found: &[String]) {
        for name in found.iter().filter(|name| !self.names.contains(*name)) {
            match self.firewall.remove(name) {
                Ok(()) => info!("FEED => {name} is not configured any more and has ended"),
                Err(why) => warn!("FEED => {why}"),
            }
        }
        match choice::remove_left_lists(&self.config, true) {
            Ok(gone) => gone.iter().for_each(|gone| info!("FEED => {gone} of the backend before is gone")),
            Err(why) => warn!("FEED => {why}"),
        }
    }

    /// Sees whether all is in force, and makes it so.
    fn look(&mut self) {
        if self.is_set_up {
            match self.firewall.verify() {
                Ok(look) => {
                    self.tell("rules", None);
                    if !look.mended.is_empty() || !look.lost.is_empty() {
                        warn!("REPAIR => of the lists: {}", [look.mended, look.lost.clone()].concat().join(", "));
                    }
                    self.in_force.retain(|name| !look.lost.contains(name));
                }
                Err(why) => self.tell("rules", Some(format!("it is not known whether the lists are in force: {why}"))),
            }
        }
        self.follow();
        let ending = mem::take(&mut self.ending);
        for name in ending {
            if !self.wanted.contains_key(&name) {
                self.end(&name);
            }
        }
        self.put_missing();
    }

    /// Says what went wrong, once until it is something else.
    fn tell(&mut self, about: &str, failure: Option<String>) {
        match failure {
            None => drop(self.told.remove(about)),
            Some(text) => {
                if self.told.get(about) != Some(&text) {
                    error!("ERROR => {text}");
                    self.told.insert(about.to_owned(), text);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
