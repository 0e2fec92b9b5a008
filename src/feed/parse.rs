//! PURE: the bytes of a list to its entries, or an error that says what is wrong and where.

use std::fmt;

use ipnet::IpNet;
use serde::Deserialize;

use crate::config::FeedFormat;
use crate::model::net::Plain;
use crate::model::quote::quoted;

/// At most 2,000,000 entries has a list.
pub const MOST_ENTRIES: usize = 2_000_000;

/// At most this many bytes of what a source says of itself are kept.
const LONGEST_NOTICE: usize = 200;

/// What a list says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Its entries, as they come.
    pub nets: Vec<IpNet>,
    /// What the source wants to be shown with it: its date, its owner, its terms.
    pub notice: Option<String>,
}

/// A batch of APIBAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Batch {
    /// Addresses, and where the next batch begins.
    Some {
        /// The addresses.
        nets: Vec<IpNet>,
        /// What the next request names.
        id: String,
    },
    /// There are no more for now.
    End,
}

/// What is wrong with a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Counted from 1, where it is in a line.
    pub line: Option<usize>,
    /// What it is.
    pub what: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// Reads a list of this format; one that is told by the list itself where it is `Auto`.
///
/// # Errors
/// At the first thing that has no place in such a list. A part of a list is none.
pub fn list(format: FeedFormat, bytes: &[u8]) -> Result<Parsed, Wrong> {
    let is_json = || bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    match format {
        FeedFormat::Spamhaus => spamhaus(bytes),
        FeedFormat::Auto if is_json() => spamhaus(bytes),
        FeedFormat::Auto | FeedFormat::Text | FeedFormat::Apiban => text(bytes),
    }
}

/// An address or network a line; `#` and `;` begin a comment, and what follows a blank or a comma is passed over.
fn text(bytes: &[u8]) -> Result<Parsed, Wrong> {
    let mut nets = Vec::new();
    for (number, line) in lines(bytes) {
        let line = line.split(['#', ';']).next().unwrap_or_default().trim();
        let Some(word) = line.split([' ', '\t', ',']).next().filter(|word| !word.is_empty()) else { continue };
        push(&mut nets, number, word)?;
    }
    Ok(Parsed { nets, notice: None })
}

#[derive(Deserialize)]
struct Line {
    cidr: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    records: Option<usize>,
    timestamp: Option<u64>,
    copyright: Option<String>,
    terms: Option<String>,
}

/// A JSON object a line: `{"cidr": "192.0.2.0/24", ...}`, and one `{"type": "metadata", "records": 1, ...}` that says how
/// many the others are, so that half a list is no list.
fn spamhaus(bytes: &[u8]) -> Result<Parsed, Wrong> {
    let mut parsed = Parsed::default();
    let mut records = None;
    for (number, line) in lines(bytes).filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |what: String| Wrong { line: Some(number), what };
        let line: Line = serde_json::from_str(&line).map_err(|why| wrong(format!("is no JSON object: {why}")))?;
        match line {
            Line { cidr: Some(cidr), .. } => push(&mut parsed.nets, number, &cidr)?,
            Line { kind: Some(kind), records: Some(count), timestamp, copyright, terms, .. } if kind == "metadata" => {
                records = Some(count);
                let date = timestamp.map(|at| format!("of {}", date(at)));
                let notice = [date, copyright, terms].into_iter().flatten().collect::<Vec<_>>().join(", ");
                parsed.notice = (!notice.is_empty()).then(|| notice.chars().take(LONGEST_NOTICE).collect());
            }
            _ => return Err(wrong("has neither cidr nor the number of records".to_owned())),
        }
    }
    match records {
        Some(records) if records == parsed.nets.len() => Ok(parsed),
        Some(records) => {
            let what = format!("it says that it has {records} entries, and has {}", parsed.nets.len());
            Err(Wrong { line: None, what })
        }
        None => Err(Wrong { line: None, what: "it ends without the number of its records".to_owned() }),
    }
}

/// The day of a Unix time, such as `2026-11-24`.
fn date(at: u64) -> String {
    let moment = i64::try_from(at).ok().and_then(|at| time::OffsetDateTime::from_unix_timestamp(at).ok());
    moment.map_or_else(|| at.to_string(), |moment| moment.date().to_string())
}

#[derive(Deserialize)]
struct Banned {
    ipaddress: Vec<String>,
    #[serde(rename = "ID")]
    id: serde_json::Value,
}

/// A batch of APIBAN: `{"ipaddress": ["192.0.2.1", ...], "ID": "1234"}`. The last has the ID `none`.
///
/// # Errors
/// If it is none.
pub fn apiban(bytes: &[u8]) -> Result<Batch, Wrong> {
    let wrong = |what: String| Wrong { line: None, what };
    let Banned { ipaddress, id } =
        serde_json::from_slice(bytes).map_err(|why| wrong(format!("is no answer of APIBAN: {why}")))?;
    let id = match id {
        serde_json::Value::String(text) => text,
        serde_json::Value::Number(number) => number.to_string(),
        _ => return Err(wrong("the ID is neither a text nor a number".to_owned())),
    };
    if id == "none" {
        return Ok(Batch::End);
    }
    // It becomes a part of the address that is asked next.
    if id.is_empty() || id.len() > 40 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(wrong(format!("the ID {} is none", quoted(&id))));
    }
    let mut nets = Vec::with_capacity(ipaddress.len());
    for (n, address) in ipaddress.iter().enumerate() {
        push(&mut nets, n + 1, address)?;
    }
    Ok(Batch::Some { nets, id })
}

