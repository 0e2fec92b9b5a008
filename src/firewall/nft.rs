//! A table of our own, which the kernel leads packets through before it tracks connections, and which nobody else's
//! flush of the table `filter` touches.
//!
//! Each change is one transaction, in which a packet sees what was before or what is after and nothing between. Chains,
//! rules, sets and ranges go through `nft -f -`; addresses, which are to be blocked at once, go to the kernel itself, and
//! all that is read comes from there (`netlink`). The kernel counts its changes, whoever makes them: as long as the number
//! is the one that our own last change made, nobody has touched anything, and nothing needs to be looked at.

mod admitted;
mod batch;
mod elements;
pub(super) mod lists;
mod look;
mod netlink;
mod sets;
mod shown;
mod strangers;
mod wire;
mod words;

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use ipnet::IpNet;
use nix::libc;

use self::admitted::Admitted;
use self::batch::Batch;
use self::elements::{Attempt, Unmade};
use self::netlink::{Netlink, NoAnswer};
use self::sets::{List, Networks, Set};
use self::shown::Structure;
use self::words::{Features, PORTS, Plan, Ports};
use super::change::{divide, not_in_effect, settle};
use super::run::{Failure, Program};
use super::shield::Shield;
use super::{Applied, Change, Error, Firewall, FoundBlock, Traffic, Verified, succession};
use crate::config::{FirewallConfig, ShieldMode};
use crate::model::book::Book;
use crate::model::clock::{Clock, UnixTime};
use crate::model::target::Holder;

/// Elements are looked at again after so many looks at the rest, even though nobody seems to have touched them.
const CLOSE_LOOK_EVERY: u32 = 60;

/// The backend `nft`.
#[derive(Debug)]
pub struct Nft {
    plan: Plan,
    nft: Program,
    /// Name and version, such as `nftables v1.0.6`.
    tool: String,
    netlink: Netlink,
    clock: Clock,
    /// What the kernel showed when the table was as it should be.
    sound: Structure,
    /// All networks that are blocked, and those that others have added.
    networks: Networks,
    /// Whom the shield lets pass.
    admitted: Admitted,
    /// The number of the kernel's last change, if it was ours: nobody has changed anything since.
    generation: Option<u32>,
    /// Whether elements may be others than those we know of, and when looking at them takes no too large a part of the
    /// time; looks until it is done anyway.
    elements_in_doubt: bool,
    next_elements: Duration,
    until_close_look: u32,
}

impl Nft {
    /// Looks the program up; touches nothing.
    ///
    /// # Errors
    /// If nft is not installed, the kernel's nf_tables cannot be read, or the traffic cannot be told to it.
    pub fn new(config: &FirewallConfig, traffic: &Traffic) -> Result<Nft, Error> {
        let nft = Program::find("nft", config.iptables_path.as_deref())?;
        let version = nft.run(&["--version"], "")?.stdout;
        let tool = version.split('(').next().unwrap_or_default().trim().to_owned();
        let netlink = Netlink::open().map_err(|error| Error::from(NoAnswer::from(error)))?;
        Ok(Nft {
            plan: plan(config, traffic)?,
            nft,
            tool,
            netlink,
            clock: Clock::start(),
            sound: Structure::default(),
            networks: Networks::default(),
            admitted: Admitted::default(),
            generation: None,
            elements_in_doubt: true,
            next_elements: Duration::ZERO,
            until_close_look: 0,
        })
    }

    /// Has nft make one transaction, and keeps count of the kernel's changes. Says whether the kernel changed.
    fn commit(&mut self, text: &str) -> Result<bool, Failure> {
        let before = self.netlink.generation().ok();
        self.doubt_unless(before);
        self.nft.run(&["-f", "-"], text)?;
        let after = self.count_change();
        Ok(before != after || after.is_none())
    }

