//! The interface, the white list, the console's port.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process;

use ipnet::{IpNet, Ipv4Net};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nameindex;

use super::listeners::Protocol;
use super::service::{self, Use};
use super::{Finding, Machine};
use crate::model::net::Plain;
use crate::protection::Protection;
use crate::protection::resolver;
use crate::protection::whitelist::WhiteList;

const INTERFACE: &str = "interface";
const WHITE_LIST: &str = "white list";
const CONSOLE: &str = "console";

/// Whether attackers come in by the interface that the rules are restricted to.
pub(super) fn interface(machine: &Machine) -> Vec<Finding> {
    let Some(wanted) = &machine.config.firewall.interface else { return Vec::new() };
    let is_it = |name: &str| match wanted.strip_suffix('+') {
        Some(start) => name.starts_with(start),
        None => name == wanted,
    };
    let names: Vec<String> = if_nameindex().map_or_else(
        |_| Vec::new(),
        |links| links.iter().map(|link| link.name().to_string_lossy().into_owned()).collect(),
    );
    if !names.iter().any(|name| is_it(name)) {
        let text = format!("there is no {wanted}, so nobody is blocked; there are {}", names.join(", "));
        return vec![Finding::fail(INTERFACE, text, "set iptables.interface to one of them, or to any")];
    }
    vec![match default_interface() {
        Some(name) if !is_it(&name) => Finding::warn(
            INTERFACE,
            format!("only what comes in by {wanted} is blocked, and the default route goes by {name}"),
            "set iptables.interface to any, if attackers come in by both",
        ),
        _ => Finding::ok(INTERFACE, wanted.clone()),
    }]
}

/// Whether the white list is read whole, and holds the administrator.
pub(super) fn white_list(machine: &Machine) -> Vec<Finding> {
    let path = &machine.config.white_list;
    let file = path.display();
    let (list, errors) = match WhiteList::load(path) {
        Ok(loaded) => loaded,
        Err(error) => return vec![Finding::fail(WHITE_LIST, error.to_string(), "make it a file that can be read")],
    };
    if let (true, Err(why)) = (path.exists(), machine.service.may(path, Use::Read)) {
        return vec![Finding::fail(WHITE_LIST, format!("the daemon cannot start: {why}"), service::ADVICE)];
    }
    let mut findings: Vec<Finding> = errors
        .iter()
        .map(|error| match error.line {
            Some(_) => Finding::warn(WHITE_LIST, error.to_string(), "mend that line, which protects nobody"),
            None => Finding::warn(WHITE_LIST, error.to_string(), "make it, with the addresses that you work from"),
        })
        .collect();
    let entries = list.entries().count();
    let mut protection = Protection::default();
    protection.renew(list, machine.config.needed_hosts());
    protection.follow_machine();
    let resolved: Vec<_> = protection.names().into_iter().map(|name| (resolver::addresses(&name), name)).collect();
    for (_, name) in resolved.iter().filter(|(addresses, _)| addresses.is_empty()) {
        let text = format!("{name} stands for no address now, so it protects nobody");
        findings.push(Finding::warn(WHITE_LIST, text, "see that it is spelt right and that names are resolved here"));
    }
    let _ = protection.resolved(resolved.into_iter().map(|(addresses, name)| (name, addresses)).collect());

    let protected = protection.allowlist();
    let add = |what: IpNet| format!("if you trust it: echo {} >>{file}", Plain(what));
    let home = match ssh_peer() {
        Some(peer) if protected.contains(peer) => format!(", and {peer}, from where you are logged in, is protected"),
        Some(peer) => {
            let text = format!("you are logged in from {peer}, which is not protected");
            findings.push(Finding::warn(WHITE_LIST, text, add(peer.into())));
            String::new()
        }
        None => match default_network().filter(|net| net.addr().is_private()).map(IpNet::V4) {
            Some(net) if !protection.protects_others_in(&net) => {
                let text = format!("nothing of this machine's network {net} is protected");
                findings.push(Finding::warn(WHITE_LIST, text, add(net)));
                String::new()
            }
            Some(net) => format!(", protects at least a part of this machine's network {net}"),
            None => String::new(),
        },
    };
    if findings.is_empty() {
        let count = if entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") };
        findings.push(Finding::ok(WHITE_LIST, format!("{file}: {count}{home}")));
    }
    findings
}

/// Whether the console has its port, or could have it.
pub(super) fn console(machine: &Machine) -> Vec<Finding> {
    let control = &machine.config.control;
    let (address, port) = (control.address, control.port);
    let ours = address.is_loopback() || address.is_unspecified() || machine.protection.is_machine(&address);
    if !ours {
        let text = format!("{address} is not an address of this machine");
        return vec![Finding::fail(CONSOLE, text, "set control.address to one that is")];
    }
    let takes = |other: IpAddr| other == address || other.is_unspecified() || address.is_unspecified();
    let holder = machine.listeners.iter().find(|listener| {
        listener.protocol == Protocol::Tcp && listener.address.port() == port && takes(listener.address.ip())
    });
    vec![match holder {
        None => Finding::ok(CONSOLE, format!("{address} port {port} is free; the daemon does not run")),
        Some(holder) if holder.is_of("sipban") => {
            Finding::ok(CONSOLE, format!("{} is held by the running daemon", holder.address))
        }
        Some(holder) => {
            let program = match &holder.programs[..] {
                [] => "a program of another user".to_owned(),
                names => names.join(" and "),
            };
            let text = format!("{} is held by {program}, so the daemon cannot start", holder.address);
            Finding::fail(CONSOLE, text, "stop that program, or set control.port")
        }
    }]
}

/// The address from which whoever runs this is logged in by ssh. sudo takes it out of the environment, but sshd gave it
/// to a process above us, and root may read the environment that a process was started with.
fn ssh_peer() -> Option<IpAddr> {
    let mut process = process::id();
    while process > 1 {
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        let found = environment.split(|byte| *byte == 0).find_map(|variable| {
            let text = std::str::from_utf8(variable).ok()?;
            let value = text.strip_prefix("SSH_CONNECTION=").or_else(|| text.strip_prefix("SSH_CLIENT="))?;
            // A link-local address has a zone behind it.
            let address = value.split(' ').next()?.split('%').next()?;
            address.parse::<IpAddr>().ok()
        });
        if let Some(peer) = found {
            return Some(peer.to_canonical());
        }
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        process = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())?;
    }
    None
}

/// The interface of the default route of IPv4.
fn default_interface() -> Option<String> {
    let routes = fs::read_to_string("/proc/self/net/route").ok()?;
    routes.lines().skip(1).find_map(|route| {
        let mut words = route.split_ascii_whitespace();
        let (name, destination, mask) = (words.next()?, words.next()?, words.nth(5)?);
        (destination == "00000000" && mask == "00000000").then(|| name.to_owned())
    })
}

/// The network of that interface.
fn default_network() -> Option<Ipv4Net> {
    let name = default_interface()?;
    getifaddrs().ok()?.filter(|interface| interface.interface_name == name).find_map(|interface| {
        let address = interface.address?.as_sockaddr_in()?.ip();
        let mask: Ipv4Addr = interface.netmask?.as_sockaddr_in()?.ip();
        Ipv4Net::with_netmask(address, mask).ok().map(|net| net.trunc())
    })
}
