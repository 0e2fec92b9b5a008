//! What is known of the lists, for those who ask: written by the threads of this room, read by the owner, and never held by
//! anybody for longer than a look-up takes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

use crate::console::request::ListStatus;
use crate::model::clock::UnixTime;
use crate::model::net::Plain;
use crate::model::nets::Nets;

/// All lists by their names.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<BTreeMap<String, Entry>>);

/// What is known of a list.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    /// Its entries.
    pub nets: Arc<Nets>,
    /// Whether the kernel has them.
    pub is_in_force: bool,
    /// When the source last said that it holds.
    pub fetched: Option<UnixTime>,
    /// What the source wants to be shown.
    pub notice: Option<String>,
    /// What went wrong last, unless it went well since.
    pub failure: Option<String>,
}

impl Board {
    pub(super) fn write(&self, name: &str, change: impl FnOnce(&mut Entry)) {
        change(self.lock().entry(name.to_owned()).or_default());
    }

    /// How all of them are doing.
    pub(super) fn status(&self) -> Vec<ListStatus> {
        let lists = self.lock();
        let status = lists.iter().map(|(name, entry)| ListStatus {
            name: name.clone(),
            entries: if entry.is_in_force { entry.nets.len() } else { 0 },
            fetched: entry.fetched,
            notice: entry.notice.clone(),
            failure: entry.failure.clone(),
        });
        status.collect()
    }

    /// The lists that hold this address, each with the entry.
    pub(super) fn holding(&self, address: IpAddr) -> Vec<String> {
        let lists = self.lock();
        let found = lists.iter().filter(|(_, entry)| entry.is_in_force).filter_map(|(name, entry)| {
            let net = entry.nets.meeting(&IpNet::from(address))?;
            Some(format!("{name} ({})", Plain(net)))
        });
        found.collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        // A panic ends the process, so nobody sees a lock that it poisoned.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
