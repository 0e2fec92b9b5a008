//! PURE: what our table should be, in the words of `nft`.

use std::fmt::{self, Write};

use nix::libc;

use super::sets::{List, Set};
use super::strangers;
use crate::config::ShieldConfig;
use crate::firewall::body::{Body, Origin, Rule};
use crate::firewall::scope::matched::{Matched, matched};
use crate::firewall::{Error, Traffic};
use crate::model::target::{Icmp, Target};

/// The chain that the kernel leads packets through.
pub(super) const HOOKED: &str = "prerouting";

/// The counter of packets that the rules of the blocks drop.
pub(super) const DROPPED: &str = "dropped";

/// The chain that holds the rules.
pub(super) const RULES: &str = "blocks";

/// The set of the ports that are led through it.
pub(super) const PORTS: &str = "ports";

/// Before the table `raw` and the tracking of connections: packets of a connection that stands are dropped too, and an
/// attacker costs no entry there.
const PRIORITY: i32 = -310;

/// A range of at most 16 ports is an element for each, so that a newly attacked port is one more; a wider one has a rule
/// of its own.
const MAX_LISTED: u16 = 16;

/// What the kernel may be too old for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Features {
    /// Elements that count packets (Linux 5.7).
    pub counters: bool,
    /// Rules that look up whether a packet is for this machine (Linux 4.10).
    pub local: bool,
}

impl Features {
    /// The best first.
    pub(super) const TRIED: [Features; 4] = [
        Features { counters: true, local: true },
        Features { counters: false, local: true },
        Features { counters: true, local: false },
        Features { counters: false, local: false },
    ];
}

/// What our table should be.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub table: String,
    pub target: Target,
    pub interface: Option<String>,
    pub traffic: Ports,
    /// `None` if there is none.
    pub shield: Option<ShieldConfig>,
    pub features: Features,
}

/// Traffic as a table can tell it apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ports {
    All,
    /// UDP and TCP destination ports, as inclusive ranges.
    Some {
        udp: Vec<(u16, u16)>,
        tcp: Vec<(u16, u16)>,
    },
}

impl Ports {
    /// # Errors
    /// If a match in iptables' words says more than protocol and ports.
    pub(super) fn of(traffic: &Traffic) -> Result<Ports, Error> {
        match traffic {
            Traffic::All => Ok(Ports::All),
            Traffic::Ports { udp, tcp } => Ok(Ports::Some { udp: udp.clone(), tcp: tcp.clone() }),
            Traffic::Match(words) => match matched(words) {
                Some(Matched { udp, tcp, exact: true }) => Ok(Ports::Some { udp, tcp }),
                _ => Err(Error(format!(
                    "iptables.scope: the backend nft cannot tell traffic apart by `{}`; name protocol and ports only, as \
                     in -p udp --dport 5060, or set it to auto",
                    words.join(" ")
                ))),
            },
        }
    }

    fn each(&self) -> impl Iterator<Item = (&'static str, (u16, u16))> {
        let (udp, tcp): (&[_], &[_]) = match self {
            Ports::All => (&[], &[]),
            Ports::Some { udp, tcp } => (udp, tcp),
        };
        udp.iter().map(|range| ("udp", *range)).chain(tcp.iter().map(|range| ("tcp", *range)))
    }

    /// Ports that are elements of the set.
    fn listed(&self) -> Vec<Port> {
        let narrow = self.each().filter(|(_, (first, last))| last - first < MAX_LISTED);
        narrow.flat_map(|(protocol, (first, last))| (first..=last).map(move |port| Port(protocol, port))).collect()
    }

    /// Matches that lead all of it to the rules, in the words of nft.
    fn matches(&self) -> Vec<String> {
        if *self == Ports::All {
            return vec![String::new()];
        }
        let wide = self.each().filter(|(_, (first, last))| last - first >= MAX_LISTED);
        let wide = wide.map(|(protocol, (first, last))| match (first, last) {
            (0, u16::MAX) => format!("meta l4proto {protocol} "),
            _ => format!("{protocol} dport {first}-{last} "),
        });
        [format!("meta l4proto . th dport @{PORTS} ")].into_iter().chain(wide).collect()
    }
}

/// A port that is an element of the set: `udp` or `tcp`, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Port(&'static str, u16);

