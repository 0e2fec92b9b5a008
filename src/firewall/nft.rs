//! A table of our own, which the kernel leads packets through before it tracks connections, and which nobody else's
//! flush of the table `filter` touches.
//!
//! All changes go through `nft -f -`, one transaction each, in which a packet sees what was before or what is after and
//! nothing between. All that is read comes from the kernel itself (`netlink`). It counts its changes, whoever makes
//! them: as long as the number is the one that our own last change made, nobody has touched anything, and nothing
//! needs to be looked at.

mod admitted;
pub(super) mod lists;
mod netlink;
mod sets;
mod shown;
mod strangers;
mod words;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::{Display, Write};
use std::time::Duration;

use ipnet::IpNet;

use self::admitted::Admitted;
use self::netlink::{Netlink, NoAnswer};
use self::sets::{List, Networks, Set};
use self::shown::Structure;
use self::words::{Features, Plan, Ports};
use super::body::Faults;
use super::change::{SLACK, Step, Taker, divide, not_in_effect, settle};
use super::family::Family;
use super::run::spare::Spare;
use super::run::{Failure, Program};
use super::shield::Shield;
use super::{Applied, Change, Error, Firewall, FoundBlock, Refused, Traffic, Verified, succession};
use crate::config::{FirewallConfig, ShieldMode};
use crate::model::book::Book;
use crate::model::clock::{Clock, UnixTime};
use crate::model::target::Holder;

/// At most this many elements go into one transaction. A container may allow fewer, and says so ("Message too long"):
/// then there are more transactions.
const MAX_ELEMENTS: usize = 65_536;

/// At most one part in 50 of the time is spent on looking at elements.
const SHARE: u32 = 50;

/// Elements are looked at again after so many looks at the rest, even though nobody seems to have touched them.
const CLOSE_LOOK_EVERY: u32 = 60;

