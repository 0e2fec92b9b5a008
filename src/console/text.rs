//! Writes a [`Reply`] as lines of the console, or as one line of JSON.
//!
//! PURE: no clock, no I/O. INVARIANT: every line has passed [`printable`].

mod why;

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::Serialize;
use serde_json::{Value, json};

use crate::console::request::{FleetStatus, ListStatus, MemberStatus, Reply, Status, Top};
use crate::console::whois;
use crate::geo::{Atlas, Place};
use crate::logging::{is_command, printable};
use crate::model::block::BlockLine;
use crate::model::clock::UnixTime;
use crate::model::net::Plain;
use crate::model::target::Holder;

/// Local time as `2019-06-13 12:01:55`, without brackets.
pub type LocalTime = fn(UnixTime) -> String;

/// An answer as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Whether what was asked for was done.
    pub ok: bool,
    /// Lines without their ends.
    pub lines: Vec<String>,
}

impl Page {
    /// An answer of one line to something that was done.
    pub fn done(line: impl AsRef<str>) -> Page {
        Page { ok: true, lines: vec![printable(line.as_ref())] }
    }

    /// An answer of one line to something that was not done.
    pub fn failed(line: impl AsRef<str>) -> Page {
        Page { ok: false, lines: vec![printable(line.as_ref())] }
    }

    fn list(lines: impl IntoIterator<Item = String>) -> Page {
        Page { ok: true, lines: lines.into_iter().map(|line| printable(&line)).collect() }
    }
}

/// The commands. The first nine are those that users of the Perl program know, unchanged.
pub fn help(holder: &Holder) -> Page {
    let flush = format!("flush                => Dump the blocked IP's and clear rules on {holder}");
    let lines = [
        "Commands:",
        "",
        "block                => List blocked ip address",
        "block {ip address}   => block ip address",
        "unblock [ip address] => unblock ip address",
        &flush,
        "restore              => If exists a dump file restore the rules from it",
        "ping                 => Send ping to Asterisk AMI",
        "uptime               => show the program uptime",
        "wl                   => show white list ip address",
        "exit/quit            => exit console session",
        "block {net} [time]   => block ip address or network, for so many seconds",
        "flush fleet          => clear what other PBXs of the fleet block",
        "save                 => Dump the blocked IP's and keep the rules",
        "wl add {entry}       => white list an ip address, network or host name",
        "wl del {entry}       => take it out of the white list",
        "status               => show how the program is doing",
        "why {ip address}     => show what is known of an ip address",
        "why {account}        => show where an account lives and who failed for it",
        "top                  => show who was blocked most often",
        "top shield           => show from whom the shield takes most packets",
        "whois {ip address}   => show the WHOIS info of an ip address",
        "{command} --json     => answer with one line of JSON",
    ];
    Page::list(lines.map(str::to_owned))
}

