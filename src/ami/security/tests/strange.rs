//! Events in shapes that no known Asterisk writes, among those of honest senders: nobody is blamed for what another's
//! event looks like, and nothing honest is lost.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// A line of an event: key and value.
type Line = (&'static str, String);

const ADDRESSES: [&str; 22] = [
    "IPV4/UDP/198.18.0.1/5060",
    "IPV4/WS/198.18.0.1/5060",
    "IPV4/WSS/198.18.0.1/5060",
    "IPV4/198.18.0.1/5060",
    "IPV4/UDP/198.18.0.1/",
    "IPV4/UDP/198.18.0.1",
    "IPV4/UDP//5060",
    "IPV4/UDP//",
    "IPV4/UDP/(null)/0",
    "IPV4/(null)/198.18.0.1/5060",
    "IPV4/UDP/198.18.0.1/99999",
    "IPV4/UDP/198.18.0.1/5060/1",
    "IPV4/UDP/198.18.0.1:5060",
    "IPV4/UDP/pbx.example/5060",
    "IPV6/UDP/[2001:db8::1]/5060",
    "UNIX//run/asterisk/asterisk.ctl",
    "UNKNOWN/UDP/198.18.0.1/5060",
    "ipv4/udp/198.18.0.1/5060",
    "198.18.0.1",
    "-",
    "(null)",
    "",
];

/// An honest request.
fn honest(name: &str, service: &str, number: u8) -> String {
    let (severity, more) = match name {
        "ChallengeSent" => ("Informational", "Challenge: 3170af41\r\n"),
        "SuccessfulAuth" => ("Informational", "UsingPassword: 1\r\n"),
        "ChallengeResponseFailed" => ("Error", "Challenge: \r\nResponse: \r\nExpectedResponse: \r\n"),
        _ => ("Error", ""),
    };
    format!(
        "Event: {name}\r\nPrivilege: security,all\r\nEventTV: 2026-11-22T10:49:04.200+0000\r\n\
         Severity: {severity}\r\nService: {service}\r\nEventVersion: 1\r\nAccountID: 1000\r\nSessionID: 0x7f516c00e770\r\n\
         LocalAddress: IPV4/UDP/198.18.0.1/5060\r\nRemoteAddress: IPV4/UDP/203.0.113.{number}/37146\r\n{more}\r\n"
    )
}

/// What is wrong with an event besides its addresses.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Nothing,
    Without(&'static str),
    Renamed(&'static str, &'static str),
    Value(&'static str, &'static str),
    Before(&'static str, &'static str),
    AddressesSwapped,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        6 => Just(Fault::Nothing),
        2 => select(vec!["EventTV", "Severity", "Service", "EventVersion", "SessionID", "LocalAddress"])
            .prop_map(Fault::Without),
        2 => select(vec![
            ("Privilege", "Class"), ("EventTV", "Time"), ("AccountID", "Account"), ("SessionID", "Session"),
            ("LocalAddress", "Local"), ("RemoteAddress", "Remote"), ("RemoteAddress", "remoteaddress"),
        ]).prop_map(|(key, name)| Fault::Renamed(key, name)),
        2 => select(vec![
            ("Privilege", "security"), ("EventTV", "(null)"), ("EventTV", "1795344544-200000"), ("Severity", "Grave"),
            ("EventVersion", "two"), ("Service", ""), ("AccountID", "(null)"),
        ]).prop_map(|(key, value)| Fault::Value(key, value)),
        2 => select(vec![
            ("Privilege", "SequenceNumber"), ("SessionID", "Realm"), ("RemoteAddress", "ViaAddress"),
            ("LocalAddress", "SessionID"),
        ]).prop_map(|(key, name)| Fault::Before(key, name)),
        1 => Just(Fault::AddressesSwapped),
    ]
}

