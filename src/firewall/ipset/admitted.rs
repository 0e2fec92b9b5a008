//! The sets of those whom the shield lets pass.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::listing::Header;
use super::tool::Tool;
use crate::firewall::body::Faults;
use crate::firewall::family::Family;
use crate::firewall::shield::MOST_ADMITTED;
use crate::firewall::{Error, Verified};

/// Admitted addresses and networks, and the sets of both families that hold them.
#[derive(Debug)]
pub(super) struct Admitted {
    names: [String; 2],
    /// As the sets hold them.
    nets: BTreeSet<IpNet>,
}

impl Admitted {
    /// `set` is the name of the set of the blocks.
    pub(super) fn new(set: &str) -> Admitted {
        Admitted { names: Family::BOTH.map(|family| family.admitted_set_name(set)), nets: BTreeSet::new() }
    }

    /// Makes the sets, or takes over what is there.
    ///
    /// # Errors
    /// If a set is there that is none of ours, or ipset fails.
    pub(super) fn set_up(&mut self, tool: &Tool) -> Result<(), Error> {
        let headers = tool.headers()?;
        self.make(tool)?;
        for name in self.names.iter().filter(|name| headers.contains_key(*name)) {
            self.nets.extend(tool.entries(name)?.into_iter().map(|held| held.net));
        }
        Ok(())
    }

    /// Admits more, as far as there is room.
    pub(super) fn add(&mut self, tool: &Tool, nets: &[IpNet]) -> Result<(), Error> {
        let room = MOST_ADMITTED.saturating_sub(self.nets.len());
        let new = nets.iter().flat_map(halves).filter(|net| !self.nets.contains(net)).take(room);
        let new: BTreeSet<IpNet> = new.collect();
        let text = self.text("add", new.iter());
        self.nets.extend(new);
        self.say(tool, &text)
    }

    /// Admits these and nobody else, as far as there is room.
    pub(super) fn change(&mut self, tool: &Tool, nets: &[IpNet]) -> Result<(), Error> {
        let nets = nets.iter().flat_map(halves).take(MOST_ADMITTED).collect();
        let before = std::mem::replace(&mut self.nets, nets);
        let text = self.text("del", before.difference(&self.nets)) + &self.text("add", self.nets.difference(&before));
        self.say(tool, &text)
    }

    /// Makes the sets equal to what they are to be, and says what they were not. They are looked at closely where their
    /// sizes differ, or in any case.
    pub(super) fn verify(&self, tool: &Tool, headers: &HashMap<String, Header>, closely: bool) -> Verified {
        let mut verified = Verified::default();
        let missing = self.names.iter().any(|name| !headers.contains_key(name));
        if let Some(error) = missing.then(|| self.make(tool).err()).flatten() {
            return Verified::failed(error);
        }
        for (family, name) in Family::BOTH.into_iter().zip(&self.names) {
            let wanted: BTreeSet<IpNet> = family.only(self.nets.iter().copied()).collect();
            let entries = headers.get(name).and_then(|header| header.entries);
            if !closely && entries == Some(wanted.len()) {
                continue;
            }
            match self.mend(tool, family, name, &wanted) {
                Ok(mended) => verified.mended.extend(mended),
                Err(error) => verified.failed.push(error),
            }
        }
        verified
    }

    fn mend(&self, tool: &Tool, family: Family, name: &str, wanted: &BTreeSet<IpNet>) -> Result<Vec<String>, Error> {
        let held: BTreeSet<IpNet> = tool.entries(name)?.into_iter().map(|held| held.net).collect();
        let (missing, surplus) = (wanted.difference(&held), held.difference(wanted));
        let mut faults = Faults::none(family);
        for (count, what) in [
            (missing.clone().count(), "admitted addresses"),
            (surplus.clone().count(), "addresses too many that are admitted"),
        ] {
            if count > 0 {
                faults.add(format_args!("{count} {what}"));
            }
        }
        if !faults.is_empty() {
            self.say(tool, &(self.text("del", surplus) + &self.text("add", missing)))?;
        }
        Ok(faults.into_texts())
    }

    /// The names of those that are there.
    pub(super) fn there<'a>(&'a self, headers: &'a HashMap<String, Header>) -> impl Iterator<Item = &'a String> {
        self.names.iter().filter(|name| headers.contains_key(*name))
    }

    fn make(&self, tool: &Tool) -> Result<(), Error> {
        let mut text = String::new();
        for (name, inet) in self.names.iter().zip(["inet", "inet6"]) {
            let _ = writeln!(text, "create {name} hash:net family {inet} maxelem {MOST_ADMITTED}");
        }
        Ok(tool.run(&text)?)
    }

    fn say(&self, tool: &Tool, text: &str) -> Result<(), Error> {
        if text.is_empty() { Ok(()) } else { Ok(tool.run(text)?) }
    }

    fn text<'a>(&self, verb: &str, nets: impl Iterator<Item = &'a IpNet>) -> String {
        let [v4, v6] = &self.names;
        let mut text = String::new();
        for net in nets {
            let name = if Family::of(net) == Family::V4 { v4 } else { v6 };
            let _ = writeln!(text, "{verb} {name} {net}");
        }
        text
    }
}

/// A set takes no network of all addresses, but its two halves.
fn halves(net: &IpNet) -> Vec<IpNet> {
    match net {
        IpNet::V4(net) if net.prefix_len() == 0 => net.subnets(1).into_iter().flatten().map(Ipv4Net::into).collect(),
        IpNet::V6(net) if net.prefix_len() == 0 => net.subnets(1).into_iter().flatten().map(Ipv6Net::into).collect(),
        net => vec![*net],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_shield_nobody_removes_the_sets_of_one() {
        let text = format!("[ami]\nuser = u\npass = p\n[ipset]\nset_name = {}\n", "x".repeat(21));
        let own = crate::config::Config::parse(&text, "/test.conf".as_ref()).unwrap().firewall;
        let ours = Admitted::new(&own.set_name).names;
        assert!(ours.iter().all(|name| name.len() <= 31), "{ours:?}");
        let others = Admitted::new(&own.of_the_fleet().set_name).names;
        assert!(others.iter().all(|name| !ours.contains(name)), "{others:?}");
    }

    #[test]
    fn all_addresses_are_two_elements() {
        let halves = |text: &str| halves(&text.parse().unwrap()).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(halves("0.0.0.0/0"), ["0.0.0.0/1", "128.0.0.0/1"]);
        assert_eq!(halves("::/0"), ["::/1", "8000::/1"]);
        assert_eq!(halves("192.0.2.0/24"), ["192.0.2.0/24"]);
    }
}
