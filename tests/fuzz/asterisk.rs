//! Asterisk's side of AMI: security events, written as `main/security_events.c` of 16.28 and 22.10 writes them, with
//! what an attacker can put into them.

use std::io::Write;
use std::net::IpAddr;

/// One event as Asterisk has it before it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Such as `InvalidPassword`.
    pub name: &'static str,
    /// `PJSIP`, `SIP` or `AMI`.
    pub service: &'static str,
    /// Milliseconds of 2026-11-22.
    pub time: u32,
    /// The bytes that reach AccountID.
    pub account: Vec<u8>,
    /// The bytes that reach SessionID.
    pub session: Vec<u8>,
    /// Whom the request came from.
    pub remote: IpAddr,
    /// Such as `UDP`.
    pub transport: &'static str,
    /// The fields behind RemoteAddress.
    pub more: Vec<(&'static str, Vec<u8>)>,
}

/// Events that Asterisk writes when nothing is wrong; the others are errors.
const INFORMATIONAL: [&str; 2] = ["ChallengeSent", "SuccessfulAuth"];

impl Event {
    /// Appends what Asterisk sends, in one write.
    pub fn write(&self, out: &mut Vec<u8>) {
        let local = match self.remote {
            IpAddr::V4(_) => "IPV4",
            IpAddr::V6(_) => "IPV6",
        };
        let (host, port) = match (self.remote, self.service) {
            (_, "AMI") => ("127.0.0.1", 5038),
            (IpAddr::V4(_), _) => ("198.18.0.1", 5060),
            (IpAddr::V6(_), _) => ("2001:db8:18::1", 5060),
        };
        let own_family = if host.contains(':') { "IPV6" } else { "IPV4" };
        let mut line = |key: &str, value: &[u8]| out.extend([key.as_bytes(), b": ", value, b"\r\n"].concat());
        line("Event", self.name.as_bytes());
        line("Privilege", b"security,all");
        line("EventTV", event_time(self.time).as_bytes());
        line("Severity", if INFORMATIONAL.contains(&self.name) { b"Informational" } else { b"Error" });
        line("Service", self.service.as_bytes());
        line("EventVersion", if self.name == "InvalidPassword" { b"2" } else { b"1" });
        // The one event whose account comes last.
        let late = self.name == "RequestBadFormat";
        if !late {
            line("AccountID", &self.account);
        }
        line("SessionID", &self.session);
        line("LocalAddress", format!("{own_family}/{}/{host}/{port}", self.transport).as_bytes());
        line("RemoteAddress", format!("{local}/{}/{}/40000", self.transport, self.remote).as_bytes());
        for (key, value) in &self.more {
            line(key, value);
        }
        if late {
            line("AccountID", &self.account);
        }
        out.extend(b"\r\n");
    }
}

/// What a Ping is answered with, now and then between two events.
pub fn write_pong(out: &mut Vec<u8>) {
    write!(out, "Response: Success\r\nActionID: sipban-0123456789abcdef\r\nPing: Pong\r\nTimestamp: 1.0\r\n\r\n")
        .expect("writing to memory does not fail");
}

/// The fields behind RemoteAddress of an event of this name; `free` is what the attacker has for those that are his.
pub fn more(name: &str, service: &str, free: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let zero = || b"1970-01-01T00:00:00.000+0000".to_vec();
    let mut more = match (name, service) {
        ("ChallengeSent", "PJSIP") => vec![("Challenge", Vec::new())],
        ("ChallengeSent", _) => vec![("Challenge", b"3170af41".to_vec())],
        ("SuccessfulAuth", "AMI") => vec![("UsingPassword", b"0".to_vec())],
        ("SuccessfulAuth", _) => vec![("UsingPassword", b"1".to_vec())],
        ("ChallengeResponseFailed", _) => vec![
            ("Challenge", without(free, b"\n", 63)),
            ("Response", without(free, b"\n", 255)),
            ("ExpectedResponse", Vec::new()),
        ],
        ("InvalidPassword", "SIP") => vec![
            ("Challenge", b"3170af41".to_vec()),
            ("ReceivedChallenge", b"3170af41".to_vec()),
            ("ReceivedHash", without(free, b"\r\n", 600)),
        ],
        ("RequestNotAllowed" | "RequestBadFormat", _) => vec![("RequestType", without(free, b"\r\n", 63))],
        ("RequestNotSupported", _) => vec![("RequestType", b"registrar_requested_aor_not_found".to_vec())],
        ("InvalidTransport", _) => vec![("AttemptedTransport", b"UDP".to_vec())],
        _ => Vec::new(),
    };
    if service == "AMI" {
        more.push(("SessionTV", zero()));
    }
    more
}