/// The answer in words. `atlas` says where addresses are.
pub fn page(reply: &Reply, local_time: LocalTime, atlas: &Atlas) -> Page {
    match reply {
        Reply::Blocks(blocks) => Page::list(blocks.iter().map(|block| block_line(block, local_time, atlas))),
        Reply::Blocked(net) => Page::done(format!("{} block", Plain(*net))),
        Reply::AlreadyBlocked { net, by } if net == by => Page::failed(format!("{} previously blocked", Plain(*net))),
        Reply::AlreadyBlocked { net, by } => {
            Page::failed(format!("{} previously blocked by {}", Plain(*net), Plain(*by)))
        }
        Reply::InWhiteList { net, entry } => {
            let mut page = Page::failed(format!("{} is in the white list", Plain(*net)));
            if *entry != Plain(*net).to_string() {
                page.lines.push(printable(&format!("protected by {entry}")));
            }
            page
        }
        Reply::Unblocked(net) => Page::done(format!("{} unblocked", Plain(*net))),
        Reply::NotBlocked { net, by: None } => Page::failed(format!("{} is not previously blocked", Plain(*net))),
        Reply::NotBlocked { net, by: Some(by) } => {
            Page::failed(format!("{} is not previously blocked, but {} is", Plain(*net), Plain(*by)))
        }
        Reply::Flushed { holder } => Page::done(format!("{} rules from {holder} removed", holder.program())),
        Reply::Restored { holder, blocks, problems } => {
            let mut lines = vec![format!("Restore rules {}", holder.name())];
            lines.extend(blocks.iter().map(|block| block_line(block, local_time, atlas)));
            lines.extend(problems.iter().map(|problem| format!("not restored: {problem}")));
            lines.push("End restore rules".to_owned());
            Page { ok: problems.is_empty(), ..Page::list(lines) }
        }
        Reply::FleetFlushed(blocks) => {
            Page::done(format!("{} of other PBXs removed", counted(*blocks as u64, "block")))
        }
        Reply::NoDump => Page::failed("no dump file to restore rules"),
        Reply::Saved { file, blocks } => Page::done(format!("{} saved in {file}", counted(*blocks as u64, "block"))),
        Reply::PingSent => Page::done("Ping sent"),
        Reply::Pong(milliseconds) if *milliseconds < 10.0 => {
            Page::done(format!("Pong received in {milliseconds:.1} ms"))
        }
        Reply::Pong(milliseconds) => Page::done(format!("Pong received in {milliseconds:.0} ms")),
        Reply::NotConnected => Page::failed("Ping not sent: there is no connection to Asterisk"),
        Reply::Uptime(seconds) => Page::done(format!("Uptime {}", duration(*seconds))),
        Reply::WhiteList { entries, own } => {
            let own = own.iter().map(|entry| format!("{entry:<40} (always protected)"));
            Page::list(entries.iter().cloned().chain(own))
        }
        Reply::WhiteListAdded { entry, freed } => {
            let freed = freed.iter().map(|net| format!("{} unblocked", Plain(*net)));
            Page::list([format!("{entry} added to the white list")].into_iter().chain(freed))
        }
        Reply::WhiteListHas(entry) => Page::failed(format!("{entry} is previously in the white list")),
        Reply::WhiteListRemoved(entry) => Page::done(format!("{entry} removed from the white list")),
        Reply::WhiteListLacks(entry) => Page::failed(format!("{entry} is not in the white list")),
        Reply::Status(found) => Page::list(status(found, local_time)),
        Reply::Why(known) => Page::list(why::address(known, local_time, &atlas.place(known.address))),
        Reply::WhyAccount(known) => Page::list(why::account(known, local_time)),
        Reply::Top(most) => Page::list(top(most, atlas)),
        Reply::TopShed(shed) => Page::list(top_shed(shed, atlas)),
        Reply::Failed(text) => Page::failed(text),
    }
}

/// The answer as one line of JSON: what is listed stands for itself, everything else under its name, such as
/// `{"already_blocked":{"net":"192.0.2.7/32","by":"192.0.2.0/24"}}`. Times are Unix times.
pub fn json(reply: &Reply, local_time: LocalTime, atlas: &Atlas) -> Page {
    let is_list = matches!(
        reply,
        Reply::Blocks(_)
            | Reply::WhiteList { .. }
            | Reply::Status(_)
            | Reply::Why(_)
            | Reply::WhyAccount(_)
            | Reply::Top(_)
            | Reply::TopShed(_)
    );
    match located(reply, atlas) {
        Ok(value) if is_list => Page { ok: true, lines: vec![json_text(&content(value))] },
        Ok(value) => Page { ok: page(reply, local_time, atlas).ok, lines: vec![json_text(&value)] },
        // Cannot be: a reply is made of texts and numbers, which serde_json does not refuse.
        Err(error) => Page::failed(format!("no JSON for this answer: {error}")),
    }
}

/// The answer, with what is known of where the addresses in its lists are.
fn located(reply: &Reply, atlas: &Atlas) -> serde_json::Result<Value> {
    #[derive(Serialize)]
    struct Located<T, P> {
        #[serde(flatten)]
        what: T,
        #[serde(flatten)]
        place: P,
    }
    match reply {
        Reply::Blocks(blocks) if !atlas.is_empty() => {
            let located = blocks.iter().map(|what| Located { what, place: atlas.place(what.net.addr()) });
            Ok(json!({ "blocks": located.map(serde_json::to_value).collect::<serde_json::Result<Vec<_>>>()? }))
        }
        Reply::Why(what) if !atlas.is_empty() => {
            serde_json::to_value(Located { what, place: atlas.place(what.address) }).map(|why| json!({ "why": why }))
        }
        Reply::TopShed(shed) if !atlas.is_empty() => {
            let located = shed.iter().map(|(net, count)| (net, count, atlas.place(net.addr())));
            Ok(json!({ "top_shed": located.map(serde_json::to_value).collect::<serde_json::Result<Vec<_>>>()? }))
        }
        Reply::Top(what) if !atlas.is_empty() => {
            let nets = what.addresses.iter().chain(&what.shed).map(|(net, _)| *net);
            let places: BTreeMap<String, Place> =
                nets.map(|net| (Plain(net).to_string(), atlas.place(net.addr()))).collect();
            serde_json::to_value(Located { what, place: json!({ "places": places }) }).map(|top| json!({ "top": top }))
        }
        reply => serde_json::to_value(reply),
    }
}

