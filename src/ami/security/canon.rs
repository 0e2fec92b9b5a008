//! The one shape that Asterisk writes an event in. Source: `main/security_events.c`, 16.28.0 and 22.10.1.

use std::hash::BuildHasher;
use std::net::IpAddr;

use memchr::memmem;

use crate::model::security::{Acl, Endpoint, Kind, MAX_ACCOUNT, SecurityEvent, Service, Transport};

/// What a frame is.
#[derive(Debug)]
pub(super) enum Shape {
    /// A canonical security event.
    Event(SecurityEvent),
    /// A response, or an event of another class: says nothing about the frames around it. It holds no address, so it
    /// cannot be the end of a cut event.
    Neutral,
    /// Anything else: perhaps a piece of an event that an attacker wrote an empty line into.
    Broken {
        /// Whether it starts with all that Asterisk writes up to AccountID.
        begins: bool,
        /// Who Asterisk says sent it, if the frame ends as an event does.
        sender: Option<Sender>,
        /// Whether lines stand where only an attacker can have put them.
        tampered: bool,
    },
}

/// The lines that close a broken event.
#[derive(Debug)]
pub(super) struct Sender {
    session: u64,
    local: Endpoint,
    remote: Endpoint,
}

impl Sender {
    /// Who sent an event that is whole by itself.
    pub(super) fn of(event: &SecurityEvent) -> Sender {
        Sender { session: event.session, local: event.local, remote: event.remote }
    }

    /// The event that a broken one comes to: its sender wrote into it.
    pub(super) fn accused(self) -> SecurityEvent {
        SecurityEvent {
            kind: Kind::Tampered,
            service: Service::Other,
            account: Box::default(),
            session: self.session,
            local: self.local,
            remote: self.remote,
            time: None,
        }
    }
}