/// What reaches the account of a request whose user name is to become `wish`: PJSIP decodes 36 bytes of a From user.
pub fn pjsip_user(wish: &[u8]) -> Vec<u8> {
    whole_letters(until_nul(wish).iter().copied().take(36).collect())
}

/// Encoded bytes of a To user that chan_sip has room for.
pub const SIP_ROOM: usize = 247;

/// chan_sip decodes a To user.
pub fn sip_user(wish: &[u8]) -> Vec<u8> {
    let user = until_nul(wish);
    let fits = (0..=user.len()).rev().find(|end| encoded_length(&user[..*end]) <= SIP_ROOM);
    whole_letters(user[..fits.unwrap_or(0)].to_vec())
}

/// Bytes that these are when those that mean something else in a SIP address are written as `%xx`.
pub fn encoded_length(bytes: &[u8]) -> usize {
    bytes.iter().map(|byte| if byte.is_ascii_control() || b":%@;<>\"".contains(byte) { 3 } else { 1 }).sum()
}

/// A value that is cut at `most` bytes and cannot hold these.
pub fn without(wish: &[u8], not: &[u8], most: usize) -> Vec<u8> {
    whole_letters(wish.iter().copied().filter(|byte| *byte != 0 && !not.contains(byte)).take(most).collect())
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Asterisk sends no event at all for a value that is not UTF-8, so none is made here.
fn whole_letters(bytes: Vec<u8>) -> Vec<u8> {
    String::from_utf8(bytes)
        .map_or_else(|error| error.into_bytes().into_iter().filter(u8::is_ascii).collect(), String::into)
}

fn event_time(milliseconds: u32) -> String {
    let (seconds, rest) = (milliseconds / 1000 % 86_400, milliseconds % 1000);
    format!("2026-11-22T{:02}:{:02}:{:02}.{rest:03}+0000", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Words of which an attacker would make up an event.
pub const WORDS: [&str; 44] = [
    SHORTEST_BEGINNING,
    SHORTEST_END,
    "Event: MemoryLimit\r\nPrivilege: security,all\r\nEventTV: 2026-11-22T10:33:00.368+0000\r\nSeverity: Error\r\n",
    "\r\nSessionID: 1\r\nLocalAddress: IPV4/UDP/1.1.1.1/1\r\nRemoteAddress: IPV4/UDP/9.9.9.9/5\r\n",
    "\r\n",
    "\r\n\r\n",
    "\r",
    "\n",
    ": ",
    "x",
    "Event: ",
    "Event: InvalidPassword\r\n",
    "Event: FailedACL\r\n",
    "Event: MemoryLimit\r\n",
    "Event: ChallengeSent\r\n",
    "Event: Y\r\n",
    "Privilege: security,all\r\n",
    "Privilege: call,all\r\n",
    "EventTV: 2026-11-22T10:33:00.368+0000\r\n",
    "EventTV: 1795343580-1\r\n",
    "EventTV: \r\n",
    "Severity: Error\r\n",
    "Service: SIP\r\n",
    "Service: PJSIP\r\n",
    "Service: x\r\n",
    "Service: \r\n",
    "EventVersion: 1\r\n",
    "EventVersion: \r\n",
    "AccountID: ",
    "AccountID: 1000\r\n",
    "SessionID: \r\n",
    "SessionID: 0x7f\r\n",
    "LocalAddress: IPV4/UDP/198.18.0.1/5060\r\n",
    "LocalAddress: IPV4/UDP/1.1.1.1/1\r\n",
    "LocalAddress: IPV4/1.1.1.1/1\r\n",
    "LocalAddress: IPV6/::/1\r\n",
    "RemoteAddress: IPV4/UDP/9.9.9.9/5\r\n",
    "RemoteAddress: IPV4/UDP/9.9.9.9/5",
    "RemoteAddress: IPV4/9.9.9.9/5\r\n",
    "RemoteAddress: IPV4/9.9.9.9/5",
    "RemoteAddress: \r\n",
    "Challenge: \r\n",
    "UsingPassword: 1\r\n",
    "Response: Success\r\n",
];

/// The shortest that reads as what Asterisk writes up to the account.
pub const SHORTEST_BEGINNING: &str = "Event: Y\r\nPrivilege: security,all\r\n\
    EventTV: 2026-11-22T10:33:00.368+0000\r\nSeverity: Error\r\nService: x\r\nEventVersion: 1\r\nAccountID: ";

/// The shortest that reads as the end of an event that a stranger sent.
pub const SHORTEST_END: &str = "\r\nSessionID: \r\nLocalAddress: IPV6/::/1\r\nRemoteAddress: IPV4/9.9.9.9/5\r\n\r\n";
