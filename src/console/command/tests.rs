use super::*;
use proptest::prelude::*;

fn request(line: &str) -> Request {
    match parse(line) {
        Ok(Command::Ask { request, json: false }) => request,
        other => panic!("{line}: {other:?}"),
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn refusal(line: &str) -> String {
    parse(line).unwrap_err()
}

#[test]
fn the_commands_of_the_table_are_understood() {
    assert_eq!(request("block"), Request::Blocks);
    assert_eq!(request("block 192.0.2.7"), Request::Block(net("192.0.2.7/32"), None));
    assert_eq!(request("block 192.0.2.7 60"), Request::Block(net("192.0.2.7/32"), Some(60)));
    assert_eq!(request("block 2001:db8::1"), Request::Block(net("2001:db8::1/128"), None));
    assert_eq!(request("unblock 192.0.2.0/24"), Request::Unblock(net("192.0.2.0/24")));
    assert_eq!(request("flush"), Request::Flush);
    assert_eq!(request("flush Fleet"), Request::FlushFleet);
    assert!(refusal("unblock 192.0.2.7 fleet").contains("sipban fleet unblock"));
    assert_eq!(request("restore"), Request::Restore);
    assert_eq!(request("save"), Request::Save);
    assert_eq!(request("ping"), Request::Ping);
    assert_eq!(request("uptime"), Request::Uptime);
    assert_eq!(request("wl"), Request::WhiteList);
    assert_eq!(request("wl add pbx.example.org."), Request::WhiteListAdd("pbx.example.org".to_owned()));
    assert_eq!(request("wl add 192.0.2.9/24"), Request::WhiteListAdd("192.0.2.0/24".to_owned()));
    assert_eq!(request("wl del 192.0.2.9/24"), Request::WhiteListDel("192.0.2.9/24".to_owned()));
    assert_eq!(request("status"), Request::Status);
    assert_eq!(request("why 192.0.2.7"), Request::Why("192.0.2.7".parse().unwrap()));
    assert_eq!(request("why 1000"), Request::WhyAccount("1000".to_owned()));
    assert_eq!(request("why anna.b"), Request::WhyAccount("anna.b".to_owned()));
    assert_eq!(request("top"), Request::Top);
    assert_eq!(request("top Shield"), Request::TopShed);
    assert_eq!(parse("top hats"), Err("write 'top' or 'top shield'".to_owned()));
    assert_eq!(parse(""), Ok(Command::Nothing));
    assert_eq!(parse("help"), Ok(Command::Help));
    assert_eq!(parse("exit"), Ok(Command::Exit));
    assert_eq!(parse("quit"), Ok(Command::Exit));
    assert_eq!(parse("ctl"), Ok(Command::Machine));
}

#[test]
fn case_and_spaces_do_not_matter() {
    assert_eq!(request("  BLOCK   2001:DB8::1 \t 60 "), Request::Block(net("2001:db8::1/128"), Some(60)));
    assert_eq!(request("Wl ADD Host.Example"), Request::WhiteListAdd("host.example".to_owned()));
    assert_eq!(parse(" Quit "), Ok(Command::Exit));
}

#[test]
fn json_is_asked_for_before_or_behind() {
    for line in ["--json block", "block --json", "BLOCK --JSON"] {
        assert_eq!(parse(line), Ok(Command::Ask { request: Request::Blocks, json: true }), "{line}");
    }
}

#[test]
fn host_bits_go_and_mapped_addresses_become_ipv4() {
    assert_eq!(request("block 203.0.113.77/24"), Request::Block(net("203.0.113.0/24"), None));
    assert_eq!(request("block ::ffff:203.0.113.77"), Request::Block(net("203.0.113.77/32"), None));
    assert_eq!(request("unblock ::ffff:203.0.113.77/120"), Request::Unblock(net("203.0.113.0/24")));
    assert_eq!(request("why ::ffff:203.0.113.77"), Request::Why("203.0.113.77".parse().unwrap()));
}

#[test]
fn what_is_no_address_is_said_in_the_words_of_the_perl_program() {
    for line in ["block nonsense", "block 1.2.3", "unblock 1.2.3.4.5", "why 1.2.3.4/33", "wl add 1.2.3", "wl add a#b"] {
        let word = line.rsplit(' ').next().unwrap();
        assert_eq!(refusal(line), format!("{word} don't seems like a valid address"));
    }
    assert_eq!(refusal("unblock"), "ip address missing");
    assert_eq!(refusal("why"), "ip address missing");
    assert_eq!(refusal("wl add"), "ip address missing");
}

#[test]
fn networks_too_wide_to_be_meant_are_refused() {
    for line in ["block 0.0.0.0/0", "block 10.0.0.0/7", "block ::/0", "block 2000::/3", "block ::ffff:0.0.0.0/96"] {
        assert!(refusal(line).contains("too wide to block"), "{line}");
    }
    assert_eq!(request("block 10.0.0.0/8"), Request::Block(net("10.0.0.0/8"), None));
    assert_eq!(request("block 2001::/16"), Request::Block(net("2001::/16"), None));
    assert_eq!(request("unblock 0.0.0.0/0"), Request::Unblock(net("0.0.0.0/0")));
}

#[test]
fn seconds_have_bounds() {
    for time in ["0", "2147484", "-1", "1h", "99999999999999999999"] {
        let text = refusal(&format!("block 192.0.2.7 {time}"));
        assert_eq!(text, format!("{time} is not a number of seconds from 1 to 2147483"));
    }
    assert_eq!(request("block 192.0.2.7 2147483"), Request::Block(net("192.0.2.7/32"), Some(MAX_SECONDS)));
}

#[test]
fn other_lines_name_help() {
    assert_eq!(refusal("whoami"), "Invalid command 'whoami': use 'help' for more commands");
    assert!(refusal("flush everything").contains("'help'"));
    assert!(refusal("block 192.0.2.7 60 now").contains("'help'"));
    assert!(refusal("wl remove 192.0.2.7").contains("wl del"));
}

#[test]
fn other_protocols_are_recognised_and_commands_are_not_taken_for_them() {
    for line in [
        "GET / HTTP/1.1",
        "POST /flush http/1.0",
        "PRI * HTTP/2.0",
        "Host: localhost:4451",
        "host:x",
        "OPTIONS rtsp://127.0.0.1:4451/ RTSP/1.0",
        "RTSP/1.0 200 OK",
        "REGISTER sip:127.0.0.1:4451 SIP/2.0",
    ] {
        assert!(is_foreign(line), "{line}");
    }
    for line in [
        "",
        "block",
        "wl add host.example",
        "why 192.0.2.7",
        "get",
        "block 10.0.0.0/8",
        "block fe80::/10",
        "wl add a/1",
    ] {
        assert!(!is_foreign(line), "{line}");
    }
}

proptest! {
    #[test]
    fn any_line_is_understood_or_refused_in_one_short_printable_line(line in "\\PC{0,300}|block \\PC{0,80}") {
        if let Err(text) = parse(&line) {
            prop_assert!(text.chars().count() < 200);
            prop_assert!(!text.contains(char::is_control));
        }
    }

    #[test]
    fn what_may_be_blocked_is_truncated_and_not_wide(bits in any::<u32>(), prefix in 0u8..=32) {
        let line = format!("block {}/{prefix}", std::net::Ipv4Addr::from(bits));
        match parse(&line) {
            Ok(Command::Ask { request: Request::Block(net, None), .. }) => {
                prop_assert!(prefix >= 8);
                prop_assert_eq!(net, net.trunc());
            }
            Err(_) => prop_assert!(prefix < 8),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
