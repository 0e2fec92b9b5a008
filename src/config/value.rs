//! What a value may be: text to type, one function a kind. An error says what is expected, and what was found.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::{Backend, FeedFormat, FeedUrl, LogTarget, OnStop, ScopeConfig, Secret, ServerUrl, ShieldMode};
use crate::model::country::Country;
use crate::model::member::{MOST_NAME, is_name};
use crate::model::net;
use crate::model::quote::quoted;
use crate::model::target::{self, ChainName, Target};

/// At most this many seconds does the kernel keep an entry of a set of ipset: its timer counts milliseconds in 31 bits.
pub const SET_TIMEOUT_MAX: u64 = 2_147_483;

/// Ten years: more is a slip of the pen.
const SECONDS_MAX: u64 = 315_360_000;

pub(super) const BACKENDS: &[(&str, Backend)] =
    &[("iptables", Backend::Iptables), ("ipset", Backend::Ipset), ("nft", Backend::Nft), ("auto", Backend::Auto)];

pub(super) const LOG_TARGETS: &[(&str, LogTarget)] = &[("file", LogTarget::File), ("journal", LogTarget::Journal)];

pub(super) const ON_STOP: &[(&str, OnStop)] = &[("clear", OnStop::Clear), ("keep", OnStop::Keep)];

pub(super) const SHIELD_MODES: &[(&str, ShieldMode)] =
    &[("off", ShieldMode::Off), ("count", ShieldMode::Count), ("on", ShieldMode::On)];

pub(super) const SWITCH: &[(&str, bool)] = &[("off", false), ("on", true)];

pub(super) const FEED_FORMATS: &[(&str, FeedFormat)] = &[
    ("auto", FeedFormat::Auto),
    ("text", FeedFormat::Text),
    ("spamhaus", FeedFormat::Spamhaus),
    ("apiban", FeedFormat::Apiban),
];

/// Without `off`: the log is where the blocks are told.
pub(super) const LOG_LEVELS: &[(&str, log::LevelFilter)] = &[
    ("error", log::LevelFilter::Error),
    ("warn", log::LevelFilter::Warn),
    ("info", log::LevelFilter::Info),
    ("debug", log::LevelFilter::Debug),
    ("trace", log::LevelFilter::Trace),
];

/// The types of `REJECT --reject-with` that ip6tables takes, each with the short name that it takes too.
const REJECT_WITH_6: &[(&str, &str)] = &[
    ("icmp6-port-unreachable", "port-unreach"),
    ("icmp6-no-route", "no-route"),
    ("icmp6-adm-prohibited", "adm-prohibited"),
    ("icmp6-addr-unreachable", "addr-unreach"),
    ("icmp6-policy-fail", "policy-fail"),
    ("icmp6-reject-route", "reject-route"),
];

/// Short options of iptables that match packets. All others choose a command, a table or a target.
const MATCH_OPTIONS: &str = "psdimf";

/// Long options of iptables that choose a command, a table or a target.
const NO_MATCH_OPTIONS: &[&str] = &[
    "jump",
    "goto",
    "table",
    "append",
    "insert",
    "delete",
    "replace",
    "check",
    "list",
    "list-rules",
    "flush",
    "zero",
    "policy",
    "new-chain",
    "delete-chain",
    "rename-chain",
    "wait",
    "modprobe",
    "set-counters",
    "ipv4",
    "ipv6",
    "help",
    "version",
];

pub(super) fn number<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        text.parse()
            .ok()
            .filter(|number| range.contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| expected(&format!("a number from {} to {}", range.start(), range.end()), text))
    }
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    number(1..=65535)(text)
}

/// 0 means none.
pub(super) fn port_or_none(text: &str) -> Result<u16, String> {
    number(0..=u16::MAX.into())(text)
}

/// How often something is done.
pub(super) fn period(text: &str) -> Result<u64, String> {
    number(1..=86400)(text)
}

/// How long something lasts.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    number(1..=SECONDS_MAX)(text)
}

/// The same, where 0 means not at all.
pub(super) fn seconds_or_none(text: &str) -> Result<u64, String> {
    number(0..=SECONDS_MAX)(text)
}

/// An amount of memory in MiB, as bytes.
pub(super) fn mebibytes(text: &str) -> Result<usize, String> {
    number::<usize>(1..=65_536)(text).map(|mebibytes| mebibytes << 20)
}

pub(super) fn limit(text: &str) -> Result<u32, String> {
    number(0..=1_000)(text)
}

