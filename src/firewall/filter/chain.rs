//! Chain and jumps of one address family.

use std::collections::HashSet;
use std::fmt::Write;
use std::net::IpAddr;

use super::listing::{self, Contents, Listing};
use super::place::Place;
use super::words;
use crate::config::FirewallConfig;
use crate::firewall::body::{Body, Faults, Origin, Rule};
use crate::firewall::family::Family;
use crate::firewall::neighbours::freepbx_is_installed;
use crate::firewall::run::spare::Spare;
use crate::firewall::run::{Failure, Program};
use crate::firewall::{Error, Traffic};
use crate::model::target::ChainName;

/// What our jumps say to FreePBX's firewall. It takes a rule of INPUT before its own for an invader, and begins anew with
/// all chains emptied, unless the text of the rule holds `fail2ban` or `f2b`.
const FREEPBX_COMMENT: &str = "-m comment --comment sipban-f2b ";

/// The filter table of one address family, as far as it is ours.
#[derive(Debug)]
pub(in crate::firewall) struct Chain {
    family: Family,
    place: Place,
    name: ChainName,
    /// Target of a block as iptables lists it, with its `-j`.
    target: String,
    restore: Spare,
    save: Program,
    /// The kernel set of this backend, if it uses one.
    set: Option<String>,
    /// The rules of INPUT to make, without the `-A INPUT`.
    wanted_jumps: Vec<String>,
    /// Whether they carry a comment that FreePBX's firewall accepts. Once it was seen, for good.
    beside_freepbx: bool,
    /// Whether the last `mend` found that another program had undone the jumps.
    undone: bool,
    /// The same as iptables lists them, learnt from the first listing after they were made; `None` until they are
    /// known to be ours.
    listed_jumps: Option<Vec<String>>,
    jumps_to_learn: bool,
    /// What `take_stock` saw, for the `mend` that follows: to list 60,000 rules takes nft a second.
    seen: Option<Listing>,
}

/// Rules that could not be made what they should be.
#[derive(Debug)]
pub(in crate::firewall) struct Unmended {
    pub error: Error,
    /// What blocks all the same; `None` if that could not be seen.
    pub in_force: Option<HashSet<Origin>>,
}

impl From<Unmended> for Error {
    fn from(unmended: Unmended) -> Error {
        unmended.error
    }
}

impl Chain {
    /// Looks the programs up; touches no rule.
    pub(super) fn new(
        family: Family,
        place: Place,
        config: &FirewallConfig,
        traffic: &Traffic,
        set: Option<String>,
    ) -> Result<Chain, Error> {
        let (restore, save) = match family {
            Family::V4 => ("iptables-restore", "iptables-save"),
            Family::V6 => ("ip6tables-restore", "ip6tables-save"),
        };
        let target = words::target(place.target(config.target), family);
        let jumps = words::jumps(traffic, place, config.interface.as_deref(), &config.chain)?;
        let folder = config.iptables_path.as_deref();
        let restore = Program::find(restore, folder)?;
        // Before 1.6.2 it neither knows `-w` nor takes the lock; some versions complain of it and carry on.
        let waits = restore.run(&["--noflush", "-w"], "").is_ok_and(|output| output.stderr.is_empty());
        let args: &[&str] = if waits { &["--noflush", "-w"] } else { &["--noflush"] };
        Ok(Chain {
            family,
            place,
            name: config.chain.clone(),
            target,
            restore: Spare::new(restore, args),
            save: Program::find(save, folder)?,
            set,
            wanted_jumps: jumps,
            beside_freepbx: freepbx_is_installed(),
            undone: false,
            listed_jumps: None,
            jumps_to_learn: false,
            seen: None,
        })
    }

    pub(in crate::firewall) fn family(&self) -> Family {
        self.family
    }

    /// What stands in the chain; `None` if there is no chain.
    pub(in crate::firewall) fn body(&self) -> Result<Option<Body>, Error> {
        Ok(self.list()?.chain.map(|chain| chain.body))
    }

