//! Which local ports are led through the chain when `iptables.scope` is `auto`: those of SIP, and every one an attack
//! was seen on.
//!
//! PURE: no clock, no I/O.

use std::fmt;
use std::ops::RangeInclusive;

use crate::ami::security::{Endpoint, Transport};
use crate::config::ScopeConfig;
use crate::event::Port;
use crate::firewall::Scope;

/// SIP, and SIP over TLS.
pub const SIP: RangeInclusive<u16> = 5060..=5061;

/// Most ports learned. Asterisk listens on a handful; every one costs a comparison for each packet.
const MAX_LEARNED: usize = 16;

/// The traffic that is led through the chain, and that which should be.
#[derive(Debug)]
pub struct Covered {
    config: ScopeConfig,
    learned: Vec<Port>,
    /// How many of the learned ports the firewall knows of, and how many the journal.
    enforced: usize,
    written: usize,
}

impl Covered {
    /// What the configuration says, and the ports an earlier process learned.
    pub fn new(config: ScopeConfig, learned: impl IntoIterator<Item = Port>) -> Covered {
        let mut covered = Covered { config, learned: Vec::new(), enforced: 0, written: 0 };
        learned.into_iter().for_each(|port| covered.add(port));
        covered.enforced = covered.learned.len();
        covered.written = covered.learned.len();
        covered
    }

    /// An attack came in here. Only Asterisk writes this address into an event.
    pub fn learn(&mut self, local: Endpoint) {
        match local.transport {
            Transport::Udp => self.add(Port::Udp(local.port)),
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => self.add(Port::Tcp(local.port)),
            Transport::Unknown => {}
        }
    }

    /// The scope, if it has grown since last asked.
    pub fn newly_covered(&mut self) -> Option<Scope> {
        let grown = self.enforced < self.learned.len() && self.config == ScopeConfig::Auto;
        self.enforced = self.learned.len();
        grown.then(|| self.scope())
    }

    /// Learned ports that are not in the journal yet.
    pub fn take_new(&mut self) -> impl Iterator<Item = Port> + '_ {
        let written = std::mem::replace(&mut self.written, self.learned.len());
        self.learned[written..].iter().copied()
    }

    /// Ports learned from attacks.
    pub fn learned(&self) -> impl Iterator<Item = Port> + '_ {
        self.learned.iter().copied()
    }

    /// The scope as it should be now.
    pub fn scope(&self) -> Scope {
        match &self.config {
            ScopeConfig::All => Scope::All,
            ScopeConfig::Match(words) => Scope::Match(words.clone()),
            ScopeConfig::Auto => {
                let udp = ranges(self.learned().filter_map(|port| match port {
                    Port::Udp(port) => Some(port),
                    Port::Tcp(_) => None,
                }));
                let tcp = ranges(self.learned().filter_map(|port| match port {
                    Port::Tcp(port) => Some(port),
                    Port::Udp(_) => None,
                }));
                Scope::Ports { udp, tcp }
            }
        }
    }

    /// Another configuration holds from now on.
    pub fn reconfigure(&mut self, config: ScopeConfig) {
        self.config = config;
        self.enforced = self.learned.len();
    }

    fn add(&mut self, port: Port) {
        let (Port::Udp(number) | Port::Tcp(number)) = port;
        let known = SIP.contains(&number) || number == 0 || self.learned.contains(&port);
        if !known && self.learned.len() < MAX_LEARNED {
            self.learned.push(port);
        }
    }
}

impl fmt::Display for Covered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |ranges: &[(u16, u16)]| {
            let show = |(from, to): &(u16, u16)| if from == to { from.to_string() } else { format!("{from}-{to}") };
            ranges.iter().map(show).collect::<Vec<_>>().join(", ")
        };
        match self.scope() {
            Scope::All => f.write_str("all traffic"),
            Scope::Match(words) => f.write_str(&words.join(" ")),
            Scope::Ports { udp, tcp } => write!(f, "UDP {}; TCP {}", list(&udp), list(&tcp)),
        }
    }
}

/// The ports of SIP and these, sorted. A learned port beside them stays a range of its own: to add a rule is quicker
/// than to replace one.
fn ranges(ports: impl Iterator<Item = u16>) -> Vec<(u16, u16)> {
    let mut ranges: Vec<(u16, u16)> = ports.map(|port| (port, port)).chain([(*SIP.start(), *SIP.end())]).collect();
    ranges.sort_unstable();
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attacked_ports_join_those_of_sip() {
        let mut covered = Covered::new(ScopeConfig::Auto, []);
        assert_eq!(covered.to_string(), "UDP 5060-5061; TCP 5060-5061");
        let endpoint = |transport, port| Endpoint { address: "192.0.2.1".parse().unwrap(), transport, port };
        covered.learn(endpoint(Transport::Udp, 5062));
        covered.learn(endpoint(Transport::Wss, 8089));
        covered.learn(endpoint(Transport::Udp, 5060));
        assert!(covered.newly_covered().is_some());
        assert!(covered.newly_covered().is_none());
        assert_eq!(covered.to_string(), "UDP 5060-5061, 5062; TCP 5060-5061, 8089");
    }

    #[test]
    fn the_number_of_ports_is_bounded() {
        let covered = Covered::new(ScopeConfig::Auto, (1000..2000).step_by(2).map(Port::Udp));
        assert_eq!(covered.learned().count(), MAX_LEARNED);
    }
}
