//! What the keeper is to do, put here by others, who never wait for it.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender};
use ipnet::IpNet;

use crate::config::FirewallConfig;
use crate::firewall::{self, Traffic};
use crate::model::nets::Nets;

/// At most 100,000 homes wait to be spared one by one. The owner tells all of them again from time to time.
const MOST_HOMES: usize = 100_000;

/// What the thread is to do. What is newer takes the place of what is older.
#[derive(Debug)]
pub(super) struct Desk {
    orders: Mutex<Orders>,
    bell: Sender<()>,
}

/// All that is new since they were last taken.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) rules: Option<(FirewallConfig, Traffic)>,
    pub(super) protected: Option<Vec<IpNet>>,
    pub(super) homes: Option<Vec<IpNet>>,
    pub(super) more_homes: Vec<IpNet>,
    /// The lists that are new, `None` those that end.
    pub(super) lists: BTreeMap<String, Option<Arc<Nets>>>,
    pub(super) stop: Option<Stop>,
}

/// The thread is to end.
#[derive(Debug)]
pub(super) struct Stop {
    /// Whether the sets are to go.
    pub(super) clear: bool,
    pub(super) done: Sender<Result<(), firewall::Error>>,
}

impl Desk {
    /// A desk, and what rings when something is put on it.
    pub(super) fn new() -> (Desk, Receiver<()>) {
        let (bell, rings) = crossbeam_channel::bounded(1);
        (Desk { orders: Mutex::default(), bell }, rings)
    }

    pub(super) fn follow(&self, config: FirewallConfig, traffic: Traffic) {
        self.put(|orders| orders.rules = Some((config, traffic)));
    }

    pub(super) fn protect(&self, nets: Vec<IpNet>) {
        self.put(|orders| orders.protected = Some(nets));
    }

    pub(super) fn spare_homes(&self, homes: Vec<IpNet>) {
        self.put(|orders| {
            orders.homes = Some(homes);
            orders.more_homes.clear();
        });
    }

    pub(super) fn spare_more(&self, homes: &[IpNet]) {
        self.put(|orders| {
            let room = MOST_HOMES - orders.more_homes.len();
            orders.more_homes.extend(homes.iter().take(room));
        });
    }

    pub(super) fn list(&self, name: &str, nets: Option<Arc<Nets>>) {
        self.put(|orders| drop(orders.lists.insert(name.to_owned(), nets)));
    }

    /// The outcome comes when the sets are gone, or left as they are.
    pub(super) fn stop(&self, clear: bool) -> Receiver<Result<(), firewall::Error>> {
        let (done, outcome) = crossbeam_channel::bounded(1);
        self.put(|orders| orders.stop = Some(Stop { clear, done }));
        outcome
    }

    fn put(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.lock());
        // It rings already, or the thread has ended.
        let _ = self.bell.try_send(());
    }

    pub(super) fn take(&self) -> Orders {
        mem::take(&mut self.lock())
    }

    pub(super) fn is_to_stop(&self) -> bool {
        self.lock().stop.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        // A panic ends the process, so nobody sees a lock that it poisoned.
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
