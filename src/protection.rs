//! Who is never blocked: the white list, loopback, this machine's addresses, the AMI host.

pub mod resolver;
pub mod whitelist;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;

use crate::model::allowlist::Allowlist;
use crate::model::net::{NetOrHost, is_global_ipv6};
use crate::protection::whitelist::WhiteList;

/// Protected addresses and where each comes from.
#[derive(Debug, Default)]
pub struct Protection {
    /// The white list and its file.
    pub white_list: WhiteList,
    /// Host of the manager interface.
    ami_host: String,
    /// Addresses behind host names, as last resolved.
    names: HashMap<String, Vec<IpAddr>>,
    /// Names that could not be resolved last.
    not_found: BTreeSet<String>,
    /// Addresses of this machine's interfaces.
    machine: Vec<IpAddr>,
}

impl Protection {
    /// From now on protects what is on this white list, and this AMI host.
    pub fn renew(&mut self, white_list: WhiteList, ami_host: &str) {
        self.white_list = white_list;
        self.ami_host = ami_host.to_owned();
    }

    /// All of it as a set.
    pub fn allowlist(&self) -> Allowlist {
        self.labelled().map(|(net, _)| net).collect()
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
        let others = self.labelled().map(|(held, _)| held).filter(|held| !self.is_machine(&held.addr()));
        others.collect::<Allowlist>().meets(net)
    }

    /// The entry that meets this network, in words.
    pub fn label(&self, net: &IpNet) -> Option<String> {
        self.labelled().find(|(held, _)| held.contains(net) || net.contains(held)).map(|(_, label)| label)
    }

    /// What is protected without being on the white list, in words.
    pub fn own(&self) -> Vec<String> {
        let listed = self.white_list.entries().count();
        self.labelled().map(|(_, label)| label).skip(listed).collect()
    }

    /// Host names to resolve again and again.
    pub fn names(&self) -> Vec<String> {
        let listed = self.white_list.entries().filter_map(|entry| match entry {
            NetOrHost::Host(name) => Some(name.clone()),
            NetOrHost::Net(_) => None,
        });
        let ami = self.ami_host.parse::<IpAddr>().is_err().then(|| self.ami_host.clone());
        listed.chain(ami).collect()
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
        self.machine = machine;
        changed
    }

    /// The white list's entries first, in their order, each at least once.
    fn labelled(&self) -> impl Iterator<Item = (IpNet, String)> + '_ {
        let listed = self.white_list.entries().flat_map(|entry| match entry {
            NetOrHost::Net(net) => vec![(*net, entry.to_string())],
            NetOrHost::Host(name) => self.of_name(name, name),
        });
        let loopback =
            ["127.0.0.0/8", "::1/128"].into_iter().filter_map(|net| Some((net.parse().ok()?, net.to_owned())));
        let machine = self.machine.iter().filter(|address| !address.is_loopback());
        let machine = machine.map(|address| (IpNet::from(*address), format!("{address} (this machine)")));
        let ami = match self.ami_host.parse::<IpAddr>() {
            Ok(address) if address.is_loopback() => Vec::new(),
            Ok(address) => vec![(IpNet::from(address), format!("{address} (AMI host)"))],
            Err(_) => self.of_name(&self.ami_host, "AMI host"),
        };
        listed.chain(loopback).chain(machine).chain(ami)
    }

    fn of_name(&self, name: &str, label: &str) -> Vec<(IpNet, String)> {
        let addresses = self.names.get(name).into_iter().flatten();
        addresses.map(|address| (IpNet::from(*address), format!("{address} ({label})"))).collect()
    }
}