    /// The same, for a `mend` to follow, which then need not ask again.
    pub(super) fn take_stock(&mut self) -> Result<Option<Body>, Error> {
        let listing = self.list()?;
        let body = listing.chain.as_ref().map(|chain| chain.body.clone());
        self.seen = Some(listing);
        Ok(body)
    }

    /// Has iptables-restore read rules such as ours, with the block of an address that nobody has, in a test that
    /// makes none of them; and lists what there is.
    pub(super) fn rehearse(&self) -> Result<(), Error> {
        let nobody = match self.family {
            Family::V4 => IpAddr::from([192, 0, 2, 1]),
            Family::V6 => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
        };
        let body = Body { blocks: vec![Origin::Net(nobody.into())] };
        let rules = self.anew(&body) + &self.new_jumps(&Listing::default());
        self.restore.program().run(&["--test", "--noflush"], &format!("*{}\n{rules}COMMIT\n", self.place.table()))?;
        self.list().map(drop)
    }

    /// Starts a process ahead for the next change.
    pub(super) fn prepare(&mut self) {
        self.restore.prepare();
    }

    /// Makes chain and jumps what they should be, in one transaction, and says what was not. Sees by a second listing
    /// that all is there: a program may say that it did what it did not.
    pub(in crate::firewall) fn mend(&mut self, wanted: &Body) -> Result<Vec<String>, Unmended> {
        const TRIES: usize = 2;
        let mut now = self.seen.take().map_or_else(|| self.list(), Ok)?;
        self.learn_jumps(&now);
        let were_known = self.listed_jumps.is_some();
        self.heed_freepbx(&now);
        let faults = self.faults(&now, wanted);
        self.undone = were_known && !faults.jumps.is_empty();
        let removals = self.removals(&now);
        let mut wrong = faults.clone();
        let mut tries = 0;
        while !wrong.is_none() {
            tries += 1;
            let error = match self.commit(&self.mending(&now, &wrong, wanted)) {
                Ok(()) => {
                    self.jumps_to_learn |= !wrong.jumps_stay();
                    let program = self.restore.program();
                    Error(format!("`{program}` ended with success, but what it was to make is not there"))
                }
                Err(failure) if failure.is_verdict() => failure.into(),
                Err(failure) => return Err(self.unmended(failure.into(), &now)),
            };
            now = self.list()?;
            self.learn_jumps(&now);
            wrong = self.faults(&now, wanted);
            if tries == TRIES && !wrong.is_none() {
                return Err(self.unmended(error, &now));
            }
        }
        if tries > 0 {
            removals.iter().for_each(|text| log::warn!("{text}"));
        }
        Ok([faults.jumps, faults.chain].map(Faults::into_texts).concat())
    }

