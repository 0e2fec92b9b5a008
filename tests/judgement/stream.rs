//! What Asterisk writes of that traffic, and what a reader finds in it.

use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use sipban::ami::frame::Framer;
use sipban::ami::security::Guard;
use sipban::config::Config;
use sipban::model::security::{Kind, SecurityEvent, Service};

use super::asterisk::{
    self, SHORTEST_BEGINNING, SHORTEST_END, SIP_ROOM, encoded_length, pjsip_user, sip_user, write_pong,
};
use super::court::{Time, sentences};
use super::model::REGISTRAR;
use super::traffic::{company, event, merged, tampers, traffic, user};

/// What Asterisk sends of one event.
fn written(out: &mut Vec<u8>, time: Time, event: &SecurityEvent) {
    let name = match event.kind {
        Kind::ChallengeSent => "ChallengeSent",
        Kind::SuccessfulAuth { .. } => "SuccessfulAuth",
        Kind::InvalidAccountId => "InvalidAccountID",
        Kind::ChallengeResponseFailed => "ChallengeResponseFailed",
        Kind::InvalidPassword => "InvalidPassword",
        Kind::FailedAcl(_) => "FailedACL",
        Kind::RequestNotSupported => "RequestNotSupported",
        Kind::RequestNotAllowed => "RequestNotAllowed",
        Kind::Tampered => "InvalidPassword",
        other => panic!("{other:?} is not in this traffic"),
    };
    let service = match event.service {
        Service::Pjsip => "PJSIP",
        Service::Sip => "SIP",
        _ => "AMI",
    };
    let mut more = asterisk::more(name, service, b"");
    if event.kind == REGISTRAR {
        more.push(("ACLName", b"registrar_attempt_exceeds_maximum_configured_contacts".to_vec()));
    }
    let transport = if service == "AMI" { "TCP" } else { "UDP" };
    let session = format!("call-{}@lab", event.session).into_bytes();
    let (account, remote) = (event.account.to_vec(), event.source());
    asterisk::Event { name, service, time: time as u32, account, session, remote, transport, more }.write(out);
}

/// The events that a reader finds in the stream, each at the time at which it was written: between two times the
/// stream falls silent.
fn read(events: &[(Time, SecurityEvent)], reads: &[usize]) -> Vec<(Time, SecurityEvent)> {
    let (mut framer, mut guard) = (Framer::default(), Guard::default());
    let mut reads = reads.iter().cycle();
    let mut found = Vec::new();
    for burst in events.chunk_by(|one, next| one.0 == next.0) {
        let time = burst[0].0;
        let mut stream = Vec::new();
        for (_, event) in burst {
            written(&mut stream, time, event);
            write_pong(&mut stream);
        }
        let mut told = Vec::new();
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(reads.next().map_or(rest.len(), |read| *read.min(&rest.len())));
            framer.push(piece);
            rest = after;
            while let Some(frame) = framer.next_frame() {
                guard.frame(&frame, &mut told);
            }
        }
        assert!(framer.is_between_frames());
        guard.silence(&mut told);
        found.extend(told.into_iter().map(|event| (time, event)));
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_stream_leads_to_the_same_blocks_as_what_was_written_into_it(
        company in company(), reads in vec(1usize..400, 1..40),
    ) {
        let events = merged(&traffic(&company));
        let found = read(&events, &reads);
        let senders = |events: &[(Time, SecurityEvent)]| -> Vec<(Time, IpAddr, Kind)> {
            events.iter().map(|(time, event)| (*time, event.source(), event.kind)).collect()
        };
        prop_assert_eq!(senders(&found), senders(&events));
        let judged = |events| {
            let Config { limits, lengths, .. } = Config::default();
            sentences(limits, lengths, events)
        };
        prop_assert_eq!(judged(&found), judged(&events));
    }

    #[test]
    fn an_injector_is_accused_and_nobody_that_he_made_up(
        users in vec((user(), any::<bool>()), 1..20), reads in vec(1usize..400, 1..40),
    ) {
        let from = |number: usize| IpAddr::from([203, 0, 113, number as u8]);
        let events: Vec<(Time, SecurityEvent)> = users.iter().enumerate().map(|(number, (user, pjsip))| {
            let (service, user) =
                if *pjsip { (Service::Pjsip, pjsip_user(user)) } else { (Service::Sip, sip_user(user)) };
            (0, event(from(number), service, Kind::InvalidAccountId, &user, number as u64))
        }).collect();
        let accused: Vec<(IpAddr, bool)> =
            read(&events, &reads).iter().map(|(_, event)| (event.source(), event.kind == Kind::Tampered)).collect();
        let writers: Vec<(IpAddr, bool)> =
            events.iter().map(|(_, event)| (event.source(), tampers(&event.account))).collect();
        prop_assert_eq!(accused, writers);
    }
}

#[test]
fn a_user_name_has_no_room_for_a_forged_end_and_a_forged_beginning() {
    let (end, beginning) = (encoded_length(SHORTEST_END.as_bytes()), encoded_length(SHORTEST_BEGINNING.as_bytes()));
    assert!(end <= SIP_ROOM && beginning <= SIP_ROOM);
    assert!(end + beginning > SIP_ROOM + 20);
}
