//! Touches no firewall: for `-n`, for `replay`, and for tests of everything above.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{Change, Entry, Error, Firewall, Refused, Scope};
use crate::config::FirewallConfig;
use crate::model::book::Book;
use crate::model::clock::UnixTime;

/// A firewall in memory, which takes everything but what it was told to refuse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DryRun {
    in_force: BTreeSet<IpNet>,
    refusing: BTreeSet<IpNet>,
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

    /// What would be blocked now.
    pub fn in_force(&self) -> &BTreeSet<IpNet> {
        &self.in_force
    }
}

impl Firewall for DryRun {
    fn set_up(&mut self, _now: UnixTime) -> Result<Vec<Entry>, Error> {
        Ok(self.in_force.iter().map(|net| Entry { net: *net, remaining: None }).collect())
    }

    fn apply(&mut self, _book: &Book, change: &Change, _now: UnixTime) -> Vec<Refused> {
        let mut refused = Vec::new();
        let mut takes = |net: IpNet| {
            if self.refusing.contains(&net) {
                refused.push(Refused { net, why: "refused in a dry run".to_owned() });
            }
            !self.refusing.contains(&net)
        };
        for net in change.remove.iter().copied().filter(|net| takes(*net)) {
            self.in_force.remove(&net);
        }
        self.in_force.extend(change.add.iter().map(|(net, _)| *net).filter(|net| takes(*net)));
        refused
    }

    fn verify(&mut self, _book: &Book, _now: UnixTime) -> Result<Option<String>, Error> {
        Ok(None)
    }

    fn set_scope(&mut self, _scope: Scope) -> Result<(), Error> {
        Ok(())
    }

    fn reconfigure(&mut self, _: &FirewallConfig, _: Scope, _: &Book, _now: UnixTime) -> Result<(), Error> {
        Ok(())
    }

    fn packets(&mut self, _net: &IpNet) -> Option<u64> {
        None
    }

    fn tear_down(&mut self) -> Result<(), Error> {
        self.in_force.clear();
        Ok(())
    }

    fn describe(&self) -> String {
        "dry run, no firewall is touched".to_owned()
    }
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
        assert_eq!(firewall.set_up(UnixTime(0)).unwrap(), [Entry { net: one, remaining: None }]);
        firewall.refuse([two]);
        let end = UnixTime(9);
        let change = Change { add: vec![(two, end), (three, end)], remove: vec![one] };
        let refused = firewall.apply(&Book::default(), &change, UnixTime(0));
        assert_eq!(refused.iter().map(|refused| refused.net).collect::<Vec<_>>(), [two]);
        assert_eq!(firewall.in_force(), &BTreeSet::from([three]));
        firewall.tear_down().unwrap();
        assert!(firewall.in_force().is_empty());
    }
}