fn push(nets: &mut Vec<IpNet>, number: usize, word: &str) -> Result<(), Wrong> {
    let wrong = |what| Err(Wrong { line: Some(number), what });
    match word.parse() {
        Ok(Plain(_)) if nets.len() >= MOST_ENTRIES => wrong(format!("there are more than {MOST_ENTRIES} entries")),
        Ok(Plain(net)) => {
            nets.push(net);
            Ok(())
        }
        Err(()) => wrong(format!("{} is no address or network", quoted(word))),
    }
}

/// The lines with their numbers, counted from 1. Bytes that are no text are shown as such, and are no address.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, std::borrow::Cow<'_, str>)> {
    let lines = bytes.split(|byte| *byte == b'\n').map(String::from_utf8_lossy);
    lines.enumerate().map(|(n, line)| (n + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse::<Plain>().unwrap().0).collect()
    }

    fn error(format: FeedFormat, text: &str) -> String {
        list(format, text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_text_has_an_address_or_network_a_line() {
        let text = "# VoIPBL\r\n45.10.1.1\r\n\n 45.10.2.0/24 ; SBL1\n45.10.3.3,2024\t\n45.10.4.9/24\n2a00:1::/32";
        let parsed = list(FeedFormat::Auto, text.as_bytes()).unwrap();
        assert_eq!(parsed.nets, nets(&["45.10.1.1", "45.10.2.0/24", "45.10.3.3", "45.10.4.0/24", "2a00:1::/32"]));
        assert_eq!(list(FeedFormat::Text, b"").unwrap(), Parsed::default());
    }

    #[test]
    fn what_is_no_list_is_named_with_its_line() {
        let page = "45.10.1.1\n<!DOCTYPE html>\n";
        assert_eq!(error(FeedFormat::Auto, page), "line 2: \"<!DOCTYPE\" is no address or network");
        assert_eq!(error(FeedFormat::Text, "45.10.1"), "line 1: \"45.10.1\" is no address or network");
        assert!(error(FeedFormat::Auto, "{\"error\": 1}").starts_with("line 1: has neither cidr"));
        assert!(error(FeedFormat::Auto, "{\"cidr\": \"45.").starts_with("line 1: is no JSON object: "));
        assert!(list(FeedFormat::Text, &[0x1f, 0x8b, 8, 0]).unwrap_err().line == Some(1));
    }

    const DROP: &str = "{\"cidr\":\"45.10.1.0/24\",\"sblid\":\"SBL1\",\"rir\":\"ripencc\"}\n\
                        {\"cidr\":\"2a00:1::/32\",\"sblid\":\"SBL2\",\"rir\":\"ripencc\"}\n";

    #[test]
    fn json_lines_are_counted_by_their_last() {
        let meta = "{\"type\":\"metadata\",\"timestamp\":1700000000,\"size\":1,\"records\":2,\
                    \"copyright\":\"(c) 2023 A\",\"terms\":\"https://x/\"}\n";
        let parsed = list(FeedFormat::Auto, format!("{DROP}{meta}").as_bytes()).unwrap();
        assert_eq!(parsed.nets, nets(&["45.10.1.0/24", "2a00:1::/32"]));
        assert_eq!(parsed.notice.as_deref(), Some("of 2023-11-14, (c) 2023 A, https://x/"));
        assert_eq!(error(FeedFormat::Spamhaus, DROP), "it ends without the number of its records");
        let half = format!("{}\n{meta}", DROP.lines().next().unwrap());
        assert_eq!(error(FeedFormat::Spamhaus, &half), "it says that it has 2 entries, and has 1");
    }

    #[test]
    fn a_batch_says_where_the_next_begins() {
        let batch = apiban(br#"{"ipaddress":["45.10.1.1","45.10.1.2"],"ID":"1700"}"#).unwrap();
        assert_eq!(batch, Batch::Some { nets: nets(&["45.10.1.1", "45.10.1.2"]), id: "1700".to_owned() });
        assert_eq!(apiban(br#"{"ipaddress":["no new bans"],"ID":"none"}"#), Ok(Batch::End));
        for wrong in [
            &br#"{"ipaddress":["45.10.1.1"],"ID":"../../x"}"#[..],
            br#"{"ipaddress":["45.10.1"],"ID":"1"}"#,
            br#"{"ipaddress":["45.10.1.1"],"ID":null}"#,
            br#"{"ipaddress":["45."#,
            b"<html>",
        ] {
            assert!(apiban(wrong).is_err());
        }
    }

    #[test]
    fn a_list_that_never_ends_is_none() {
        let text = "45.10.1.1\n".repeat(MOST_ENTRIES + 1);
        assert_eq!(error(FeedFormat::Text, &text), "line 2000001: there are more than 2000000 entries");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(addresses in proptest::collection::vec(any::<std::net::IpAddr>(), 0..20)) {
            let entries: Vec<IpNet> = addresses.iter().map(|a| a.to_canonical().into()).collect();
            let text: String = addresses.iter().map(|a| format!("{a} # x\n")).collect();
            prop_assert_eq!(list(FeedFormat::Text, text.as_bytes()).unwrap().nets, entries);
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = (list(FeedFormat::Auto, &bytes), list(FeedFormat::Spamhaus, &bytes), apiban(&bytes));
        }
    }
}
