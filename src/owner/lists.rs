//! What the owner tells the lists of others: whom to spare, and which traffic they are for.

use ipnet::IpNet;
use log::{error, info};

use super::{Owner, passed};
use crate::config::OnStop;
use crate::model::clock::Now;

/// Seconds between two times when the lists are told of all homes. Those that are new are told at once, so this is for
/// those that have ended.
const HOMES_AGAIN: u64 = 600;

impl Owner {
    /// Tells of whoever is protected, and of all homes.
    pub(super) fn spare_in_lists(&mut self, now: Now) {
        self.protect_in_lists();
        self.tell_homes(now);
    }

    /// Tells of whoever is now protected, and of the other members of the fleet.
    pub(super) fn protect_in_lists(&self) {
        if let Some(lists) = &self.lists {
            lists.protect(self.protection.nets().chain(self.member_addresses()).collect());
        }
    }

    /// Tells of addresses where somebody has logged in.
    pub(super) fn spare_more_in_lists(&self, homes: &[IpNet]) {
        if let Some(lists) = self.lists.as_ref().filter(|_| !homes.is_empty()) {
            lists.spare_more(homes);
        }
    }

    /// Tells of all homes again, when it is time to.
    pub(super) fn tend_lists(&mut self, now: Now) {
        if self.lists.is_some() && passed(self.homes_told, now) >= HOMES_AGAIN {
            self.tell_homes(now);
        }
    }

    /// The traffic has changed, or the target, or the interface.
    pub(super) fn lead_to_lists(&self) {
        if let Some(lists) = &self.lists {
            lists.follow(&self.config.firewall, self.covered.traffic());
        }
    }

    /// Takes the lists out of the kernel, or leaves them there, as `state.on_stop` says.
    pub(super) fn leave_lists(&mut self) {
        let Some(lists) = self.lists.take() else { return };
        let clear = self.config.on_stop == OnStop::Clear;
        match lists.stop(clear) {
            Ok(()) if clear => info!("FEED => lists removed"),
            Ok(()) => info!("FEED => lists left in force"),
            Err(why) => error!("ERROR => {why}"),
        }
    }

    fn tell_homes(&mut self, now: Now) {
        self.homes_told = now;
        if let Some(lists) = &self.lists {
            lists.spare_homes(self.evidence.places().collect());
        }
    }
}