impl Port {
    /// Its key: the protocol's number and the port's, each padded to four bytes.
    pub(super) fn key(self) -> [u8; 8] {
        let protocol = if self.0 == "udp" { libc::IPPROTO_UDP } else { libc::IPPROTO_TCP };
        let [high, low] = self.1.to_be_bytes();
        [protocol as u8, 0, 0, 0, high, low, 0, 0]
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} . {}", self.0, self.1)
    }
}

impl Plan {
    /// The table with empty sets, or with whatever they hold already; its rules are replaced, in one transaction. To be
    /// cut short anywhere leaves the rules in force or does nothing, because `nft` reads it in one piece.
    pub(super) fn structure(&self) -> String {
        let table = &self.table;
        let mut text = format!("add table inet {table}\n");
        for set in Set::ALL {
            text += &self.new_set(set);
        }
        if self.features.counters {
            let _ = writeln!(text, "add counter inet {table} {DROPPED}");
        }
        let _ = writeln!(text, "add chain inet {table} {RULES}\nflush chain inet {table} {RULES}");
        if let Some(shield) = self.shield {
            text += &strangers::structure(table, shield, self.traffic == Ports::All, self.features);
        }
        for rule in self.body().rules() {
            let _ = writeln!(text, "add rule inet {table} {RULES} {}", self.rule(rule));
        }
        text + &self.entrance()
    }

    /// Has the kernel lead the traffic to our rules.
    pub(super) fn entrance(&self) -> String {
        let table = &self.table;
        let hook = format!("type filter hook prerouting priority {PRIORITY}; policy accept;");
        let mut text = format!(
            "add set inet {table} {PORTS} {{ type inet_proto . inet_service; }}\n\
             add chain inet {table} {HOOKED} {{ {hook} }}\n\
             flush chain inet {table} {HOOKED}\nflush set inet {table} {PORTS}\n"
        );
        let ports: Vec<String> = self.traffic.listed().iter().map(Port::to_string).collect();
        if !ports.is_empty() {
            let _ = writeln!(text, "add element inet {table} {PORTS} {{ {} }}", ports.join(", "));
        }
        let interface = match &self.interface {
            Some(name) => {
                format!("iifname \"{}\" ", name.strip_suffix('+').map_or(name.clone(), |all| format!("{all}*")))
            }
            None => String::new(),
        };
        for traffic in self.traffic.matches() {
            let _ = writeln!(text, "add rule inet {table} {HOOKED} {interface}{traffic}jump {RULES}");
        }
        text
    }

    /// Tries whether the kernel takes an element, and leaves none. No packet comes from this address.
    pub(super) fn probe(&self) -> String {
        let element = "{ 0.0.0.0 timeout 1s }";
        let set = format!("element inet {} {}", self.table, Set::Hosts4.name());
        format!("add {set} {element}\ndelete {set} {element}\n")
    }

    /// The same, begun anew: for a table that another program has changed beyond repair. The first two lines come in one
    /// piece with the beginning of the third, so that to be cut short leaves nothing undone.
    pub(super) fn anew(&self) -> String {
        format!("add table inet {0}\ndelete table inet {0}\n{1}", self.table, self.structure())
    }

    /// The elements to be added where only more ports are led through the rules; `None` if more than that differs.
    pub(super) fn more_ports(&self, traffic: &Ports) -> Option<Vec<Port>> {
        let (old, new) = (self.traffic.listed(), traffic.listed());
        let grown = self.traffic.matches() == traffic.matches() && old.iter().all(|port| new.contains(port));
        grown.then(|| new.into_iter().filter(|port| !old.contains(port)).collect())
    }

    /// The rules: a look-up in each set.
    fn body(&self) -> Body {
        let blocks = Set::ALL.map(|set| Origin::Set(set.name().to_owned())).into();
        Body { blocks, shield: self.shield.is_some() }
    }

    fn new_set(&self, set: Set) -> String {
        let kind = if set.is_v4() { "ipv4_addr" } else { "ipv6_addr" };
        let kind = match (set.has_ranges(), self.features.counters) {
            (true, _) => format!("type {kind}; flags interval;"),
            (false, true) => format!("type {kind}; flags timeout; counter;"),
            (false, false) => format!("type {kind}; flags timeout;"),
        };
        format!("add set inet {} {} {{ {kind} }}\n", self.table, set.name())
    }