/// An event's name, what it says, and the fields behind RemoteAddress that are always there, in their order.
type Row = (&'static [u8], Kind, &'static [&'static [u8]]);

const TABLE: [Row; 15] = [
    (b"ChallengeSent", Kind::ChallengeSent, &[b"Challenge"]),
    (b"SuccessfulAuth", Kind::SuccessfulAuth { using_password: false }, &[b"UsingPassword"]),
    (b"InvalidAccountID", Kind::InvalidAccountId, &[]),
    (b"ChallengeResponseFailed", Kind::ChallengeResponseFailed, &[b"Challenge", b"Response", b"ExpectedResponse"]),
    (b"InvalidPassword", Kind::InvalidPassword, &[]),
    (b"FailedACL", Kind::FailedAcl(Acl::Access), &[]),
    (b"RequestNotSupported", Kind::RequestNotSupported, &[b"RequestType"]),
    (b"RequestNotAllowed", Kind::RequestNotAllowed, &[b"RequestType"]),
    (b"RequestBadFormat", Kind::RequestBadFormat, &[b"RequestType"]),
    (b"SessionLimit", Kind::SessionLimit, &[]),
    (b"AuthMethodNotAllowed", Kind::AuthMethodNotAllowed, &[b"AuthMethod"]),
    (b"UnexpectedAddress", Kind::UnexpectedAddress, &[b"ExpectedAddress"]),
    (b"InvalidTransport", Kind::InvalidTransport, &[b"AttemptedTransport"]),
    (b"MemoryLimit", Kind::MemoryLimit, &[]),
    (b"LoadAverageLimit", Kind::LoadAverageLimit, &[]),
];

/// Keys that stand in front of the optional fields of an event, or name who sent it: never behind the addresses.
const BASE_KEYS: [&[u8]; 10] = [
    b"Event",
    b"Privilege",
    b"EventTV",
    b"Severity",
    b"Service",
    b"EventVersion",
    b"AccountID",
    b"SessionID",
    b"LocalAddress",
    b"RemoteAddress",
];

/// The fields that tell who sent an event. They are the last ones that stand behind what an attacker can write.
const SENDER_KEYS: [&[u8]; 3] = [b"SessionID", b"LocalAddress", b"RemoteAddress"];

/// What this frame is; session names become numbers by `hasher`.
pub(super) fn shape(frame: &[u8], hasher: &impl BuildHasher) -> Shape {
    let mut lines = Lines(frame);
    let (begins, tampered) = match header(&mut lines) {
        Header::Security(header) => match body(&header, &mut lines, hasher) {
            Ok(event) => return Shape::Event(event),
            Err(tampered) => (true, tampered),
        },
        Header::Foreign if !lines.name_any(&SENDER_KEYS) => return Shape::Neutral,
        // It starts like an event and then goes its own way before an attacker could write: a version of Asterisk
        // that we do not know. Nobody is accused on such grounds.
        Header::Strange => (false, false),
        Header::Foreign | Header::Rest => (false, true),
    };
    Shape::Broken { begins, sender: sender(frame, hasher), tampered }
}

/// Who sent the event that ends with these bytes, if they end as an event does.
pub(super) fn sender(frame: &[u8], hasher: &impl BuildHasher) -> Option<Sender> {
    let mut rest = frame;
    let mut last_line = || {
        let at = memmem::rfind(rest, b"\r\n");
        let line = &rest[at.map_or(0, |at| at + 2)..];
        rest = &rest[..at.unwrap_or(0)];
        line
    };
    // At most twelve fields stand behind the addresses in any event, and all of them are Asterisk's own.
    let remote = (0..12).map(|_| last_line()).find_map(|line| line.strip_prefix(b"RemoteAddress: "))?;
    let local = last_line().strip_prefix(b"LocalAddress: ")?;
    let session = last_line().strip_prefix(b"SessionID: ")?;
    let (local, remote) = (endpoint(local)?, endpoint(remote)?);
    (local.transport == remote.transport).then(|| Sender { session: hasher.hash_one(session), local, remote })
}

enum Header<'a> {
    Security(SecurityHeader<'a>),
    Foreign,
    Strange,
    Rest,
}

struct SecurityHeader<'a> {
    name: &'a [u8],
    time: i64,
    service: Service,
}

/// What stands in front of anything that an attacker can write, up to the key of the account.
fn header<'a>(lines: &mut Lines<'a>) -> Header<'a> {
    let Some(name) = lines.take(b"Event") else {
        return if lines.0.starts_with(b"Response: ") { Header::Foreign } else { Header::Rest };
    };
    match lines.take(b"Privilege") {
        Some(b"security,all") => {}
        Some(_) => return Header::Foreign,
        None => return Header::Rest,
    }
    // timestampevents, debug and systemname put fields of their own here.
    let mut time = lines.take(b"EventTV");
    for _ in 0..8 {
        if time.is_some() || lines.skip_unless(&BASE_KEYS).is_none() {
            break;
        }
        time = lines.take(b"EventTV");
    }
    security_header(name, time, lines).map_or(Header::Strange, Header::Security)
}

fn security_header<'a>(name: &'a [u8], time: Option<&[u8]>, lines: &mut Lines<'a>) -> Option<SecurityHeader<'a>> {
    let time = event_time(time?)?;
    lines.take(b"Severity").filter(|severity| matches!(*severity, b"Error" | b"Informational"))?;
    let service = match lines.take(b"Service")? {
        b"PJSIP" => Service::Pjsip,
        b"SIP" => Service::Sip,
        b"AMI" => Service::Ami,
        _ => Service::Other,
    };
    lines.take(b"EventVersion").filter(|version| !version.is_empty() && version.iter().all(u8::is_ascii_digit))?;
    let names_account = lines.0.starts_with(b"AccountID: ") || name == b"RequestBadFormat";
    names_account.then_some(SecurityHeader { name, time, service })
}

