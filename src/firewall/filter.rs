//! Our chain, and the way to it, in the table `filter` of iptables and of ip6tables: what the backends share.
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

pub(super) use self::family::Family;
pub(super) use self::listing::Source;
use super::run::Program;
use super::{Change, Entry, Error, Firewall, Refused, Scope};
use crate::config::FirewallConfig;
use crate::model::book::Book;
use crate::model::clock::UnixTime;

/// The IP version a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

impl Version {
    pub(super) const BOTH: [Version; 2] = [Version::V4, Version::V6];

    pub(super) fn name(self) -> &'static str {
        match self {
            Version::V4 => "IPv4",
            Version::V6 => "IPv6",
        }
    }

    /// The kernel set of this version, given that of IPv4.
    pub(super) fn set_name(self, name: &str) -> String {
        match self {
            Version::V4 => name.to_owned(),
            Version::V6 => format!("{name}6"),
        }
    }

    pub(super) fn of(net: &IpNet) -> Version {
        match net {
            IpNet::V4(_) => Version::V4,
            IpNet::V6(_) => Version::V6,
        }
    }

    /// Those of this version.
    pub(super) fn only(self, nets: impl Iterator<Item = IpNet>) -> impl Iterator<Item = IpNet> {
        nets.filter(move |net| Version::of(net) == self)
    }
}

/// The chain of both IP versions, whatever stands in it.
#[derive(Debug)]
pub(super) struct Filter {
    config: FirewallConfig,
    scope: Scope,
    /// Name, version and kind, such as `iptables v1.8.9 (nf_tables)`.
    tool: String,
    v4: Family,
    /// Or why there are no rules for IPv6: not installed, switched off, or a scope that has no meaning there.
    v6: Result<Family, Error>,
}

/// What became of the rules in a rehearsal, for each IP version.
#[derive(Debug)]
pub struct Rehearsal {
    /// Name, version and kind, such as `iptables v1.8.9 (nf_tables)`.
    pub tool: String,
    /// Whether the rules for IPv4 can be made.
    pub v4: Result<(), Error>,
    /// Whether those for IPv6 can.
    pub v6: Result<(), Error>,
}

/// Has iptables read the rules that the configuration asks for, in a test that makes none of them.
///
/// # Errors
/// If the chain's name or the target of a block cannot be used, or iptables is not installed.
pub fn rehearse(config: &FirewallConfig, scope: Scope) -> Result<Rehearsal, Error> {
    let filter = Filter::new(config, scope)?;
    let v6 = Family::new(Version::V6, config, &filter.scope).and_then(|family| family.rehearse());
    Ok(Rehearsal { v4: filter.v4.rehearse(), v6, tool: filter.tool })
}

impl Filter {
    /// Checks the configuration and looks the programs up; touches no rule.
    ///
    /// # Errors
    /// If the chain's name or the target of a block cannot be used, or iptables is not installed. Without
    /// ip6tables only IPv4 is guarded, which [`Filter::set_up`] tells in the log.
    pub(super) fn new(config: &FirewallConfig, scope: Scope) -> Result<Filter, Error> {
        rules::check_chain_name(&config.chain)?;
        let iptables = Program::find("iptables", config.iptables_path.as_deref())?;
        let tool = iptables.run(&["-V"], "")?.stdout.trim().to_owned();
        let v4 = Family::new(Version::V4, config, &scope)?;
        let v6 = Err(Error("not set up yet".to_owned()));
        Ok(Filter { config: config.clone(), scope, tool, v4, v6 })
    }

    /// One that follows another configuration, for the IP versions that this one guards.
    pub(super) fn successor(&self, config: &FirewallConfig, scope: Scope) -> Result<Filter, Error> {
        let mut new = Filter::new(config, scope)?;
        if self.v6.is_ok() {
            new.v6 = Family::new(Version::V6, &new.config, &new.scope);
        }
        Ok(new)
    }

    /// Has `work` done for each IP version: to take over what stands in its chain, and to make it what it is to be.
    pub(super) fn set_up(
        &mut self,
        mut work: impl FnMut(&mut Family, Vec<Source>) -> Result<Vec<Entry>, Error>,
    ) -> Result<Vec<Entry>, Error> {
        let before = self.v4.take_stock()?;
        let is_new = before.is_none();
        let mut found = work(&mut self.v4, before.unwrap_or_default())?;
        if is_new {
            log::info!("CHAIN => {} created", self.config.chain);
        }
        self.v6 = Family::new(Version::V6, &self.config, &self.scope).and_then(|mut family| {
            let before = family.take_stock()?.unwrap_or_default();
            found.extend(work(&mut family, before)?);
            Ok(family)
        });
        if let Err(error) = &self.v6 {
            log::warn!("attackers on IPv6 cannot be blocked: {error}");
        }
        Ok(found)
    }