fn with(mut lines: Vec<Line>, fault: Fault) -> Vec<Line> {
    let at = |lines: &[Line], key: &str| lines.iter().position(|(name, _)| *name == key);
    match fault {
        Fault::Nothing => {}
        Fault::Without(key) => lines.retain(|(name, _)| *name != key),
        Fault::Renamed(key, name) => {
            if let Some(at) = at(&lines, key) {
                lines[at].0 = name;
            }
        }
        Fault::Value(key, value) => {
            if let Some(at) = at(&lines, key) {
                lines[at].1 = value.to_owned();
            }
        }
        Fault::Before(key, name) => {
            if let Some(at) = at(&lines, key) {
                lines.insert(at, (name, "x".to_owned()));
            }
        }
        Fault::AddressesSwapped => {
            if let (Some(local), Some(remote)) = (at(&lines, "LocalAddress"), at(&lines, "RemoteAddress")) {
                lines.swap(local, remote);
            }
        }
    }
    lines
}

/// What an account holds: what a phone has there, or what an attacker on such an Asterisk writes there.
fn account() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => select(vec!["9999", "100", "sip:100@pbx.example"]).prop_map(str::to_owned),
        1 => select(vec!["x\r\n\r\n", "x\r\n\r\nEvent: Y\r\nX: y", "x\r\nSessionID: b\r\n\r\n"]).prop_map(str::to_owned),
        1 => select(vec!["MemoryLimit", "Newer"]).prop_map(dress),
    ]
}

fn strange() -> impl Strategy<Value = String> {
    let names = vec!["InvalidAccountID", "InvalidPassword", "ChallengeSent", "FailedACL", "RequestBadFormat", "Newer"];
    let services = vec!["SIP", "PJSIP", "AMI", "IAX2"];
    let sessions = vec!["0x7f516c00e770", "1-4242@198.18.0.20"];
    let addresses = (select(ADDRESSES.to_vec()), select(ADDRESSES.to_vec()));
    let more = vec!["", "Challenge: \r\n", "Challenge: c\r\nWeather: fine\r\n", "Event: x\r\n", "AccountID: x\r\n"];
    (select(names), select(services), account(), select(sessions), addresses, select(more), fault()).prop_map(
        |(name, service, account, session, (local, remote), more, fault)| {
            let lines: Vec<Line> = [
                ("Event", name),
                ("Privilege", "security,all"),
                ("EventTV", "2026-11-22T10:49:04.200+0000"),
                ("Severity", "Error"),
                ("Service", service),
                ("EventVersion", "1"),
                ("AccountID", &account),
                ("SessionID", session),
                ("LocalAddress", local),
                ("RemoteAddress", remote),
            ]
            .map(|(key, value)| (key, value.to_owned()))
            .to_vec();
            let lines: String = with(lines, fault).iter().map(|(key, value)| format!("{key}: {value}\r\n")).collect();
            format!("{lines}{more}\r\n")
        },
    )
}

/// Honest requests, numbered, and strange events, in any order.
fn stream() -> impl Strategy<Value = Vec<Result<(&'static str, &'static str), String>>> {
    let names = vec![
        "InvalidAccountID",
        "InvalidPassword",
        "ChallengeSent",
        "SuccessfulAuth",
        "ChallengeResponseFailed",
        "FailedACL",
    ];
    let honest = (select(names), select(vec!["SIP", "PJSIP", "AMI"]));
    vec(prop_oneof![honest.prop_map(Ok), strange().prop_map(Err)], 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn an_event_of_any_shape_takes_nothing_from_an_honest_one_and_blames_nobody_for_it(stream in stream()) {
        let (mut written, mut expected) = (String::new(), Vec::new());
        for (number, event) in (1u8..).zip(&stream) {
            match event {
                Ok((name, service)) => {
                    written += &honest(name, service, number);
                    expected.push((*name, format!("203.0.113.{number}")));
                }
                Err(event) => written += event,
            }
        }
        let told: Vec<_> = read(&written).into_iter().filter(|(_, source)| source.starts_with("203.")).collect();
        let expected: Vec<_> =
            expected.into_iter().map(|(name, source)| (read(&honest(name, "PJSIP", 1))[0].0, source)).collect();
        prop_assert_eq!(told, expected, "{}", written);
    }
}