/// The rest of a security event. The error says whether what is wrong stands where an attacker can write.
fn body(header: &SecurityHeader<'_>, lines: &mut Lines<'_>, hasher: &impl BuildHasher) -> Result<SecurityEvent, bool> {
    let (_, mut kind, required) =
        *TABLE.iter().find(|(name, ..)| *name == header.name).unwrap_or(&(b"", Kind::Other, &[]));
    let mut account = lines.take(b"AccountID").unwrap_or_default();
    let session = lines.take(b"SessionID").ok_or(true)?;
    let local = lines.take(b"LocalAddress").ok_or(true)?;
    let remote = lines.take(b"RemoteAddress").ok_or(true)?;
    let (local, remote) = (endpoint(local).ok_or(true)?, endpoint(remote).ok_or(true)?);
    if local.transport != remote.transport || lines.name_any(&SENDER_KEYS) {
        return Err(true);
    }
    for key in required {
        let value = lines.take(key).ok_or(false)?;
        if *key == b"UsingPassword" {
            kind = Kind::SuccessfulAuth { using_password: value == b"1" };
        }
    }
    while !lines.0.is_empty() {
        if let Some(acl) = lines.take(b"ACLName") {
            let about_request = acl.starts_with(b"registrar_") || acl == b"no_extension_match";
            if kind == Kind::FailedAcl(Acl::Access) && about_request {
                kind = Kind::FailedAcl(Acl::Request);
            }
        } else if let Some(late) = (kind == Kind::RequestBadFormat).then(|| lines.take(b"AccountID")).flatten() {
            account = late;
        } else {
            lines.skip_unless(&BASE_KEYS).ok_or(false)?;
        }
    }
    Ok(SecurityEvent {
        kind,
        service: header.service,
        account: account[..account.len().min(MAX_ACCOUNT)].into(),
        session: hasher.hash_one(session),
        local,
        remote,
        time: Some(header.time),
    })
}

/// Lines not yet read.
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    /// The value of the next line, if that line has this key.
    fn take(&mut self, key: &[u8]) -> Option<&'a [u8]> {
        let value = self.0.strip_prefix(key)?.strip_prefix(b": ")?;
        let end = line_end(value);
        self.0 = value.get(end + 2..).unwrap_or_default();
        Some(&value[..end])
    }

    /// Passes over one well-formed line whose key is none of these.
    fn skip_unless(&mut self, keys: &[&[u8]]) -> Option<()> {
        let mut ahead = Lines(self.0);
        let (key, value) = ahead.next_pair_or_line()?;
        value?;
        let well_formed = !key.is_empty() && key.iter().all(u8::is_ascii_alphanumeric) && !keys.contains(&key);
        well_formed.then(|| *self = ahead)
    }

    /// Whether any of them has one of these keys.
    fn name_any(&self, keys: &[&[u8]]) -> bool {
        let mut ahead = Lines(self.0);
        std::iter::from_fn(|| ahead.next_pair_or_line()).any(|(key, _)| keys.contains(&key))
    }

    /// The next line as key and value, or as a whole if it is no pair.
    fn next_pair_or_line(&mut self) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        if self.0.is_empty() {
            return None;
        }
        let end = line_end(self.0);
        let line = &self.0[..end];
        self.0 = self.0.get(end + 2..).unwrap_or_default();
        Some(match memchr::memchr(b':', line) {
            Some(colon) if line[colon + 1..].starts_with(b" ") => (&line[..colon], Some(&line[colon + 2..])),
            _ => (line, None),
        })
    }
}

/// Length of the first line, without its CR LF.
fn line_end(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\r', bytes).find(|&at| bytes.get(at + 1) == Some(&b'\n')).unwrap_or(bytes.len())
}

/// `FAMILY/TRANSPORT/ADDRESS/PORT`.
fn endpoint(value: &[u8]) -> Option<Endpoint> {
    let mut parts = std::str::from_utf8(value).ok()?.splitn(4, '/');
    let (family, second) = (parts.next()?, parts.next()?);
    let (third, fourth) = (parts.next()?, parts.next());
    // The transport is left out where Asterisk does not know it.
    let (transport, address, port) = match fourth {
        Some(port) => (transport(second)?, third, port),
        None => (Transport::Unknown, second, third),
    };
    let address = match family {
        "IPV4" => IpAddr::V4(address.parse().ok()?),
        "IPV6" => IpAddr::V6(address.split('%').next()?.parse().ok()?).to_canonical(),
        _ => return None,
    };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| port.parse().ok()).flatten().map(|port| Endpoint { address, transport, port })
}

