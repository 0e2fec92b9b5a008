//! Who is never blocked: the white list, loopback, this machine's addresses, the AMI host.

pub mod resolver;
pub mod whitelist;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;

use crate::model::allowlist::Allowlist;
use crate::model::net::{NetOrHost, Plain, is_global_ipv6};
use crate::protection::whitelist::WhiteList;

/// Protected addresses and where each comes from.
#[derive(Debug)]
pub struct Protection {
    /// The white list and its file.
    white_list: WhiteList,
    /// Host of the manager interface.
    ami_host: String,
    /// Addresses behind host names, as last resolved.
    names: HashMap<String, Vec<IpAddr>>,
    /// Names that could not be resolved last.
    not_found: BTreeSet<String>,
    /// Addresses of this machine's interfaces.
    machine: Vec<IpAddr>,
    /// All of it, made anew when any of it changes.
    protected: Allowlist,
    /// Labels of what does not stand in the white list as it is here.
    labels: HashMap<IpNet, String>,
}

impl Default for Protection {
    /// Loopback alone.
    fn default() -> Protection {
        let mut protection = Protection {
            white_list: WhiteList::default(),
            ami_host: String::new(),
            names: HashMap::new(),
            not_found: BTreeSet::new(),
            machine: Vec::new(),
            protected: Allowlist::default(),
            labels: HashMap::new(),
        };
        protection.index();
        protection
    }
}

impl Protection {
    /// From now on protects what is on this white list, and this AMI host.
    pub fn renew(&mut self, white_list: WhiteList, ami_host: &str) {
        self.white_list = white_list;
        self.ami_host = ami_host.to_owned();
        self.index();
    }

    /// The white list.
    pub fn white_list(&self) -> &WhiteList {
        &self.white_list
    }

    /// Adds to the white list as [`WhiteList::add`] does.
    ///
    /// # Errors
    /// If the text is no entry, or the file cannot be read or written.
    pub fn add(&mut self, entry: &str) -> Result<(NetOrHost, bool), whitelist::Error> {
        let added = self.white_list.add(entry)?;
        self.index();
        Ok(added)
    }

    /// Takes out of the white list as [`WhiteList::remove`] does.
    ///
    /// # Errors
    /// If the text is no entry, or the file cannot be read or written.
    pub fn remove(&mut self, entry: &str) -> Result<(NetOrHost, bool), whitelist::Error> {
        let removed = self.white_list.remove(entry)?;
        self.index();
        Ok(removed)
    }

    /// All of it as a set.
    pub fn allowlist(&self) -> &Allowlist {
        &self.protected
    }

    /// Whether this machine has an IPv6 address that others reach.
    pub fn knows_own_ipv6(&self) -> bool {
        self.machine.iter().any(is_global_ipv6)
    }

    /// Whether this is an address of one of this machine's interfaces.
    pub fn is_machine(&self, address: &IpAddr) -> bool {
        self.machine.contains(address)
    }

    /// Whether anything in this network is protected, other than this machine itself.
    pub fn protects_others_in(&self, net: &IpNet) -> bool {
        let others = self.all().map(|(held, _)| held).filter(|held| !self.is_machine(&held.addr()));
        others.collect::<Allowlist>().meets(net)
    }

    /// The entry that meets this network, in words: the widest, if several do. Costs one look-up, however long the
    /// white list is.
    pub fn label(&self, net: &IpNet) -> Option<String> {
        let held = self.protected.meeting(net)?;
        Some(self.labels.get(&held).cloned().unwrap_or_else(|| Plain(held).to_string()))
    }

    /// What is protected without being on the white list, in words.
    pub fn own(&self) -> Vec<String> {
        self.unlisted().into_iter().map(|(_, label)| label).collect()
    }

    /// Host names to resolve again and again.
    pub fn names(&self) -> Vec<String> {
        let hosts = self.white_list.entries().filter_map(|entry| match entry {
            NetOrHost::Host(name) => Some(name.clone()),
            NetOrHost::Net(_) => None,
        });
        let ami = self.ami_host.parse::<IpAddr>().is_err().then(|| self.ami_host.clone());
        hosts.chain(ami).collect()
    }

