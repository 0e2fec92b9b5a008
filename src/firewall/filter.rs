//! Our chain, and the way to it, in the table `filter` of iptables and of ip6tables: what the backends share.
//!
//! All that changes rules goes through `iptables-restore --noflush`: one process and one transaction for each
//! family, in which a packet sees the rules before or those after and nothing between. All that reads them goes
//! through `iptables-save`. Whether these speak to the kernel in the old way or through nf_tables makes no
//! difference here.

mod chain;
mod left;
mod listing;
mod losers;
mod place;
mod strangers;
mod words;

use std::collections::VecDeque;

use ipnet::IpNet;

pub(super) use self::chain::Chain;
pub(super) use self::left::{Left, may_list};
pub(super) use self::losers::Losers;
pub(super) use self::place::Place;
use super::body::Body;
use super::family::Family;
use super::run::Program;
use super::shield::scanners::{self, Scanner};
use super::{Error, Firewall, FoundBlock, Traffic, Verified};
use crate::config::FirewallConfig;
use crate::config::ShieldMode;
use crate::model::book::Book;
use crate::model::clock::UnixTime;
use crate::model::target::Holder;

/// If our jumps are undone more than 8 times within ten minutes, another program insists on it.
const MAX_UNDONE: usize = 8;
const UNDONE_WITHIN: u64 = 600;

/// The chain of both address families, whatever stands in it.
#[derive(Debug)]
pub(super) struct Filter {
    config: FirewallConfig,
    traffic: Traffic,
    /// Name of the kernel set for IPv4 of this backend, if it uses sets.
    set: Option<String>,
    place: Place,
    /// When another program was last found to have undone our jumps.
    undone: VecDeque<UnixTime>,
    /// Name, version and kind, such as `iptables v1.8.9 (nf_tables)`.
    tool: String,
    v4: Chain,
    /// Or why there are no rules for IPv6: not installed, switched off, or traffic that has no meaning there.
    v6: Result<Chain, Error>,
    /// Whose requests the shield sheds at once.
    scanners: Vec<Scanner>,
    /// Whom the shield admits, each by a rule of its own; nobody where a set has them.
    admitted: Vec<IpNet>,
}

/// What became of the rules in a rehearsal, for each address family.
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
pub(super) fn rehearse(config: &FirewallConfig, traffic: Traffic) -> Result<Rehearsal, Error> {
    let filter = Filter::new(config, traffic, None)?;
    let v6 = filter.new_chain(Family::V6).and_then(|chain| chain.rehearse());
    Ok(Rehearsal { v4: filter.v4.rehearse(), v6, tool: filter.tool })
}

impl Filter {
    /// Looks the programs up; touches no rule. `set` is the name of the backend's kernel set for IPv4, if it uses sets.
    ///
    /// # Errors
    /// If iptables is not installed, or the traffic cannot be told to it. Without ip6tables only IPv4 is guarded, which
    /// [`Filter::set_up`] tells in the log.
    pub(super) fn new(config: &FirewallConfig, traffic: Traffic, set: Option<&str>) -> Result<Filter, Error> {
        let iptables = Program::find("iptables", config.iptables_path.as_deref())?;
        let tool = iptables.run(&["-V"], "")?.stdout.trim().to_owned();
        let set = set.map(str::to_owned);
        let place = Place::Input;
        let mut v4 = Chain::new(Family::V4, place, config, &traffic, set.clone())?;
        let shield = config.shield;
        let searches = shield.scanners && shield.mode != ShieldMode::Off;
        let scanners = if searches { scanners::load(&config.scanners_file)? } else { Vec::new() };
        v4.will_shed(&scanners);
        let v6 = Err(Error("not set up yet".to_owned()));
        let (config, undone, admitted) = (config.clone(), VecDeque::new(), Vec::new());
        Ok(Filter { config, traffic, set, place, undone, tool, v4, v6, scanners, admitted })
    }

    /// One that follows another configuration, for the address families that this one guards.
    pub(super) fn successor(&self, config: &FirewallConfig, traffic: Traffic) -> Result<Filter, Error> {
        let mut new = Filter::new(config, traffic, self.set.as_deref())?;
        new.place = self.place;
        new.admitted = self.admitted.clone();
        new.v4 = new.new_chain(Family::V4)?;
        if self.v6.is_ok() {
            new.v6 = new.new_chain(Family::V6);
        }
        Ok(new)
    }