    /// Has the kernel change elements in one transaction, and keeps count of its changes.
    fn commit_elements(&mut self, write: impl Fn(&mut Batch<'_>)) -> io::Result<()> {
        let mut made = self.netlink.commit(&self.plan.table, self.generation, &write);
        if matches!(&made, Err(error) if error.raw_os_error() == Some(libc::ERESTART)) {
            self.doubt();
            made = self.netlink.commit(&self.plan.table, None, &write);
        }
        made?;
        self.count_change();
        Ok(())
    }

    /// The number of the kernel's last change, after one that was to be ours.
    fn count_change(&mut self) -> Option<u32> {
        let after = self.netlink.generation().ok();
        let ours = self.generation.map(|before| before.wrapping_add(1).max(1));
        if after.is_some() && (after == self.generation || after == ours) {
            self.generation = after;
        } else {
            self.doubt();
        }
        after
    }

    /// Unless the kernel's last change was ours, nothing is known of what is there.
    fn doubt_unless(&mut self, generation: Option<u32>) {
        if self.generation.is_none() || self.generation != generation {
            self.doubt();
        }
    }

    fn doubt(&mut self) {
        self.generation = None;
        self.elements_in_doubt = true;
    }

    fn show(&self) -> Result<Structure, NoAnswer> {
        Structure::read(&self.netlink, &self.plan.table)
    }

    /// The addresses and networks of a set, with the seconds that are left.
    fn nets(&self, list: List, set: Set) -> Result<Vec<(IpNet, Option<u64>)>, Error> {
        match shown::elements(&self.netlink, &self.plan.table, &list.name(set)) {
            Ok(elements) => Ok(set.nets(&elements)),
            Err(NoAnswer::NotThere) => Ok(Vec::new()),
            Err(no_answer) => Err(no_answer.into()),
        }
    }

    fn all_blocks(&self) -> Result<Vec<(IpNet, Option<u64>)>, Error> {
        Set::ALL.iter().try_fold(Vec::new(), |mut all, set| {
            all.append(&mut self.nets(List::Blocks, *set)?);
            Ok(all)
        })
    }

    /// Makes the table what it should be, with the elements that it has, and learns how the kernel shows it.
    fn make(&mut self) -> Result<(), Error> {
        let shielded = self.plan.shield.is_some();
        // Of the shield nothing is left when it is switched off.
        if !shielded && self.show().is_ok_and(|shown| shown.has_shield()) {
            self.make_anew()?;
        } else if let Err(failure) = self.commit(&self.plan.structure()) {
            // A set or a chain of ours is of another kind, and cannot be changed but with all the rest.
            if !failure.is_verdict() || self.show().is_err() {
                return Err(failure.into());
            }
            self.make_anew()?;
        }
        match self.show() {
            Ok(shown) if shown.is_whole(shielded) => {
                self.sound = shown;
                Ok(())
            }
            Ok(_) | Err(NoAnswer::NotThere) => Err(self.idle()),
            Err(no_answer) => Err(no_answer.into()),
        }
    }

    /// Removes the table and makes it again, in one transaction if the kernel takes it.
    fn make_anew(&mut self) -> Result<(), Error> {
        let held = self.all_blocks()?;
        self.elements_in_doubt = true;
        // In the same transaction, which nft alone can make.
        let text = self.plan.anew() + &self.additions(List::Blocks, &held);
        let made = match self.commit(&text) {
            Err(failure) if is_too_long(&failure) => self.commit(&self.plan.anew()),
            made => made,
        };
        Ok(made.map(drop)?)
    }

    /// What nft said that it did is not there.
    fn idle(&self) -> Error {
        Error(format!("`{}` ended with success, but what it was to make is not there", self.nft))
    }

    /// The table with the best features that this kernel takes.
    fn make_with_best(&mut self) -> Result<(), Error> {
        let mut first = None;
        for features in Features::TRIED {
            self.plan.features = features;
            let made = self.make().and_then(|()| Ok(self.commit(&self.plan.probe()).map(drop)?));
            match made {
                Ok(()) => return Ok(()),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| self.idle()))
    }
}

/// Whether a transaction was refused for its size.
fn is_too_long(failure: &Failure) -> bool {
    ["Message too long", "No buffer space"].iter().any(|text| failure.complaint().contains(text))
}

impl Firewall for Nft {
    fn set_up(&mut self, _now: UnixTime) -> Result<Vec<FoundBlock>, Error> {
        let is_new = match self.show() {
            Ok(shown) => match shown.strange.first() {
                Some(chain) => {
                    let table = &self.plan.table;
                    let what = format!("table inet {table} has a chain {chain}, so it is of another program");
                    return Err(Error(format!("{what}; choose another nft.table")));
                }
                None => false,
            },
            Err(NoAnswer::NotThere) => true,
            Err(no_answer) => return Err(no_answer.into()),
        };
        self.make_with_best()?;
        if is_new {
            log::info!("TABLE => inet {} created", self.plan.table);
        }
        let found = self.all_blocks()?;
        self.networks = Networks::new(found.iter().map(|(net, _)| *net));
        self.admitted = Admitted::new(self.held_admitted()?);
        self.generation = self.netlink.generation().ok();
        self.elements_in_doubt = false;
        self.until_close_look = CLOSE_LOOK_EVERY;
        Ok(found.into_iter().map(|(net, remaining)| FoundBlock { net, remaining }).collect())
    }

