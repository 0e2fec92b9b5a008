//! Chain and jumps of one IP version.

use std::collections::HashSet;
use std::fmt::Write;
use std::net::IpAddr;

use super::listing::{self, Chain, Listing, Source};
use super::{Version, rules};
use crate::config::{Backend, FirewallConfig};
use crate::firewall::run::{Failure, Program, Spare};
use crate::firewall::{Error, Scope};

/// The filter table of one IP version, as far as it is ours.
#[derive(Debug)]
pub(in crate::firewall) struct Family {
    version: Version,
    chain: String,
    /// Target of a block as iptables lists it, with its `-j`.
    target: String,
    restore: Spare,
    save: Program,
    /// The kernel set of this backend, if it uses one.
    set: Option<String>,
    /// The rules of INPUT to make, without the `-A INPUT`.
    wanted_jumps: Vec<String>,
    /// The same as iptables lists them, learnt from the first listing after they were made; `None` until they are
    /// known to be ours.
    listed_jumps: Option<Vec<String>>,
    jumps_to_learn: bool,
    /// What `take_stock` saw, for the `mend` that follows: to list 60,000 rules takes nft a second.
    seen: Option<Listing>,
}

impl Family {
    /// Looks the programs up; touches no rule.
    pub(super) fn new(version: Version, config: &FirewallConfig, scope: &Scope) -> Result<Family, Error> {
        let (restore, save) = match version {
            Version::V4 => ("iptables-restore", "iptables-save"),
            Version::V6 => ("ip6tables-restore", "ip6tables-save"),
        };
        let target = rules::target(&config.rule, version)?;
        let jumps = rules::jumps(scope, config.interface.as_deref(), &config.chain)?;
        let folder = config.iptables_path.as_deref();
        let restore = Program::find(restore, folder)?;
        // Before 1.6.2 it neither knows `-w` nor takes the lock; some versions complain of it and carry on.
        let waits = restore.run(&["--noflush", "-w"], "").is_ok_and(|output| output.stderr.is_empty());
        let args: &[&str] = if waits { &["--noflush", "-w"] } else { &["--noflush"] };
        Ok(Family {
            version,
            chain: config.chain.clone(),
            target,
            restore: Spare::new(restore, args),
            save: Program::find(save, folder)?,
            set: (config.backend == Backend::Ipset).then(|| version.set_name(&config.set_name)),
            wanted_jumps: jumps,
            listed_jumps: None,
            jumps_to_learn: false,
            seen: None,
        })
    }

    pub(in crate::firewall) fn version(&self) -> Version {
        self.version
    }

    /// What stands in the chain; `None` if there is no chain.
    pub(in crate::firewall) fn body(&self) -> Result<Option<Vec<Source>>, Error> {
        Ok(self.list()?.chain.map(|chain| chain.blocks))
    }

    /// The same, for a `mend` to follow, which then need not ask again.
    pub(super) fn take_stock(&mut self) -> Result<Option<Vec<Source>>, Error> {
        let listing = self.list()?;
        let body = listing.chain.as_ref().map(|chain| chain.blocks.clone());
        self.seen = Some(listing);
        Ok(body)
    }

    /// Has iptables-restore read rules such as ours, with the block of an address that nobody has, in a test that
    /// makes none of them; and lists what there is.
    pub(super) fn rehearse(&self) -> Result<(), Error> {
        let nobody = match self.version {
            Version::V4 => IpAddr::from([192, 0, 2, 1]),
            Version::V6 => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
        };
        let rules = self.anew([&Source::Net(nobody.into())]) + &self.new_jumps(&Listing::default());
        self.restore.program().run(&["--test", "--noflush"], &format!("*filter\n{rules}COMMIT\n"))?;
        self.list().map(drop)
    }

    /// Starts a process ahead for the next change.
    pub(super) fn prepare(&mut self) {
        self.restore.prepare();
    }

