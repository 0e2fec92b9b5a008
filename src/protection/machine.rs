//! What this machine needs to reach others: its own addresses, its gateways, its name servers.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};

use crate::file;

/// At most this many bytes are read of each of the system's tables. The default routes stand at the beginning or, in a
/// table of this length, are those of a router that knows what it does.
const MOST: u64 = 1 << 20;

/// A route is in use, and it leads to a gateway; from the kernel's `linux/route.h`.
const UP_AND_GATEWAY: u32 = 0x3;

/// The addresses, each list sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Of its interfaces.
    pub addresses: Vec<IpAddr>,
    /// Of the routers its default routes lead to.
    pub gateways: Vec<IpAddr>,
    /// Of the resolvers in `/etc/resolv.conf`.
    pub name_servers: Vec<IpAddr>,
}

impl Machine {
    /// What it is now; `None` if the system does not say.
    pub fn look() -> Option<Machine> {
        let v4 = read(Path::new("/proc/net/route"));
        let v6 = read(Path::new("/proc/net/ipv6_route"));
        let gateways = v4.lines().filter_map(gateway_v4).map(IpAddr::V4);
        Some(Machine {
            addresses: sorted(getifaddrs().ok()?.filter_map(address)),
            gateways: sorted(gateways.chain(v6.lines().filter_map(gateway_v6).map(IpAddr::V6))),
            name_servers: sorted(read(Path::new("/etc/resolv.conf")).lines().filter_map(name_server)),
        })
    }
}

fn sorted(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = addresses.collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// The text of a file, or as much of it as is read; nothing if it cannot be opened.
fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    // What was read before an error counts.
    let _ = file::open(path).and_then(|file| file.take(MOST).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn address(interface: InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address?;
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

/// The gateway of a line of `/proc/net/route`: interface, destination, gateway, flags, three numbers, mask and more.
/// Addresses are numbers in the byte order of the machine.
fn gateway_v4(line: &str) -> Option<Ipv4Addr> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let hex = |word: &str| u32::from_str_radix(word, 16).ok();
    let [_, destination, gateway, flags, _, _, _, mask, ..] = words[..] else { return None };
    let is_default = hex(destination)? == 0 && hex(mask)? == 0 && hex(flags)? & UP_AND_GATEWAY == UP_AND_GATEWAY;
    is_default.then(|| hex(gateway)).flatten().map(|gateway| Ipv4Addr::from(gateway.to_ne_bytes()))
}

/// The gateway of a line of `/proc/net/ipv6_route`: destination and its prefix, source and its prefix, gateway, three
/// numbers, flags, interface. Addresses are their 32 digits.
fn gateway_v6(line: &str) -> Option<Ipv6Addr> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let hex = |word: &str| u128::from_str_radix(word, 16).ok();
    let [destination, prefix, _, _, gateway, _, _, _, flags, ..] = words[..] else { return None };
    let in_use = u32::from_str_radix(flags, 16).ok()? & UP_AND_GATEWAY == UP_AND_GATEWAY;
    let is_default = hex(destination)? == 0 && hex(prefix)? == 0 && in_use;
    is_default.then(|| hex(gateway)).flatten().map(Ipv6Addr::from_bits)
}

/// The address of a line of `resolv.conf(5)`, without the interface of a link-local one.
fn name_server(line: &str) -> Option<IpAddr> {
    let address = line.strip_prefix("nameserver")?.strip_prefix([' ', '\t'])?.split_ascii_whitespace().next()?;
    address.split('%').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateways_are_those_of_the_default_routes() {
        let number = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let line = |destination, gateway, flags: &str, mask| {
            let [destination, gateway, mask] = [destination, gateway, mask].map(number);
            format!("eth0\t{destination}\t{gateway}\t{flags}\t0\t0\t100\t{mask}\t0\t0\t0  ")
        };
        let (none, router) = ([0; 4], [192, 0, 2, 1]);
        assert_eq!(gateway_v4(&line(none, router, "0003", none)), Some(Ipv4Addr::from(router)));
        assert_eq!(gateway_v4(&line([192, 0, 2, 0], none, "0001", [255, 255, 255, 0])), None);
        assert_eq!(gateway_v4(&line([10, 0, 0, 0], router, "0003", [255, 0, 0, 0])), None);
        assert_eq!(gateway_v4(&line(none, router, "0003", [128, 0, 0, 0])), None);
        assert_eq!(
            gateway_v4("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"),
            None
        );
    }

    #[test]
    fn the_gateways_of_ipv6_may_be_link_local() {
        let none = "0".repeat(32);
        let line = |prefix: &str, gateway: &str, flags: &str| {
            gateway_v6(&format!("{none} {prefix} {none} 00 {gateway} 00000400 00000002 00000000 {flags}     eth0"))
        };
        let router = "fe800000000000000000000000000001";
        assert_eq!(line("00", router, "00450003"), Some("fe80::1".parse().unwrap()));
        assert_eq!(line("40", router, "00450003"), None);
        // As `unreachable default`, which every machine has on lo.
        assert_eq!(line("00", &none, "00200200"), None);
    }

    #[test]
    fn the_name_servers_are_those_of_resolv_conf() {
        let text = "# nameserver 192.0.2.9\nsearch example.com\nnameserver 192.0.2.53\nnameserver\tfe80::1%eth0 # x\n\
                    nameservers 192.0.2.54\nnameserver x\n";
        let found: Vec<IpAddr> = text.lines().filter_map(name_server).collect();
        assert_eq!(found, ["192.0.2.53".parse::<IpAddr>().unwrap(), "fe80::1".parse().unwrap()]);
    }

    #[test]
    fn no_line_upsets_the_readers() {
        for line in ["", " ", "\t\t", "a b c d e f g h i j k", "nameserver ", "nameserver %", "é é é é é é é é é"]
        {
            assert_eq!((gateway_v4(line), gateway_v6(line), name_server(line)), (None, None, None), "{line:?}");
        }
    }
}
