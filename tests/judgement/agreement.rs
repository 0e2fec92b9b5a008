//! Where honest traffic would never come to: few sources, accounts and sessions, and anything may follow anything.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use sipban::config::{Config, Lengths, Limits};
use sipban::model::country::Country;
use sipban::model::security::{Acl, Kind, SecurityEvent, Service};

use super::court::{Court, DAY, HOUR, MINUTE, SECOND, Time};
use super::model::{LOGIN, REGISTRAR};
use super::traffic::event;

/// What happens next.
#[derive(Clone)]
enum Step {
    Event(SecurityEvent),
    Restart,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Event(SecurityEvent { kind, service, account, session, remote, .. }) => {
                let account = String::from_utf8_lossy(account);
                write!(f, "{service:?} {kind:?} of {account} from {}, session {session}", remote.address)
            }
            Step::Restart => f.write_str("restart"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn judge_and_model_agree_on_any_events_whatever(
        limits in limits(), lengths in lengths(), is_tidy in any::<bool>(), steps in steps(),
    ) {
        // Where what is too old goes later than at once, it must not matter when it goes.
        let slow = 100 * DAY / SECOND;
        let limits = if is_tidy { limits } else { Limits { home_time: slow.min(limits.home_time * slow), ..limits } };
        let lengths = if is_tidy { lengths } else { Lengths { longest: slow, ..lengths } };
        let mut court = Court::new(limits, lengths);
        court.is_tidy = is_tidy;
        // No session lasts for ever.
        let session = if is_tidy { 10 * SECOND } else { 4 * SECOND };
        let mut time = 0;
        for (pause, step) in steps {
            time += pause;
            match step {
                Step::Event(mut event) => {
                    event.session += time / session * 1000;
                    court.hear(time, &event);
                }
                Step::Restart => court.restart(),
            }
        }
        court.pass_until(time + 2 * MINUTE);
    }
}

/// Limits that are soon reached; some of them are switched off.
fn limits() -> impl Strategy<Value = Limits> {
    let few = || prop_oneof![9 => 1u32..4, 1 => Just(0)];
    let strangers = (few(), few(), few(), few(), 20u64..700, prop_oneof![Just(0u32), 1u32..9]);
    let homes = (few(), few(), few(), prop_oneof![1 => Just(0), 9 => 20u64..100_000], 0u32..6);
    let crowds = (few(), few());
    let challenges = (prop_oneof![1 => Just(0), 5 => 1u32..6], 1u64..14, 0u32..3);
    let countries = prop_oneof![2 => Just(vec![]), 1 => Just(vec![country("MX"), country("US")])];
    let weather = (0u32..4, select(vec![10u32, 20, 50]), select(vec![0u64, 30, 3600]));
    let all = (strangers, homes, crowds, challenges, weather, countries);
    all.prop_map(|(strangers, homes, crowds, challenges, weather, countries)| {
        let (unknown_account, wrong_password, acl, ami, window, day_guesses) = strangers;
        let (home_guesses, strange, _, home_time, hammer) = homes;
        let (pressure, neighbours) = crowds;
        let (flood_count, flood_interval, home_challenges) = challenges;
        let (weather, weather_share, weather_time) = weather;
        Limits {
            unknown_account,
            wrong_password,
            acl,
            ami,
            window,
            day_guesses,
            pressure,
            neighbours,
            home_time,
            hammer,
            home_guesses,
            strange,
            home_challenges,
            weather,
            weather_share,
            weather_time,
            flood_count,
            flood_interval,
            countries,
            ..Config::default().limits
        }
    })
}

fn country(code: &str) -> Country {
    code.parse().unwrap()
}

fn lengths() -> impl Strategy<Value = Lengths> {
    let seconds = || select(vec![5u64, 600, 86_400]);
    (seconds(), prop_oneof![1 => Just(0), 5 => seconds()], 0u64..5, select(vec![86_400, 200_000u64]))
        .prop_map(|(ban, home, growth, longest)| Lengths { ban, home, growth, longest })
}

/// Events of a few kinds, sources, accounts and sessions, other ones each time, and each with the pause before it.
fn steps() -> impl Strategy<Value = Vec<(Time, Step)>> {
    let kinds = vec![
        Kind::ChallengeSent,
        LOGIN,
        Kind::SuccessfulAuth { using_password: false },
        Kind::InvalidAccountId,
        Kind::ChallengeResponseFailed,
        Kind::InvalidPassword,
        Kind::FailedAcl(Acl::Access),
        REGISTRAR,
        Kind::RequestNotSupported,
        Kind::InvalidTransport,
        Kind::MemoryLimit,
        Kind::Tampered,
        Kind::Other,
    ];
    let sources = vec![
        "203.0.113.1",
        "203.0.113.2",
        "203.0.113.3",
        "203.0.112.1",
        "203.0.112.2",
        "198.51.100.1",
        "192.0.2.3",
        "198.18.0.1",
        "2001:db8:aa::1",
        "2001:db8:aa::2",
        "2001:db8:aa:1::1",
        "2001:db8:aa:2::1",
        "2001:db8:bb::1",
        "fe80::1",
    ];
    // Half of the time it is about challenges and their answers, or about logins and refusals.
    let more = prop_oneof![
        Just(vec![]),
        vec(Just(Kind::ChallengeSent), 1..8),
        vec(select(vec![LOGIN, Kind::ChallengeResponseFailed]), 1..8),
    ];
    let kinds = (subsequence(kinds, 1..6), more).prop_map(|(kinds, more)| [kinds, more].concat());
    let sources = prop_oneof![subsequence(sources.clone(), 1..4), subsequence(sources, 4..10)];
    let pauses = select(vec![1u64, 300, 1500, 5 * SECOND, MINUTE, 12 * MINUTE, 5 * HOUR]);
    let (accounts, sessions) = (select(vec![1usize, 2, 3, 40]), select(vec![1u64, 3, 1000]));
    (kinds, sources, pauses, accounts, sessions).prop_flat_map(|(kinds, sources, longest, accounts, sessions)| {
        let numbers = (1000..1040).map(|number| number.to_string());
        let account = select(std::iter::once("<unknown>".to_owned()).chain(numbers).take(accounts).collect::<Vec<_>>());
        let service = prop_oneof![9 => Just(Service::Pjsip), 6 => Just(Service::Sip), 1 => Just(Service::Ami)];
        let pause = prop_oneof![Just(0), 0..longest];
        let whence = select(vec![None, Some(country("MX")), Some(country("RU"))]);
        let happening = (select(sources), service, select(kinds), account, 0..sessions, whence).prop_map(
            |(from, service, kind, account, session, country)| {
                // The manager interface has no registrar, and nobody logs in there by a challenge.
                let is_sip = matches!(kind, REGISTRAR | Kind::RequestNotSupported | LOGIN);
                let service = if is_sip && service == Service::Ami { Service::Pjsip } else { service };
                let event = event(from.parse().unwrap(), service, kind, account.as_bytes(), session);
                Step::Event(SecurityEvent { country, ..event })
            },
        );
        let step = prop_oneof![200 => happening, 1 => Just(Step::Restart)];
        vec((pause, step), 1..250)
    })
}
