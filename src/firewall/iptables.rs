//! One rule an address, in a chain of our own in the table `filter` of iptables and of ip6tables.

mod blocks;

use std::collections::HashSet;

use ipnet::IpNet;

use super::body::{Body, Origin};
use super::change::{Step, settle};
use super::family::Family;
use super::filter::{Filter, succeed};
use super::{Applied, Change, Error, Firewall, FoundBlock, Refused, Traffic, Verified};
use crate::config::FirewallConfig;
use crate::model::book::Book;
use crate::model::clock::UnixTime;
use crate::model::target::Holder;

/// The backend `iptables`.
#[derive(Debug)]
pub struct Iptables(Filter);

impl Iptables {
    /// Checks the configuration and looks the programs up; touches no rule.
    ///
    /// # Errors
    /// If iptables is not installed, or the traffic cannot be told to it. Without ip6tables only IPv4 is guarded, which
    /// [`Firewall::set_up`] tells in the log.
    pub fn new(config: &FirewallConfig, traffic: Traffic) -> Result<Iptables, Error> {
        Ok(Iptables(Filter::new(config, traffic, None)?))
    }
}

impl Firewall for Iptables {
    /// The rule of a set, left by the backend `ipset`, stays until the first verify: until then the journal's blocks
    /// have rules of their own.
    fn set_up(&mut self, _now: UnixTime) -> Result<Vec<FoundBlock>, Error> {
        self.0.set_up(|chain, found| {
            let nets: Vec<IpNet> = found.blocks.iter().filter_map(Origin::net).collect();
            chain.mend(&found)?;
            Ok(nets.into_iter().map(|net| FoundBlock { net, remaining: None }).collect())
        })
    }

    fn apply(&mut self, book: &Book, change: &Change, _now: UnixTime) -> Applied {
        let (mut steps, refused) = settle(book, change, |family| self.0.unguarded(family));
        // A rule has no end that could differ.
        steps.retain(|step| step.removes() || book.get(&step.net()).is_none());
        let mut applied = Applied { refused, mended: Vec::new() };
        for family in Family::BOTH {
            let ours: Vec<Step> = steps.iter().copied().filter(|step| Family::of(&step.net()) == family).collect();
            let Some(chain) = self.0.chain(family).filter(|_| !ours.is_empty()) else { continue };
            blocks::apply(chain, book, &ours, &mut applied);
        }
        applied
    }

    fn prepare(&mut self) {
        self.0.prepare();
    }

    fn verify(&mut self, book: &Book, now: UnixTime) -> Verified {
        self.0.verify(now, |chain| {
            let body = Body::of_book(chain.family(), book);
            let unmended = match chain.mend(&body) {
                Ok(mended) => return Verified { mended, ..Verified::default() },
                Err(unmended) => unmended,
            };
            let in_force: Option<HashSet<Origin>> = unmended.in_force;
            let lost = body.blocks.iter().filter(|block| in_force.as_ref().is_some_and(|there| !there.contains(block)));
            let refused = |net| Refused { net, why: unmended.error.0.clone() };
            let lost = lost.filter_map(Origin::net).map(refused).collect();
            Verified { lost, ..Verified::failed(unmended.error.clone()) }
        })
    }

    fn set_traffic(&mut self, traffic: Traffic) -> Result<(), Error> {
        self.0.set_traffic(traffic)
    }

    fn reconfigure(
        &mut self,
        config: &FirewallConfig,
        traffic: Traffic,
        book: &Book,
        now: UnixTime,
    ) -> Result<(), Error> {
        let new = Iptables(self.0.successor(config, traffic)?);
        succeed(self, new, book, now)
    }

    fn packets(&mut self, net: &IpNet) -> Option<u64> {
        self.0.chain(Family::of(net))?.packets(&Origin::Net(*net))
    }

    fn tear_down(&mut self) -> Result<(), Error> {
        self.0.tear_down()
    }

    fn holder(&self) -> Holder {
        self.0.holder()
    }

    fn describe(&self) -> String {
        self.0.describe("")
    }
}
