//! Touches no firewall: for `-n`, for `replay`, and for tests of everything above.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{Applied, Change, Error, Firewall, FoundBlock, Refused, Traffic, Verified, choice};
use crate::config::{Config, FirewallConfig};
use crate::model::book::Book;
use crate::model::clock::UnixTime;
use crate::model::target::Holder;

/// A firewall in memory, which takes everything but what it was told to refuse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DryRun {
    in_force: BTreeSet<IpNet>,
    refusing: BTreeSet<IpNet>,
    /// Whether blocks may have been lost, which only a flush does.
    flushed: bool,
}

impl DryRun {
    /// Begins with these in force, as if left over from a crash.
    pub fn holding(nets: impl IntoIterator<Item = IpNet>) -> DryRun {
        DryRun { in_force: nets.into_iter().collect(), ..DryRun::default() }
    }

    /// Refuses from now on to add or remove exactly these.
    pub fn refuse(&mut self, nets: impl IntoIterator<Item = IpNet>) {
        self.refusing = nets.into_iter().collect();
    }

    /// Loses all blocks, as if another program had flushed the rules.
    pub fn flush(&mut self) {
        self.in_force.clear();
        self.flushed = true;
    }

    /// What would be blocked now.
    pub fn in_force(&self) -> &BTreeSet<IpNet> {
        &self.in_force
    }
}

impl Firewall for DryRun {
    fn set_up(&mut self, _now: UnixTime) -> Result<Vec<FoundBlock>, Error> {
        Ok(self.in_force.iter().map(|net| FoundBlock { net: *net, remaining: None }).collect())
    }

    fn apply(&mut self, _book: &Book, change: &Change, _now: UnixTime) -> Applied {
        let mut refused = Vec::new();
        let mut takes = |net: IpNet| {
            if self.refusing.contains(&net) {
                refused.push(refusal(net));
            }
            !self.refusing.contains(&net)
        };
        for net in change.remove.iter().copied().filter(|net| takes(*net)) {
            self.in_force.remove(&net);
        }
        self.in_force.extend(change.add.iter().map(|(net, _)| *net).filter(|net| takes(*net)));
        Applied { refused, mended: Vec::new() }
    }

    fn verify(&mut self, book: &Book, _now: UnixTime) -> Verified {
        if !self.flushed {
            return Verified::default();
        }
        let missing = book.iter().map(|(net, _)| net).filter(|net| !self.in_force.contains(net));
        let (lost, back): (Vec<IpNet>, Vec<IpNet>) = missing.partition(|net| self.refusing.contains(net));
        self.flushed = !lost.is_empty();
        let lost: Vec<Refused> = lost.into_iter().map(refusal).collect();
        let mended = (!back.is_empty()).then(|| format!("{} of {} blocks", back.len(), book.len()));
        self.in_force.extend(back);
        Verified { mended: mended.into_iter().collect(), lost, failed: Vec::new() }
    }

    fn set_traffic(&mut self, _traffic: Traffic) -> Result<(), Error> {
        Ok(())
    }

    fn reconfigure(&mut self, _: &FirewallConfig, _: Traffic, _: &Book, _now: UnixTime) -> Result<(), Error> {
        Ok(())
    }

    fn packets(&mut self, _net: &IpNet) -> Option<u64> {
        None
    }

    fn tear_down(&mut self) -> Result<(), Error> {
        self.in_force.clear();
        Ok(())
    }

    /// What the default configuration has.
    fn holder(&self) -> Holder {
        choice::holder(&Config::default().firewall)
    }

    fn describe(&self) -> String {
        "dry run, no firewall is touched".to_owned()
    }
}

fn refusal(net: IpNet) -> Refused {
    Refused { net, why: "refused in a dry run".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn it_takes_all_but_what_it_was_told_to_refuse() {
        let (one, two, three) = (net("192.0.2.1/32"), net("192.0.2.2/32"), net("2001:db8::/64"));
        let mut firewall = DryRun::holding([one]);
        assert_eq!(firewall.set_up(UnixTime(0)).unwrap(), [FoundBlock { net: one, remaining: None }]);
        firewall.refuse([two]);
        let end = UnixTime(9);
        let change = Change { add: vec![(two, end), (three, end)], remove: vec![one] };
        let refused = firewall.apply(&Book::default(), &change, UnixTime(0)).refused;
        assert_eq!(refused.iter().map(|refused| refused.net).collect::<Vec<_>>(), [two]);
        assert_eq!(firewall.in_force(), &BTreeSet::from([three]));
        firewall.tear_down().unwrap();
        assert!(firewall.in_force().is_empty());
    }
}