    /// Makes chain and jumps what they should be, in one transaction, and says what was not. The wanted body of the
    /// chain in the order in which it is to be listed.
    pub(in crate::firewall) fn mend(&mut self, wanted: &[Source]) -> Result<Vec<String>, Error> {
        let mut again = true;
        loop {
            let listing = self.seen.take().map_or_else(|| self.list(), Ok)?;
            self.learn_jumps(&listing);
            let chain_faults = self.chain_faults(&listing, wanted);
            let jump_faults = self.jump_faults(&listing);
            let jumps_stay = jump_faults.is_empty() && listing.leftovers.is_empty();
            if chain_faults.is_empty() && jumps_stay {
                return Ok(Vec::new());
            }
            let mut text = String::new();
            if !chain_faults.is_empty() {
                text += &self.anew(wanted);
            }
            if !jumps_stay {
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
            for rule in &listing.leftovers {
                log::warn!(
                    "removed `{rule}` from INPUT, a leftover of the Perl program: chain {} blocks now",
                    self.chain
                );
            }
            self.jumps_to_learn |= !jumps_stay;
            return Ok([jump_faults, chain_faults].concat());
        }
    }

    /// Leads other traffic through the chain. Where that is only more of it, as when an attack is seen on another
    /// port and every millisecond counts, the rules there are stay and need not be listed.
    pub(super) fn set_jumps(&mut self, jumps: Vec<String>) -> Result<(), Error> {
        let old = std::mem::replace(&mut self.wanted_jumps, jumps);
        let text = if old.iter().all(|jump| self.wanted_jumps.contains(jump)) {
            Ok(insertions(self.wanted_jumps.iter().filter(|jump| !old.contains(jump))))
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
    pub(in crate::firewall) fn packets(&self, source: &Source) -> Option<u64> {
        let output = self.save.run(&["-c", "-t", "filter"], "").ok()?;
        listing::packets(&output.stdout, &self.chain, source)
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
        self.restore.feed(&format!("*filter\n{rules}COMMIT\n"))
    }

    /// The whole chain. Naming it in the header creates it, or empties the one that is there.
    pub(in crate::firewall) fn anew<'a>(&self, body: impl IntoIterator<Item = &'a Source>) -> String {
        let (chain, target) = (&self.chain, &self.target);
        let mut text = format!(":{chain} - [0:0]\n");
        for source in body {
            let _ = writeln!(text, "-A {chain} {source} {target}");
        }
        let _ = writeln!(text, "-A {chain} -j RETURN");
        text
    }

    /// A block at the head of the chain, where a packet of an attacker of today finds it first.
    pub(in crate::firewall) fn insertion(&self, source: &Source) -> String {
        format!("-I {} 1 {source} {}\n", self.chain, self.target)
    }

    pub(in crate::firewall) fn removal(&self, source: &Source) -> String {
        format!("-D {} {source} {}\n", self.chain, self.target)
    }

    fn list(&self) -> Result<Listing, Error> {
        let output = self.save.run(&["-t", "filter"], "")?;
        if output.stdout.lines().any(|line| line.starts_with("# Table") && line.contains("incompatible")) {
            let why = "cannot show the table filter, which holds rules made with nft; give these a table of their own";
            return Err(Error(format!("`{} -t filter` {why}", self.save)));
        }
        Ok(Listing::parse(&output.stdout, &self.chain, &self.target, self.set.as_deref()))
    }

    /// Removes our jumps, and what does without a chain what they do.
    fn without_jumps(&self, listing: &Listing) -> String {
        listing.jumps.iter().chain(&listing.leftovers).map(|jump| format!("-D INPUT {jump}\n")).collect()
    }

    fn new_jumps(&self, listing: &Listing) -> String {
        self.without_jumps(listing) + &insertions(self.wanted_jumps.iter())
    }

    fn chain_faults(&self, listing: &Listing, wanted: &[Source]) -> Vec<String> {
        let (name, version) = (&self.chain, self.version.name());
        let mut faults = Vec::new();
        let mut fault = |what: String| faults.push(format!("{what} ({version})"));
        let missing_chain = Chain { returns_last: true, ..Default::default() };
        let chain = listing.chain.as_ref().unwrap_or_else(|| {
            fault(format!("chain {name}"));
            &missing_chain
        });
        let wanted: HashSet<&Source> = wanted.iter().collect();
        let there = chain.blocks.iter().filter(|source| wanted.contains(source)).count();
        match self.set.as_ref() {
            _ if there == wanted.len() => {}
            Some(set) => fault(format!("rule of set {set}")),
            None => fault(format!("{} of {} blocks", wanted.len() - there, wanted.len())),
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
}

/// Rules at the head of INPUT, in this order.
fn insertions<'a>(jumps: impl DoubleEndedIterator<Item = &'a String>) -> String {
    jumps.rev().map(|jump| format!("-I INPUT 1 {jump}\n")).collect()
}