/// The backend `nft`.
#[derive(Debug)]
pub struct Nft {
    plan: Plan,
    nft: Spare,
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
    max_elements: usize,
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
            nft: Spare::new(nft, &["-f", "-"]),
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
            max_elements: MAX_ELEMENTS,
        })
    }

    /// Has one transaction made, and keeps count of the kernel's changes. Says whether the kernel changed.
    fn commit(&mut self, text: &str) -> Result<bool, Failure> {
        let before = self.netlink.generation().ok();
        self.doubt_unless(before);
        self.nft.feed(text)?;
        let after = self.netlink.generation().ok();
        let changed = before != after;
        let alone = before.map(|before| if changed { before.wrapping_add(1).max(1) } else { before });
        if self.generation == before && alone == after && after.is_some() {
            self.generation = after;
        } else {
            self.doubt_unless(None);
        }
        Ok(changed || after.is_none())
    }

    /// Unless the kernel's last change was ours, nothing is known of what is there.
    fn doubt_unless(&mut self, generation: Option<u32>) {
        if self.generation.is_none() || self.generation != generation {
            self.generation = None;
            self.elements_in_doubt = true;
        }
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
        let text = self.plan.anew() + &self.additions(List::Blocks, &held);
        let made = match self.commit(&text) {
            Err(failure) if is_too_long(&failure) => self.commit(&self.plan.anew()),
            made => made,
        };
        Ok(made.map(drop)?)
    }

    /// What nft said that it did is not there.
    fn idle(&self) -> Error {
        Error(format!("`{}` ended with success, but what it was to make is not there", self.nft.program()))
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

    /// Elements with the seconds that are left. Networks among them must not overlap.
    fn additions(&self, list: List, nets: &[(IpNet, Option<u64>)]) -> String {
        let mut text = String::with_capacity(32 * nets.len());
        for set in Set::ALL {
            let ours = nets.iter().filter(|(net, _)| Set::of(net) == set);
            self.say(&mut text, "add", &list.name(set), ours.map(|(net, seconds)| set.element(net, *seconds)));
        }
        text
    }

    fn removals(&self, list: List, nets: &[IpNet]) -> String {
        let mut text = String::new();
        for set in Set::ALL {
            let ours = nets.iter().filter(|net| Set::of(net) == set);
            self.say(&mut text, "delete", &list.name(set), ours.map(|net| set.element(net, None)));
        }
        text
    }

    fn say(&self, text: &mut String, verb: &str, set: &str, elements: impl Iterator<Item = impl Display>) {
        let mut elements = elements.peekable();
        if elements.peek().is_none() {
            return;
        }
        let _ = write!(text, "{verb} element inet {} {set} {{ ", self.plan.table);
        for element in elements {
            let _ = write!(text, "{element}, ");
        }
        text.push_str("}\n");
    }

    /// The text of these steps, and the networks as they are then. What is there already is removed and added, because
    /// before Linux 6.12 to add it again does not change its end; what is removed is added before, because it may have
    /// ended by itself, and what is not there cannot be removed.
    fn text(&self, book: &Book, steps: &[Step], now: UnixTime) -> (String, Networks) {
        let mut networks = self.networks.clone();
        let (mut removed, mut renewed, mut added) = (Vec::new(), Vec::new(), Vec::new());
        let (mut wide, mut narrow) = (Vec::new(), Vec::new());
        for step in steps {
            let net = step.net();
            match step {
                Step::Add(..) if Set::of(&net).has_ranges() => wide.push(net),
                Step::Remove(_) if Set::of(&net).has_ranges() => narrow.push(net),
                Step::Remove(_) => removed.push((net, Some(1))),
                Step::Add(_, end) => {
                    let entry = (net, Some(timeout(*end, now)));
                    added.push(entry);
                    renewed.extend(book.get(&net).map(|_| entry));
                }
            }
        }
        let (gone, come) = networks.change(&wide, &narrow);
        let doomed: Vec<(IpNet, Option<u64>)> = removed.into_iter().chain(renewed).collect();
        let freed: Vec<IpNet> = doomed.iter().map(|(net, _)| *net).collect();
        let list = List::Blocks;
        let hosts = self.additions(list, &doomed) + &self.removals(list, &freed) + &self.additions(list, &added);
        (hosts + &self.ranges(list, &gone, &come, &networks), networks)
    }

    /// The text that makes ranges go and come. Before 1.0 nft does not see that one that goes makes room for one that
    /// comes, and so for a wider one the whole set is written anew.
    fn ranges(&self, list: List, gone: &BTreeSet<IpNet>, come: &BTreeSet<IpNet>, networks: &Networks) -> String {
        let mut text = String::new();
        for set in [Set::Networks4, Set::Networks6] {
            let ours =
                |nets: &BTreeSet<IpNet>| nets.iter().filter(|net| Set::of(net) == set).copied().collect::<Vec<_>>();
            let lasting = |nets: Vec<IpNet>| nets.into_iter().map(|net| (net, None)).collect::<Vec<_>>();
            let (gone, come) = (ours(gone), ours(come));
            if gone.is_empty() || come.is_empty() {
                text += &self.removals(list, &gone);
                text += &self.additions(list, &lasting(come));
            } else {
                let _ = writeln!(text, "flush set inet {} {}", self.plan.table, list.name(set));
                text += &self.additions(list, &lasting(networks.widest().filter(|net| Set::of(net) == set).collect()));
            }
        }
        text
    }

    /// Learns of networks that others have added, before ours change beside them.
    fn heed_networks_of_others(&mut self) {
        for set in [Set::Networks4, Set::Networks6] {
            // What cannot be read is not there, as far as is known; the kernel refuses what overlaps.
            let held = self.nets(List::Blocks, set).unwrap_or_default();
            let new: Vec<IpNet> = held.into_iter().map(|(net, _)| net).collect();
            self.networks.change(&new, &[]);
        }
    }

    /// What is held, and what a network that is held covers.
    fn held(&self) -> Result<HashSet<IpNet>, Error> {
        let mut held: HashSet<IpNet> = self.all_blocks()?.into_iter().map(|(net, _)| net).collect();
        let shown = Networks::new(held.iter().copied());
        held.extend(self.networks.all().filter(|net| shown.covers(net)));
        Ok(held)
    }

    /// Looks at the structure, and at the elements where others may have touched them and it takes no too large a part of
    /// the time, or in any case.
    fn look(&mut self, book: &Book, now: UnixTime, closely: bool) -> Verified {
        let mended = match self.look_at_structure() {
            Ok(mended) => mended,
            Err(trouble) => return trouble.with_all_lost(book),
        };
        let repaired = !mended.is_empty();
        let mut verified = Verified { mended, ..Verified::default() };
        if repaired || closely || (self.elements_in_doubt && self.clock.now().monotonic >= self.next_elements) {
            verified.join(self.look_at_elements(book, now));
            verified.join(self.look_at_admitted());
        }
        verified
    }

    /// Makes all but the elements what it should be, and says what it was not.
    fn look_at_structure(&mut self) -> Result<Vec<String>, Trouble> {
        let before = self.netlink.generation().ok();
        let faults = match self.show() {
            Ok(shown) => self.sound.lacking(&shown),
            Err(NoAnswer::NotThere) => vec![format!("table inet {}", self.plan.table)],
            Err(no_answer) => return Err(Trouble::Unread(no_answer.into())),
        };
        if faults.is_empty() {
            // What changes from now on is seen at the next look.
            self.generation = before;
            return Ok(faults);
        }
        let was = self.sound.clone();
        self.elements_in_doubt = true;
        match self.make() {
            Ok(()) if was == self.sound => Ok(faults),
            made => {
                self.sound = was;
                Err(Trouble::Unmended(made.err().unwrap_or_else(|| self.idle())))
            }
        }
    }

    fn look_at_elements(&mut self, book: &Book, now: UnixTime) -> Verified {
        let began = self.clock.now().monotonic;
        let held = match self.all_blocks() {
            Ok(held) => held,
            Err(error) => return Verified::failed(error),
        };
        let ended = self.clock.now().monotonic;
        self.next_elements = ended + (ended - began) * SHARE;
        self.elements_in_doubt = false;
        self.until_close_look = CLOSE_LOOK_EVERY;
        let mut verified = Verified::default();
        let steps = self.differences(book, &held, now, &mut verified.mended);
        // Networks that others have added stay, and what we add must not overlap them.
        self.networks = Networks::new(held.iter().map(|(net, _)| *net).chain(book.by_end().map(|(net, _)| net)));
        let shown = Networks::new(held.iter().map(|(net, _)| *net));
        let come: BTreeSet<IpNet> = self.networks.widest().filter(|net| !shown.has(net)).collect();
        let gone: BTreeSet<IpNet> = shown.all().filter(|net| self.networks.covers(net)).collect();
        let text = self.ranges(List::Blocks, &gone, &come, &self.networks);
        let mut outcome = if text.is_empty() { Ok(()) } else { self.commit(&text).map(drop) };
        outcome = outcome.and_then(|()| self.commit_steps(book, &steps, now).map(drop));
        if text.is_empty() && steps.is_empty() {
            return verified;
        }
        match (outcome, self.held()) {
            (Ok(()), Ok(held)) if steps.iter().all(|step| held.contains(&step.net())) => {}
            (outcome, held) => {
                let error = outcome.err().map_or_else(|| self.idle(), Error::from);
                let ours: Vec<Step> = book.by_end().map(|(net, block)| Step::Add(net, block.end)).collect();
                if let Ok(held) = held {
                    verified.lost = not_in_effect(&ours, Some(&held), &error.0);
                }
                verified.failed.push(error);
            }
        }
        verified
    }

    /// What is to be added or renewed, and in words what was wrong. What others have added stays, for as long as they
    /// said: whoever types `nft add element` means it.
    fn differences(
        &self,
        book: &Book,
        held: &[(IpNet, Option<u64>)],
        now: UnixTime,
        mended: &mut Vec<String>,
    ) -> Vec<Step> {
        let there: HashMap<IpNet, Option<u64>> = held.iter().copied().collect();
        let shown = Networks::new(held.iter().map(|(net, _)| *net));
        let mut steps = Vec::new();
        for family in Family::BOTH {
            let (mut wanted, mut missing, mut early) = (0, 0, 0);
            for (net, block) in book.by_end().filter(|(net, _)| Family::of(net) == family) {
                wanted += 1;
                let due = timeout(block.end, now);
                match there.get(&net) {
                    // A network around it does what it should do.
                    None if Set::of(&net).has_ranges() && shown.covers(&net) => continue,
                    // About to be freed.
                    None if block.end <= now + SLACK => continue,
                    None => missing += 1,
                    Some(_) if Set::of(&net).has_ranges() => continue,
                    Some(Some(seconds)) if seconds + SLACK < due => early += 1,
                    Some(Some(seconds)) if *seconds <= due + SLACK => continue,
                    // It stays for too long: nobody was unprotected, so there is nothing to tell.
                    Some(_) => {}
                }
                if !Set::of(&net).has_ranges() {
                    steps.push(Step::Add(net, block.end));
                }
            }
            let mut faults = Faults::none(family);
            faults.add_missing(missing, wanted);
            if early > 0 {
                faults.add(format_args!("the end of {early} blocks"));
            }
            mended.extend(faults.into_texts());
        }
        steps
    }

    /// After a success that did not change the kernel: what was to be added and is not there.
    fn not_added(&self, steps: &[Step]) -> Vec<Refused> {
        let why = self.idle();
        let is_there = |step: &&Step| {
            let (set, net) = (Set::of(&step.net()), step.net());
            set.has_ranges() || shown::element(&self.netlink, &self.plan.table, set, &net).is_ok()
        };
        steps.iter().filter(|step| !step.removes() && !is_there(step)).map(|step| step.refused(&why.0)).collect()
    }

    /// Makes these changes, in as few transactions as the kernel takes. Says whether the kernel changed.
    fn commit_steps(&mut self, book: &Book, steps: &[Step], now: UnixTime) -> Result<bool, Failure> {
        let mut changed = false;
        let mut done = 0;
        while done < steps.len() {
            let some = &steps[done..(done + self.max_elements).min(steps.len())];
            let (text, networks) = self.text(book, some, now);
            match self.commit(&text) {
                Ok(did) => changed |= did,
                Err(failure) if is_too_long(&failure) && some.len() > 1 => {
                    self.max_elements = some.len().div_ceil(2);
                    continue;
                }
                Err(failure) => return Err(failure),
            }
            self.networks = networks;
            done += some.len();
        }
        Ok(changed)
    }
}

