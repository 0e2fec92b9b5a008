//! Whether Asterisk lets us in, and whether its security events come to us.

use std::time::Duration;

use super::{Finding, Machine};
use crate::ami::{self, NoLogin, Probe};
use crate::logging::escape;

const LOGIN: &str = "AMI login";
const EVENTS: &str = "AMI events";

/// How long to wait for the event that our own login makes. Asterisk sends it within milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);

const RELOAD: &str = "then call: asterisk -rx 'manager reload'";

pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    let ami = &machine.config.ami;
    let (user, at) = (&ami.user, format!("{}:{}", ami.host, ami.port));
    match ami::probe(ami, PATIENCE, machine.clock) {
        Ok(Probe { greeting, event, pong }) => {
            let greeting = escape(&greeting);
            let login = match pong {
                Some(took) => {
                    let took = took.as_secs_f64() * 1000.0;
                    Finding::ok(LOGIN, format!("{user} at {at}: {greeting}, answers a Ping in {took:.2} ms"))
                }
                None => Finding::warn(
                    LOGIN,
                    format!("{user} at {at}: {greeting}, but no answer to a Ping within {} s", PATIENCE.as_secs()),
                    "see how busy Asterisk is; the daemon hangs up when a Ping is not answered in time",
                ),
            };
            vec![login, events(machine, event)]
        }
        Err(NoLogin::Lost(why)) => {
            let advice = format!("start Asterisk, and see that {} has enabled = yes and this port", manager(machine));
            let why = if why.contains(&at) { why } else { format!("{at}: {why}") };
            vec![Finding::fail(LOGIN, escape(&why).to_string(), advice)]
        }
        Err(NoLogin::Refused(why)) => vec![refused(machine, &at, &why)],
    }
}

fn events(machine: &Machine, came: bool) -> Finding {
    let user = &machine.config.ami.user;
    if came {
        return Finding::ok(EVENTS, format!("{user} hears security events: that of this login came"));
    }
    let is_heard = |class: &str| ["security", "all"].contains(&class.trim());
    let (text, advice) = match machine.settings.get("manager.conf", user, "read") {
        Some(read) if !read.split(',').any(is_heard) => {
            (format!("in {} it has read = {read}", manager(machine)), "add security to that line")
        }
        None if machine.settings.has_section("manager.conf", user) => {
            (format!("in {} it has no line read", manager(machine)), "add the line: read = security")
        }
        _ => (
            "either it lacks read = security, or an eventfilter drops the event of this login".to_owned(),
            "give it read = security and no eventfilter",
        ),
    };
    let text = format!("{user} hears no security events, so no attack either: {text}");
    Finding::fail(EVENTS, text, format!("{advice}, {RELOAD}"))
}

fn refused(machine: &Machine, at: &str, why: &str) -> Finding {
    let user = &machine.config.ami.user;
    let text = format!("{at} refuses {user}: {}", escape(why));
    if why.contains("Login Already In Use") {
        let advice = "stop what is logged in as that user, such as the daemon, to have the rest of this checked";
        return Finding::warn(LOGIN, text, advice);
    }
    let (settings, file) = (&machine.settings, manager(machine));
    if machine.is_local() && settings.has("manager.conf") && !settings.has_section("manager.conf", user) {
        let file = settings.path_for_users();
        let advice = format!("{file} has no section [{user}]: add one with secret and read = security, {RELOAD}");
        return Finding::fail(LOGIN, text, advice);
    }
    let advice =
        format!("compare ami.user and ami.pass with the section [{user}] of {file}, and its permit lines, {RELOAD}");
    Finding::fail(LOGIN, text, advice)
}

fn manager(machine: &Machine) -> String {
    match machine.is_local() {
        true => machine.settings.path("manager.conf"),
        false => "its manager.conf".to_owned(),
    }
}
