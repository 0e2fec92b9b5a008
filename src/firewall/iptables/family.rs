//! Chain, jumps and blocks of one IP version.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;

use ipnet::IpNet;

use super::listing::{self, Chain, Listing};
use super::rules::Version;
use crate::firewall::run::{Failure, Program, Spare};
use crate::firewall::{Error, Refused};

/// Most blocks that are removed by their text; more of them, and the chain is written anew in the same
/// transaction, which no packet sees.
///
/// Both ways grow with the length of the chain, so the choice depends on the number removed alone. Measured with
/// 10,000 rules, the removed ones at the end: nft 43 ms for one and 5 ms for each further, against 112 ms anew;
/// legacy 10 ms for one and 0.08 ms for each further, against 18 ms. (With 1,000: nft 15 and 0.4 against 27.)
const MOST_REMOVED_BY_TEXT: usize = 12;

/// How many refused blocks are hunted down one by one. So many are no culprits: the reason lies elsewhere, and
/// the rest of the batch need not try it all again.
const MOST_CULPRITS: usize = 16;

/// The filter table of one IP version, as far as it is ours.
#[derive(Debug)]
pub(super) struct Family {
    version: Version,
    chain: String,
    /// Target of a block as iptables lists it, with its `-j`.
    target: String,
    restore: Spare,
    save: Program,
    /// The rules of INPUT to make, without the `-A INPUT`.
    wanted_jumps: Vec<String>,
    /// The same as iptables lists them, learnt when they were made; `None` until then.
    listed_jumps: Option<Vec<String>>,
}

impl Family {
    /// Looks the programs up; touches no rule.
    pub(super) fn new(
        version: Version,
        folder: Option<&Path>,
        chain: &str,
        target: String,
        jumps: Vec<String>,
    ) -> Result<Family, Error> {
        let (restore, save) = match version {
            Version::V4 => ("iptables-restore", "iptables-save"),
            Version::V6 => ("ip6tables-restore", "ip6tables-save"),
        };
        let restore = Program::find(restore, folder)?;
        // Before 1.6.2 it neither knows `-w` nor takes the lock; some versions complain of it and carry on.
        let waits = restore.run(&["--noflush", "-w"], "").is_ok_and(|output| output.stderr.is_empty());
        let args: &[&str] = if waits { &["--noflush", "-w"] } else { &["--noflush"] };
        Ok(Family {
            version,
            chain: chain.to_owned(),
            target,
            restore: Spare::new(restore, args),
            save: Program::find(save, folder)?,
            wanted_jumps: jumps,
            listed_jumps: None,
        })
    }

    /// Creates chain and jumps or takes over what is there; returns the blocks found.
    pub(super) fn set_up(&mut self) -> Result<Vec<IpNet>, Error> {
        let there = self.list()?.chain;
        let is_new = there.is_none();
        let found = there.unwrap_or_default().blocks;
        self.listed_jumps = None;
        self.mend(&found)?;
        if is_new && self.version == Version::V4 {
            log::info!("CHAIN => {} created", self.chain);
        }
        Ok(found)
    }

    /// Starts a process ahead for the next change.
    pub(super) fn prepare(&mut self) {
        self.restore.prepare();
    }

    /// Adds and removes, where `kept` tells the blocks that stay, if need be. Returns what was refused.
    pub(super) fn apply(&mut self, kept: impl Fn() -> Vec<IpNet>, add: &[IpNet], remove: &[IpNet]) -> Vec<Refused> {
        let text = if remove.len() <= MOST_REMOVED_BY_TEXT {
            let mut text = self.insertions(add);
            for net in remove {
                let _ = writeln!(text, "-D {} -s {net} {}", self.chain, self.target);
            }
            text
        } else {
            self.anew(add.iter().rev().chain(&kept()))
        };
        match self.commit(&text) {
            Ok(()) => Vec::new(),
            Err(failure) if failure.timed_out() => self.not_in_effect(add, remove, &failure),
            Err(_) => self.apply_divided(&kept(), add, remove),
        }
    }