/// Whether a transaction was refused for its size.
fn is_too_long(failure: &Failure) -> bool {
    ["Message too long", "No buffer space"].iter().any(|text| failure.complaint().contains(text))
}

/// Why the structure of the table is not known to be right.
enum Trouble {
    Unread(Error),
    /// It is wrong, so nobody is blocked.
    Unmended(Error),
}

impl Trouble {
    fn error(self) -> Error {
        match self {
            Trouble::Unread(error) | Trouble::Unmended(error) => error,
        }
    }

    fn with_all_lost(self, book: &Book) -> Verified {
        let lost = match &self {
            Trouble::Unread(_) => Vec::new(),
            Trouble::Unmended(error) => book.by_end().map(|(net, _)| Refused { net, why: error.0.clone() }).collect(),
        };
        Verified { lost, ..Verified::failed(self.error()) }
    }
}

/// Steps that are tried in parts.
struct Attempt<'a> {
    nft: &'a mut Nft,
    book: &'a Book,
    now: UnixTime,
}

impl Taker for Attempt<'_> {
    fn commit(&mut self, steps: &[Step]) -> Result<(), Failure> {
        self.nft.commit_steps(self.book, steps, self.now).map(drop)
    }

    fn held(&self) -> Option<HashSet<IpNet>> {
        self.nft.held().ok()
    }
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
        self.doubt_unless(self.netlink.generation().ok());
        if self.elements_in_doubt && steps.iter().any(|step| Set::of(&step.net()).has_ranges()) {
            self.heed_networks_of_others();
        }
        match self.commit_steps(book, &steps, now) {
            Ok(true) => {}
            Ok(false) => applied.refused.extend(self.not_added(&steps)),
            Err(failure) if failure.timed_out() => {
                applied.refused.extend(not_in_effect(&steps, self.held().ok().as_ref(), &failure.to_string()));
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

    fn prepare(&mut self) {
        self.nft.prepare();
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
            Some(text) if text.is_empty() => return Ok(()),
            Some(text) => {
                self.commit(&text)?;
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
        shown::element(&self.netlink, &self.plan.table, set, net).ok()?.packets
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
        match nft.nft.program().run(&["-c", "-f", "-"], &nft.plan.structure()) {
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