    fn apply(&mut self, book: &Book, change: &Change, now: UnixTime) -> Applied {
        let (steps, refused) = settle(book, change, |_| None);
        let mut applied = Applied { refused, mended: Vec::new() };
        match self.commit_steps(book, &steps, now) {
            Ok(()) => {}
            Err(unmade) if unmade.took_too_long() => {
                applied.refused.extend(not_in_effect(&steps, self.held().ok().as_ref(), &unmade.to_string()));
                self.elements_in_doubt = true;
            }
            // Something was not as thought, or an element is a culprit. What stays is made sure of first.
            Err(_) => {
                let verified = self.look(book, now, true);
                applied.mended.extend(verified.mended);
                match verified.failed.first() {
                    Some(error) => applied.refused.extend(steps.iter().map(|step| step.refused(&error.0))),
                    None => applied.refused.extend(divide(&mut Attempt { nft: self, book, now }, &steps)),
                }
            }
        }
        // Elements of a table that others have changed may block nobody.
        if !steps.is_empty() && self.generation.is_none() {
            match self.look_at_structure() {
                Ok(mended) => applied.mended.extend(mended),
                Err(trouble) => {
                    let error = trouble.error();
                    let told: HashSet<IpNet> = applied.refused.iter().map(|refused| refused.net).collect();
                    let others = steps.iter().filter(|step| !step.removes() && !told.contains(&step.net()));
                    applied.refused.extend(others.map(|step| step.refused(&error.0)));
                }
            }
        }
        applied
    }

    fn capacity(&self) -> usize {
        262_144
    }

    fn verify(&mut self, book: &Book, now: UnixTime) -> Verified {
        self.until_close_look = self.until_close_look.saturating_sub(1);
        self.doubt_unless(self.netlink.generation().ok());
        if self.generation.is_some() && !self.elements_in_doubt && self.until_close_look > 0 {
            return Verified::default();
        }
        if self.until_close_look == 0 {
            self.elements_in_doubt = true;
        }
        self.look(book, now, false)
    }

