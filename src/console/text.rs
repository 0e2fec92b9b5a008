//! A [`Reply`] to the lines of the console, or to one line of JSON.
//!
//! PURE: no clock, no I/O. INVARIANT: every line has passed [`printable`].

mod why;

use serde_json::Value;

use crate::console::request::{Reply, Status, Top};
use crate::console::whois;
use crate::logging::{is_command, printable};
use crate::model::block::BlockLine;
use crate::model::clock::UnixTime;
use crate::model::net::Plain;

/// Local time as `2019-06-13 12:01:55`, without brackets.
pub type LocalTime = fn(UnixTime) -> String;

/// An answer, ready to be shown.
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
pub fn help(chain: &str) -> Page {
    let flush = format!("flush                => Dump the blocked IP's and clear rules on chain {chain}");
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
        "save                 => Dump the blocked IP's and keep the rules",
        "wl add {entry}       => white list an ip address, network or host name",
        "wl del {entry}       => take it out of the white list",
        "status               => show how the program is doing",
        "why {ip address}     => show what is known of an ip address",
        "why {account}        => show where an account lives and who failed for it",
        "top                  => show who was blocked most often",
        "whois {ip address}   => show the WHOIS info of an ip address",
        "{command} --json     => answer with one line of JSON",
    ];
    Page::list(lines.map(str::to_owned))
}

