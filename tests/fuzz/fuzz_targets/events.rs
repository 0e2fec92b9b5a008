//! Genuine events whose fields an attacker fills, within the limits of what reaches Asterisk: each of them comes out
//! once, in order, and names its own sender; those he wrote lines into as tampered with, the others as they are.
//!
//! The manager interface over HTTP has no such limits and is not tried: no reader can tell there.
#![no_main]

#[path = "../asterisk.rs"]
mod asterisk;

use std::net::IpAddr;

use arbitrary::Arbitrary;
use asterisk::{Event, WORDS, more, pjsip_user, sip_user, without, write_pong};
use libfuzzer_sys::fuzz_target;
use sipban::ami::frame::Framer;
use sipban::ami::security::Guard;
use sipban::model::security::{Kind, SecurityEvent};

#[derive(Arbitrary, Debug)]
struct Plan {
    steps: Vec<Step>,
    /// Lengths of the reads.
    reads: Vec<u16>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Request { kind: u8, sender: u8, user: Vec<Piece>, rest: Vec<Piece> },
    Pong,
    Silence,
}

#[derive(Arbitrary, Debug)]
enum Piece {
    Word(u8),
    Bytes([u8; 3]),
}

const PJSIP: [&str; 6] = [
    "InvalidAccountID",
    "InvalidAccountID",
    "ChallengeSent",
    "ChallengeResponseFailed",
    "SuccessfulAuth",
    "RequestNotSupported",
];
const SIP: [&str; 6] =
    ["ChallengeSent", "InvalidPassword", "InvalidAccountID", "FailedACL", "InvalidTransport", "SuccessfulAuth"];
const AMI: [&str; 5] =
    ["InvalidPassword", "ChallengeResponseFailed", "FailedACL", "RequestNotAllowed", "RequestBadFormat"];

fuzz_target!(|plan: Plan| {
    let (mut framer, mut guard) = (Framer::default(), Guard::default());
    let (mut told, mut expected) = (Vec::new(), Vec::new());
    let mut reads = plan.reads.iter().cycle();
    let mut hear = |bytes: &[u8], told: &mut Vec<SecurityEvent>, silence: bool| {
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = reads.next().map_or(rest.len(), |read| usize::from(*read).clamp(1, rest.len()));
            framer.push(&rest[..count]);
            rest = &rest[count..];
            while let Some(frame) = framer.next_frame() {
                guard.frame(&frame, told);
            }
        }
        assert!(framer.is_between_frames());
        if silence {
            guard.silence(told);
            assert!(!guard.is_waiting());
        }
    };
    for step in &plan.steps {
        let mut bytes = Vec::new();
        match step {
            Step::Silence => hear(b"", &mut told, true),
            Step::Pong => {
                write_pong(&mut bytes);
                hear(&bytes, &mut told, false);
            }
            Step::Request { kind, sender, user, rest } => {
                let event = event(*kind, *sender, &spelled(user), &spelled(rest));
                event.write(&mut bytes);
                hear(&bytes, &mut told, false);
                expected.push(event);
            }
        }
    }
    hear(b"", &mut told, true);

    let told: Vec<_> = told.iter().map(|event| (event.source(), account(event))).collect();
    let expected: Vec<_> = expected.iter().map(|event| (event.remote, untouched(event))).collect();
    assert_eq!(told, expected);
});

fn event(kind: u8, sender: u8, user: &[u8], rest: &[u8]) -> Event {
    let kind = usize::from(kind);
    let call_id = without(rest, b"\r\n", 5000);
    let (name, service, account, session) = match kind % 3 {
        0 => {
            let name = PJSIP[kind / 3 % PJSIP.len()];
            let account = if name == "InvalidAccountID" { pjsip_user(user) } else { b"<unknown>".to_vec() };
            (name, "PJSIP", account, call_id)
        }
        1 => (SIP[kind / 3 % SIP.len()], "SIP", sip_user(user), b"0x7f516c00e770".to_vec()),
        _ => (AMI[kind / 3 % AMI.len()], "AMI", without(user, b"\n", 1000), b"0x7f516c00e770".to_vec()),
    };
    let remote = match sender % 4 {
        3 => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(sender)]),
        _ => IpAddr::from([198, 51, 100, sender]),
    };
    let transport = if service == "AMI" { "TCP" } else { "UDP" };
    let more = more(name, service, rest);
    Event { name, service, time: 1, account, session, remote, transport, more }
}

fn spelled(pieces: &[Piece]) -> Vec<u8> {
    let bytes = |piece: &Piece| match piece {
        Piece::Word(word) => WORDS[usize::from(*word) % WORDS.len()].as_bytes().to_vec(),
        Piece::Bytes(bytes) => bytes.to_vec(),
    };
    pieces.iter().flat_map(bytes).collect()
}

/// The account of an event that nobody wrote lines into.
fn account(event: &SecurityEvent) -> Option<Vec<u8>> {
    (event.kind != Kind::Tampered).then(|| event.account.to_vec())
}

fn untouched(event: &Event) -> Option<Vec<u8>> {
    let tampered = event.account.windows(2).any(|pair| pair == b"\r\n");
    (!tampered).then(|| event.account[..event.account.len().min(sipban::model::security::MAX_ACCOUNT)].to_vec())
}
