//! `sipban check`: whether all that the daemon needs is there, a line each.
//!
//! It changes nothing and can run beside the daemon: it logs in as another session, lists rules, and has iptables test
//! some that it then does not make. (Whatever is asked of iptables of the old kind, the kernel makes the empty table.)
//!
//! What is looked at, in this order: the configuration; rights; the login to Asterisk, and whether security events
//! arrive; Asterisk's own doors; iptables, ip6tables, ipset or nft; other firewalls; the interface; the ports that
//! Asterisk listens on; the white list; the console's port; the PBX itself, as the running daemon sees it; files that say
//! where addresses are; the lists of others; the files that are written; the server of the fleet.

mod asterisk;
mod doors;
mod feeds;
mod files;
mod fleet;
mod geo;
mod listeners;
mod login;
mod neighbours;
mod netfilter;
mod network;
mod scope;
mod service;
mod weather;

use std::io::Write;
use std::net::IpAddr;
use std::path::Path;

use serde::Serialize;

use crate::cli;
use crate::config::Config;
use crate::failure::{Failure, print};
use crate::model::clock::Clock;
use crate::protection::Protection;
use crate::protection::resolver;
use asterisk::Settings;
use listeners::Listener;
use service::{Service, Use};

/// All is well.
pub const OK: u8 = 0;
/// At least one line says WARN or FAIL.
pub const NOT_WELL: u8 = 1;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Level {
    /// As it should be.
    Ok,
    /// The daemon works, but less well or less safely than it could.
    Warn,
    /// The daemon does not start, is deaf, or blocks nobody.
    Fail,
}

/// What a check found.
#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    /// What was looked at.
    what: &'static str,
    /// What was seen.
    text: String,
    /// What to do about it.
    advice: Option<String>,
}

impl Finding {
    fn ok(what: &'static str, text: impl Into<String>) -> Finding {
        Finding { level: Level::Ok, what, text: text.into(), advice: None }
    }

    fn warn(what: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { level: Level::Warn, what, text: text.into(), advice: Some(advice.into()) }
    }

    fn fail(what: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { level: Level::Fail, what, text: text.into(), advice: Some(advice.into()) }
    }

    fn line(&self) -> String {
        let level = match self.level {
            Level::Ok => "OK",
            Level::Warn => "WARN",
            Level::Fail => "FAIL",
        };
        let advice = self.advice.as_ref().map_or(String::new(), |advice| format!("; {advice}"));
        // An error of a program may have several lines.
        let text = format!("{}{advice}", self.text).replace('\n', " ");
        format!("{level:4}  {:13}  {text}\n", self.what)
    }
}

/// All that was found, for `--json`.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether every finding is OK.
    ok: bool,
    findings: Vec<Finding>,
}

/// What several checks look at.
struct Machine<'a> {
    config: &'a Config,
    clock: &'a Clock,
    /// What Asterisk's configuration says, where it can be read.
    settings: Settings,
    /// Who waits for packets and connections.
    listeners: Vec<Listener>,
    /// Addresses behind `ami.host`.
    asterisk: Vec<IpAddr>,
    protection: Protection,
    /// What the daemon may do when systemd starts it.
    service: Service,
}

impl<'a> Machine<'a> {
    fn look(config: &'a Config, options: &cli::Check, clock: &'a Clock) -> Machine<'a> {
        let mut protection = Protection::default();
        protection.follow_machine();
        Machine {
            config,
            clock,
            settings: Settings::read(&options.asterisk),
            listeners: listeners::listeners(),
            asterisk: resolver::addresses(&config.ami.host),
            protection,
            service: Service::installed(),
        }
    }

    /// Whether Asterisk runs on this machine.
    fn is_local(&self) -> bool {
        self.asterisk.iter().any(|address| address.is_loopback() || self.protection.is_machine(address))
    }

    /// Sockets that a program of this name listens on and that others reach.
    fn open_to_others(&self, program: &str) -> impl Iterator<Item = &Listener> {
        let reached = |listener: &&Listener| !listener.address.ip().is_loopback();
        self.listeners.iter().filter(move |listener| listener.is_of(program)).filter(reached)
    }
}

type Check = fn(&Machine) -> Vec<Finding>;

/// In the order in which what is wrong with one may be the cause of the next.
const CHECKS: [Check; 15] = [
    netfilter::rights,
    login::check,
    doors::check,
    netfilter::check,
    neighbours::check,
    network::interface,
    scope::check,
    network::white_list,
    network::console,
    weather::check,
    geo::check,
    feeds::check,
    feeds::crowdsec,
    files::check,
    fleet::check,
];

/// Looks at everything and writes a line for each thing to `out`, or all of it as JSON. Returns the exit code.
///
/// # Errors
/// If `out` cannot be written. A reader that has seen enough is no error.
pub fn run(config_file: &Path, options: &cli::Check, clock: &Clock, out: &mut dyn Write) -> Result<u8, Failure> {
    let mut findings = Vec::new();
    let mut found = |found: Vec<Finding>| -> Result<(), Failure> {
        if !options.json {
            let lines: String = found.iter().map(Finding::line).collect();
            print(out, &lines, "what was found")?;
        }
        findings.extend(found);
        Ok(())
    };
    let (config, read) = configuration(config_file);
    found(read)?;
    if let Some(config) = config {
        let machine = Machine::look(&config, options, clock);
        for check in CHECKS {
            found(check(&machine))?;
        }
    }
    let well = findings.iter().all(|finding| finding.level == Level::Ok);
    if options.json {
        let report = Report { ok: well, findings };
        // Only a map whose keys are no texts could fail, and there is none.
        print(out, &(serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"), "what was found")?;
    }
    Ok(if well { OK } else { NOT_WELL })
}

/// Without a configuration that holds, nothing else can be looked at.
fn configuration(file: &Path) -> (Option<Config>, Vec<Finding>) {
    const WHAT: &str = "configuration";
    match Config::load(file) {
        Ok((config, warnings)) => {
            let warning = |warning: &crate::config::Warning| Finding {
                level: Level::Warn,
                what: WHAT,
                text: warning.to_string(),
                advice: None,
            };
            let mut findings: Vec<Finding> = warnings.iter().map(warning).collect();
            if let Err(why) = Service::installed().may(file, Use::Read) {
                findings.push(Finding::fail(WHAT, format!("the daemon cannot start: {why}"), service::ADVICE));
            }
            if findings.is_empty() {
                findings.push(Finding::ok(WHAT, file.display().to_string()));
            }
            (Some(config), findings)
        }
        Err(errors) => {
            let advice = "mend it; the rest is looked at when it holds";
            (None, errors.0.iter().map(|error| Finding::fail(WHAT, error.to_string(), advice)).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_bad_it_is_what_was_looked_at_and_what_to_do() {
        let line = Finding::warn("white list", "two\nlines", "do this").line();
        assert_eq!(line, "WARN  white list     two lines; do this\n");
        assert_eq!(Finding::ok("AMI login", "fine").line(), "OK    AMI login      fine\n");
    }
}