fn content(value: Value) -> Value {
    match value {
        Value::Object(named) => named.into_iter().next().map_or(Value::Null, |(_, content)| content),
        other => other,
    }
}

/// The value as text. serde_json does not escape DEL, the C1 controls and what turns the direction of writing. They
/// occur in strings only, where an escape means the same.
fn json_text(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(is_command) {
        return text;
    }
    text.chars().map(|c| if is_command(c) { format!("\\u{:04x}", c as u32) } else { c.to_string() }).collect()
}

fn block_line(block: &BlockLine, local_time: LocalTime, atlas: &Atlas) -> String {
    let origin = block.origin.as_ref().map_or(String::new(), |origin| format!(", says {origin}"));
    let line = format!("{} {} ({}{origin})", stamp(block.end, local_time), Plain(block.net), block.reason);
    let place = atlas.place(block.net.addr());
    if place.is_empty() { line } else { format!("{line} {place}") }
}

fn stamp(time: UnixTime, local_time: LocalTime) -> String {
    format!("[{}]", local_time(time))
}

/// `1 day 02:03:04`, without the days if there are none.
fn duration(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days == 0 { clock } else { format!("{} {clock}", counted(days, "day")) }
}

/// `1 block`, `2 blocks`.
fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn status(status: &Status, local_time: LocalTime) -> Vec<String> {
    let at = |time: UnixTime| stamp(time, local_time);
    let ami = &status.ami;
    let repair = status.last_repair.as_ref();
    let mut sheet = Sheet::titled(format!("SIPban {}, up {}", status.version, duration(status.uptime)));
    sheet.row("AMI", format!("{} since {}: {}", if ami.up { "up" } else { "DOWN" }, at(ami.since), ami.text));
    if let Some(why) = &ami.silent {
        sheet.row("", format!("SILENT: {why}"));
    }
    sheet.row("Last event", status.last_event.map_or("none yet".to_owned(), at));
    sheet.row("Events", format!("{}, {} damaged or tampered with", status.events, status.tampered));
    sheet.row("Blocks", format!("{} in force, {} made since start", status.blocks, status.blocks_made));
    let weather = status.weather.iter().map(|weather| format!("{weather}, since {}", at(weather.since)));
    let weather: Vec<String> = weather.collect();
    sheet.row("PBX", if weather.is_empty() { "at peace with its phones".to_owned() } else { weather.join("; ") });
    sheet.row("Evidence", format!("against {}", counted(status.sources as u64, "source")));
    sheet.row("Homes", format!("accounts live at {} addresses", status.homes));
    sheet.row("Shield", &status.shield);
    for list in &status.lists {
        sheet.row("List", listed(list, local_time));
    }
    sheet.row("Firewall", &status.backend);
    sheet.row("Scope", &status.scope);
    sheet.row("Last repair", repair.map_or("none".to_owned(), |(time, text)| format!("{} {text}", at(*time))));
    sheet.row("Journal", &status.journal);
    if let Some(fleet) = &status.fleet {
        fleet_status(fleet, &mut sheet, local_time);
    }
    sheet.lines
}

fn fleet_status(fleet: &FleetStatus, sheet: &mut Sheet, local_time: LocalTime) {
    let member = |member: &MemberStatus| match &member.version {
        Some(version) => format!("{} ({version}, {})", member.name, counted(member.votes as u64, "block")),
        None => format!("{} (SILENT, {})", member.name, counted(member.votes as u64, "block")),
    };
    let members: Vec<String> = fleet.members.iter().map(member).collect();
    let others = if members.is_empty() { "nobody else".to_owned() } else { members.join(", ") };
    sheet.row("Fleet", format!("{} and {others}", fleet.name));
    sheet.row("", format!("{} of others in force, {} count", counted(fleet.blocks as u64, "block"), fleet.votes));
    for (what, link) in [("reading", &fleet.reading), ("writing", &fleet.writing)] {
        let since = stamp(link.since, local_time);
        let state = if link.up { format!("works since {since}") } else { format!("DOWN since {since}: {}", link.text) };
        sheet.row("", format!("{what} {state}"));
    }
    if fleet.behind > 0 || fleet.waiting > 0 || fleet.missed > 0 || fleet.unfit > 0 {
        let FleetStatus { behind, waiting, missed, unfit, .. } = fleet;
        sheet.row("", format!("{behind} s behind, {waiting} wait, {missed} made up for, {unfit} refused"));
    }
}

