use super::*;
use crate::console::request::{
    AmiStatus, EvidenceCount, FleetBlock, LinkStatus, Neighbours, Pressure, Tenant, Weather, WeatherKind, Why,
};
use crate::model::block::Reason;
use ipnet::IpNet;

fn local_time(time: UnixTime) -> String {
    format!("2019-06-13 12:01:{:02}", time.0 % 60)
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn line(text: &str, end: u64, reason: Reason) -> BlockLine {
    BlockLine { net: net(text), end: UnixTime(end), reason, origin: None }
}

#[track_caller]
fn assert_page(reply: Reply, ok: bool, lines: &[&str]) {
    let page = page(&reply, local_time, &Atlas::default());
    assert_eq!(page.lines, lines);
    assert_eq!(page.ok, ok);
}

fn some_status() -> Status {
    Status {
        version: "2.0.0",
        uptime: 93_784,
        rules_in_force: true,
        ami: AmiStatus { up: true, since: UnixTime(50), text: "Asterisk Call Manager/11.0.0".to_owned(), silent: None },
        last_event: None,
        events: 12_345,
        tampered: 3,
        blocks_made: 345,
        blocks: 12,
        backend: "iptables 1.8.9 (nf_tables)".to_owned(),
        scope: "udp 5060-5061,".repeat(8) + " tcp 5060-5061",
        last_repair: Some((UnixTime(5), "2 rules were missing for 7 s in the chain of IPv4 and 1 in IPv6".to_owned())),
        journal: "/var/lib/sipban/bans, writable".to_owned(),
        sources: 1,
        homes: 12,
        shield: "off".to_owned(),
        weather: vec![weather()],
        fleet: None,
        lists: vec![ListStatus {
            name: "voipbl".to_owned(),
            entries: 81_000,
            fetched: Some(UnixTime(7)),
            notice: Some("(c) A".to_owned()),
            failure: Some("the server answers 404".to_owned()),
        }],
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
        countries: vec![],
        evidence: vec![
            EvidenceCount {
                what: "unknown_account".to_owned(),
                count: 1,
                limit: 20,
                account: "100\u{1b}[2J".to_owned(),
            },
            EvidenceCount { what: "wrong_password".to_owned(), count: 2, limit: 0, account: String::new() },
        ],
        shield: Some("70 packets over 60 in 10 s".to_owned()),
        lists: vec!["voipbl (2001:db8::/48)".to_owned()],
        block: Some(line("2001:db8::/64", 55, Reason::InvalidAccount)),
        blocked_since: Some(UnixTime(50)),
        packets: Some(1),
        times_blocked: 2,
        next_block: 2400,
        fleet: None,
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
    let whole = Reply::Restored { holder: chain(), blocks: blocks[..1].to_vec(), problems: vec![] };
    assert_page(whole, true, &["Restore rules sipban-udp", lines[0], "End restore rules"]);
    let problems = vec!["line 3: no comma".to_owned()];
    let partly = Reply::Restored { holder: chain(), blocks: vec![], problems };
    assert_page(partly, false, &["Restore rules sipban-udp", "not restored: line 3: no comma", "End restore rules"]);
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
    let flushed = Reply::Flushed { holder: chain() };
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
        Reply::Status(Box::new(some_status())),
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
            "Shield       off",
            "List         voipbl: 81000 entries of [2019-06-13 12:01:07] ((c) A); last not",
            "             taken: the server answers 404",
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
            "Shield       70 packets over 60 in 10 s",
            "List         held by voipbl (2001:db8::/48), and is spared",
            "Blocked      by 2001:db8::/64 since [2019-06-13 12:01:50] until [2019-06-13",
            "             12:01:55] (Invalid Account)",
            "Next block   lasts 00:40:00",
            "Dropped      1 packet",
            "History      blocked 2 times",
        ],
    );
}

#[test]
fn a_block_of_another_pbx_names_it() {
    let block = BlockLine { origin: Some("pbx1, pbx2".to_owned()), ..line("192.0.2.7/32", 55, Reason::FailedAcl) };
    assert_page(Reply::Blocks(vec![block]), true, &["[2019-06-13 12:01:55] 192.0.2.7 (Failed ACL, says pbx1, pbx2)"]);
    assert_page(Reply::FleetFlushed(2), true, &["2 blocks of other PBXs removed"]);
}