    fn new_chain(&self, family: Family) -> Result<Chain, Error> {
        let set = self.set.as_deref().map(|set| family.set_name(set));
        let mut chain = Chain::new(family, self.place, &self.config, &self.traffic, set)?;
        chain.will_admit(self.admitted.iter().copied());
        chain.will_shed(&self.scanners);
        Ok(chain)
    }

    /// Has `work` done for each address family: to take over what stands in its chain, and to make it what it is to be.
    pub(super) fn set_up(
        &mut self,
        mut work: impl FnMut(&mut Chain, Body) -> Result<Vec<FoundBlock>, Error>,
    ) -> Result<Vec<FoundBlock>, Error> {
        self.find_place()?;
        let before = self.v4.take_stock()?;
        let is_new = before.is_none();
        let mut found = work(&mut self.v4, before.unwrap_or_default())?;
        if is_new {
            log::info!("CHAIN => {} created", self.config.chain);
        }
        self.v6 = self.new_chain(Family::V6).and_then(|mut chain| {
            let before = chain.take_stock()?.unwrap_or_default();
            found.extend(work(&mut chain, before)?);
            Ok(chain)
        });
        if let Err(error) = &self.v6 {
            log::warn!("attackers on IPv6 cannot be blocked: {error}");
        }
        self.admitted = self.chains().flat_map(|chain| chain.admitted().collect::<Vec<_>>()).collect();
        Ok(found)
    }

    /// Whether the kernel took the shield.
    pub(super) fn is_shielded(&self) -> bool {
        self.v4.is_shielded() || self.v6.as_ref().is_ok_and(Chain::is_shielded)
    }

    /// Whether the kernel took the rules that tell scanners.
    pub(super) fn tells_scanners(&self) -> bool {
        self.v4.tells_scanners()
    }

    /// Whom the shield admits by rules of their own.
    pub(super) fn admitted(&self) -> &[IpNet] {
        &self.admitted
    }

    /// Has the shield admit these and nobody else, each by a rule of its own.
    pub(super) fn admit(&mut self, nets: Vec<IpNet>) -> Result<(), Error> {
        self.admitted = nets;
        let admitted = self.admitted.clone();
        all_done(self.chains().map(|chain| chain.admit(admitted.iter().copied())))
    }

    /// The chain of this family, if there is one.
    pub(super) fn chain(&mut self, family: Family) -> Option<&mut Chain> {
        match family {
            Family::V4 => Some(&mut self.v4),
            Family::V6 => self.v6.as_mut().ok(),
        }
    }

    /// Starts a process ahead for the next change of rules.
    pub(super) fn prepare(&mut self) {
        self.chains().for_each(Chain::prepare);
    }

    /// Has `look` done for each address family. What fails for one does not keep the other from being looked at.
    pub(super) fn verify(&mut self, now: UnixTime, mut look: impl FnMut(&mut Chain) -> Verified) -> Verified {
        let mut verified = self.look(&mut look);
        if self.chains().any(|chain| chain.was_undone()) && self.is_enough(now) {
            verified.join(self.step_back(look));
        }
        verified
    }

    /// Whether our jumps were undone too often to go on where they are.
    fn is_enough(&mut self, now: UnixTime) -> bool {
        self.undone.push_back(now);
        self.undone.retain(|at| now.since(*at) <= UNDONE_WITHIN);
        self.place == Place::Input && self.undone.len() > MAX_UNDONE
    }

    /// Moves to a place that nobody disputes. What is there blocks before what was in INPUT goes.
    fn step_back(&mut self, look: impl FnMut(&mut Chain) -> Verified) -> Verified {
        let was = std::mem::replace(&mut self.place, Place::Raw);
        let v4 = match self.new_chain(Family::V4) {
            Ok(v4) => std::mem::replace(&mut self.v4, v4),
            Err(error) => {
                self.place = was;
                return Verified::failed(error);
            }
        };
        let v6 = match &self.v6 {
            Ok(_) => self.new_chain(Family::V6),
            Err(error) => Err(error.clone()),
        };
        let v6 = std::mem::replace(&mut self.v6, v6);
        let verified = self.look(look);
        if !verified.failed.is_empty() {
            (self.place, self.v4, self.v6) = (was, v4, v6);
            return verified;
        }
        let (chain, table, hook) = (&self.config.chain, self.place.table(), self.place.hook());
        log::warn!(
            "STEP BACK => another program undoes the jump in INPUT again and again: chain {chain} is now in the table \
             {table} and the jump in {hook}, before it (iptables -t {table} -S)"
        );
        for mut chain in [Some(v4), v6.ok()].into_iter().flatten() {
            if let Err(error) = chain.tear_down() {
                log::warn!("{error}");
            }
        }
        // What was made here for the first time was not missing.
        Verified { mended: Vec::new(), ..verified }
    }