fn listed(list: &ListStatus, local_time: LocalTime) -> String {
    let ListStatus { name, entries, fetched, notice, failure } = list;
    let of = fetched.map_or(String::new(), |at| format!(" of {}", stamp(at, local_time)));
    let notice = notice.as_ref().map_or(String::new(), |notice| format!(" ({notice})"));
    let failure = failure.as_ref().map_or(String::new(), |failure| format!("; last not taken: {failure}"));
    format!("{name}: {entries} entries{of}{notice}{failure}")
}

fn top(top: &Top, atlas: &Atlas) -> Vec<String> {
    let mut lines = vec![row("Address".to_owned(), "Blocks".to_owned())];
    lines.extend(top.addresses.iter().map(|(net, count)| placed(net, *count, atlas)));
    lines.push(String::new());
    lines.push(row("Reason".to_owned(), "Blocks".to_owned()));
    lines.extend(top.reasons.iter().map(|(reason, count)| row(reason.to_string(), count.to_string())));
    lines.push(String::new());
    lines.push(row("Account".to_owned(), "Failures".to_owned()));
    lines.extend(top.accounts.iter().map(|(account, count)| row(account.clone(), count.to_string())));
    if !top.shed.is_empty() {
        lines.push(String::new());
        lines.extend(top_shed(&top.shed, atlas));
    }
    if !top.members.is_empty() {
        lines.push(String::new());
        lines.push(row("Other PBX".to_owned(), "Blocks".to_owned()));
        lines.extend(top.members.iter().map(|(name, count)| row(name.clone(), count.to_string())));
    }
    lines
}

fn top_shed(shed: &[(IpNet, u64)], atlas: &Atlas) -> Vec<String> {
    let strangers = shed.iter().map(|(net, count)| placed(net, *count, atlas));
    [row("Stranger".to_owned(), "Shed".to_owned())].into_iter().chain(strangers).collect()
}

fn placed(net: &IpNet, count: u64, atlas: &Atlas) -> String {
    let place = atlas.place(net.addr());
    format!("{:<43} {count:>8}  {place}", Plain(*net).to_string()).trim_end().to_owned()
}

fn row(name: String, count: String) -> String {
    format!("{name:<43} {count:>8}")
}

/// Who holds an address, in words or as one line of JSON.
pub fn whois(found: &whois::Holder, as_json: bool) -> Page {
    if as_json {
        return serde_json::to_value(found).map_or_else(
            |error| Page::failed(format!("no JSON for this answer: {error}")),
            |value| Page { ok: true, lines: vec![json_text(&value)] },
        );
    }
    let title = format!("WHOIS information: {} ({})", found.address, found.server);
    Page::list([title, String::new()].into_iter().chain(found.lines.iter().cloned()))
}

/// Labels and values in two columns. No line is wider than 80 characters.
struct Sheet {
    lines: Vec<String>,
}

impl Sheet {
    const LABEL: usize = 12;
    const VALUE: usize = 80 - Sheet::LABEL - 1;

    fn titled(title: String) -> Sheet {
        Sheet { lines: vec![title] }
    }

    /// A value that does not fit goes on in the next line, at a space if there is one.
    fn row(&mut self, label: &str, value: impl AsRef<str>) {
        // It is escaped before it is measured, because an escape is wider than what it stands for.
        let value: Vec<char> = printable(value.as_ref()).trim().chars().collect();
        let mut rest = &value[..];
        let mut label = label;
        loop {
            let (line, after) = split(rest);
            let line: String = line.iter().collect();
            self.lines.push(format!("{label:<width$} {line}", width = Sheet::LABEL).trim_end().to_owned());
            if after.is_empty() {
                return;
            }
            (rest, label) = (after, "");
        }
    }
}

/// Splits a text into what fits into a line of a [`Sheet`] and what is left.
fn split(text: &[char]) -> (&[char], &[char]) {
    if text.len() <= Sheet::VALUE {
        return (text, &[]);
    }
    match text[..=Sheet::VALUE].iter().rposition(|&c| c == ' ') {
        Some(space) if space > 0 => (&text[..space], &text[space + 1..]),
        _ => text.split_at(Sheet::VALUE),
    }
}

#[cfg(test)]
mod tests;
