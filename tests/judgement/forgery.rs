//! What forged failures change: the same events are heard with and without them.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use sipban::config::{Config, Limits};
use sipban::model::security::{Acl, Kind, SecurityEvent, Service};

use super::court::{HOUR, SECOND, Time, sentences};
use super::model::REGISTRAR;
use super::traffic::{address, company, event, merged, traffic};

/// What a datagram with a forged source makes Asterisk say of an address: anything but a login.
fn forged() -> impl Strategy<Value = Vec<(Time, SecurityEvent)>> {
    let kinds = vec![
        Kind::ChallengeSent,
        Kind::InvalidAccountId,
        Kind::ChallengeResponseFailed,
        Kind::InvalidPassword,
        Kind::FailedAcl(Acl::Access),
        REGISTRAR,
        Kind::RequestNotSupported,
        Kind::InvalidTransport,
        Kind::Tampered,
    ];
    let one = (0..3 * HOUR, 1u16..16, select(kinds), 0u16..16, 0u16..3, any::<u32>());
    let flood = one.prop_flat_map(|(start, victim, kind, of, phone, session)| {
        // One account, again and again, or others each time.
        let pauses = select(vec![0, 100, SECOND, 60 * SECOND]);
        (1usize..80, pauses, any::<bool>()).prop_map(move |(times, pause, is_one)| {
            let nth = move |turn: u64| {
                let phone = if is_one { u64::from(phone) } else { turn };
                let account = format!("{of}{phone:02}");
                let session = u64::from(session) << 32 | turn;
                let service = if session & 1 << 32 == 0 { Service::Pjsip } else { Service::Sip };
                (start + turn * pause, event(address(victim), service, kind, account.as_bytes(), session))
            };
            (0..times as u64).map(nth).collect::<Vec<_>>()
        })
    });
    vec(flood, 1..12).prop_map(|floods| floods.concat())
}

/// When each source is blocked for the first time, and for how long.
fn first_blocks(events: &[(Time, SecurityEvent)]) -> HashMap<IpNet, (Time, u64)> {
    let Config { limits, lengths, .. } = Config::default();
    // Forged weather spares strangers for a while, which is another subject.
    let mut first = HashMap::new();
    for (time, (source, _, seconds)) in sentences(Limits { weather: 0, ..limits }, lengths, events) {
        first.entry(source).or_insert((time, seconds));
    }
    first
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn forged_failures_free_nobody_and_block_a_home_for_ten_minutes_at_first(company in company(), forged in forged()) {
        let honest = |net: &IpNet| {
            (1u16..).zip(&company).any(|(number, (actor, _))| actor.is_honest() && net.contains(&address(number)))
        };
        let events = merged(&traffic(&company));
        let logins: Vec<(Time, IpAddr)> = events
            .iter()
            .filter(|(_, event)| matches!(event.kind, Kind::SuccessfulAuth { .. }))
            .map(|(time, event)| (*time, event.source()))
            .collect();
        let (without, with) = (first_blocks(&events), first_blocks(&merged(&[events.clone(), forged])));
        for (source, (time, _)) in &without {
            prop_assert!(with.get(source).is_some_and(|(forged, _)| forged <= time), "{} at {} ms", source, time);
        }
        for (source, (time, seconds)) in with.iter().filter(|(source, _)| honest(source)) {
            let is_home = logins.iter().any(|(login, address)| login < time && source.contains(address));
            prop_assert!(!is_home || *seconds == 600, "{} at {} ms for {} s", source, time, seconds);
        }
    }
}
