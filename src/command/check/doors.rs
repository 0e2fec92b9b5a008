//! What Asterisk lets strangers do that no blocker can make good.

use super::listeners::Protocol;
use super::{Finding, Machine};

const AMI: &str = "AMI door";
const HTTP: &str = "HTTP door";

pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    if !machine.is_local() {
        let host = &machine.config.ami.host;
        let text = format!("{host} is another machine, and blocks hold on this one only");
        return vec![Finding::warn("Asterisk", text, "run SIPban on the machine that Asterisk runs on")];
    }
    [Some(ami(machine)), http(machine), chan_sip(machine)].into_iter().flatten().collect()
}

/// The manager interface itself: its secret travels in the clear, and everybody may try one.
fn ami(machine: &Machine) -> Finding {
    let port = machine.config.ami.port;
    let file = machine.settings.path("manager.conf");
    let sees = machine.listeners.iter().any(|listener| listener.is_of("asterisk"));
    let bind = machine.settings.get("manager.conf", "general", "bindaddr").unwrap_or("0.0.0.0");
    let open = if sees {
        listening(machine, port)
    } else if machine.settings.has("manager.conf") {
        (!is_loopback(bind)).then(|| format!("{bind}:{port}"))
    } else {
        let text = format!("neither {file} nor a socket of a process named asterisk can be seen");
        return Finding::warn(AMI, text, format!("see that others cannot reach port {port}"));
    };
    match open {
        None => Finding::ok(AMI, format!("port {port} is open to this machine only")),
        Some(at) => Finding::warn(
            AMI,
            format!("the manager interface listens on {at}, where others reach it"),
            format!("set bindaddr = 127.0.0.1 in [general] of {file} and restart Asterisk"),
        ),
    }
}

/// The manager interface over HTTP: whoever reaches it can make Asterisk report attacks by any address.
fn http(machine: &Machine) -> Option<Finding> {
    let settings = &machine.settings;
    let port = settings.get("http.conf", "general", "bindport").and_then(|port| port.parse().ok()).unwrap_or(8088);
    let bind = settings.get("http.conf", "general", "bindaddr").unwrap_or("0.0.0.0");
    let configured = settings.is_on("http.conf", "general", "enabled") && !is_loopback(bind);
    let open = listening(machine, port).or_else(|| configured.then(|| format!("{bind}:{port}")))?;
    let file = settings.path("manager.conf");
    let harm = "there anybody can have Asterisk accuse any address";
    if settings.is_on("manager.conf", "general", "webenabled") {
        let text = format!("the manager interface is reached over HTTP at {open}: {harm}");
        let advice = format!("set webenabled = no in [general] of {file}, or bindaddr = 127.0.0.1 in http.conf");
        return Some(Finding::warn(HTTP, text, advice));
    }
    if settings.has("manager.conf") {
        return Some(Finding::ok(HTTP, format!("{open} does not lead to the manager interface")));
    }
    let text = format!("Asterisk's HTTP server listens on {open}, and {file} cannot be read");
    Some(Finding::warn(HTTP, text, format!("see that webenabled is not yes in it: {harm}")))
}

/// chan_sip that tells strangers which accounts there are.
fn chan_sip(machine: &Machine) -> Option<Finding> {
    let settings = &machine.settings;
    settings.is_off("sip.conf", "general", "alwaysauthreject").then(|| {
        let file = settings.path("sip.conf");
        let text = format!("{file} has alwaysauthreject = no, which tells strangers which accounts there are");
        Finding::warn("chan_sip", text, "remove that line, then call: asterisk -rx 'sip reload'")
    })
}

fn listening(machine: &Machine, port: u16) -> Option<String> {
    let mut open = machine.open_to_others("asterisk");
    let found = open.find(|listener| listener.protocol == Protocol::Tcp && listener.address.port() == port);
    found.map(|listener| listener.address.to_string())
}

fn is_loopback(address: &str) -> bool {
    address == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
