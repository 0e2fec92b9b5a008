//! One rule an address, in a chain of our own in the table `filter` of iptables and of ip6tables.
//!
//! All that changes rules goes through `iptables-restore --noflush`: one process and one transaction for each
//! family, in which a packet sees the rules before or those after and nothing between. All that reads them goes
//! through `iptables-save`. Whether these speak to the kernel in the old way or through nf_tables makes no
//! difference here.

mod family;
mod listing;
mod rules;

use std::collections::HashSet;

use ipnet::IpNet;

use self::family::Family;
use self::rules::Version;
use super::run::Program;
use super::{Change, Entry, Error, Firewall, Refused, Scope};
use crate::book::Book;
use crate::clock::UnixTime;
use crate::config::FirewallConfig;

/// The backend `iptables`.
#[derive(Debug)]
pub struct Iptables {
    config: FirewallConfig,
    scope: Scope,
    /// Name, version and kind, such as `iptables v1.8.9 (nf_tables)`.
    tool: String,
    v4: Family,
    /// Or why there are no rules for IPv6: not installed, switched off, or a scope that has no meaning there.
    v6: Result<Family, Error>,
}

impl Iptables {
    /// Checks the configuration and looks the programs up; touches no rule.
    ///
    /// # Errors
    /// If the chain's name or the target of a block cannot be used, or iptables is not installed. Without
    /// ip6tables only IPv4 is guarded, which [`Firewall::set_up`] tells in the log.
    pub fn new(config: &FirewallConfig, scope: Scope) -> Result<Iptables, Error> {
        rules::check_chain_name(&config.chain)?;
        let iptables = Program::find("iptables", config.iptables_path.as_deref())?;
        let tool = iptables.run(&["-V"], "")?.stdout.trim().to_owned();
        let v4 = family(Version::V4, config, &scope)?;
        let v6 = Err(Error("not set up yet".to_owned()));
        Ok(Iptables { config: config.clone(), scope, tool, v4, v6 })
    }

    fn set_up_v6(&mut self) -> Result<Vec<IpNet>, Error> {
        let mut family = family(Version::V6, &self.config, &self.scope)?;
        let found = family.set_up()?;
        self.v6 = Ok(family);
        Ok(found)
    }

    fn families(&mut self) -> impl Iterator<Item = &mut Family> {
        [Some(&mut self.v4), self.v6.as_mut().ok()].into_iter().flatten()
    }

    fn set_jumps(&mut self, scope: &Scope) -> Result<(), Error> {
        let jumps = jumps(scope, &self.config)?;
        self.families().try_for_each(|family| family.set_jumps(jumps.clone()))
    }
}

impl Firewall for Iptables {
    fn set_up(&mut self, _now: UnixTime) -> Result<Vec<Entry>, Error> {
        let mut found = self.v4.set_up()?;
        match self.set_up_v6() {
            Ok(more) => found.extend(more),
            Err(error) => {
                log::warn!("attackers on IPv6 cannot be blocked: {error}");
                self.v6 = Err(error);
            }
        }
        Ok(found.into_iter().map(|net| Entry { net, remaining: None }).collect())
    }

    fn apply(&mut self, book: &Book, change: &Change, _now: UnixTime) -> Vec<Refused> {
        let (mut add, mut refused) = (Vec::new(), Vec::new());
        let mut wanted = HashSet::new();
        for net in change.add.iter().map(|(net, _)| net.trunc()).filter(|net| wanted.insert(*net)) {
            if net.prefix_len() == 0 {
                refused.push(Refused { net, why: "a block of all addresses would leave nobody to serve".to_owned() });
            } else if book.get(&net).is_none() {
                add.push(net);
            }
        }
        let mut removed = HashSet::new();
        let remove = change.remove.iter().map(IpNet::trunc);
        let remove = remove.filter(|net| book.get(net).is_some() && !wanted.contains(net) && removed.insert(*net));
        let remove: Vec<IpNet> = remove.collect();

        for version in [Version::V4, Version::V6] {
            let add = of(version, add.iter().copied());
            let remove = of(version, remove.iter().copied());
            if add.is_empty() && remove.is_empty() {
                continue;
            }
            let family = match version {
                Version::V4 => Ok(&mut self.v4),
                Version::V6 => self.v6.as_mut(),
            };
            match family {
                Ok(family) => {
                    let kept = || blocks(version, book).into_iter().filter(|net| !removed.contains(net)).collect();
                    refused.extend(family.apply(kept, &add, &remove));
                }
                // Nothing is in force there, so nothing need be removed.
                Err(error) => refused.extend(add.iter().map(|net| Refused { net: *net, why: error.to_string() })),
            }
        }
        refused
    }