    /// Makes chain, jumps and blocks what they should be, in one transaction, and says what was not. The wanted
    /// blocks in the order in which they are to be listed.
    pub(super) fn mend(&mut self, wanted: &[IpNet]) -> Result<Vec<String>, Error> {
        let mut again = true;
        loop {
            let listing = self.list()?;
            let chain_faults = self.chain_faults(&listing, wanted);
            let jump_faults = self.jump_faults(&listing);
            if chain_faults.is_empty() && jump_faults.is_empty() {
                return Ok(Vec::new());
            }
            let mut text = String::new();
            if !chain_faults.is_empty() {
                text += &self.anew(wanted);
            }
            if !jump_faults.is_empty() {
                text += &self.new_jumps(&listing);
            }
            match self.commit(&text) {
                Ok(()) => {}
                // Another program changed the rules since they were listed.
                Err(failure) if failure.is_verdict() && again => {
                    again = false;
                    continue;
                }
                Err(failure) => return Err(failure.into()),
            }
            if let Some(chain) = &listing.chain {
                for rule in &chain.strays {
                    log::warn!("removed `{rule}` from chain {}, which holds blocks only", self.chain);
                }
            }
            if !jump_faults.is_empty() {
                self.learn_jumps()?;
            }
            return Ok([jump_faults, chain_faults].concat());
        }
    }

    /// Replaces the jumps.
    pub(super) fn set_jumps(&mut self, jumps: Vec<String>) -> Result<(), Error> {
        let old = std::mem::replace(&mut self.wanted_jumps, jumps);
        let replaced = self.list().and_then(|listing| Ok(self.commit(&self.new_jumps(&listing))?));
        match replaced {
            Ok(()) => self.learn_jumps(),
            Err(error) => {
                self.wanted_jumps = old;
                Err(error)
            }
        }
    }

    /// Packets dropped for `net` since its rule was written.
    pub(super) fn packets(&self, net: &IpNet) -> Option<u64> {
        let output = self.save.run(&["-c", "-t", "filter"], "").ok()?;
        listing::packets(&output.stdout, &self.chain, net)
    }

    /// Removes jumps and chain.
    pub(super) fn tear_down(&mut self) -> Result<(), Error> {
        let listing = self.list()?;
        let mut text = self.without_jumps(&listing);
        if listing.chain.is_some() {
            let _ = writeln!(text, "-F {}", self.chain);
            if listing.references.is_empty() {
                let _ = writeln!(text, "-X {}", self.chain);
            }
        }
        if !text.is_empty() {
            self.commit(&text)?;
        }
        match listing.references.first() {
            Some(rule) if listing.chain.is_some() => {
                let (chain, version) = (&self.chain, self.version.name());
                Err(Error(format!("chain {chain} ({version}) is empty but stays, because of the rule `{rule}`")))
            }
            _ => Ok(()),
        }
    }

    /// Sees how the jumps just made are listed. Where another program was at them meanwhile there is nothing to
    /// learn, and the next `mend` makes them again.
    fn learn_jumps(&mut self) -> Result<(), Error> {
        let jumps = self.list()?.jumps;
        self.listed_jumps = if jumps.len() == self.wanted_jumps.len() { Some(jumps) } else { None };
        Ok(())
    }

    fn list(&self) -> Result<Listing, Error> {
        let output = self.save.run(&["-t", "filter"], "")?;
        if output.stdout.lines().any(|line| line.starts_with("# Table") && line.contains("incompatible")) {
            let why = "cannot show the table filter, which holds rules made with nft; give these a table of their own";
            return Err(Error(format!("`{} -t filter` {why}", self.save)));
        }
        Ok(Listing::parse(&output.stdout, &self.chain, &self.target))
    }

    fn commit(&mut self, rules: &str) -> Result<(), Failure> {
        self.restore.feed(&format!("*filter\n{rules}COMMIT\n"))
    }

    /// New blocks at the head, where a packet of an attacker of today finds them first.
    fn insertions(&self, nets: &[IpNet]) -> String {
        let mut text = String::with_capacity(64 * nets.len());
        for net in nets {
            let _ = writeln!(text, "-I {} 1 -s {net} {}", self.chain, self.target);
        }
        text
    }