    /// Leads other traffic through the chain. Where that is only more of it, as when an attack is seen on another
    /// port and every millisecond counts, the rules there are stay and need not be listed.
    pub(super) fn set_jumps(&mut self, jumps: Vec<String>) -> Result<(), Error> {
        let old = std::mem::replace(&mut self.wanted_jumps, jumps);
        let text = if old.iter().all(|jump| self.wanted_jumps.contains(jump)) {
            let more: Vec<String> = self.wanted_jumps.iter().filter(|jump| !old.contains(jump)).cloned().collect();
            Ok(self.insertions(&more))
        } else {
            self.list().map(|listing| self.new_jumps(&listing))
        };
        match text.and_then(|text| Ok(self.commit(&text)?)) {
            Ok(()) => self.jumps_to_learn = true,
            Err(error) => {
                self.wanted_jumps = old;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Packets dropped by the rule for `source` since it was written.
    pub(in crate::firewall) fn packets(&self, from: &Origin) -> Option<u64> {
        let output = self.save.run(&["-c", "-t", self.place.table()], "").ok()?;
        listing::packets(&output.stdout, self.name.as_str(), from)
    }

    /// Removes jumps and chain.
    pub(super) fn tear_down(&mut self) -> Result<(), Error> {
        let listing = self.list()?;
        let mut text = self.without_jumps(&listing);
        if listing.chain.is_some() {
            let _ = writeln!(text, "-F {}", self.name);
            if listing.references.is_empty() {
                let _ = writeln!(text, "-X {}", self.name);
            }
        }
        if !text.is_empty() {
            self.commit(&text)?;
        }
        match listing.references.first() {
            Some(rule) if listing.chain.is_some() => {
                let (chain, family) = (&self.name, self.family.name());
                Err(Error(format!("chain {chain} ({family}) is empty but stays, because of the rule `{rule}`")))
            }
            _ => Ok(()),
        }
    }

    /// Sees how the jumps last made are listed. Where another program was at them meanwhile there is nothing to
    /// learn, and they are made again.
    fn learn_jumps(&mut self, listing: &Listing) {
        if std::mem::take(&mut self.jumps_to_learn) {
            let whole = listing.jumps.len() == self.wanted_jumps.len();
            self.listed_jumps = whole.then(|| listing.jumps.clone());
        }
    }

    /// Makes changes in one transaction.
    pub(in crate::firewall) fn commit(&mut self, rules: &str) -> Result<(), Failure> {
        self.restore.feed(&format!("*{}\n{rules}COMMIT\n", self.place.table()))
    }

    /// The whole chain. Naming it in the header creates it, or empties the one that is there.
    pub(in crate::firewall) fn anew(&self, body: &Body) -> String {
        let mut text = format!(":{} - [0:0]\n", self.name);
        for rule in body.rules() {
            let _ = writeln!(text, "-A {} {}", self.name, words::rule(rule, &self.target));
        }
        text
    }

    /// A block at the head of the chain, where a packet of an attacker of today finds it first.
    pub(in crate::firewall) fn insertion(&self, from: &Origin) -> String {
        format!("-I {} 1 {}\n", self.name, words::rule(Rule::Block(from), &self.target))
    }

    pub(in crate::firewall) fn removal(&self, from: &Origin) -> String {
        format!("-D {} {}\n", self.name, words::rule(Rule::Block(from), &self.target))
    }

    fn list(&self) -> Result<Listing, Error> {
        let output = self.save.run(&["-t", self.place.table()], "")?;
        if output.stdout.lines().any(|line| line.starts_with("# Table") && line.contains("incompatible")) {
            let table = self.place.table();
            let why = "which holds rules made with nft; give these a table of their own";
            return Err(Error(format!("`{} -t {table}` cannot show the table {table}, {why}", self.save)));
        }
        Ok(Listing::parse(&output.stdout, self.place, self.name.as_str(), &self.target, self.set.as_deref()))
    }

    /// Removes our jumps, and what does without a chain what they do.
    fn without_jumps(&self, listing: &Listing) -> String {
        listing
            .jumps
            .iter()
            .chain(&listing.leftovers)
            .map(|jump| format!("-D {} {jump}\n", self.place.hook()))
            .collect()
    }

    fn new_jumps(&self, listing: &Listing) -> String {
        self.without_jumps(listing) + &self.insertions(&self.wanted_jumps)
    }

    /// Jumps at the head of the place, in this order.
    fn insertions(&self, jumps: &[String]) -> String {
        let hook = self.place.hook();
        let comment = |jump: &String| match jump.rsplit_once("-j ") {
            Some((matches, to)) if self.beside_freepbx => format!("{matches}{FREEPBX_COMMENT}-j {to}"),
            _ => jump.clone(),
        };
        jumps.iter().rev().map(|jump| format!("-I {hook} 1 {}\n", comment(jump))).collect()
    }

    /// From now on our jumps are to stand before those of FreePBX's firewall, if that has come.
    fn heed_freepbx(&mut self, listing: &Listing) {
        if listing.freepbx && !self.beside_freepbx {
            self.beside_freepbx = true;
            self.listed_jumps = None;
        }
    }

    /// Whether another program had undone the jumps when they were looked at last.
    pub(super) fn was_undone(&self) -> bool {
        self.undone
    }

    /// What makes the rules what they should be.
    fn mending(&self, listing: &Listing, wrong: &Wrong, wanted: &Body) -> String {
        let chain = if wrong.chain.is_empty() { String::new() } else { self.anew(wanted) };
        chain + &if wrong.jumps_stay() { String::new() } else { self.new_jumps(listing) }
    }

    fn faults(&self, listing: &Listing, wanted: &Body) -> Wrong {
        let leftovers = !listing.leftovers.is_empty();
        Wrong { jumps: self.jump_faults(listing), chain: self.chain_faults(listing, wanted), leftovers }
    }

    fn chain_faults(&self, listing: &Listing, wanted: &Body) -> Faults {
        let name = &self.name;
        let mut faults = Faults::none(self.family);
        let missing_chain = Contents { returns_last: true, ..Default::default() };
        let chain = listing.chain.as_ref().unwrap_or_else(|| {
            faults.add(format_args!("chain {name}"));
            &missing_chain
        });
        let wanted: HashSet<&Origin> = wanted.blocks.iter().collect();
        let blocks = &chain.body.blocks;
        let there = blocks.iter().filter(|origin| wanted.contains(origin)).count();
        match self.set.as_ref() {
            Some(set) if there < wanted.len() => faults.add(format_args!("rule of set {set}")),
            _ => faults.add_missing(wanted.len() - there, wanted.len()),
        }
        let surplus = blocks.len() - there + chain.doubles + chain.strays.len();
        if surplus > 0 {
            faults.add(format_args!("{surplus} rules too many in {name}"));
        }
        if chain.other_target > 0 {
            faults.add(format_args!("the target of {} blocks", chain.other_target));
        }
        if !chain.returns_last {
            faults.add(format_args!("RETURN at the end of {name}"));
        }
        faults
    }

    fn jump_faults(&self, listing: &Listing) -> Faults {
        let sorted = |jumps: &[String]| {
            let mut jumps = jumps.to_vec();
            jumps.sort_unstable();
            jumps
        };
        let as_wanted = self.listed_jumps.as_ref().is_some_and(|wanted| sorted(wanted) == sorted(&listing.jumps));
        let mut faults = Faults::none(self.family);
        match &listing.bypass {
            _ if !as_wanted => faults.add(format_args!("jump to {} in {}", self.name, self.place.hook())),
            Some(rule) => faults.add(format_args!("jump to {} in {} before `{rule}`", self.name, self.place.hook())),
            None => {}
        }
        faults
    }

    /// What blocks although not all is as it should be: nothing without a jump.
    fn unmended(&self, error: Error, listing: &Listing) -> Unmended {
        let blocks = listing.chain.as_ref().filter(|_| !listing.jumps.is_empty()).map(|chain| &chain.body.blocks);
        Unmended { error, in_force: Some(blocks.into_iter().flatten().cloned().collect()) }
    }

    /// What goes when the rules are made what they should be, in words.
    fn removals(&self, listing: &Listing) -> Vec<String> {
        let name = &self.name;
        let strays = listing.chain.iter().flat_map(|chain| &chain.strays);
        let strays = strays.map(|rule| format!("removed `{rule}` from chain {name}, which holds blocks only"));
        let leftovers = listing.leftovers.iter();
        let leftovers = leftovers.map(|rule| {
            format!("removed `{rule}` from INPUT, a leftover of the Perl program: chain {name} blocks now")
        });
        strays.chain(leftovers).collect()
    }
}

/// What is not as it should be.
#[derive(Clone)]
struct Wrong {
    jumps: Faults,
    chain: Faults,
    /// Whether rules of the Perl program are left.
    leftovers: bool,
}

impl Wrong {
    fn is_none(&self) -> bool {
        self.chain.is_empty() && self.jumps.is_empty() && !self.leftovers
    }

    fn jumps_stay(&self) -> bool {
        self.jumps.is_empty() && !self.leftovers
    }
}

/// A listing failed, so nothing is known.
impl From<Error> for Unmended {
    fn from(error: Error) -> Unmended {
        Unmended { error, in_force: None }
    }
}