    /// Takes in what names were resolved to. A name that could not be resolved keeps its addresses. Returns what is
    /// new about that, in words.
    pub fn resolved(&mut self, names: Vec<(String, Vec<IpAddr>)>) -> Vec<String> {
        let mut news = Vec::new();
        let not_found = names.iter().filter(|(_, addresses)| addresses.is_empty());
        let not_found: BTreeSet<String> = not_found.map(|(name, _)| name.clone()).collect();
        for name in not_found.difference(&self.not_found) {
            let so = if self.names.contains_key(name) { "its last addresses stay protected" } else { "not protected" };
            news.push(format!("{name} cannot be resolved: {so}"));
        }
        for name in self.not_found.difference(&not_found).filter(|name| self.names().contains(name)) {
            news.push(format!("{name} is resolved now"));
        }
        self.not_found = not_found;
        self.names.extend(names.into_iter().filter(|(_, addresses)| !addresses.is_empty()));
        let wanted = self.names();
        self.names.retain(|name, _| wanted.contains(name));
        self.index();
        news
    }

    /// Looks at this machine's addresses; true if they have changed.
    pub fn follow_machine(&mut self) -> bool {
        let Ok(interfaces) = getifaddrs() else { return false };
        let address = |interface: nix::ifaddrs::InterfaceAddress| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        };
        let mut machine: Vec<IpAddr> = interfaces.filter_map(address).collect();
        machine.sort_unstable();
        machine.dedup();
        let changed = machine != self.machine;
        if changed {
            self.machine = machine;
            self.index();
        }
        changed
    }

    /// Makes the set and its labels anew. Of equal networks the white list's entry counts.
    fn index(&mut self) {
        self.protected = self.all().map(|(net, _)| net).collect();
        let mut labels: HashMap<IpNet, String> = HashMap::new();
        for (net, label) in self.all() {
            if let Some(label) = label {
                labels.entry(net).or_insert(label);
            }
        }
        for net in self.listed() {
            labels.remove(net);
        }
        self.labels = labels;
    }

    /// Everything protected, with a label where it does not stand in the white list as it is here.
    fn all(&self) -> impl Iterator<Item = (IpNet, Option<String>)> + '_ {
        let named = self.white_list.entries().flat_map(|entry| match entry {
            NetOrHost::Net(_) => Vec::new(),
            NetOrHost::Host(name) => self.of_name(name, name),
        });
        let labelled = named.chain(self.unlisted()).map(|(net, label)| (net, Some(label)));
        self.listed().map(|net| (*net, None)).chain(labelled)
    }

    /// The addresses and networks of the white list.
    fn listed(&self) -> impl Iterator<Item = &IpNet> {
        self.white_list.entries().filter_map(|entry| match entry {
            NetOrHost::Net(net) => Some(net),
            NetOrHost::Host(_) => None,
        })
    }

    /// What is protected without being on the white list.
    fn unlisted(&self) -> Vec<(IpNet, String)> {
        let loopback = ["127.0.0.0/8", "::1/128"].into_iter();
        let loopback = loopback.filter_map(|net| Some((net.parse().ok()?, net.to_owned())));
        let machine = self.machine.iter().filter(|address| !address.is_loopback());
        let machine = machine.map(|address| (IpNet::from(*address), format!("{address} (this machine)")));
        let ami = match self.ami_host.parse::<IpAddr>() {
            Ok(address) if address.is_loopback() => Vec::new(),
            Ok(address) => vec![(IpNet::from(address), format!("{address} (AMI host)"))],
            Err(_) => self.of_name(&self.ami_host, "AMI host"),
        };
        loopback.chain(machine).chain(ami).collect()
    }

    fn of_name(&self, name: &str, label: &str) -> Vec<(IpNet, String)> {
        let addresses = self.names.get(name).into_iter().flatten();
        addresses.map(|address| (IpNet::from(*address), format!("{address} ({label})"))).collect()
    }
}