    fn prepare(&mut self) {
        self.families().for_each(Family::prepare);
    }

    fn verify(&mut self, book: &Book, _now: UnixTime) -> Result<Option<String>, Error> {
        let v4 = self.v4.mend(&blocks(Version::V4, book));
        let v6 = match &mut self.v6 {
            Ok(family) => family.mend(&blocks(Version::V6, book)),
            // IPv6 may be switched on, or ip6tables installed, at any time. That it still is not is no news.
            Err(_) => Ok(self.set_up_v6().map_or(Vec::new(), |_| vec!["all rules (IPv6)".to_owned()])),
        };
        let mended = [v4?, v6?].concat();
        Ok(if mended.is_empty() { None } else { Some(mended.join(", ")) })
    }

    fn set_scope(&mut self, scope: Scope) -> Result<(), Error> {
        if scope == self.scope {
            return Ok(());
        }
        if let Err(error) = self.set_jumps(&scope) {
            // One family may have changed already. If it cannot go back either, the next verify sees to it.
            let old = self.scope.clone();
            let _ = self.set_jumps(&old);
            return Err(error);
        }
        self.scope = scope;
        Ok(())
    }

    fn reconfigure(&mut self, config: &FirewallConfig, scope: Scope, book: &Book, now: UnixTime) -> Result<(), Error> {
        let mut new = Iptables::new(config, scope)?;
        if self.v6.is_ok() {
            new.v6 = family(Version::V6, &new.config, &new.scope);
        }
        // A family that does not know its jumps yet makes them anew, and finds its blocks with another target.
        match new.verify(book, now) {
            Ok(_) => *self = new,
            Err(error) => {
                self.verify(book, now)?;
                return Err(error);
            }
        }
        Ok(())
    }

    fn packets(&mut self, net: &IpNet) -> Option<u64> {
        match net {
            IpNet::V4(_) => self.v4.packets(net),
            IpNet::V6(_) => self.v6.as_ref().ok()?.packets(net),
        }
    }

    fn tear_down(&mut self) -> Result<(), Error> {
        let failed: Vec<String> =
            self.families().filter_map(|family| family.tear_down().err()).map(|error| error.0).collect();
        if failed.is_empty() { Ok(()) } else { Err(Error(failed.join("; "))) }
    }

    fn describe(&self) -> String {
        let only = if self.v6.is_ok() { "" } else { ", IPv4 only" };
        format!("{}, chain {}{only}", self.tool, self.config.chain)
    }
}

fn family(version: Version, config: &FirewallConfig, scope: &Scope) -> Result<Family, Error> {
    let target = rules::target(&config.rule, version)?;
    Family::new(version, config.iptables_path.as_deref(), &config.chain, target, jumps(scope, config)?)
}

fn jumps(scope: &Scope, config: &FirewallConfig) -> Result<Vec<String>, Error> {
    rules::jumps(scope, config.interface.as_deref(), &config.chain)
}

/// The blocks of the book, the latest end first: as new blocks stand before old ones.
fn blocks(version: Version, book: &Book) -> Vec<IpNet> {
    of(version, book.by_end().rev().map(|(net, _)| net))
}

fn of(version: Version, nets: impl Iterator<Item = IpNet>) -> Vec<IpNet> {
    nets.filter(|net| matches!((version, net), (Version::V4, IpNet::V4(_)) | (Version::V6, IpNet::V6(_)))).collect()
}
