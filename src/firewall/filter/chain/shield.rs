//! The chains of the shield, of one address family.

use ipnet::IpNet;

use super::Chain;
use crate::config::{FirewallConfig, ShieldMode};
use crate::firewall::body::{Faults, Origin};
use crate::firewall::family::Family;
use crate::firewall::filter::listing::Listing;
use crate::firewall::filter::strangers::{COUNTED, Rules, Strangers};
use crate::firewall::scope::matched::{ALL, matched};
use crate::firewall::shield::scanners::Scanner;
use crate::firewall::{Error, Traffic};

/// The shield as it is to be, and what is known of how it stands there.
#[derive(Debug)]
pub(super) struct Shielding {
    strangers: Strangers,
    /// Its rules as iptables lists them, learnt from the first listing after they were made; `None` until they are
    /// known to be ours.
    listed: Option<Rules>,
    to_learn: bool,
    /// Whether the kernel took them once.
    taken: bool,
}

impl Shielding {
    /// `None` if there is to be none. With a set of the blocks there is one of the admitted too.
    pub(super) fn new(
        family: Family,
        config: &FirewallConfig,
        traffic: &Traffic,
        set: Option<&str>,
    ) -> Option<Shielding> {
        if config.shield.mode == ShieldMode::Off {
            return None;
        }
        let admitted = set.map(|_| Origin::Set(family.admitted_set_name(&config.set_name)));
        let all_traffic = match traffic {
            Traffic::All => true,
            Traffic::Match(words) => matched(words).is_none_or(|matched| matched.udp.contains(&ALL)),
            Traffic::Ports { .. } => false,
        };
        let strangers =
            Strangers::new(family, &config.chain, config.shield, all_traffic, admitted.into_iter().collect());
        Some(Shielding { strangers, listed: None, to_learn: false, taken: false })
    }

    pub(super) fn learn(&mut self, listing: &Listing) {
        if std::mem::take(&mut self.to_learn) {
            let whole = self.strangers.is_whole(&listing.shield);
            self.taken |= whole;
            self.listed = whole.then(|| listing.shield.clone());
        }
    }
}

impl Chain {
    /// Whether there is a shield, or is to be one.
    pub(in crate::firewall) fn is_shielded(&self) -> bool {
        self.shielding.is_some()
    }

    /// Admits these and nobody else, each by a rule of its own, from the next `mend` on; says whether others are admitted
    /// now.
    pub(in crate::firewall::filter) fn will_admit(&mut self, nets: impl Iterator<Item = IpNet>) -> bool {
        let Some(shielding) = self.shielding.as_mut().filter(|_| self.set.is_none()) else { return false };
        let admitted: Vec<Origin> = self.family.only(nets).map(Origin::Net).collect();
        let differs = admitted != shielding.strangers.admitted;
        if differs {
            shielding.strangers.admitted = admitted;
            shielding.listed = None;
        }
        differs
    }

    /// The same, from now on. If it fails, the next `mend` does it.
    pub(in crate::firewall::filter) fn admit(&mut self, nets: impl Iterator<Item = IpNet>) -> Result<(), Error> {
        if !self.will_admit(nets) {
            return Ok(());
        }
        let text = self.shielding.as_ref().map(|shielding| shielding.strangers.text_of_admitted());
        self.commit(&text.unwrap_or_default())?;
        self.shield_is_written(true);
        Ok(())
    }

    /// Sheds the requests of these at once, from the next `mend` on.
    pub(in crate::firewall::filter) fn will_shed(&mut self, scanners: &[Scanner]) {
        if let Some(shielding) = &mut self.shielding {
            shielding.strangers.scanners = scanners.to_vec();
            shielding.listed = None;
        }
    }

    /// Whether there are rules that tell scanners.
    pub(in crate::firewall::filter) fn tells_scanners(&self) -> bool {
        self.shielding.as_ref().is_some_and(|shielding| !shielding.strangers.scanners.is_empty())
    }

    /// Who is admitted by a rule of its own.
    pub(in crate::firewall::filter) fn admitted(&self) -> impl Iterator<Item = IpNet> {
        let admitted = self.shielding.iter().flat_map(|shielding| &shielding.strangers.admitted);
        admitted.filter_map(Origin::net)
    }

    /// Goes on admitting whom an earlier process admitted, until more is known.
    pub(super) fn adopt_admitted(&mut self, listing: &Listing) {
        let rules = listing.shield.get(&self.names.shield);
        if let (Some(shielding), None) =
            (self.shielding.as_mut().filter(|it| it.strangers.admitted.is_empty()), &self.set)
        {
            shielding.strangers.admitted = rules.into_iter().flatten().filter_map(|rule| admitted(rule)).collect();
        }
    }

