//! Reads a line of the console as a [`Command`].
//!
//! PURE: no clock, no I/O.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config;
use crate::console::request::Request;
use crate::logging::printable;
use crate::model::net::NetOrHost;
use crate::model::net::Plain;
use crate::model::net::{is_too_wide, widest};

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// An empty line.
    Nothing,
    /// Show the commands.
    Help,
    /// End the session.
    Exit,
    /// Answer in the form that `sipban ctl` reads, from now on.
    Machine,
    /// Ask the registries who holds an address.
    Whois {
        /// The address.
        address: IpAddr,
        /// Answer with one line of JSON.
        json: bool,
    },
    /// Something for the owner.
    Ask {
        /// The request.
        request: Request,
        /// Answer with one line of JSON.
        json: bool,
    },
}

/// Longest block in seconds: what a kernel set can count.
const MAX_SECONDS: u64 = config::SET_TIMEOUT_MAX;

/// Reads a line. Commands may be written in any case, with any number of spaces, and `--json` anywhere.
///
/// # Errors
/// The text to show to the user.
pub fn parse(line: &str) -> Result<Command, String> {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    let written = words.len();
    words.retain(|word| !word.eq_ignore_ascii_case("--json"));
    let json = words.len() < written;
    let Some((verb, arguments)) = words.split_first() else { return Ok(Command::Nothing) };
    let verb = verb.to_ascii_lowercase();

    let request = match (verb.as_str(), arguments) {
        ("help" | "?", _) => return Ok(Command::Help),
        ("exit" | "quit", _) => return Ok(Command::Exit),
        ("ctl", []) => return Ok(Command::Machine),
        ("block", []) => Request::Blocks,
        ("block", [net]) => Request::Block(blockable(net)?, None),
        ("block", [net, time]) => Request::Block(blockable(net)?, Some(seconds(time)?)),
        ("unblock" | "why" | "whois", []) => return Err("ip address missing".to_owned()),
        ("unblock", [net]) => Request::Unblock(network(net)?),
        ("flush", []) => Request::Flush,
        ("flush", [whose]) if whose.eq_ignore_ascii_case("fleet") => Request::FlushFleet,
        ("unblock", [_, whose]) if whose.eq_ignore_ascii_case("fleet") => {
            return Err("only the administrator of the fleet can: 'sipban fleet unblock {address}'".to_owned());
        }
        ("restore", []) => Request::Restore,
        ("save", []) => Request::Save,
        ("ping", []) => Request::Ping,
        ("uptime", []) => Request::Uptime,
        ("wl", []) => Request::WhiteList,
        ("wl", [action, rest @ ..]) => white_list(action, rest)?,
        ("status", []) => Request::Status,
        ("why", [word]) => why(word)?,
        ("top", []) => Request::Top,
        ("top", [what]) if what.eq_ignore_ascii_case("shield") => Request::TopShed,
        ("top", [_]) => return Err("write 'top' or 'top shield'".to_owned()),
        ("whois", [address]) => return Ok(Command::Whois { address: single(address)?, json }),
        (
            "block" | "unblock" | "flush" | "restore" | "save" | "ping" | "uptime" | "status" | "why" | "top" | "whois",
            _,
        ) => {
            return Err(format!("too many words for '{verb}': use 'help' to see how it is written"));
        }
        _ => return Err(format!("Invalid command '{}': use 'help' for more commands", excerpt(&verb))),
    };
    Ok(Command::Ask { request, json })
}

/// Whether a line is part of a request in another protocol. Such a line names protocol and version, as in `HTTP/1.1` or
/// `RTSP/1.0`, or is a `Host:` of HTTP. A web page can make a browser send a request to any port, and choose its further
/// lines.
pub fn is_foreign(line: &str) -> bool {
    let names_protocol = |word: &str| {
        word.split_once('/').is_some_and(|(name, version)| {
            let is_version = version.contains('.') && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic()) && is_version
        })
    };
    line.split_whitespace().any(names_protocol) || line.get(..5).is_some_and(|key| key.eq_ignore_ascii_case("host:"))
}

fn white_list(action: &str, words: &[&str]) -> Result<Request, String> {
    match (action.to_ascii_lowercase().as_str(), words) {
        ("add", [entry]) => listable(entry).map(Request::WhiteListAdd),
        // As it was written: the file may hold an entry that `add` would refuse.
        ("del", [entry]) => Ok(Request::WhiteListDel((*entry).to_owned())),
        ("add" | "del", []) => Err("ip address missing".to_owned()),
        _ => Err("write 'wl', 'wl add {entry}' or 'wl del {entry}'".to_owned()),
    }
}

/// An address, or else the name of an account. What is written like an address is none of an account.
fn why(word: &str) -> Result<Request, String> {
    let is_like_an_address = word.contains([':', '/']) || word.split('.').all(is_number) && word.contains('.');
    if is_like_an_address {
        return single(word).map(Request::Why);
    }
    Ok(Request::WhyAccount(word.to_owned()))
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

fn blockable(word: &str) -> Result<IpNet, String> {
    let net = network(word)?;
    if is_too_wide(&net) {
        return Err(format!("{net} is too wide to block: the widest network is a /{}", widest(&net)));
    }
    Ok(net)
}

fn network(word: &str) -> Result<IpNet, String> {
    word.parse().map(|Plain(net)| net).map_err(|()| not_an_address(word))
}

fn single(word: &str) -> Result<IpAddr, String> {
    let net = network(word)?;
    if net.prefix_len() < net.max_prefix_len() {
        return Err(format!("{net} is a network: name one address of it"));
    }
    Ok(net.addr())
}

fn seconds(word: &str) -> Result<u64, String> {
    match word.parse() {
        Ok(seconds @ 1..=MAX_SECONDS) => Ok(seconds),
        _ => Err(format!("{} is not a number of seconds from 1 to {MAX_SECONDS}", excerpt(word))),
    }
}

/// An entry for the white list, in the form in which the file will have it.
fn listable(word: &str) -> Result<String, String> {
    word.parse::<NetOrHost>().map(|entry| entry.to_string()).map_err(|_| not_an_address(word))
}

fn not_an_address(word: &str) -> String {
    format!("{} don't seems like a valid address", excerpt(word))
}

/// What the user typed, short and harmless enough to be shown to him.
fn excerpt(word: &str) -> String {
    const LONGEST: usize = 46;
    let mut shown: String = word.chars().take(LONGEST).collect();
    if shown.len() < word.len() {
        shown.push_str("...");
    }
    printable(&shown)
}

#[cfg(test)]
mod tests;