    /// What of a change is to be done: each entry once, an addition rather than a removal, nothing removed that is
    /// not there. And what of it cannot be done at all.
    pub(super) fn settle(&self, book: &Book, change: &Change) -> (Change, Vec<Refused>) {
        let (mut settled, mut refused) = (Change::default(), Vec::new());
        let mut seen = HashSet::new();
        for (net, end) in change.add.iter().map(|(net, end)| (net.trunc(), *end)) {
            let why = match (&self.v6, net) {
                _ if net.prefix_len() == 0 => "a block of all addresses would leave nobody to serve".to_owned(),
                (Err(error), IpNet::V6(_)) => error.to_string(),
                _ => {
                    if seen.insert(net) {
                        settled.add.push((net, end));
                    }
                    continue;
                }
            };
            refused.push(Refused { net, why });
        }
        for net in change.remove.iter().map(IpNet::trunc) {
            // Where there are no rules for IPv6, nothing is in force and nothing need be removed.
            if self.guards(Version::of(&net)) && book.get(&net).is_some() && seen.insert(net) {
                settled.remove.push(net);
            }
        }
        (settled, refused)
    }

    /// The chain of this version, if there is one.
    pub(super) fn family(&mut self, version: Version) -> Option<&mut Family> {
        match version {
            Version::V4 => Some(&mut self.v4),
            Version::V6 => self.v6.as_mut().ok(),
        }
    }

    /// Starts a process ahead for the next change of rules.
    pub(super) fn prepare(&mut self) {
        self.families().for_each(Family::prepare);
    }

    /// Has `mend` done for each IP version and says what was not as it should be.
    pub(super) fn verify(
        &mut self,
        mut mend: impl FnMut(&mut Family) -> Result<Vec<String>, Error>,
    ) -> Result<Option<String>, Error> {
        let v4 = mend(&mut self.v4);
        let v6 = match &mut self.v6 {
            Ok(family) => mend(family),
            // IPv6 may be switched on, or ip6tables installed, at any time. That it still is not is no news.
            Err(_) => Ok(match self.begin_v6(mend) {
                Ok(()) => vec!["all rules (IPv6)".to_owned()],
                Err(_) => Vec::new(),
            }),
        };
        let mended = [v4?, v6?].concat();
        Ok(if mended.is_empty() { None } else { Some(mended.join(", ")) })
    }

    /// Leads other traffic through the chain.
    pub(super) fn set_scope(&mut self, scope: Scope) -> Result<(), Error> {
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

    /// Removes jumps and chain of both.
    pub(super) fn tear_down(&mut self) -> Result<(), Error> {
        all_done(self.families().map(Family::tear_down))
    }

    /// Whether there are rules for this version.
    pub(super) fn guards(&self, version: Version) -> bool {
        version == Version::V4 || self.v6.is_ok()
    }

    /// Program and chain, for [`Firewall::describe`]; what the backend adds stands between.
    pub(super) fn describe(&self, between: &str) -> String {
        let only = if self.v6.is_ok() { "" } else { ", IPv4 only" };
        format!("{}{between}, chain {}{only}", self.tool, self.config.chain)
    }

    fn begin_v6(&mut self, mut mend: impl FnMut(&mut Family) -> Result<Vec<String>, Error>) -> Result<(), Error> {
        let mut family = Family::new(Version::V6, &self.config, &self.scope)?;
        mend(&mut family)?;
        self.v6 = Ok(family);
        Ok(())
    }

    fn families(&mut self) -> impl Iterator<Item = &mut Family> {
        [Some(&mut self.v4), self.v6.as_mut().ok()].into_iter().flatten()
    }

    fn set_jumps(&mut self, scope: &Scope) -> Result<(), Error> {
        let jumps = rules::jumps(scope, self.config.interface.as_deref(), &self.config.chain)?;
        self.families().try_for_each(|family| family.set_jumps(jumps.clone()))
    }
}

/// Puts a backend of a changed configuration in the place of the old one. It does not know its jumps yet, so it
/// makes them anew, and it finds its chain with another target.
pub(super) fn succeed<F: Firewall>(old: &mut F, mut new: F, book: &Book, now: UnixTime) -> Result<(), Error> {
    match new.verify(book, now) {
        Ok(_) => *old = new,
        Err(error) => {
            old.verify(book, now)?;
            return Err(error);
        }
    }
    Ok(())
}

/// Success if all succeeded, otherwise all that went wrong.
pub(super) fn all_done(outcomes: impl Iterator<Item = Result<(), Error>>) -> Result<(), Error> {
    let failed: Vec<String> = outcomes.filter_map(Result::err).map(|error| error.0).collect();
    if failed.is_empty() { Ok(()) } else { Err(Error(failed.join("; "))) }
}
