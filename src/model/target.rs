//! What the configuration says of blocks and that every firewall must understand: the target and the chain's name.
//!
//! PURE: no clock, no I/O.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// What becomes of a packet from a blocked address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// It is dropped in silence.
    Drop,
    /// The sender is told by ICMP.
    Reject(Icmp),
}

/// What an ICMP answer says. IPv6 has fewer of them, so each firewall translates to the nearest there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icmp {
    /// Nobody listens on the port.
    PortUnreachable,
    /// No route to the network.
    NetUnreachable,
    /// The host does not answer.
    HostUnreachable,
    /// The protocol is not spoken.
    ProtoUnreachable,
    /// The administrator forbids the network.
    NetProhibited,
    /// The administrator forbids the host.
    HostProhibited,
    /// The administrator forbids it.
    AdminProhibited,
}

impl Icmp {
    /// Every type with the name iptables lists it by, and a short one that iptables takes too. `tcp-reset` is none of
    /// them: it answers TCP only, and SIP is attacked over UDP.
    pub const ALL: [(Icmp, &'static str, &'static str); 7] = [
        (Icmp::PortUnreachable, "icmp-port-unreachable", "port-unreach"),
        (Icmp::NetUnreachable, "icmp-net-unreachable", "net-unreach"),
        (Icmp::HostUnreachable, "icmp-host-unreachable", "host-unreach"),
        (Icmp::ProtoUnreachable, "icmp-proto-unreachable", "proto-unreach"),
        (Icmp::NetProhibited, "icmp-net-prohibited", "net-prohib"),
        (Icmp::HostProhibited, "icmp-host-prohibited", "host-prohib"),
        (Icmp::AdminProhibited, "icmp-admin-prohibited", "admin-prohib"),
    ];

    /// The name that iptables lists it by.
    pub fn name(self) -> &'static str {
        Icmp::ALL.iter().find(|(icmp, _, _)| *icmp == self).map_or("", |(_, long, _)| long)
    }
}

impl FromStr for Target {
    type Err = String;

    /// `DROP`, `REJECT`, or `REJECT --reject-with TYPE` with a type of ICMP. The error says what is expected.
    fn from_str(text: &str) -> Result<Target, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["DROP"] => Ok(Target::Drop),
            ["REJECT"] => Ok(Target::Reject(Icmp::PortUnreachable)),
            ["REJECT", "--reject-with", with] => {
                let known = Icmp::ALL.iter().find(|(_, long, short)| [*long, *short].contains(&with));
                let names = || Icmp::ALL.map(|(_, long, _)| long).join(", ");
                known
                    .map(|(icmp, _, _)| Target::Reject(*icmp))
                    .ok_or_else(|| format!("--reject-with one of {}", names()))
            }
            _ => Err("DROP, REJECT or REJECT --reject-with TYPE".to_owned()),
        }
    }
}

impl fmt::Display for Target {
    /// As the configuration writes it, the type of ICMP never left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Drop => f.write_str("DROP"),
            Target::Reject(icmp) => write!(f, "REJECT --reject-with {}", icmp.name()),
        }
    }
}

/// The name of a chain of our own: at most 20 letters, digits, `-`, `_` and `.`, not starting with `-`, and no word of
/// iptables itself, which would then empty a chain of the kernel's. The names of other chains of ours are this one with an
/// end of at most 8 letters, and iptables takes 28.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainName(String);

impl ChainName {
    const LONGEST: usize = 20;

    /// Names that mean something else to iptables.
    const TAKEN: [&'static str; 16] = [
        "INPUT",
        "OUTPUT",
        "FORWARD",
        "PREROUTING",
        "POSTROUTING",
        "ACCEPT",
        "DROP",
        "QUEUE",
        "RETURN",
        "REJECT",
        "LOG",
        "NFLOG",
        "NFQUEUE",
        "MARK",
        "SET",
        "TEE",
    ];

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of another chain: this one with an end of its own.
    pub fn with(&self, end: &str) -> ChainName {
        ChainName(format!("{self}{end}"))
    }
}

impl FromStr for ChainName {
    type Err = String;

    /// The error says what is expected.
    fn from_str(text: &str) -> Result<ChainName, String> {
        if ChainName::TAKEN.contains(&text) {
            return Err("a name that is not one of iptables' own, such as sipban-udp".to_owned());
        }
        name(text, ChainName::LONGEST).map(ChainName)
    }
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What of the kernel's packet filter holds the blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A chain of iptables.
    Chain(ChainName),
    /// A table of nftables, of the family inet.
    Table(String),
}

impl Holder {
    /// The program that shows it.
    pub fn program(&self) -> &'static str {
        match self {
            Holder::Chain(_) => "iptables",
            Holder::Table(_) => "nft",
        }
    }

    /// What begins a line of the log about it.
    pub fn heading(&self) -> &'static str {
        match self {
            Holder::Chain(_) => "CHAIN",
            Holder::Table(_) => "TABLE",
        }
    }

    /// Its name, as the program wants it.
    pub fn name(&self) -> String {
        match self {
            Holder::Chain(name) => name.to_string(),
            Holder::Table(name) => format!("inet {name}"),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Chain(name) => write!(f, "chain {name}"),
            Holder::Table(name) => write!(f, "table inet {name}"),
        }
    }
}

impl Serialize for Holder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The name of something of ours in the kernel's packet filter, of at most `most` bytes.
///
/// # Errors
/// Says what is expected.
pub fn name(text: &str, most: usize) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if (1..=most).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('-') {
        Ok(text.to_owned())
    } else {
        Err(format!("a name of at most {most} letters, digits, - _ or ., not starting with -"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_drop_or_reject_and_nothing_else() {
        assert_eq!("DROP".parse(), Ok(Target::Drop));
        for text in ["REJECT", "REJECT --reject-with icmp-port-unreachable", "REJECT  --reject-with port-unreach"] {
            assert_eq!(text.parse(), Ok(Target::Reject(Icmp::PortUnreachable)), "{text}");
        }
        for text in [
            "",
            "ACCEPT",
            "LOG",
            "drop",
            "DROP; reboot",
            "DROP -m x",
            "DROP --now",
            "REJECT --reject-with",
            "REJECT --reject-with tcp-reset",
            "REJECT --reject-with $(reboot)",
            "REJECT --reject-with icmp6-port-unreachable",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
        let error = "REJECT --reject-with nonsense".parse::<Target>().unwrap_err();
        assert!(error.starts_with("--reject-with one of icmp-port-unreachable, "), "{error}");
    }

    #[test]
    fn every_target_reads_back() {
        for target in Icmp::ALL.map(|(icmp, _, _)| Target::Reject(icmp)).into_iter().chain([Target::Drop]) {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
    }

    #[test]
    fn a_chain_name_that_would_hurt_others_or_break_a_line_is_refused() {
        for name in ["sipban-udp", "sipban", "1", "a.b_c-d", &"x".repeat(20)] {
            assert_eq!(name.parse::<ChainName>().unwrap().as_str(), name);
        }
        for name in ["", "INPUT", "DROP", "RETURN", "-x", "!x", "a b", "a;b", "a\nb", "a\"b", "ä", &"x".repeat(21)] {
            assert!(name.parse::<ChainName>().is_err(), "{name}");
        }
    }
}
