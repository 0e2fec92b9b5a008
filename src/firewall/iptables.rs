//! One rule an address, in a chain of our own in the table `filter` of iptables and of ip6tables.

mod blocks;

use std::collections::HashSet;

use ipnet::IpNet;

use super::body::Origin;
use super::change::{Step, settle};
use super::family::Family;
use super::filter::{Filter, Losers, succeed};
use super::shield::{MOST_RULES, Shed, Shield};
use super::{Applied, Change, Error, Firewall, FoundBlock, Refused, Traffic, Verified};
use crate::config::FirewallConfig;
use crate::model::book::Book;
use crate::model::clock::UnixTime;
use crate::model::target::Holder;

/// The backend `iptables`.
#[derive(Debug)]
pub struct Iptables(Filter, Losers);

impl Iptables {
    /// Checks the configuration and looks the programs up; touches no rule.
    ///
    /// # Errors
    /// If iptables is not installed, or the traffic cannot be told to it. Without ip6tables only IPv4 is guarded, which
    /// [`Firewall::set_up`] tells in the log.
    pub fn new(config: &FirewallConfig, traffic: Traffic) -> Result<Iptables, Error> {
        Ok(Iptables(Filter::new(config, traffic, None)?, Losers::new()))
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
            let body = chain.of_book(book);
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
        let new = Iptables(self.0.successor(config, traffic)?, Losers::new());
        succeed(self, new, book, now)
    }

    fn shield(&mut self) -> Option<&mut dyn Shield> {
        self.0.is_shielded().then_some(self as &mut dyn Shield)
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

/// A packet is compared with each address that is admitted, so there are few of them.
impl Shield for Iptables {
    fn room(&self) -> usize {
        MOST_RULES
    }

    fn tells_scanners(&self) -> bool {
        self.0.tells_scanners()
    }

    fn admit(&mut self, nets: &[IpNet]) -> Result<(), Error> {
        let mut admitted = self.0.admitted().to_vec();
        let room = MOST_RULES.saturating_sub(admitted.len());
        let new: Vec<IpNet> = nets.iter().copied().filter(|net| !admitted.contains(net)).take(room).collect();
        admitted.extend(new);
        self.0.admit(admitted)
    }

    fn admit_only(&mut self, nets: &[IpNet]) -> Result<(), Error> {
        let nets: Vec<IpNet> = nets.iter().copied().take(MOST_RULES).collect();
        let set = |nets: &[IpNet]| nets.iter().copied().collect::<HashSet<_>>();
        if set(&nets) == set(self.0.admitted()) { Ok(()) } else { self.0.admit(nets) }
    }

    fn shed(&mut self) -> Result<Vec<Shed>, Error> {
        self.1.look()
    }
}