    fn set_traffic(&mut self, traffic: Traffic) -> Result<(), Error> {
        let ports = Ports::of(&traffic)?;
        match self.plan.more_ports(&ports) {
            Some(more) if more.is_empty() => return Ok(()),
            Some(more) => {
                self.commit_elements(|batch| batch.add(PORTS, more.iter().map(|port| (port.key(), None))))
                    .map_err(Unmade::from)?;
                self.plan.traffic = ports;
                let shown = self.show()?;
                // Where others have changed something else, the next look finds it and makes all anew.
                if shown.is_whole(self.plan.shield.is_some()) && self.generation.is_some() {
                    self.sound = shown;
                }
            }
            None => {
                let old = std::mem::replace(&mut self.plan.traffic, ports);
                if let Err(error) = self.make() {
                    self.plan.traffic = old;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn reconfigure(
        &mut self,
        config: &FirewallConfig,
        traffic: Traffic,
        _book: &Book,
        _now: UnixTime,
    ) -> Result<(), Error> {
        let new = Plan { features: self.plan.features, ..plan(config, &traffic)? };
        let old = std::mem::replace(&mut self.plan, new);
        self.make().inspect_err(|_| self.plan = old)?;
        self.admitted = Admitted::new(self.held_admitted()?);
        Ok(())
    }

    fn shield(&mut self) -> Option<&mut dyn Shield> {
        self.plan.shield.is_some().then_some(self as &mut dyn Shield)
    }

    fn packets(&mut self, net: &IpNet) -> Option<u64> {
        let set = Set::of(net);
        if set.has_ranges() {
            return None;
        }
        shown::element(&self.netlink, &self.plan.table, set.name(), net).ok()?.packets
    }

    fn dropped(&mut self) -> Option<u64> {
        shown::dropped(&self.netlink, &self.plan.table).ok()
    }

    fn tear_down(&mut self) -> Result<(), Error> {
        match self.show() {
            Err(NoAnswer::NotThere) => Ok(()),
            _ => Ok(self.commit(&format!("delete table inet {}\n", self.plan.table)).map(drop)?),
        }
    }

    fn holder(&self) -> Holder {
        Holder::Table(self.plan.table.clone())
    }

    fn describe(&self) -> String {
        format!("{}, table inet {}", self.tool, self.plan.table)
    }
}

/// Has nft read the table that the configuration asks for, in a test that makes none of it. Name and version of nft.
pub(super) fn rehearse(config: &FirewallConfig, traffic: &Traffic) -> Result<String, Error> {
    let mut nft = Nft::new(config, traffic)?;
    let mut first = None;
    for features in Features::TRIED {
        nft.plan.features = features;
        match nft.nft.run(&["-c", "-f", "-"], &nft.plan.structure()) {
            Ok(_) => return Ok(nft.tool),
            Err(failure) => first = first.or(Some(failure)),
        }
    }
    Err(first.map_or_else(|| nft.idle(), Error::from))
}

/// A table left by this backend, when another one is in use.
pub(super) struct Left(Nft);

impl Left {
    /// `None` if there is none of ours.
    pub(super) fn find(config: &FirewallConfig) -> Option<Left> {
        let nft = Nft::new(config, &Traffic::All).ok()?;
        let shown = nft.show().ok()?;
        (shown.is_ours()).then_some(Left(nft))
    }
}

impl succession::Left for Left {
    fn blocks(&self) -> Result<Vec<FoundBlock>, Error> {
        let block = |(net, remaining)| FoundBlock { net, remaining };
        Ok(self.0.all_blocks()?.into_iter().map(block).collect())
    }

    fn remove(&mut self) -> Result<(), Error> {
        self.0.tear_down()
    }

    fn describe(&self) -> String {
        format!("table inet {}", self.0.plan.table)
    }
}

/// Whether the kernel's nf_tables can be read.
pub(super) fn is_there() -> bool {
    Netlink::open().is_ok_and(|netlink| netlink.generation().is_ok())
}

/// Whether there is a table of this name, of the family inet.
pub(super) fn table_exists(table: &str) -> bool {
    Netlink::open().is_ok_and(|netlink| Structure::read(&netlink, table).is_ok())
}

impl From<NoAnswer> for Error {
    fn from(no_answer: NoAnswer) -> Error {
        Error(no_answer.to_string())
    }
}

fn plan(config: &FirewallConfig, traffic: &Traffic) -> Result<Plan, Error> {
    Ok(Plan {
        table: config.nft_table.clone(),
        target: config.target,
        interface: config.interface.clone(),
        traffic: Ports::of(traffic)?,
        shield: (config.shield.mode != ShieldMode::Off).then_some(config.shield),
        features: Features::TRIED[0],
    })
}

/// Seconds until `end`; 0 would be never.
fn timeout(end: UnixTime, now: UnixTime) -> u64 {
    end.since(now).max(1)
}