#[test]
fn the_fleet_is_a_part_of_the_status() {
    let link = |up, text: &str| LinkStatus { up, since: UnixTime(9), text: text.to_owned() };
    let member = |name: &str, version: Option<&str>, votes| MemberStatus {
        name: name.to_owned(),
        version: version.map(str::to_owned),
        votes,
    };
    let fleet = FleetStatus {
        name: "pbx1".to_owned(),
        members: vec![member("pbx2", Some("2.1.0"), 3), member("pbx3", None, 1)],
        blocks: 3,
        votes: 4,
        reading: link(true, ""),
        writing: link(false, "Connection refused"),
        gone: Some(60),
        behind: 0,
        waiting: 7,
        missed: 0,
        unfit: 0,
        firewall: String::new(),
    };
    let lines = status(&Status { fleet: Some(fleet), ..some_status() }, local_time);
    assert_eq!(
        lines[lines.len() - 5..],
        [
            "Fleet        pbx1 and pbx2 (2.1.0, 3 blocks), pbx3 (SILENT, 1 block)",
            "             3 blocks of others in force, 4 count",
            "             reading works since [2019-06-13 12:01:09]",
            "             writing DOWN since [2019-06-13 12:01:09]: Connection refused",
            "             0 s behind, 7 wait, 0 made up for, 0 refused",
        ]
    );
}

#[test]
fn what_others_say_of_an_address_is_a_part_of_why() {
    let said = |until, spared: Option<&str>| FleetBlock {
        origins: vec!["pbx2".to_owned()],
        until,
        spared: spared.map(str::to_owned),
        packets: Some(3),
    };
    let shown = |fleet| {
        let lines = why::address(&Why { fleet: Some(fleet), ..some_why() }, local_time, &Place::default());
        let fleet =
            lines.iter().skip_while(|line| !line.starts_with("Fleet")).take_while(|line| !line.contains("Next"));
        fleet.cloned().collect::<Vec<_>>().join("\n")
    };
    let blocked = shown(said(Some(UnixTime(55)), None));
    let dropped = "\n             dropped";
    assert_eq!(blocked, format!("Fleet        pbx2 says so: blocked until [2019-06-13 12:01:55], 3 packets{dropped}"));
    let spared = shown(said(None, Some("accounts live here")));
    assert_eq!(spared, "Fleet        pbx2 says so: not blocked, accounts live here");
}

#[test]
fn top_of_the_shield_is_a_list_of_its_own() {
    let shed = Reply::TopShed(vec![(net("2001:db8::/64"), 70)]);
    let lines = [
        "Stranger                                        Shed",
        "2001:db8::/64                                     70",
    ];
    assert_page(shed.clone(), true, &lines);
    assert_eq!(json(&shed, |_| String::new(), &Atlas::default()).lines, [r#"[["2001:db8::/64",70]]"#]);
    let atlas = crate::geo::tests::atlas();
    assert!(page(&shed, local_time, &atlas).lines[1].starts_with(&format!("{}  US, AS64502 A name", lines[1])));
    let located = json(&shed, local_time, &atlas).lines.concat();
    assert!(located.starts_with(r#"[["2001:db8::/64",70,{"country":"US","network":"AS64502 A name"#), "{located}");
}

#[test]
fn top_is_aligned() {
    let top = Top {
        addresses: vec![(net("192.0.2.7/32"), 12)],
        reasons: vec![(Reason::InvalidAccount, 9)],
        accounts: vec![("1000".to_owned(), 3)],
        shed: vec![(net("192.0.2.8/32"), 1_234)],
        members: vec![],
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
            "",
            "Stranger                                        Shed",
            "192.0.2.8                                       1234",
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
    let page = help(&chain());
    assert!(
        page.lines
            .contains(&"flush                => Dump the blocked IP's and clear rules on chain sipban-udp".to_owned())
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
        let page = json(&reply, local_time, &Atlas::default());
        assert!(!page.lines[0].contains(is_command), "{page:?}");
        let value: Value = serde_json::from_str(&page.lines[0]).unwrap();
        assert_eq!(value, serde_json::from_str::<Value>(text).unwrap());
        assert_eq!((page.ok, page.lines.len()), (ok, 1));
    }
    let why = json(&Reply::Why(Box::new(some_why())), local_time, &Atlas::default()).lines.remove(0);
    assert!(why.starts_with('{') && why.contains(r#""address":"2001:db8::7""#) && !why.contains('\u{1b}'), "{why}");
    let status = json(&Reply::Status(Box::new(some_status())), local_time, &Atlas::default()).lines.remove(0);
    assert!(status.contains(r#""version":"2.0.0""#), "{status}");
}

fn chain() -> Holder {
    Holder::Chain("sipban-udp".parse().unwrap())
}

#[test]
fn a_table_is_told_as_one() {
    let holder = Holder::Table("sipban".to_owned());
    let flushed = Reply::Flushed { holder: holder.clone() };
    assert_page(flushed, true, &["nft rules from table inet sipban removed"]);
    assert!(help(&holder).lines.iter().any(|line| line.ends_with("clear rules on table inet sipban")));
}