/// The answer in words.
pub fn page(reply: &Reply, local_time: LocalTime) -> Page {
    match reply {
        Reply::Blocks(blocks) => Page::list(blocks.iter().map(|block| block_line(block, local_time))),
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
        Reply::Flushed { chain } => Page::done(format!("iptables rules from chain {chain} removed")),
        Reply::Restored { chain, blocks, problems } => {
            let mut lines = vec![format!("Restore rules {chain}")];
            lines.extend(blocks.iter().map(|block| block_line(block, local_time)));
            lines.extend(problems.iter().map(|problem| format!("not restored: {problem}")));
            lines.push("End restore rules".to_owned());
            Page { ok: problems.is_empty(), ..Page::list(lines) }
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
        Reply::Why(known) => Page::list(why::address(known, local_time)),
        Reply::WhyAccount(known) => Page::list(why::account(known, local_time)),
        Reply::Top(most) => Page::list(top(most)),
        Reply::Failed(text) => Page::failed(text),
    }
}

/// The answer as one line of JSON: what is listed stands for itself, everything else under its name, such as
/// `{"already_blocked":{"net":"192.0.2.7/32","by":"192.0.2.0/24"}}`. Times are Unix times.
pub fn json(reply: &Reply, local_time: LocalTime) -> Page {
    let is_list = matches!(
        reply,
        Reply::Blocks(_)
            | Reply::WhiteList { .. }
            | Reply::Status(_)
            | Reply::Why(_)
            | Reply::WhyAccount(_)
            | Reply::Top(_)
    );
    match serde_json::to_value(reply) {
        Ok(value) if is_list => Page { ok: true, lines: vec![json_text(&content(value))] },
        Ok(value) => Page { ok: page(reply, local_time).ok, lines: vec![json_text(&value)] },
        // A reply is made of texts and numbers: serde_json has no reason to refuse it.
        Err(error) => Page::failed(format!("no JSON for this answer: {error}")),
    }
}

fn content(value: Value) -> Value {
    match value {
        Value::Object(named) => named.into_iter().next().map_or(Value::Null, |(_, content)| content),
        other => other,
    }
}

/// The value as text. serde_json writes DEL, the C1 controls and what turns the direction of writing as they are; they
/// occur in strings only, where an escape means the same.
fn json_text(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(is_command) {
        return text;
    }
    text.chars().map(|c| if is_command(c) { format!("\\u{:04x}", c as u32) } else { c.to_string() }).collect()
}

fn block_line(block: &BlockLine, local_time: LocalTime) -> String {
    format!("{} {} ({})", stamp(block.end, local_time), Plain(block.net), block.reason)
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
    sheet.row("Last event", status.last_event.map_or("none yet".to_owned(), at));
    sheet.row("Events", format!("{}, {} damaged or tampered with", status.events, status.tampered));
    sheet.row("Blocks", format!("{} in force, {} made since start", status.blocks, status.blocks_made));
    let weather = status.weather.iter().map(|weather| format!("{weather}, since {}", at(weather.since)));
    let weather: Vec<String> = weather.collect();
    sheet.row("PBX", if weather.is_empty() { "at peace with its phones".to_owned() } else { weather.join("; ") });
    sheet.row("Evidence", format!("against {}", counted(status.sources as u64, "source")));
    sheet.row("Homes", format!("accounts live at {} addresses", status.homes));
    sheet.row("Firewall", &status.backend);
    sheet.row("Scope", &status.scope);
    sheet.row("Last repair", repair.map_or("none".to_owned(), |(time, text)| format!("{} {text}", at(*time))));
    sheet.row("Journal", &status.journal);
    sheet.lines
}

fn top(top: &Top) -> Vec<String> {
    let row = |name: String, blocks: String| format!("{name:<43} {blocks:>8}");
    let mut lines = vec![row("Address".to_owned(), "Blocks".to_owned())];
    lines.extend(top.addresses.iter().map(|(net, count)| row(Plain(*net).to_string(), count.to_string())));
    lines.push(String::new());
    lines.push(row("Reason".to_owned(), "Blocks".to_owned()));
    lines.extend(top.reasons.iter().map(|(reason, count)| row(reason.to_string(), count.to_string())));
    lines.push(String::new());
    lines.push(row("Account".to_owned(), "Failures".to_owned()));
    lines.extend(top.accounts.iter().map(|(account, count)| row(account.clone(), count.to_string())));
    lines
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

/// Labels and values in two columns, no line wider than a terminal of 80.
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
        // Escaped before it is measured: an escape is wider than what it stands for.
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

/// What fits into a line of a [`Sheet`], and what is left.
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
mod tests {
    use super::*;
    use crate::console::request::{AmiStatus, EvidenceCount, Neighbours, Pressure, Tenant, Weather, WeatherKind, Why};
    use crate::model::block::Reason;
    use ipnet::IpNet;

    fn local_time(time: UnixTime) -> String {
        format!("2019-06-13 12:01:{:02}", time.0 % 60)
    }

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn line(text: &str, end: u64, reason: Reason) -> BlockLine {
        BlockLine { net: net(text), end: UnixTime(end), reason }
    }

    #[track_caller]
    fn assert_page(reply: Reply, ok: bool, lines: &[&str]) {
        let page = page(&reply, local_time);
        assert_eq!(page.lines, lines);
        assert_eq!(page.ok, ok);
    }

    fn some_status() -> Status {
        Status {
            version: "2.0.0",
            uptime: 93_784,
            ami: AmiStatus { up: true, since: UnixTime(50), text: "Asterisk Call Manager/11.0.0".to_owned() },
            last_event: None,
            events: 12_345,
            tampered: 3,
            blocks_made: 345,
            blocks: 12,
            backend: "iptables 1.8.9 (nf_tables)".to_owned(),
            scope: "udp 5060-5061,".repeat(8) + " tcp 5060-5061",
            last_repair: Some((
                UnixTime(5),
                "2 rules were missing for 7 s in the chain of IPv4 and 1 in IPv6".to_owned(),
            )),
            journal: "/var/lib/sipban/bans, writable".to_owned(),
            sources: 1,
            homes: 12,
            weather: vec![weather()],
        }
    }

    fn weather() -> Weather {
        Weather { kind: WeatherKind::Refusing, since: UnixTime(9), affected: 14, heard: 60, spares: true }
    }

    fn some_why() -> Why {
        Why {
            address: "2001:db8::7".parse().unwrap(),
            source: net("2001:db8::/64"),
            protected: None,
            homes: vec![
                Tenant { account: "1000".to_owned(), last_login: UnixTime(1) },
                Tenant { account: String::new(), last_login: UnixTime(2) },
            ],
            account: Some(Pressure { account: "100".to_owned(), addresses: 7, limit: 5, under_attack: true }),
            neighbours: Neighbours { net: net("2001:db8::/48"), addresses: 2, limit: 5 },
            weather: vec![weather()],
            evidence: vec![
                EvidenceCount {
                    what: "unknown_account".to_owned(),
                    count: 1,
                    limit: 20,
                    account: "100\u{1b}[2J".to_owned(),
                },
                EvidenceCount { what: "wrong_password".to_owned(), count: 2, limit: 0, account: String::new() },
            ],
            block: Some(line("2001:db8::/64", 55, Reason::InvalidAccount)),
            blocked_since: Some(UnixTime(50)),
            packets: Some(1),
            times_blocked: 2,
            next_block: 2400,
        }
    }

    #[test]
    fn blocks_are_listed_with_the_time_of_their_end_and_the_reason() {
        let blocks = vec![
            line("221.121.138.167/32", 55, Reason::InvalidAccount),
            line("2001:db8::1/128", 56, Reason::Manual),
            line("203.0.113.0/24", 57, Reason::FailedAcl),
        ];
        let lines = [
            "[2019-06-13 12:01:55] 221.121.138.167 (Invalid Account)",
            "[2019-06-13 12:01:56] 2001:db8::1 (Manual block)",
            "[2019-06-13 12:01:57] 203.0.113.0/24 (Failed ACL)",
        ];
        assert_page(Reply::Blocks(blocks.clone()), true, &lines);
        assert_page(Reply::Blocks(vec![]), true, &[]);
        let whole = Reply::Restored { chain: "sipban-udp".to_owned(), blocks: blocks[..1].to_vec(), problems: vec![] };
        assert_page(whole, true, &["Restore rules sipban-udp", lines[0], "End restore rules"]);
        let problems = vec!["line 3: no comma".to_owned()];
        let partly = Reply::Restored { chain: "sipban-udp".to_owned(), blocks: vec![], problems };
        assert_page(
            partly,
            false,
            &["Restore rules sipban-udp", "not restored: line 3: no comma", "End restore rules"],
        );
    }

    #[test]
    fn orders_are_answered_in_the_words_of_the_perl_program() {
        let (one, wide) = (net("192.0.2.7/32"), net("192.0.2.0/24"));
        assert_page(Reply::Blocked(one), true, &["192.0.2.7 block"]);
        assert_page(Reply::AlreadyBlocked { net: one, by: one }, false, &["192.0.2.7 previously blocked"]);
        let by_wider = Reply::AlreadyBlocked { net: one, by: wide };
        assert_page(by_wider, false, &["192.0.2.7 previously blocked by 192.0.2.0/24"]);
        let listed = Reply::InWhiteList { net: one, entry: "192.0.2.7".to_owned() };
        assert_page(listed, false, &["192.0.2.7 is in the white list"]);
        let covered = Reply::InWhiteList { net: wide, entry: "192.0.2.7 (/etc/sipban.wl)".to_owned() };
        let lines = ["192.0.2.0/24 is in the white list", "protected by 192.0.2.7 (/etc/sipban.wl)"];
        assert_page(covered, false, &lines);
        assert_page(Reply::Unblocked(one), true, &["192.0.2.7 unblocked"]);
        let not = "192.0.2.7 is not previously blocked";
        assert_page(Reply::NotBlocked { net: one, by: None }, false, &[not]);
        let wider = Reply::NotBlocked { net: one, by: Some(wide) };
        assert_page(wider, false, &["192.0.2.7 is not previously blocked, but 192.0.2.0/24 is"]);
        let flushed = Reply::Flushed { chain: "sipban-udp".to_owned() };
        assert_page(flushed, true, &["iptables rules from chain sipban-udp removed"]);
        assert_page(Reply::NoDump, false, &["no dump file to restore rules"]);
        let saved = Reply::Saved { file: "/etc/sipban.dump".to_owned(), blocks: 1 };
        assert_page(saved, true, &["1 block saved in /etc/sipban.dump"]);
        assert_page(Reply::Failed("cannot do it".to_owned()), false, &["cannot do it"]);
    }

    #[test]
    fn ping_and_uptime_read_as_in_the_perl_program() {
        assert_page(Reply::PingSent, true, &["Ping sent"]);
        assert_page(Reply::Pong(0.44), true, &["Pong received in 0.4 ms"]);
        assert_page(Reply::Pong(123.4), true, &["Pong received in 123 ms"]);
        assert_page(Reply::NotConnected, false, &["Ping not sent: there is no connection to Asterisk"]);
        assert_page(Reply::Uptime(7384), true, &["Uptime 02:03:04"]);
        assert_page(Reply::Uptime(86_400 + 7384), true, &["Uptime 1 day 02:03:04"]);
        assert_page(Reply::Uptime(12 * 86_400), true, &["Uptime 12 days 00:00:00"]);
    }

    #[test]
    fn the_white_list_is_shown_as_written_and_then_what_protects_itself() {
        let list = Reply::WhiteList { entries: vec!["10.0.0.0/8".to_owned()], own: vec!["127.0.0.0/8".to_owned()] };
        let own = "127.0.0.0/8                              (always protected)";
        assert_page(list, true, &["10.0.0.0/8", own]);
        let added = Reply::WhiteListAdded { entry: "10.0.0.0/8".to_owned(), freed: vec![net("10.1.1.1/32")] };
        assert_page(added, true, &["10.0.0.0/8 added to the white list", "10.1.1.1 unblocked"]);
        assert_page(Reply::WhiteListHas("a.b".to_owned()), false, &["a.b is previously in the white list"]);
        assert_page(Reply::WhiteListRemoved("a.b".to_owned()), true, &["a.b removed from the white list"]);
        assert_page(Reply::WhiteListLacks("a.b".to_owned()), false, &["a.b is not in the white list"]);
    }

    #[test]
    fn status_is_one_screen() {
        assert_page(
            Reply::Status(some_status()),
            true,
            &[
                "SIPban 2.0.0, up 1 day 02:03:04",
                "AMI          up since [2019-06-13 12:01:50]: Asterisk Call Manager/11.0.0",
                "Last event   none yet",
                "Events       12345, 3 damaged or tampered with",
                "Blocks       12 in force, 345 made since start",
                "PBX          refuses its own phones: 14 of 60 addresses where accounts live,",
                "             since [2019-06-13 12:01:09]",
                "Evidence     against 1 source",
                "Homes        accounts live at 12 addresses",
                "Firewall     iptables 1.8.9 (nf_tables)",
                "Scope        udp 5060-5061,udp 5060-5061,udp 5060-5061,udp 5060-5061,udp",
                "             5060-5061,udp 5060-5061,udp 5060-5061,udp 5060-5061, tcp 5060-5061",
                "Last repair  [2019-06-13 12:01:05] 2 rules were missing for 7 s in the chain of",
                "             IPv4 and 1 in IPv6",
                "Journal      /var/lib/sipban/bans, writable",
            ],
        );
    }

    #[test]
    fn why_says_all_that_is_known_and_nothing_that_moves_the_cursor() {
        assert_page(
            Reply::Why(Box::new(some_why())),
            true,
            &[
                "2001:db8::7, counted together with all of 2001:db8::/64",
                "Protected    no",
                "Lives here   1000 (last login [2019-06-13 12:01:01]), an account (last login",
                "             [2019-06-13 12:01:02])",
                "Evidence     unknown_account 1 of 20, last for 100\\u{1b}[2J",
                "             wrong_password 2 does not block here",
                "Account      100: 7 addresses where it does not live failed for it in a day, of",
                "             5: under attack, the first failure blocks where nobody lives",
                "Neighbours   2 of 2001:db8::/48 failed in a day, of 5",
                "PBX          refuses its own phones: 14 of 60 addresses where accounts live,",
                "             since [2019-06-13 12:01:09], so patience is long",
                "Blocked      by 2001:db8::/64 since [2019-06-13 12:01:50] until [2019-06-13",
                "             12:01:55] (Invalid Account)",
                "Next block   lasts 00:40:00",
                "Dropped      1 packet",
                "History      blocked 2 times",
            ],
        );
    }

    #[test]
    fn top_is_aligned() {
        let top = Top {
            addresses: vec![(net("192.0.2.7/32"), 12)],
            reasons: vec![(Reason::InvalidAccount, 9)],
            accounts: vec![("1000".to_owned(), 3)],
        };
        assert_page(
            Reply::Top(top),
            true,
            &[
                "Address                                       Blocks",
                "192.0.2.7                                         12",
                "",
                "Reason                                        Blocks",
                "Invalid Account                                    9",
                "",
                "Account                                     Failures",
                "1000                                               3",
            ],
        );
    }

    #[test]
    fn no_line_of_a_sheet_is_wider_than_80_nor_loses_a_word() {
        for length in 1..300 {
            let mut sheet = Sheet::titled(String::new());
            sheet.row("label", "x".repeat(length) + " " + &"\u{1b}".repeat(length) + " end");
            assert!(sheet.lines.iter().all(|line| line.chars().count() <= 80), "{:?}", sheet.lines);
            assert_eq!(sheet.lines.concat().matches('x').count(), length);
            assert!(sheet.lines.concat().ends_with("end"));
        }
    }

    #[test]
    fn help_fits_a_terminal_and_names_the_chain() {
        let page = help("sipban-udp");
        assert!(
            page.lines.contains(
                &"flush                => Dump the blocked IP's and clear rules on chain sipban-udp".to_owned()
            )
        );
        assert!(page.lines.iter().all(|line| line.len() <= 81), "{:?}", page.lines);
    }

    #[test]
    fn json_lists_stand_for_themselves_and_the_rest_under_a_name() {
        let blocks = Reply::Blocks(vec![line("192.0.2.7/32", 55, Reason::Manual)]);
        let cases = [
            (blocks, true, r#"[{"end":55,"net":"192.0.2.7/32","reason":"Manual block"}]"#),
            (Reply::Blocked(net("192.0.2.7/32")), true, r#"{"blocked":"192.0.2.7/32"}"#),
            (Reply::NoDump, false, r#""no_dump""#),
            (Reply::Failed("a\n\u{9b}b\u{202e}".to_owned()), false, r#"{"failed":"a\n\u009bb\u202e"}"#),
        ];
        for (reply, ok, text) in cases {
            let page = json(&reply, local_time);
            assert!(!page.lines[0].contains(is_command), "{page:?}");
            let value: Value = serde_json::from_str(&page.lines[0]).unwrap();
            assert_eq!(value, serde_json::from_str::<Value>(text).unwrap());
            assert_eq!((page.ok, page.lines.len()), (ok, 1));
        }
        let why = json(&Reply::Why(Box::new(some_why())), local_time).lines.remove(0);
        assert!(why.starts_with('{') && why.contains(r#""address":"2001:db8::7""#) && !why.contains('\u{1b}'), "{why}");
        let status = json(&Reply::Status(some_status()), local_time).lines.remove(0);
        assert!(status.contains(r#""version":"2.0.0""#), "{status}");
    }
}
