//! Which local ports are led through the chain when `iptables.scope` is `auto`: those of SIP, and every one an attack
//! was seen on.
//!
//! PURE: no clock, no I/O.

pub mod matched;

use std::fmt;
use std::ops::RangeInclusive;

use self::matched::matched;
use crate::config::ScopeConfig;
use crate::firewall::Traffic;
use crate::model::block::Port;
use crate::model::security::{Endpoint, Transport};

/// SIP, and SIP over TLS.
pub const SIP: RangeInclusive<u16> = 5060..=5061;

/// At most 16 ports are learned. Asterisk listens on a handful; every one costs a comparison for each packet.
const MAX_LEARNED: usize = 16;

/// `iptables.scope`: the traffic that is led through the chain, and that which should be.
#[derive(Debug)]
pub struct Scope {
    config: ScopeConfig,
    learned: Vec<Port>,
    /// How many of the learned ports the firewall was told of, and how many the journal.
    asked: usize,
    written: usize,
    /// Whether the firewall refused them.
    refused: bool,
}

impl Scope {
    /// What the configuration says, and the ports an earlier process learned.
    pub fn new(config: ScopeConfig, learned: impl IntoIterator<Item = Port>) -> Scope {
        let mut scope = Scope { config, learned: Vec::new(), asked: 0, written: 0, refused: false };
        learned.into_iter().for_each(|port| scope.add(port));
        scope.asked = scope.learned.len();
        scope.written = scope.learned.len();
        scope
    }

    /// An attack came in here. Only Asterisk writes this address into an event.
    pub fn learn(&mut self, local: Endpoint) {
        port_of(local).into_iter().for_each(|port| self.add(port));
    }

    /// Whether an attack that came in here would make the scope grow.
    pub fn would_grow(&self, local: Endpoint) -> bool {
        self.config == ScopeConfig::Auto && port_of(local).is_some_and(|port| self.is_new(port))
    }

    /// The traffic, if there is more of it since last asked.
    pub fn newly_covered(&mut self) -> Option<Traffic> {
        let grown = self.asked < self.learned.len() && self.config == ScopeConfig::Auto;
        self.asked = self.learned.len();
        grown.then(|| self.traffic())
    }

    /// The firewall did not take what was asked for last.
    pub fn refused(&mut self) {
        self.refused = true;
    }

    /// What the firewall refused is to be asked for again.
    pub fn ask_again(&mut self) {
        if std::mem::take(&mut self.refused) {
            self.asked = 0;
        }
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

    /// What is to be led through the chain now.
    pub fn traffic(&self) -> Traffic {
        match &self.config {
            ScopeConfig::All => Traffic::All,
            ScopeConfig::Match(words) => Traffic::Match(words.clone()),
            ScopeConfig::Auto => {
                let udp = ranges(self.learned().filter_map(|port| match port {
                    Port::Udp(port) => Some(port),
                    Port::Tcp(_) => None,
                }));
                let tcp = ranges(self.learned().filter_map(|port| match port {
                    Port::Tcp(port) => Some(port),
                    Port::Udp(_) => None,
                }));
                Traffic::Ports { udp, tcp }
            }
        }
    }

    /// Whether connections to this local port go through the shield.
    pub fn guards_tcp(&self, port: u16) -> bool {
        let within = |ranges: &[(u16, u16)]| ranges.iter().any(|(first, last)| (*first..=*last).contains(&port));
        match self.traffic() {
            Traffic::All => SIP.contains(&port),
            Traffic::Match(words) => matched(&words).is_some_and(|matched| within(&matched.tcp)),
            Traffic::Ports { tcp, .. } => within(&tcp),
        }
    }

    /// Another configuration holds from now on.
    pub fn reconfigure(&mut self, config: ScopeConfig) {
        self.config = config;
        self.asked = self.learned.len();
    }

    fn add(&mut self, port: Port) {
        if self.is_new(port) {
            self.learned.push(port);
        }
    }

    fn is_new(&self, port: Port) -> bool {
        let (Port::Udp(number) | Port::Tcp(number)) = port;
        let known = SIP.contains(&number) || number == 0 || self.learned.contains(&port);
        !known && self.learned.len() < MAX_LEARNED
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |ranges: &[(u16, u16)]| {
            let show = |(from, to): &(u16, u16)| if from == to { from.to_string() } else { format!("{from}-{to}") };
            ranges.iter().map(show).collect::<Vec<_>>().join(", ")
        };
        match self.traffic() {
            Traffic::All => f.write_str("all traffic"),
            Traffic::Match(words) => f.write_str(&words.join(" ")),
            Traffic::Ports { udp, tcp } => write!(f, "UDP {}; TCP {}", list(&udp), list(&tcp)),
        }
    }
}

fn port_of(local: Endpoint) -> Option<Port> {
    match local.transport {
        Transport::Udp => Some(Port::Udp(local.port)),
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => Some(Port::Tcp(local.port)),
        Transport::Unknown => None,
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
        let mut scope = Scope::new(ScopeConfig::Auto, []);
        assert_eq!(scope.to_string(), "UDP 5060-5061; TCP 5060-5061");
        let endpoint = |transport, port| Endpoint { address: "192.0.2.1".parse().unwrap(), transport, port };
        scope.learn(endpoint(Transport::Udp, 5062));
        scope.learn(endpoint(Transport::Wss, 8089));
        scope.learn(endpoint(Transport::Udp, 5060));
        assert!(scope.newly_covered().is_some());
        assert!(scope.newly_covered().is_none());
        assert_eq!(scope.to_string(), "UDP 5060-5061, 5062; TCP 5060-5061, 8089");
    }

    #[test]
    fn of_tcp_those_ports_are_guarded_that_are_led_through_it() {
        let guarded = |config| {
            let scope = Scope::new(config, [Port::Tcp(8089), Port::Udp(5070)]);
            [22, 5060, 5070, 8089].map(|port| scope.guards_tcp(port))
        };
        assert_eq!(guarded(ScopeConfig::Auto), [false, true, false, true]);
        assert_eq!(guarded(ScopeConfig::All), [false, true, false, false]);
        let words = ["-p", "tcp", "--dport", "5070"].map(str::to_owned).into();
        assert_eq!(guarded(ScopeConfig::Match(words)), [false, false, true, false]);
    }

    #[test]
    fn the_number_of_ports_is_bounded() {
        let scope = Scope::new(ScopeConfig::Auto, (1000..2000).step_by(2).map(Port::Udp));
        assert_eq!(scope.learned().count(), MAX_LEARNED);
    }
}
