//! The one shape in which Asterisk writes an event, called canonical here. Source: `main/security_events.c` of Asterisk
//! 16.28.0 and 22.10.1.

use std::hash::BuildHasher;

use memchr::memmem;

use super::endpoint::endpoint;
use super::event_time::event_time;
use crate::ami::lines::FrameLines;
use crate::model::security::{Acl, Endpoint, Kind, MAX_ACCOUNT, SecurityEvent, Service};

/// What a frame is.
#[derive(Debug)]
pub(super) enum Shape<'a> {
    /// A canonical security event.
    Event {
        /// What it says.
        event: SecurityEvent,
        /// The part that an attacker may have written: all from the value of the account on.
        written: &'a [u8],
    },
    /// A response, or an event of another class. It holds no address, so it cannot be the end of a cut event, and says
    /// nothing about the frames around it.
    Neutral,
    /// Anything else: perhaps a piece of an event that an attacker wrote an empty line into.
    Broken {
        /// How it begins.
        start: Start<'a>,
        /// Who Asterisk says sent it, if the frame ends as an event does.
        sender: Option<Sender>,
    },
}

/// How a frame begins that is neither an event in its one shape nor a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start<'a> {
    /// With all that Asterisk writes up to the account.
    Event {
        /// Whether lines stand where only an attacker can have put them.
        tampered: bool,
        /// Which part of Asterisk says so.
        service: Service,
        /// The part that an attacker may have written: all from the value of the account on.
        written: &'a [u8],
    },
    /// As an event, but it differs before the part that an attacker can write: an unknown version of Asterisk.
    Strange,
    /// Not as any frame of Asterisk does: in the middle of an event.
    Middle,
}

/// What the last lines of an event say of its sender.
#[derive(Debug)]
pub(super) struct Sender {
    session: u64,
    local: Endpoint,
    remote: Endpoint,
}

impl Sender {
    /// The sender of an event that is whole by itself.
    pub(super) fn of(event: &SecurityEvent) -> Sender {
        Sender { session: event.session, local: event.local, remote: event.remote }
    }

    /// The event that accuses this sender of having written lines into another.
    pub(super) fn accused(self) -> SecurityEvent {
        SecurityEvent {
            kind: Kind::Tampered,
            service: Service::Other,
            account: Box::default(),
            session: self.session,
            local: self.local,
            remote: self.remote,
            time: None,
            country: None,
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

/// Keys that never stand behind the addresses of an event.
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

/// The fields that tell who sent an event. They follow what an attacker can write.
pub(super) const SENDER_KEYS: [&[u8]; 3] = [b"SessionID", b"LocalAddress", b"RemoteAddress"];

/// Says what this frame is. Session names become numbers by `hasher`.
pub(super) fn shape<'a>(frame: &'a [u8], hasher: &impl BuildHasher) -> Shape<'a> {
    let mut lines = FrameLines::of(frame);
    let start = match opening(&mut lines) {
        Opening::Security(heading) => {
            let written = lines.rest().strip_prefix(b"AccountID: ").unwrap_or(lines.rest());
            match body(&heading, &mut lines, hasher) {
                Ok(event) => return Shape::Event { event, written },
                Err(tampered) => Start::Event { tampered, service: heading.service, written },
            }
        }
        Opening::Foreign if !lines.name_any(&SENDER_KEYS) => return Shape::Neutral,
        Opening::Foreign | Opening::Other if frame.starts_with(b"Event: ") => Start::Strange,
        Opening::Foreign | Opening::Other => Start::Middle,
    };
    Shape::Broken { start, sender: sender(frame, hasher) }
}

/// The sender of the event that ends with these bytes, if they end as an event does.
pub(super) fn sender(frame: &[u8], hasher: &impl BuildHasher) -> Option<Sender> {
    let mut rest = frame;
    let mut last_line = || {
        let at = memmem::rfind(rest, b"\r\n");
        let line = &rest[at.map_or(0, |at| at + 2)..];
        rest = &rest[..at.unwrap_or(0)];
        line
    };
    // At most this many fields stand behind the addresses of any event, and all of them are Asterisk's own.
    let remote = (0..12).map(|_| last_line()).find_map(|line| line.strip_prefix(b"RemoteAddress: "))?;
    let local = last_line().strip_prefix(b"LocalAddress: ")?;
    let session = last_line().strip_prefix(b"SessionID: ")?;
    let (local, remote) = (endpoint(local)?, endpoint(remote)?);
    (local.transport == remote.transport).then(|| Sender { session: hasher.hash_one(session), local, remote })
}

enum Opening<'a> {
    /// The beginning of a security event.
    Security(Heading<'a>),
    /// The beginning of a response, or of an event of another class.
    Foreign,
    /// Any other.
    Other,
}

struct Heading<'a> {
    name: &'a [u8],
    time: i64,
    service: Service,
}

/// Reads what stands before anything that an attacker can write, up to the key of the account.
fn opening<'a>(lines: &mut FrameLines<'a>) -> Opening<'a> {
    let Some(name) = lines.take(b"Event") else {
        return if lines.has_next(b"Response") { Opening::Foreign } else { Opening::Other };
    };
    match lines.take(b"Privilege") {
        Some(b"security,all") => {}
        Some(class) if !class.starts_with(b"security") => return Opening::Foreign,
        _ => return Opening::Other,
    }
    // The settings timestampevents, debug and systemname of Asterisk put fields of their own here.
    let mut time = lines.take(b"EventTV");
    for _ in 0..8 {
        if time.is_some() || lines.skip_unless(&BASE_KEYS).is_none() {
            break;
        }
        time = lines.take(b"EventTV");
    }
    heading(name, time, lines).map_or(Opening::Other, Opening::Security)
}

fn heading<'a>(name: &'a [u8], time: Option<&[u8]>, lines: &mut FrameLines<'a>) -> Option<Heading<'a>> {
    let time = event_time(time?)?;
    lines.take(b"Severity").filter(|severity| matches!(*severity, b"Error" | b"Informational"))?;
    let service = match lines.take(b"Service")? {
        b"PJSIP" => Service::Pjsip,
        b"SIP" => Service::Sip,
        b"AMI" => Service::Ami,
        _ => Service::Other,
    };
    lines.take(b"EventVersion").filter(|version| !version.is_empty() && version.iter().all(u8::is_ascii_digit))?;
    let names_account = lines.has_next(b"AccountID") || name == b"RequestBadFormat";
    names_account.then_some(Heading { name, time, service })
}

/// Reads the rest of a security event. The error says whether what is wrong stands where an attacker can write.
fn body(heading: &Heading<'_>, lines: &mut FrameLines<'_>, hasher: &impl BuildHasher) -> Result<SecurityEvent, bool> {
    let (_, mut kind, required) =
        *TABLE.iter().find(|(name, ..)| *name == heading.name).unwrap_or(&(b"", Kind::Other, &[]));
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
    while !lines.is_empty() {
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
        service: heading.service,
        account: account[..account.len().min(MAX_ACCOUNT)].into(),
        session: hasher.hash_one(session),
        local,
        remote,
        time: Some(heading.time),
        country: None,
    })
}