    /// All chains of the shield as they are to be; or none of those there are.
    pub(super) fn shield_anew(&self, listing: &Listing) -> String {
        match &self.shielding {
            Some(shielding) => shielding.strangers.text(),
            None => self.without_shield(listing),
        }
    }

    /// Removes the chains of the shield, to which no rule of ours leads any more. Where a rule of others does, the kernel
    /// would refuse all of it: such a chain is emptied and stays.
    pub(super) fn without_shield(&self, listing: &Listing) -> String {
        let there = || self.names.all().into_iter().filter(|chain| listing.shield.contains_key(*chain));
        let free = there().filter(|chain| listing.reference_to(chain).is_none());
        there().map(|chain| format!("-F {chain}\n")).chain(free.map(|chain| format!("-X {chain}\n"))).collect()
    }

    /// Why each chain stays that cannot be removed.
    pub(super) fn shield_that_stays(&self, listing: &Listing) -> impl Iterator<Item = String> {
        let there = self.names.all().into_iter().filter(|chain| listing.shield.contains_key(*chain));
        there.filter_map(|chain| self.why_it_stays(listing, chain))
    }

    /// The rules were made, if they were to be; the next listing shows how they are listed.
    pub(super) fn shield_is_written(&mut self, written: bool) {
        if let Some(shielding) = &mut self.shielding {
            shielding.to_learn |= written;
        }
    }

    /// After a refusal: has the shield without all else tried by itself, unless the kernel took it before. If nothing of it
    /// is taken, there is none from now on. Whether the next try may come to more.
    pub(super) fn fit_shield(&mut self) -> bool {
        let Some(mut shielding) = self.shielding.take_if(|shielding| !shielding.taken) else { return false };
        let family = self.family.name();
        let mut tries = vec![std::mem::take(&mut shielding.strangers.scanners)];
        if !tries[0].is_empty() {
            tries.push(Vec::new());
        }
        let mut why = String::new();
        for (turn, scanners) in tries.into_iter().enumerate() {
            shielding.strangers.scanners = scanners;
            for counted in COUNTED {
                shielding.strangers.counted = counted;
                match self.commit(&shielding.strangers.text()) {
                    Ok(()) => {
                        if turn > 0 {
                            log::error!("SHIELD => scanners are not told from others for {family}: {why}");
                        }
                        self.shielding = Some(Shielding { to_learn: true, taken: true, ..shielding });
                        return true;
                    }
                    Err(failure) => why = failure.to_string(),
                }
            }
        }
        log::error!("SHIELD => there is none for {family}: {why}");
        true
    }

    pub(super) fn shield_faults(&self, listing: &Listing) -> Faults {
        let mut faults = Faults::none(self.family);
        let no_rules = Rules::new();
        let wanted = match &self.shielding {
            Some(Shielding { listed: Some(listed), .. }) => listed,
            Some(_) => {
                faults.add("the shield");
                return faults;
            }
            None => &no_rules,
        };
        for chain in self.names.all() {
            match (wanted.get(chain), listing.shield.get(chain)) {
                (Some(wanted), Some(there)) if wanted != there => add_differences(&mut faults, chain, wanted, there),
                (Some(_), None) => faults.add(format_args!("chain {chain}")),
                // An empty one that a rule of others leads to stays.
                (None, Some(there)) if !there.is_empty() || listing.reference_to(chain).is_none() => {
                    faults.add(format_args!("chain {chain} too many"));
                }
                _ => {}
            }
        }
        faults
    }
}

fn add_differences(faults: &mut Faults, chain: &str, wanted: &[String], there: &[String]) {
    let (others, others_there): (Vec<&String>, Vec<&String>) = (
        wanted.iter().filter(|rule| admitted(rule).is_none()).collect(),
        there.iter().filter(|rule| admitted(rule).is_none()).collect(),
    );
    let missing = wanted.iter().filter(|rule| admitted(rule).is_some() && !there.contains(rule)).count();
    let surplus = there.iter().filter(|rule| admitted(rule).is_some() && !wanted.contains(rule)).count();
    if missing > 0 {
        faults.add(format_args!("{missing} admitted addresses"));
    }
    if surplus > 0 {
        faults.add(format_args!("{surplus} addresses too many that are admitted"));
    }
    if others != others_there || (missing, surplus) == (0, 0) {
        faults.add(format_args!("rules of chain {chain}"));
    }
}

/// Whom a rule admits that is for one address or network.
fn admitted(rule: &str) -> Option<Origin> {
    Some(Origin::Net(rule.strip_prefix("-s ")?.strip_suffix(" -j RETURN")?.parse().ok()?))
}