pub(super) fn host(text: &str) -> Result<String, String> {
    net::host(text).ok_or_else(|| expected("an address or a host name", text))
}

pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| expected("an address such as 127.0.0.1 or ::1", text))
}

pub(super) fn loopback(text: &str) -> Result<IpAddr, String> {
    let address = address(text)?;
    if address.to_canonical().is_loopback() { Ok(address) } else { Err(expected("an address of loopback", text)) }
}

/// User of the manager interface. Does not quote what was found: it may be the secret.
pub(super) fn credential(text: &str) -> Result<String, String> {
    match text.len() {
        0..=1000 => Ok(text.to_owned()),
        _ => Err("longer than a line that Asterisk reads (1024 bytes)".to_owned()),
    }
}

/// Secret of the manager interface.
pub(super) fn secret(text: &str) -> Result<Secret, String> {
    credential(text).map(Secret)
}

/// The console's password; empty means none.
pub(super) fn password(text: &str) -> Result<Option<Secret>, String> {
    Ok(Some(text).filter(|text| !text.is_empty()).map(|text| Secret(text.to_owned())))
}

pub(super) fn names(text: &str) -> Result<Vec<String>, String> {
    let names = text.split(|c: char| c == ',' || c.is_whitespace());
    Ok(names.filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// Countries by their codes, with commas or spaces between them.
pub(super) fn countries(text: &str) -> Result<Vec<Country>, String> {
    let code = |name: &String| name.parse().map_err(|()| expected("codes of countries such as MX, US", name));
    names(text)?.iter().map(code).collect()
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('/') { Ok(text.into()) } else { Err(expected("a path that starts with /", text)) }
}

/// A folder; empty means the usual ones.
pub(super) fn folder(text: &str) -> Result<Option<PathBuf>, String> {
    if text.is_empty() { Ok(None) } else { path(text).map(Some) }
}

/// A whole path; empty means none.
pub(super) fn whole_path(text: &str) -> Result<Option<PathBuf>, String> {
    match folder(text)? {
        Some(path) if !path.is_absolute() => Err(expected("a path that begins with /", text)),
        path => Ok(path),
    }
}

/// Name of a member of the fleet or of a group.
pub(super) fn member_name(text: &str) -> Result<String, String> {
    let what = || format!("a name of at most {MOST_NAME} letters, digits, -, _ and .");
    if text.is_empty() || is_name(text) { Ok(text.to_owned()) } else { Err(expected(&what(), text)) }
}

/// A Redis or Valkey server; empty means none. What is wrong is not quoted: it may hold a password.
pub(super) fn server_url(text: &str) -> Result<Option<ServerUrl>, String> {
    const FORM: &str = "expected redis://HOST:PORT, or rediss://HOST:PORT for TLS";
    if text.is_empty() {
        return Ok(None);
    }
    let (scheme, rest) = text.split_once("://").ok_or(FORM)?;
    if rest.contains('@') {
        return Err("names a user or password; set fleet.user and fleet.password instead".to_owned());
    }
    let tls = match scheme {
        "redis" => false,
        "rediss" => true,
        _ => return Err(FORM.to_owned()),
    };
    let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
    let database = if database.is_empty() { "0" } else { database };
    let (name, port) = match place.strip_prefix('[').and_then(|place| place.split_once(']')) {
        Some((v6, port)) => (v6, port.strip_prefix(':').unwrap_or(port)),
        None => place.split_once(':').unwrap_or((place, "")),
    };
    let port = if port.is_empty() { "6379" } else { port };
    let named = host(name).ok().filter(|name| !name.contains(':') || place.starts_with('['));
    let found = (named, port.parse::<u16>().ok().filter(|port| *port > 0), database.parse());
    match found {
        (Some(host), Some(port), Ok(database)) => Ok(Some(ServerUrl { tls, host, port, database })),
        _ => Err(FORM.to_owned()),
    }
}

/// Where a list is. Does not quote what was found: it may hold a password.
pub(super) fn feed_url(text: &str) -> Result<Option<FeedUrl>, String> {
    let web = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(rest) = web else {
        return match whole_path(text.strip_prefix("file://").unwrap_or(text)) {
            Ok(path) => Ok(path.map(FeedUrl::File)),
            Err(_) => Err("expected https://HOST/..., http://HOST/..., or the path of a file".to_owned()),
        };
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || host.contains('@') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("expected a host without user and password, and nothing but letters of ASCII".to_owned());
    }
    Ok(Some(FeedUrl::Web(text.to_owned())))
}

pub(super) fn chain(text: &str) -> Result<ChainName, String> {
    text.parse().map_err(|what: String| expected(&what, text))
}

/// The name of a set, which with `-admitted4` behind it has 31 letters, as many as the kernel takes.
pub(super) fn set_name(text: &str) -> Result<String, String> {
    target::name(text, 21).map_err(|what| expected(&what, text))
}

/// The name of a table of nftables, which begins with a letter. With `-fleet` behind it it has 28, and before Linux 4.14
/// the kernel takes 31.
pub(super) fn table(text: &str) -> Result<String, String> {
    match target::name(text, 22) {
        Ok(name) if name.starts_with(|first: char| first.is_ascii_alphabetic()) => Ok(name),
        Ok(_) => Err(expected("a name that begins with a letter", text)),
        Err(what) => Err(expected(&what, text)),
    }
}

/// An interface, with `+` at the end for all that begin so; `any` or nothing for all.
pub(super) fn interface(text: &str) -> Result<Option<String>, String> {
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | '"' | '\'' | '\\');
    match text {
        "" | "any" => Ok(None),
        _ if text.len() <= 15 && text.chars().all(fits) && !text.starts_with(['-', '!', '.']) => {
            Ok(Some(text.to_owned()))
        }
        _ => Err(expected("the name of an interface (at most 15 characters), or any", text)),
    }
}

pub(super) fn one_of<T: Copy>(choices: &[(&str, T)]) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        let chosen = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        let names = || choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" or ");
        chosen.map(|(_, value)| *value).ok_or_else(|| expected(&names(), text))
    }
}

