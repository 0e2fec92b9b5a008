//! Whether what comes to Asterisk's ports goes through our chain.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;

use super::listeners::Protocol;
use super::{Finding, Machine};
use crate::config::ScopeConfig;
use crate::firewall::scope::matched::matched;
use crate::firewall::scope::{SIP, Scope};

const WHAT: &str = "scope";

/// UDP ports of Asterisk that have nothing to do with SIP: IAX2, DUNDi, MGCP, UNIStim.
const OTHER_UDP: [u16; 4] = [4569, 4520, 2727, 5000];

/// The same for TCP: AMI, AMI over TLS, SCCP.
const OTHER_TCP: [u16; 3] = [5038, 5039, 2000];

/// Where Asterisk's HTTP server listens, which carries SIP over WebSocket too.
const HTTP: [u16; 2] = [8088, 8089];

pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    if !machine.is_local() {
        return Vec::new();
    }
    let config = &machine.config.firewall.scope;
    let scope = Scope::new(config.clone(), []);
    let ports = ports_of_sip(machine);
    if ports.is_empty() {
        let text = "no process named asterisk is seen to listen on a port of SIP";
        let advice = "start Asterisk and run this as root; if Asterisk runs in a container with a network of its own, \
                      its packets pass FORWARD and not our chain: give it the host's network";
        return vec![Finding::warn(WHAT, text, advice)];
    }
    let led = |led: Option<bool>| {
        let which = ports.iter().filter(|(protocol, port)| leads(config, *protocol, *port) == led);
        which.map(|(protocol, port)| format!("{} {port}", name(*protocol))).collect::<Vec<_>>().join(", ")
    };
    let (through, past, unknown) = (led(Some(true)), led(Some(false)), led(None));
    if *config == ScopeConfig::Auto {
        let later = if past.is_empty() { "" } else { "; led through at the first attack: " };
        return vec![Finding::ok(WHAT, format!("auto, {scope}{later}{past}"))];
    }
    if !past.is_empty() {
        let text = format!("Asterisk listens on {past}, which `{scope}` does not lead through the chain");
        return vec![Finding::warn(WHAT, text, "set iptables.scope = auto, or add the ports to it")];
    }
    if !unknown.is_empty() {
        let text = format!("cannot tell whether `{scope}` leads {unknown} through the chain");
        return vec![Finding::warn(WHAT, text, "set iptables.scope = auto if in doubt")];
    }
    vec![Finding::ok(WHAT, format!("`{scope}` leads {through} through the chain"))]
}

/// Whether the scope leads packets to this port through the chain; `None` if only the kernel could tell.
fn leads(scope: &ScopeConfig, protocol: Protocol, port: u16) -> Option<bool> {
    let words = match scope {
        ScopeConfig::All => return Some(true),
        ScopeConfig::Auto => return Some(SIP.contains(&port)),
        ScopeConfig::Match(words) => words,
    };
    let matched = matched(words)?;
    let ports = match protocol {
        Protocol::Udp => &matched.udp,
        Protocol::Tcp => &matched.tcp,
    };
    match ports.iter().any(|(first, last)| (*first..=*last).contains(&port)) {
        true => matched.exact.then_some(true),
        false => Some(false),
    }
}

/// Ports that Asterisk listens on, but for those that are known to be for something else, or for the sound of calls.
fn ports_of_sip(machine: &Machine) -> BTreeSet<(Protocol, u16)> {
    let settings = &machine.settings;
    let rtp =
        |key, default| settings.get("rtp.conf", "general", key).and_then(|port| port.parse().ok()).unwrap_or(default);
    let sound = rtp("rtpstart", 10_000)..=rtp("rtpend", 20_000);
    let passing = passing_ports();
    let over_http = settings.anywhere("pjsip.conf", "protocol").any(|protocol| ["ws", "wss"].contains(&protocol));
    let is_sip = |(protocol, port): &(Protocol, u16)| match protocol {
        Protocol::Udp => !OTHER_UDP.contains(port) && !sound.contains(port) && !passing.contains(port),
        Protocol::Tcp if HTTP.contains(port) => over_http,
        Protocol::Tcp => !OTHER_TCP.contains(port) && *port != machine.config.ami.port,
    };
    let ports = machine.open_to_others("asterisk").map(|listener| (listener.protocol, listener.address.port()));
    ports.filter(is_sip).collect()
}

/// Ports that the kernel gives to who asks for any.
fn passing_ports() -> RangeInclusive<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = text.split_ascii_whitespace().filter_map(|port| port.parse().ok());
    bounds.next().unwrap_or(32_768)..=bounds.next().unwrap_or(60_999)
}

fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Udp => "UDP",
        Protocol::Tcp => "TCP",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(text: &str, protocol: Protocol, port: u16) -> Option<bool> {
        super::leads(&ScopeConfig::Match(text.split(' ').map(str::to_owned).collect()), protocol, port)
    }

    #[test]
    fn a_match_leads_its_ports_and_no_others() {
        use Protocol::{Tcp, Udp};
        for (text, protocol, port, led) in [
            ("-p udp --dport 5060", Udp, 5060, Some(true)),
            ("-p udp --dport 5060", Udp, 5070, Some(false)),
            ("-p udp --dport 5060", Tcp, 5060, Some(false)),
            ("-pudp --dport=sip", Udp, 5060, Some(true)),
            ("-p tcp", Tcp, 5061, Some(true)),
            ("-p udp -m multiport --dports 5060:5061,5080", Udp, 5061, Some(true)),
            ("-p udp -m multiport --dports 5060:5061,5080", Udp, 5062, Some(false)),
            ("-p udp --dport 5060:", Udp, 65535, Some(true)),
            ("-p udp -m comment --comment sip --dport 5060", Udp, 5060, Some(true)),
            ("-s 10.0.0.0/8", Udp, 5060, None),
            ("-p udp -m set --match-set x src", Udp, 5060, None),
            ("-p udp -m set --match-set x src", Tcp, 5060, Some(false)),
            ("! -p udp", Tcp, 5060, None),
            ("-p udp --dport nonsense", Udp, 5060, None),
        ] {
            assert_eq!(leads(text, protocol, port), led, "{text} {protocol:?} {port}");
        }
    }

    #[test]
    fn no_scope_leads_everything() {
        assert_eq!(super::leads(&ScopeConfig::All, Protocol::Udp, 1), Some(true));
    }
}