    fn rule(&self, rule: Rule<'_>) -> String {
        let origin = match rule {
            Rule::Block(origin) => origin,
            Rule::Shield => return format!("jump {}", strangers::SHIELD),
            Rule::Return => return "return".to_owned(),
        };
        let set = Set::ALL.into_iter().find(|set| Origin::Set(set.name().to_owned()) == *origin);
        set.map_or_else(String::new, |set| self.block(set, &List::Blocks.name(set)))
    }

    /// The rule that blocks whoever is in a set of this kind and name.
    pub(super) fn block(&self, set: Set, name: &str) -> String {
        let local = if self.features.local { " fib daddr type local" } else { "" };
        let counter = if self.features.counters { format!(" counter name \"{DROPPED}\"") } else { String::new() };
        format!("{}{local}{counter} {}", set.lookup_in(name), self.verdict(set.is_v4()))
    }

    fn verdict(&self, v4: bool) -> String {
        let Target::Reject(icmp) = self.target else { return "drop".to_owned() };
        match (v4, icmp) {
            (true, Icmp::PortUnreachable) => "reject with icmp type port-unreachable",
            (true, Icmp::NetUnreachable) => "reject with icmp type net-unreachable",
            (true, Icmp::HostUnreachable) => "reject with icmp type host-unreachable",
            (true, Icmp::ProtoUnreachable) => "reject with icmp type prot-unreachable",
            (true, Icmp::NetProhibited) => "reject with icmp type net-prohibited",
            (true, Icmp::HostProhibited) => "reject with icmp type host-prohibited",
            (true, Icmp::AdminProhibited) => "reject with icmp type admin-prohibited",
            (false, Icmp::PortUnreachable | Icmp::ProtoUnreachable) => "reject with icmpv6 type port-unreachable",
            (false, Icmp::NetUnreachable) => "reject with icmpv6 type no-route",
            (false, Icmp::HostUnreachable) => "reject with icmpv6 type addr-unreachable",
            (false, _) => "reject with icmpv6 type admin-prohibited",
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(traffic: Ports) -> Plan {
        let features = Features::TRIED[0];
        let (table, interface) = ("sipban".to_owned(), Some("eth+".to_owned()));
        Plan { table, target: Target::Drop, interface, traffic, shield: None, features }
    }

    fn ports(udp: &[(u16, u16)]) -> Ports {
        Ports::Some { udp: udp.to_vec(), tcp: vec![(5060, 5061)] }
    }

    #[test]
    fn narrow_ranges_are_elements_and_wide_ones_rules() {
        let text = plan(ports(&[(5060, 5060), (10_000, 20_000)])).structure();
        assert!(text.contains("add element inet sipban ports { udp . 5060, tcp . 5060, tcp . 5061 }\n"), "{text}");
        let head = "add rule inet sipban prerouting iifname \"eth*\" ";
        assert!(text.contains(&format!("{head}meta l4proto . th dport @ports jump blocks\n")), "{text}");
        assert!(text.ends_with(&format!("{head}udp dport 10000-20000 jump blocks\n")), "{text}");
        assert!(plan(Ports::All).structure().ends_with(&format!("{head}jump blocks\n")));
    }

    #[test]
    fn one_more_port_is_one_more_element() {
        let plan = plan(ports(&[(5060, 5061)]));
        let more = plan.more_ports(&ports(&[(5060, 5061), (5080, 5080)]));
        assert_eq!(more, Some(vec![Port("udp", 5080)]));
        assert_eq!(Port("udp", 5080).key(), [17, 0, 0, 0, 0x13, 0xd8, 0, 0]);
        assert_eq!(Port("tcp", 1).key(), [6, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(plan.more_ports(&ports(&[(5060, 5060)])), None);
        assert_eq!(plan.more_ports(&ports(&[(1, 6000)])), None);
        assert_eq!(plan.more_ports(&Ports::All), None);
    }

    #[test]
    fn a_structure_is_written_to_a_program_in_one_piece() {
        let many = Ports::Some { udp: (0..16).map(|n| (5080 + n, 5080 + n)).collect(), tcp: vec![(5060, 5061)] };
        assert!(plan(many).anew().len() < 4096);
    }
}
