//! `sipban ctl check`: one line for Nagios, Icinga and Zabbix, in the convention of their plugins.

use clap::Parser;
use serde::Deserialize;

/// Exit statuses of a plugin.
const OK: u8 = 0;
const WARNING: u8 = 1;
const CRITICAL: u8 = 2;
const UNKNOWN: u8 = 3;

/// Seconds without the other PBXs that are no warning yet: a server may be restarted.
const GONE: u64 = 300;

/// How many blocks in force are too many.
#[derive(Debug, Default, Parser)]
#[command(name = "sipban ctl check", no_binary_name = true)]
struct Limits {
    /// More blocks in force are a warning
    #[arg(short, value_name = "N")]
    warning: Option<u64>,

    /// More blocks in force are critical
    #[arg(short, value_name = "N")]
    critical: Option<u64>,
}

/// What is looked at of the answer to `status`.
#[derive(Debug, Deserialize)]
struct Status {
    ami: Ami,
    rules_in_force: bool,
    blocks: u64,
    blocks_made: u64,
    events: u64,
    homes: u64,
    weather: Vec<serde_json::Value>,
    fleet: Option<Fleet>,
}

#[derive(Debug, Deserialize)]
struct Fleet {
    gone: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Ami {
    up: bool,
    text: String,
    silent: Option<String>,
}

/// The line, with its end, and the exit status. `ask` gives a command to the daemon and returns its answer, or why there
/// is none.
pub(super) fn check(args: &[String], ask: impl FnOnce(&str) -> Result<String, String>) -> (String, u8) {
    let limits = match Limits::try_parse_from(args) {
        Ok(limits) => limits,
        Err(_) => return line(UNKNOWN, "usage: sipban ctl check [-w N] [-c N]", ""),
    };
    let status = match ask("status --json") {
        Ok(status) => status,
        Err(why) => return line(CRITICAL, &why, ""),
    };
    match serde_json::from_str(&status) {
        Ok(status) => judge(&limits, &status),
        Err(why) => line(UNKNOWN, &format!("the daemon is of another version: {why}"), ""),
    }
}

fn judge(limits: &Limits, status: &Status) -> (String, u8) {
    let blocks = status.blocks;
    let beyond = |limit: Option<u64>| limit.is_some_and(|limit| blocks > limit);
    let many = if beyond(limits.critical) { CRITICAL } else { u8::from(beyond(limits.warning)) };
    let lost = format!("Asterisk is lost ({})", status.ami.text);
    let gone = status.fleet.as_ref().and_then(|fleet| fleet.gone).filter(|gone| *gone > GONE);
    let alone = gone.map_or(String::new(), |gone| format!("alone for {gone} s: no other PBX of the fleet"));
    let silent = format!("Asterisk is silent ({})", status.ami.silent.as_deref().unwrap_or_default());
    let facts = [
        match (status.ami.up, &status.ami.silent) {
            (false, _) => (CRITICAL, lost.as_str()),
            (true, Some(_)) => (CRITICAL, silent.as_str()),
            (true, None) => (OK, "Asterisk is connected"),
        },
        if status.rules_in_force { (OK, "rules are in force") } else { (CRITICAL, "rules are not in force") },
        if status.weather.is_empty() { (OK, "") } else { (WARNING, "the PBX itself is at fault") },
        (if alone.is_empty() { OK } else { WARNING }, alone.as_str()),
    ];
    let mut told: Vec<&str> = facts.iter().map(|(_, text)| *text).filter(|text| !text.is_empty()).collect();
    let count = if blocks == 1 { "1 block".to_owned() } else { format!("{blocks} blocks") };
    told.push(&count);
    let worst = facts.iter().map(|(code, _)| *code).chain([many]).max().unwrap_or(UNKNOWN);
    let limit = |limit: Option<u64>| limit.map(|limit| limit.to_string()).unwrap_or_default();
    let Status { blocks_made, events, homes, .. } = status;
    let numbers = format!(
        " | blocks={blocks};{};{};0 blocks_made={blocks_made}c events={events}c homes={homes}",
        limit(limits.warning),
        limit(limits.critical)
    );
    line(worst, &told.join(", "), &numbers)
}

/// A bar would begin the numbers.
fn line(code: u8, text: &str, numbers: &str) -> (String, u8) {
    let word = match code {
        OK => "OK",
        WARNING => "WARNING",
        CRITICAL => "CRITICAL",
        _ => "UNKNOWN",
    };
    (format!("SIPBAN {word} - {}{numbers}\n", text.replace('|', "/").replace('\n', " ")), code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(up: bool, in_force: bool, weather: &str) -> String {
        format!(
            r#"{{"ami":{{"up":{up},"text":"a | b","silent":null}},"rules_in_force":{in_force},"blocks":12,"blocks_made":30,"events":7,
            "homes":4,"weather":[{weather}],"more":1}}"#
        )
    }

    fn in_fleet(gone: &str) -> String {
        status(true, true, "").replacen('{', &format!(r#"{{"fleet":{{"gone":{gone},"name":"pbx1"}},"#), 1)
    }

    fn checked(args: &[&str], status: &str) -> (String, u8) {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        check(&args, |command| {
            assert_eq!(command, "status --json");
            Ok(status.to_owned())
        })
    }

    #[test]
    fn the_worst_of_all_is_what_the_line_and_the_status_say() {
        let well = status(true, true, "");
        for (args, status, code, text) in [
            (&[][..], &well, OK, "SIPBAN OK - Asterisk is connected, rules are in force, 12 blocks | blocks=12;;;0 "),
            (&["-w", "12", "-c", "20"], &well, OK, " | blocks=12;12;20;0 blocks_made=30c events=7c homes=4\n"),
            (&["-w", "11", "-c", "20"], &well, WARNING, "SIPBAN WARNING - "),
            (&["-w", "5", "-c", "11"], &well, CRITICAL, "SIPBAN CRITICAL - "),
            (&[], &status(true, true, "{}"), WARNING, "the PBX itself is at fault"),
            (&[], &status(false, true, "{}"), CRITICAL, "Asterisk is lost (a / b)"),
            (&[], &well.replace("null", "\"no event for 9 s\""), CRITICAL, "Asterisk is silent (no event for 9 s)"),
            (&[], &status(true, false, ""), CRITICAL, "rules are not in force"),
            (&[], &in_fleet("null"), OK, "rules are in force, 12 blocks"),
            (&[], &in_fleet("300"), OK, "rules are in force, 12 blocks"),
            (&[], &in_fleet("301"), WARNING, "alone for 301 s"),
            (&["-w", "many"], &well, UNKNOWN, "SIPBAN UNKNOWN - usage: "),
            (&[], &"{}".to_owned(), UNKNOWN, "SIPBAN UNKNOWN - the daemon is of another version"),
        ] {
            let (line, exit) = checked(args, status);
            assert_eq!(exit, code, "{line}");
            assert!(line.contains(text) && line.ends_with('\n') && line.matches('\n').count() == 1, "{line}");
        }
    }

    #[test]
    fn a_daemon_that_does_not_answer_is_critical() {
        let (line, code) = check(&[], |_| Err("cannot connect".to_owned()));
        assert_eq!((line.as_str(), code), ("SIPBAN CRITICAL - cannot connect\n", CRITICAL));
    }
}
