//! One rule an address, in a chain of our own in the table `filter` of iptables and of ip6tables.

mod blocks;

use ipnet::IpNet;

use super::filter::{Filter, Source, Version, succeed};
use super::{Change, Entry, Error, Firewall, Refused, Scope};
use crate::config::FirewallConfig;
use crate::model::book::Book;
use crate::model::clock::UnixTime;

/// The backend `iptables`.
#[derive(Debug)]
pub struct Iptables(Filter);

impl Iptables {
    /// Checks the configuration and looks the programs up; touches no rule.
    ///
    /// # Errors
    /// If the chain's name or the target of a block cannot be used, or iptables is not installed. Without
    /// ip6tables only IPv4 is guarded, which [`Firewall::set_up`] tells in the log.
    pub fn new(config: &FirewallConfig, scope: Scope) -> Result<Iptables, Error> {
        Ok(Iptables(Filter::new(config, scope)?))
    }
}

impl Firewall for Iptables {
    /// The rule of a set, left by the backend `ipset`, stays until the first verify: until then the journal's blocks
    /// have rules of their own.
    fn set_up(&mut self, _now: UnixTime) -> Result<Vec<Entry>, Error> {
        self.0.set_up(|family, found| {
            family.mend(&found)?;
            Ok(found.iter().filter_map(Source::net).map(|net| Entry { net, remaining: None }).collect())
        })
    }

    fn apply(&mut self, book: &Book, change: &Change, _now: UnixTime) -> Vec<Refused> {
        let (change, mut refused) = self.0.settle(book, change);
        let new = change.add.iter().map(|(net, _)| *net).filter(|net| book.get(net).is_none());
        let new: Vec<IpNet> = new.collect();
        for version in Version::BOTH {
            let add: Vec<IpNet> = version.only(new.iter().copied()).collect();
            let remove: Vec<IpNet> = version.only(change.remove.iter().copied()).collect();
            let Some(family) = self.0.family(version) else { continue };
            if !add.is_empty() || !remove.is_empty() {
                refused.extend(blocks::apply(family, book, &add, &remove));
            }
        }
        refused
    }

    fn prepare(&mut self) {
        self.0.prepare();
    }

    fn verify(&mut self, book: &Book, _now: UnixTime) -> Result<Option<String>, Error> {
        self.0.verify(|family| family.mend(&blocks::of(family.version(), book)))
    }

    fn set_scope(&mut self, scope: Scope) -> Result<(), Error> {
        self.0.set_scope(scope)
    }

    fn reconfigure(&mut self, config: &FirewallConfig, scope: Scope, book: &Book, now: UnixTime) -> Result<(), Error> {
        let new = Iptables(self.0.successor(config, scope)?);
        succeed(self, new, book, now)
    }

    fn packets(&mut self, net: &IpNet) -> Option<u64> {
        self.0.family(Version::of(net))?.packets(&Source::Net(*net))
    }

    fn tear_down(&mut self) -> Result<(), Error> {
        self.0.tear_down()
    }

    fn describe(&self) -> String {
        self.0.describe("")
    }
}