pub(super) fn rule(text: &str) -> Result<Target, String> {
    text.parse().map_err(|what: String| expected(&what, text))
}

/// Whether older files have IPv6 dropped, or rejected.
pub(super) fn rule6_drops(text: &str) -> Result<bool, String> {
    match text.split_whitespace().collect::<Vec<_>>()[..] {
        ["DROP"] => Ok(true),
        ["REJECT"] => Ok(false),
        ["REJECT", "--reject-with", with] => {
            let known = REJECT_WITH_6.iter().any(|(long, short)| [*long, *short].contains(&with));
            let names = || REJECT_WITH_6.iter().map(|(long, _)| *long).collect::<Vec<_>>().join(", ");
            if known { Ok(false) } else { Err(expected(&format!("--reject-with one of {}", names()), text)) }
        }
        _ => Err(expected("DROP, REJECT or REJECT --reject-with TYPE", text)),
    }
}

pub(super) fn scope(text: &str) -> Result<ScopeConfig, String> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok(ScopeConfig::Auto);
    }
    let words = words(text)?;
    match words.first() {
        None => return Ok(ScopeConfig::All),
        Some(first) if !first.starts_with('-') && first != "!" => {
            return Err(expected("auto, nothing, or a match such as -p udp --dport 5060", text));
        }
        Some(_) => {}
    }
    match words.iter().find(|word| !may_match(word)) {
        Some(word) => Err(format!("{word} is no match on packets: give only what comes before -j in a rule")),
        None => Ok(ScopeConfig::Match(words)),
    }
}

/// Whether iptables takes the word for a match or its argument. `getopt` lets one write the start of a long option,
/// so `--ju` is a jump; the abbreviated commands are left to iptables, which refuses a second one.
fn may_match(word: &str) -> bool {
    if let Some(long) = word.strip_prefix("--") {
        let name = long.split('=').next().unwrap_or_default();
        // The empty name, the start of every option, is `--` alone: the end of the options.
        return !NO_MATCH_OPTIONS.contains(&name) && !"jump".starts_with(name) && !"goto".starts_with(name);
    }
    match word.strip_prefix('-').map(|short| short.chars().next()) {
        None => true,
        Some(Some('f')) => word == "-f",
        Some(option) => option.is_some_and(|option| MATCH_OPTIONS.contains(option)),
    }
}

/// Words as a shell splits them, with ' " and \ to keep spaces, and nothing else that a shell does.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                word.get_or_insert_default().push(chars.next().ok_or("ends in a backslash".to_owned())?)
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    match quote {
        Some(open) => Err(format!("{open} is not closed")),
        None => {
            words.extend(word);
            Ok(words)
        }
    }
}

fn expected(what: &str, found: &str) -> String {
    format!("expected {what}, found {}", quoted(found))
}

#[cfg(test)]
mod tests;