    /// Where an earlier process stepped back, there is no reason to begin the dispute anew.
    fn find_place(&mut self) -> Result<(), Error> {
        let raw = Chain::new(Family::V4, Place::Raw, &self.config, &self.traffic, self.set.clone())?;
        if may_list(&self.config, Family::V4, Place::Raw) && raw.body().is_ok_and(|body| body.is_some()) {
            self.place = Place::Raw;
            self.v4 = raw;
            self.v4.will_shed(&self.scanners);
        }
        Ok(())
    }

    fn look(&mut self, mut look: impl FnMut(&mut Chain) -> Verified) -> Verified {
        let mut verified = look(&mut self.v4);
        match &mut self.v6 {
            Ok(chain) => verified.join(look(chain)),
            // IPv6 may be switched on, or ip6tables installed, at any time. That it still is not is no news.
            Err(_) => {
                if self.begin_v6(look).is_ok() {
                    verified.mended.push("all rules (IPv6)".to_owned());
                }
            }
        }
        verified
    }

    /// Leads other traffic through the chain.
    pub(super) fn set_traffic(&mut self, traffic: Traffic) -> Result<(), Error> {
        if traffic == self.traffic {
            return Ok(());
        }
        if let Err(error) = self.set_jumps(&traffic) {
            // One family may have changed already. If it cannot go back either, the next verify sees to it.
            let old = self.traffic.clone();
            let _ = self.set_jumps(&old);
            return Err(error);
        }
        self.traffic = traffic;
        Ok(())
    }

    /// Removes jumps and chain of both.
    pub(super) fn tear_down(&mut self) -> Result<(), Error> {
        all_done(self.chains().map(Chain::tear_down))
    }

    /// Why there are no rules for this family, if there are none.
    pub(super) fn unguarded(&self, family: Family) -> Option<Error> {
        match family {
            Family::V4 => None,
            Family::V6 => self.v6.as_ref().err().cloned(),
        }
    }

    /// What holds the blocks.
    pub(super) fn holder(&self) -> Holder {
        Holder::Chain(self.config.chain.clone())
    }

    /// Program and chain, for [`Firewall::describe`]; what the backend adds stands between.
    pub(super) fn describe(&self, between: &str) -> String {
        let only = if self.v6.is_ok() { "" } else { ", IPv4 only" };
        format!("{}{between}, chain {}{only}", self.tool, self.config.chain)
    }

    fn begin_v6(&mut self, mut look: impl FnMut(&mut Chain) -> Verified) -> Result<(), Error> {
        let mut chain = self.new_chain(Family::V6)?;
        match look(&mut chain).failed.pop() {
            Some(error) => Err(error),
            None => {
                self.v6 = Ok(chain);
                Ok(())
            }
        }
    }

    fn chains(&mut self) -> impl Iterator<Item = &mut Chain> {
        [Some(&mut self.v4), self.v6.as_mut().ok()].into_iter().flatten()
    }

    fn set_jumps(&mut self, traffic: &Traffic) -> Result<(), Error> {
        let jumps = words::jumps(traffic, self.place, self.config.interface.as_deref(), &self.config.chain)?;
        self.chains().try_for_each(|chain| chain.set_jumps(jumps.clone()))
    }
}

/// Puts a backend of a changed configuration in the place of the old one. It does not know its jumps yet, so it
/// makes them anew, and it finds its chain with another target.
pub(super) fn succeed<F: Firewall>(old: &mut F, mut new: F, book: &Book, now: UnixTime) -> Result<(), Error> {
    match new.verify(book, now).failed.pop() {
        None => *old = new,
        Some(error) => {
            old.verify(book, now);
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
