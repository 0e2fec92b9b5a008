//! Who is never blocked: the white list, loopback, this machine's addresses, gateways and name servers, and the hosts that
//! it cannot do without: Asterisk's and the fleet's.

pub mod machine;
pub mod resolver;
pub mod whitelist;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::allowlist::Allowlist;
use crate::model::net::{NetOrHost, Plain, is_global_ipv6};
use crate::protection::machine::Machine;
use crate::protection::whitelist::WhiteList;

/// Protected addresses and where each comes from.
#[derive(Debug)]
pub struct Protection {
    /// The white list and its file.
    white_list: WhiteList,
    /// Hosts that cannot be done without, each after what it is called.
    hosts: Vec<(&'static str, String)>,
    /// Addresses behind host names, as last resolved.
    names: HashMap<String, Vec<IpAddr>>,
    /// Names that could not be resolved last.
    not_found: BTreeSet<String>,
    /// This machine, and what it needs to reach others.
    machine: Machine,
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
            hosts: Vec::new(),
            names: HashMap::new(),
            not_found: BTreeSet::new(),
            machine: Machine::default(),
            protected: Allowlist::default(),
            labels: HashMap::new(),
        };
        protection.index();
        protection
    }
}

impl Protection {
    /// From now on protects what is on this white list, and these hosts, each after what it is called.
    pub fn renew(&mut self, white_list: WhiteList, hosts: Vec<(&'static str, String)>) {
        self.white_list = white_list;
        self.hosts = hosts;
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

    /// All of it, as it was given. The same may come twice.
    pub fn nets(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.all().map(|(net, _)| net.trunc())
    }

    /// All of it as a set.
    pub fn allowlist(&self) -> &Allowlist {
        &self.protected
    }

    /// Whether this machine has an IPv6 address that others reach.
    pub fn knows_own_ipv6(&self) -> bool {
        self.machine.addresses.iter().any(is_global_ipv6)
    }

    /// The addresses of this machine's interfaces.
    pub fn machine(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.machine.addresses.iter().copied()
    }

    /// Whether this is an address of one of this machine's interfaces.
    pub fn is_machine(&self, address: &IpAddr) -> bool {
        self.machine.addresses.contains(address)
    }

    /// Whether the white list or a host's name protects anything in this network, other than this machine itself.
    pub fn protects_others_in(&self, net: &IpNet) -> bool {
        let labelled = self.of_listed_names().chain(self.of_hosts()).map(|(held, _)| held);
        let others = self.listed().copied().chain(labelled).filter(|held| !self.is_machine(&held.addr()));
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
        self.unlisted().map(|(_, label)| label).collect()
    }

    /// Host names to resolve again and again.
    pub fn names(&self) -> Vec<String> {
        let hosts = self.white_list.entries().filter_map(|entry| match entry {
            NetOrHost::Host(name) => Some(name.clone()),
            NetOrHost::Net(_) => None,
        });
        let named = self.hosts.iter().map(|(_, host)| host).filter(|host| host.parse::<IpAddr>().is_err());
        hosts.chain(named.cloned()).collect()
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

    /// Looks at this machine's addresses, gateways and name servers; true if they have changed.
    pub fn follow_machine(&mut self) -> bool {
        let Some(machine) = Machine::look() else { return false };
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
        let labelled = self.of_listed_names().chain(self.unlisted()).map(|(net, label)| (net, Some(label)));
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
    fn unlisted(&self) -> impl Iterator<Item = (IpNet, String)> + '_ {
        let loopback = ["127.0.0.0/8", "::1/128"].into_iter();
        let loopback = loopback.filter_map(|net| Some((net.parse().ok()?, net.to_owned())));
        loopback.chain(self.of_machine()).chain(self.of_hosts())
    }

    fn of_machine(&self) -> impl Iterator<Item = (IpNet, String)> + '_ {
        let Machine { addresses, gateways, name_servers } = &self.machine;
        [(addresses, "this machine"), (gateways, "gateway"), (name_servers, "name server")]
            .into_iter()
            .flat_map(|(addresses, what)| addresses.iter().map(move |address| (*address, what)))
            .filter(|(address, _)| !address.is_loopback())
            .map(|(address, what)| labelled(address, what))
    }

    fn of_hosts(&self) -> impl Iterator<Item = (IpNet, String)> + '_ {
        self.hosts.iter().flat_map(|(what, host)| {
            let address = host.parse::<IpAddr>().ok().filter(|address| !address.is_loopback());
            address.map(|address| labelled(address, what)).into_iter().chain(self.of_name(host, what))
        })
    }

    fn of_listed_names(&self) -> impl Iterator<Item = (IpNet, String)> + '_ {
        self.white_list.entries().flat_map(|entry| match entry {
            NetOrHost::Net(_) => Vec::new(),
            NetOrHost::Host(name) => self.of_name(name, name).collect(),
        })
    }

    fn of_name<'a>(&'a self, name: &str, what: &'a str) -> impl Iterator<Item = (IpNet, String)> + 'a {
        let addresses = self.names.get(name).into_iter().flatten();
        addresses.map(move |address| labelled(*address, what))
    }
}

fn labelled(address: IpAddr, what: &str) -> (IpNet, String) {
    (IpNet::from(address), format!("{address} ({what})"))
}