fn transport(name: &str) -> Option<Transport> {
    Some(match name {
        "UDP" => Transport::Udp,
        "TCP" => Transport::Tcp,
        "TLS" => Transport::Tls,
        "WS" => Transport::Ws,
        "WSS" => Transport::Wss,
        new if !new.is_empty() && new.bytes().all(|byte| byte.is_ascii_uppercase()) => Transport::Unknown,
        _ => return None,
    })
}

/// Milliseconds since 1970 of `2026-11-22T10:33:00.368+0000`. The seconds and microseconds of Asterisk 1.8 to 11 are not
/// read: those wrote security events to a file only, and the shorter a beginning may be, the sooner it is forged.
fn event_time(value: &[u8]) -> Option<i64> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = value.get(from..to)?;
        digits.iter().try_fold(0i64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.')];
    if value.len() != 28 || marks.iter().any(|&(at, mark)| value[at] != mark) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let zone_minutes = number(24, 26)? * 60 + number(26, 28)?;
    let zone_minutes = match value[23] {
        b'+' => zone_minutes,
        b'-' => -zone_minutes,
        _ => return None,
    };
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since 1970-01-01, counted in years that begin in March, so that the leap day is the last of a year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    let minutes = (days * 24 + number(11, 13)?) * 60 + number(14, 16)? - zone_minutes;
    Some((minutes * 60 + number(17, 19)?) * 1000 + number(20, 23)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_times_are_read_in_any_zone() {
        assert_eq!(event_time(b"1970-01-01T00:00:00.000+0000"), Some(0));
        assert_eq!(event_time(b"2026-11-22T10:33:00.368+0000"), Some(1_795_343_580_368));
        assert_eq!(event_time(b"2026-11-22T12:33:00.368+0200"), Some(1_795_343_580_368));
        assert_eq!(event_time(b"2024-02-29T00:00:00.000-0030"), Some(1_709_166_600_000));
        for nonsense in
            ["", "2026-11-22", "1321034442-123456", "2026-13-22T10:33:00.368+0000", "2026-11-22T10:33:00.3x8+0000"]
        {
            assert_eq!(event_time(nonsense.as_bytes()), None, "{nonsense}");
        }
    }

    #[test]
    fn addresses_are_split_in_four() {
        let read = |text: &str| endpoint(text.as_bytes()).map(|e| (e.address.to_string(), e.transport, e.port));
        assert_eq!(read("IPV4/UDP/198.18.0.16/37506"), Some(("198.18.0.16".into(), Transport::Udp, 37506)));
        assert_eq!(read("IPV6/TLS/2001:db8:18::16/1"), Some(("2001:db8:18::16".into(), Transport::Tls, 1)));
        assert_eq!(read("IPV6/UDP/fe80::1%vastpbx/2"), Some(("fe80::1".into(), Transport::Udp, 2)));
        assert_eq!(read("IPV6/TCP/::ffff:192.0.2.1/2"), Some(("192.0.2.1".into(), Transport::Tcp, 2)));
        assert_eq!(read("IPV4/SCTP/198.18.0.16/5060"), Some(("198.18.0.16".into(), Transport::Unknown, 5060)));
        assert_eq!(read("IPV4/198.18.0.16/5060"), Some(("198.18.0.16".into(), Transport::Unknown, 5060)));
        for nonsense in ["IPV4/UDP/x/1", "IPV4//203.0.113.9/5", "IPV4/UDP/1.2.3.4/", "IPV4/UDP/1.2.3.4/70000", "", "x"]
        {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }
}
