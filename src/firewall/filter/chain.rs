//! Chain and jumps of one address family.

mod faults;
mod jumps;
mod shield;

use std::collections::HashSet;
use std::fmt::Write;
use std::net::IpAddr;

use self::faults::Wrong;
use self::shield::Shielding;
use super::listing::{self, Listing};
use super::place::Place;
use super::strangers::Names;
use super::words;
use crate::config::FirewallConfig;
use crate::firewall::body::{Body, Faults, Origin, Rule};
use crate::firewall::family::Family;
use crate::firewall::neighbours::freepbx_is_installed;
use crate::firewall::run::spare::Spare;
use crate::firewall::run::{Failure, Program};
use crate::firewall::{Error, Traffic};
use crate::model::book::Book;
use crate::model::target::ChainName;

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
    names: Names,
    shielding: Option<Shielding>,
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
            names: Names::of(&config.chain),
            shielding: Shielding::new(family, config, traffic, set.as_deref()),
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

    /// What the chain is to hold: a rule for each block of the book.
    pub(in crate::firewall) fn of_book(&self, book: &Book) -> Body {
        Body::of_book(self.family, book, self.is_shielded())
    }

    /// What the chain is to hold: one rule for all that are in a set.
    pub(in crate::firewall) fn of_set(&self, name: &str) -> Body {
        Body::of_set(name, self.is_shielded())
    }

    /// What stands in the chain; `None` if there is no chain.
    pub(in crate::firewall) fn body(&self) -> Result<Option<Body>, Error> {
        Ok(self.list()?.chain.map(|chain| chain.body))
    }

    /// The same, for a `mend` to follow, which then need not ask again.
    pub(super) fn take_stock(&mut self) -> Result<Option<Body>, Error> {
        let listing = self.list()?;
        self.adopt_admitted(&listing);
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
        let body = Body { blocks: vec![Origin::Net(nobody.into())], shield: false };
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
        self.learn(&now);
        let mut wanted = Body { shield: self.is_shielded(), ..wanted.clone() };
        let were_known = self.listed_jumps.is_some();
        self.heed_freepbx(&now);
        let faults = self.faults(&now, &wanted);
        self.undone = were_known && !faults.jumps.is_empty();
        let removals = self.removals(&now);
        let mut wrong = faults.clone();
        let mut tries = 0;
        while !wrong.is_none() {
            tries += 1;
            let error = match self.commit(&self.mending(&now, &wrong, &wanted)) {
                Ok(()) => {
                    self.jumps_to_learn |= !wrong.jumps_stay();
                    self.shield_is_written(!wrong.shield.is_empty());
                    let program = self.restore.program();
                    Error(format!("`{program}` ended with success, but what it was to make is not there"))
                }
                // Without the shield it can be done.
                Err(failure) if failure.is_verdict() && self.fit_shield() => {
                    tries -= 1;
                    failure.into()
                }
                Err(failure) if failure.is_verdict() => failure.into(),
                Err(failure) => return Err(self.unmended(failure.into(), &now)),
            };
            now = self.list()?;
            self.learn(&now);
            wanted.shield = self.is_shielded();
            wrong = self.faults(&now, &wanted);
            if tries == TRIES && !wrong.is_none() {
                return Err(self.unmended(error, &now));
            }
        }
        if tries > 0 {
            removals.iter().for_each(|text| log::warn!("{text}"));
        }
        Ok([faults.jumps, faults.chain, faults.shield].map(Faults::into_texts).concat())
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
            if listing.reference_to(self.name.as_str()).is_none() {
                let _ = writeln!(text, "-X {}", self.name);
            }
        }
        text += &self.without_shield(&listing);
        if !text.is_empty() {
            self.commit(&text)?;
        }
        let ours = listing.chain.is_some().then_some(self.name.as_str());
        let staying = ours.into_iter().filter_map(|chain| self.why_it_stays(&listing, chain));
        let staying: Vec<String> = staying.chain(self.shield_that_stays(&listing)).collect();
        if staying.is_empty() { Ok(()) } else { Err(Error(staying.join("; "))) }
    }

    /// Why this chain cannot be removed, if it cannot.
    fn why_it_stays(&self, listing: &Listing, chain: &str) -> Option<String> {
        let (rule, family) = (listing.reference_to(chain)?, self.family.name());
        Some(format!("chain {chain} ({family}) is empty but stays, because of the rule `{rule}`"))
    }

    /// Sees how the rules last made are listed. Where another program was at them meanwhile there is nothing to
    /// learn, and they are made again. Those of an earlier process need not be made again if they are known: to list
    /// 60,000 rules once more to see what became of it takes nft a second.
    fn learn(&mut self, listing: &Listing) {
        if let Some(shielding) = &mut self.shielding {
            shielding.learn(listing);
        }
        if std::mem::take(&mut self.jumps_to_learn) {
            let whole = listing.jumps.len() == self.wanted_jumps.len();
            self.listed_jumps = whole.then(|| listing.jumps.clone());
        } else if self.listed_jumps.is_none() && self.are_ours(&listing.jumps) {
            self.listed_jumps = Some(listing.jumps.clone());
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
            let _ = writeln!(text, "-A {} {}", self.name, self.rule(rule));
        }
        text
    }

    /// A block at the head of the chain, where a packet of an attacker of today finds it first.
    pub(in crate::firewall) fn insertion(&self, from: &Origin) -> String {
        format!("-I {} 1 {}\n", self.name, self.rule(Rule::Block(from)))
    }

    pub(in crate::firewall) fn removal(&self, from: &Origin) -> String {
        format!("-D {} {}\n", self.name, self.rule(Rule::Block(from)))
    }

    fn rule(&self, rule: Rule<'_>) -> String {
        words::rule(rule, &self.target, &self.names.shield)
    }

    fn list(&self) -> Result<Listing, Error> {
        let output = self.save.run(&["-t", self.place.table()], "")?;
        if output.stdout.lines().any(|line| line.starts_with("# Table") && line.contains("incompatible")) {
            let table = self.place.table();
            let why = "which holds rules made with nft; give these a table of their own";
            return Err(Error(format!("`{} -t {table}` cannot show the table {table}, {why}", self.save)));
        }
        let (chain, set) = (self.name.as_str(), self.set.as_deref());
        Ok(Listing::parse(&output.stdout, self.place, chain, &self.names, &self.target, set))
    }

    /// What makes the rules what they should be.
    fn mending(&self, listing: &Listing, wrong: &Wrong, wanted: &Body) -> String {
        let or_nothing = |is_sound: bool, text: &dyn Fn() -> String| if is_sound { String::new() } else { text() };
        let chain = or_nothing(wrong.chain.is_empty(), &|| self.anew(wanted));
        let jumps = or_nothing(wrong.jumps_stay(), &|| self.new_jumps(listing));
        // A rule leads to a chain that is there, and a chain goes to which no rule leads.
        let shield = or_nothing(wrong.shield.is_empty(), &|| self.shield_anew(listing));
        if self.is_shielded() { shield + &chain + &jumps } else { chain + &shield + &jumps }
    }

    /// What blocks although not all is as it should be: nothing without a jump.
    fn unmended(&self, error: Error, listing: &Listing) -> Unmended {
        let blocks = listing.chain.as_ref().filter(|_| !listing.jumps.is_empty()).map(|chain| &chain.body.blocks);
        Unmended { error, in_force: Some(blocks.into_iter().flatten().cloned().collect()) }
    }
}

/// A listing failed, so nothing is known.
impl From<Error> for Unmended {
    fn from(error: Error) -> Unmended {
        Unmended { error, in_force: None }
    }
}
