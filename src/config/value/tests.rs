use super::*;
use proptest::prelude::*;

fn split(text: &str) -> Vec<String> {
    words(text).unwrap()
}

#[test]
fn numbers_out_of_range_are_refused() {
    assert_eq!(port("65535"), Ok(65535));
    for text in ["0", "65536", "-1", "", "5038x", "99999999999999999999999"] {
        assert!(port(text).is_err(), "{text}");
    }
    assert!(seconds("0").is_err());
    assert_eq!(limit("0"), Ok(0));
}

#[test]
fn a_name_leaves_room_for_what_others_of_ours_have_behind_it() {
    let most = |read: &dyn Fn(&str) -> bool| (1..60).take_while(|length| read(&"x".repeat(*length))).count();
    assert_eq!(most(&|name| set_name(name).is_ok()), 31 - "-admitted4".len());
    assert_eq!(most(&|name| chain(name).is_ok()), 28 - "-measure".len());
    assert_eq!(most(&|name| table(name).is_ok()), 28 - "-fleet".len());
    let error = chain(&"x".repeat(21)).unwrap_err();
    assert!(error.starts_with("expected a name of at most 20 letters, digits, - _ or ., "), "{error}");
}

#[test]
fn the_rule_of_older_files_for_ipv6_has_types_of_its_own() {
    assert_eq!(rule6_drops("DROP"), Ok(true));
    assert_eq!(rule6_drops("REJECT --reject-with icmp6-policy-fail"), Ok(false));
    assert!(rule6_drops("REJECT --reject-with icmp-port-unreachable").is_err());
    assert!(rule6_drops("ACCEPT").is_err());
    let error = rule("ACCEPT").unwrap_err();
    assert_eq!(error, "expected DROP, REJECT or REJECT --reject-with TYPE, found \"ACCEPT\"");
}

#[test]
fn a_scope_is_split_as_a_shell_would() {
    assert_eq!(scope(""), Ok(ScopeConfig::All));
    assert_eq!(scope("Auto"), Ok(ScopeConfig::Auto));
    let sip = ["-p", "udp", "--dport", "5060"].map(str::to_owned).into();
    assert_eq!(scope("-p udp  --dport 5060 "), Ok(ScopeConfig::Match(sip)));
    assert_eq!(
        split("-m comment --comment 'it is' \"a \\\" b\"c d\\ e"),
        ["-m", "comment", "--comment", "it is", "a \" bc", "d e"]
    );
    assert_eq!(split("$(reboot) `reboot` ; *"), ["$(reboot)", "`reboot`", ";", "*"]);
    assert_eq!(split("a '' b"), ["a", "", "b"]);
    assert!(words("-m 'x").is_err());
}

#[test]
fn a_scope_only_matches() {
    for text in [
        "-p udp -m multiport --dports 5060,5061",
        "! -s 10.0.0.0/8",
        "-p tcp --syn",
        "-pudp",
        "-m policy --dir in --pol ipsec --mode tunnel",
        "-m set --match-set x src",
        "-i eth0",
    ] {
        assert!(matches!(scope(text), Ok(ScopeConfig::Match(_))), "{text}");
    }
    for text in [
        "-j ACCEPT",
        "-jACCEPT",
        "--jump ACCEPT",
        "--jump=ACCEPT",
        "--ju ACCEPT",
        "-p udp -g x",
        "--goto x",
        "-A INPUT",
        "-p udp -F",
        "--flush",
        "-t nat",
        "-fj ACCEPT",
        "-vj ACCEPT",
        "-p udp -",
        "-p udp --",
        "udp 5060",
        "; reboot",
        "-m 'x",
    ] {
        assert!(scope(text).is_err(), "{text}");
    }
}

#[test]
fn an_interface_is_a_name_or_any() {
    assert_eq!(interface("any"), Ok(None));
    assert_eq!(interface(""), Ok(None));
    assert_eq!(interface("eno1").unwrap().as_deref(), Some("eno1"));
    assert_eq!(interface("tun+").unwrap().as_deref(), Some("tun+"));
    for text in ["-i", "a b", "averyveryverylongname", "a/b", "!eth0", ".."] {
        assert!(interface(text).is_err(), "{text}");
    }
}

#[test]
fn a_host_is_an_address_or_a_name() {
    for (text, host_name) in [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("localhost", "localhost"),
        ("SIP.Example.COM.", "sip.example.com"),
    ] {
        assert_eq!(host(text).as_deref(), Ok(host_name));
    }
    for text in ["", ".", "a..b", "-a.b", "a-.b", "10.0.0.300", "10.1.2.3-10.1.2.9", "10.1.*", "a b", "a:b", "ñ.mx"] {
        assert!(host(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn words_quoted_for_a_shell_come_back(given in proptest::collection::vec("[^\\pC]{0,12}", 0..6)) {
        let text: Vec<String> = given.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
        prop_assert_eq!(split(&text.join(" ")), given);
    }

    #[test]
    fn no_value_panics(text in any::<String>()) {
        let _ = (scope(&text), rule(&text), chain(&text), interface(&text), host(&text), names(&text), limit(&text));
    }
}