    /// The whole chain. Naming it in the header creates it, or empties the one that is there.
    fn anew<'a>(&self, nets: impl IntoIterator<Item = &'a IpNet>) -> String {
        let mut text = format!(":{} - [0:0]\n", self.chain);
        for net in nets {
            let _ = writeln!(text, "-A {} -s {net} {}", self.chain, self.target);
        }
        let _ = writeln!(text, "-A {} -j RETURN", self.chain);
        text
    }

    fn without_jumps(&self, listing: &Listing) -> String {
        listing.jumps.iter().map(|jump| format!("-D INPUT {jump}\n")).collect()
    }

    fn new_jumps(&self, listing: &Listing) -> String {
        let insertions = self.wanted_jumps.iter().rev().map(|jump| format!("-I INPUT 1 {jump}\n"));
        self.without_jumps(listing) + &insertions.collect::<String>()
    }

    fn chain_faults(&self, listing: &Listing, wanted: &[IpNet]) -> Vec<String> {
        let (name, version) = (&self.chain, self.version.name());
        let mut faults = Vec::new();
        let mut fault = |what: String| faults.push(format!("{what} ({version})"));
        let missing_chain = Chain { returns_last: true, ..Default::default() };
        let chain = listing.chain.as_ref().unwrap_or_else(|| {
            fault(format!("chain {name}"));
            &missing_chain
        });
        let wanted: HashSet<&IpNet> = wanted.iter().collect();
        let there = chain.blocks.iter().filter(|net| wanted.contains(net)).count();
        if there < wanted.len() {
            fault(format!("{} of {} blocks", wanted.len() - there, wanted.len()));
        }
        let surplus = chain.blocks.len() - there + chain.doubles + chain.strays.len();
        if surplus > 0 {
            fault(format!("{surplus} rules too many in {name}"));
        }
        if chain.other_target > 0 {
            fault(format!("the target of {} blocks", chain.other_target));
        }
        if !chain.returns_last {
            fault(format!("RETURN at the end of {name}"));
        }
        faults
    }

    fn jump_faults(&self, listing: &Listing) -> Vec<String> {
        let sorted = |jumps: &[String]| {
            let mut jumps = jumps.to_vec();
            jumps.sort_unstable();
            jumps
        };
        let as_wanted = self.listed_jumps.as_ref().is_some_and(|wanted| sorted(wanted) == sorted(&listing.jumps));
        let (name, version) = (&self.chain, self.version.name());
        match &listing.bypass {
            _ if !as_wanted => vec![format!("jump to {name} in INPUT ({version})")],
            Some(rule) => vec![format!("jump to {name} in INPUT before `{rule}` ({version})")],
            None => Vec::new(),
        }
    }

    /// After a change that ran out of time: what the kernel does not show.
    fn not_in_effect(&self, add: &[IpNet], remove: &[IpNet], failure: &Failure) -> Vec<Refused> {
        let refuse = |net: &IpNet| Refused { net: *net, why: failure.to_string() };
        let Ok(listing) = self.list() else { return add.iter().chain(remove).map(refuse).collect() };
        let held: HashSet<IpNet> = listing.chain.unwrap_or_default().blocks.into_iter().collect();
        let not_added = add.iter().filter(|net| !held.contains(net));
        not_added.chain(remove.iter().filter(|net| held.contains(net))).map(refuse).collect()
    }

    /// After a change that failed as a whole: something was not as thought, or one entry is a culprit. First
    /// makes sure of what stays, then adds what can be added.
    fn apply_divided(&mut self, kept: &[IpNet], add: &[IpNet], remove: &[IpNet]) -> Vec<Refused> {
        let mut refused = Vec::new();
        match self.mend(kept) {
            Ok(_) => self.add_divided(add, &mut refused),
            Err(error) => {
                let refuse = |net: &IpNet| Refused { net: *net, why: error.to_string() };
                refused.extend(add.iter().chain(remove).map(refuse));
            }
        }
        refused
    }

    fn add_divided(&mut self, nets: &[IpNet], refused: &mut Vec<Refused>) {
        if nets.is_empty() {
            return;
        }
        let Err(failure) = self.commit(&self.insertions(nets)) else { return };
        if !failure.is_verdict() {
            refused.extend(self.not_in_effect(nets, &[], &failure));
        } else if nets.len() == 1 || refused.len() >= MOST_CULPRITS {
            refused.extend(nets.iter().map(|net| Refused { net: *net, why: failure.to_string() }));
        } else {
            let (one, other) = nets.split_at(nets.len() / 2);
            self.add_divided(one, refused);
            self.add_divided(other, refused);
        }
    }
}
