//! The column of the addresses where nobody lives, and what counts as a failure at all.

use super::*;

const STRANGER: &str = "203.0.113.7";
const HOME: &str = "198.51.100.1";

#[test]
fn a_request_for_an_account_that_does_not_exist_blocks_at_once() {
    assert_eq!(Court::new().convict(UNKNOWN, STRANGER, "100"), ONE_DAY);
    assert_eq!(Court::new().convict(WRONG, STRANGER, "<unknown>"), ONE_DAY);
}

#[test]
fn the_hasty_are_blocked_at_the_third_guess_in_ten_minutes() {
    for lives_elsewhere in [false, true] {
        let mut court = Court::new();
        if lives_elsewhere {
            court.register("198.51.100.1", "1000");
        }
        court.acquit(WRONG, STRANGER, "1000");
        court.wait(299);
        court.acquit(WRONG, STRANGER, "1000");
        court.wait(299);
        court.convict(WRONG, STRANGER, "1000");
    }
}

#[test]
fn the_patient_are_blocked_at_the_sixth_guess_in_a_day_whatever_their_pace() {
    for pause in [301, 400, 900, HOUR, 17_279] {
        let mut court = Court::new();
        for _ in 0..5 {
            court.acquit(WRONG, STRANGER, "1000");
            court.tick(1);
            court.wait(pause - 1);
        }
        court.convict(WRONG, STRANGER, "1000");
    }
}

#[test]
fn a_stranger_from_elsewhere_is_blocked_at_the_first_guess_and_a_home_is_none() {
    let [mexico, france] = ["MX", "FR"].map(|code| code.parse().unwrap());
    for (from, country, is_blocked) in [
        (STRANGER, Some(france), true),
        (STRANGER, Some(mexico), false),
        (STRANGER, None, false),
        (HOME, Some(france), false),
    ] {
        let mut court = Court::with(|limits| limits.countries = vec![mexico]);
        court.register(HOME, "1000");
        let guess = SecurityEvent { country, ..court.event(WRONG, from, "1001") };
        assert_eq!(court.judge(&guess) != Verdict::Pass, is_blocked, "{from} {country:?}");
    }
    let mut court = Court::new();
    let guess = SecurityEvent { country: Some(france), ..court.event(WRONG, STRANGER, "1001") };
    assert_eq!(court.judge(&guess), Verdict::Pass, "without limits.countries");
}

#[test]
fn five_guesses_in_any_day_are_not_yet_six() {
    let mut court = Court::new();
    for _ in 0..50 {
        court.acquit(WRONG, STRANGER, "1000");
        court.wait(ONE_DAY / 5);
    }
}

#[test]
fn guesses_of_every_kind_and_account_add_up_in_a_day() {
    let mut court = Court::with(|limits| (limits.unknown_account, limits.acl, limits.ami) = (9, 9, 9));
    let kinds = [WRONG, Kind::InvalidPassword, UNKNOWN, Kind::FailedAcl(Acl::Access), Kind::RequestBadFormat];
    for (kind, account) in kinds.into_iter().zip(["1000", "1001", "1002", "1003", ""]) {
        court.acquit(kind, STRANGER, account);
        court.wait(HOUR);
    }
    court.convict(Kind::InvalidTransport, STRANGER, "1005");
}

#[test]
fn a_login_forgives_the_failures_of_its_own_account_only() {
    // Nobody lives anywhere, so that who logs in stays a stranger.
    let mut court = Court::with(|limits| limits.home_time = 0);
    court.acquit(WRONG, STRANGER, "1000");
    court.acquit(WRONG, STRANGER, "1001");
    court.register(STRANGER, "1001");
    court.acquit(WRONG, STRANGER, "1001");
    court.register(STRANGER, "1001");
    court.acquit(WRONG, STRANGER, "1000");
    court.convict(WRONG, STRANGER, "1000");
}

#[test]
fn a_login_without_a_password_forgives_nothing() {
    let mut court = Court::new();
    court.acquit(WRONG, STRANGER, "1000");
    court.acquit(WRONG, STRANGER, "1000");
    court.acquit(Kind::SuccessfulAuth { using_password: false }, STRANGER, "1000");
    court.convict(WRONG, STRANGER, "1000");
}

#[test]
fn an_account_that_lives_elsewhere_exists_even_while_the_pbx_does_not_know_it() {
    let mut court = Court::new();
    court.register("198.51.100.1", "1000");
    court.acquit(UNKNOWN, STRANGER, "1000");
    court.acquit(UNKNOWN, STRANGER, "1000");
    court.convict(UNKNOWN, STRANGER, "1000");
    // A broken event is no phone's, whatever account it names.
    court.convict(Kind::Tampered, "203.0.113.8", "1000");
}

#[test]
fn every_kind_of_failure_counts_as_the_configuration_names_it() {
    let limit = |limits: &Limits, key: &str| match key {
        "unknown_account" => limits.unknown_account,
        "wrong_password" => limits.wrong_password,
        "acl" => limits.acl,
        _ => limits.ami,
    };
    let rows = [
        (Service::Pjsip, UNKNOWN, "unknown_account", Reason::InvalidAccount),
        (Service::Pjsip, WRONG, "wrong_password", Reason::ChallengeFailed),
        (Service::Sip, Kind::InvalidPassword, "wrong_password", Reason::InvalidPassword),
        (Service::Pjsip, Kind::FailedAcl(Acl::Access), "acl", Reason::FailedAcl),
        (Service::Pjsip, REGISTRAR, "wrong_password", Reason::FailedAcl),
        (Service::Pjsip, Kind::RequestNotSupported, "wrong_password", Reason::ProtocolMisuse),
        (Service::Pjsip, Kind::RequestNotAllowed, "wrong_password", Reason::ProtocolMisuse),
        (Service::Pjsip, Kind::RequestBadFormat, "wrong_password", Reason::ProtocolMisuse),
        (Service::Pjsip, Kind::SessionLimit, "wrong_password", Reason::ProtocolMisuse),
        (Service::Sip, Kind::InvalidTransport, "wrong_password", Reason::ProtocolMisuse),
        (Service::Pjsip, Kind::UnexpectedAddress, "wrong_password", Reason::ProtocolMisuse),
        (Service::Pjsip, Kind::AuthMethodNotAllowed, "wrong_password", Reason::ProtocolMisuse),
        (Service::Sip, Kind::Tampered, "unknown_account", Reason::ProtocolMisuse),
        (Service::Ami, Kind::InvalidPassword, "ami", Reason::InvalidPassword),
        (Service::Ami, UNKNOWN, "ami", Reason::InvalidAccount),
        (Service::Ami, WRONG, "ami", Reason::ChallengeFailed),
        (Service::Ami, Kind::FailedAcl(Acl::Access), "ami", Reason::FailedAcl),
        (Service::Ami, Kind::RequestNotAllowed, "ami", Reason::ProtocolMisuse),
        (Service::Ami, Kind::RequestBadFormat, "ami", Reason::ProtocolMisuse),
        (Service::Ami, Kind::SessionLimit, "ami", Reason::ProtocolMisuse),
    ];
    for (service, kind, key, reason) in rows {
        let mut court = Court::new();
        let limit = limit(&court.policy.limits, key);
        for nth in 1..=limit {
            let event = SecurityEvent { service, ..court.event(kind, STRANGER, "1000") };
            let expected = (nth == limit).then_some(Sentence { source: net(STRANGER), reason, seconds: ONE_DAY });
            assert_eq!(sentence(&court.judge(&event)), expected, "{service:?} {kind:?}, number {nth}");
        }
    }
    for kind in [Kind::MemoryLimit, Kind::LoadAverageLimit, Kind::Other] {
        let mut court = Court::new();
        (0..100).for_each(|_| court.acquit(kind, STRANGER, "1000"));
    }
}

#[test]
fn a_limit_of_zero_is_switched_off() {
    let never = |limits: &mut Limits| {
        (limits.unknown_account, limits.wrong_password, limits.acl, limits.ami) = (0, 0, 0, 0);
        limits.flood_count = 0;
    };
    let mut court = Court::with(never);
    for _ in 0..500 {
        for kind in [UNKNOWN, WRONG, Kind::FailedAcl(Acl::Access), Kind::Tampered, Kind::ChallengeSent] {
            court.acquit(kind, STRANGER, "1000");
        }
        assert_eq!(court.tick(1), []);
    }
    // One that is switched off leaves the others alone.
    let mut court = Court::with(|limits| limits.unknown_account = 0);
    (0..500).for_each(|_| court.acquit(UNKNOWN, STRANGER, "100"));
    (0..2).for_each(|_| court.acquit(WRONG, STRANGER, "100"));
    court.convict(WRONG, STRANGER, "100");
    let mut court = Court::with(|limits| limits.day_guesses = 0);
    for _ in 0..100 {
        court.acquit(WRONG, STRANGER, "1000");
        court.wait(301);
    }
}

#[test]
fn with_wrong_passwords_switched_off_an_account_that_lives_elsewhere_blocks_nobody_either() {
    let mut court = Court::with(|limits| limits.wrong_password = 0);
    court.register("198.51.100.1", "1000");
    (0..500).for_each(|_| court.acquit(UNKNOWN, STRANGER, "1000"));
    court.convict(UNKNOWN, STRANGER, "100");
}

#[test]
fn one_request_told_twice_counts_once() {
    for second in [WRONG, Kind::ChallengeSent] {
        let mut court = Court::with(|limits| (limits.unknown_account, limits.flood_count) = (3, 1));
        for _ in 0..2 {
            let first = court.event(UNKNOWN, STRANGER, "9");
            let again = SecurityEvent { kind: second, account: b"<unknown>".as_slice().into(), ..first.clone() };
            assert_eq!(court.judge(&first), Verdict::Pass);
            assert_eq!(court.judge(&again), Verdict::Pass);
        }
        assert_eq!(court.tick(10), []);
        court.convict(UNKNOWN, STRANGER, "9");
    }
}

#[test]
fn an_attempt_of_two_requests_counts_once() {
    let mut court = Court::with(|limits| limits.unknown_account = 3);
    for nth in 1..=3 {
        let first = court.event(UNKNOWN, STRANGER, "9");
        let unidentified = SecurityEvent { account: b"<unknown>".as_slice().into(), ..first.clone() };
        let told = [
            first.clone(),
            SecurityEvent { kind: Kind::ChallengeSent, ..unidentified.clone() },
            first,
            SecurityEvent { kind: WRONG, ..unidentified },
        ];
        let verdicts = told.map(|event| court.judge(&event));
        assert_eq!(sentence(&verdicts[0]).is_some(), nth == 3);
        assert_eq!(verdicts[1..], [Verdict::Pass, Verdict::Pass, Verdict::Pass]);
    }
}

#[test]
fn one_call_id_for_many_requests_does_not_hide_them() {
    let mut court = Court::with(|limits| limits.unknown_account = 3);
    let event = court.event(UNKNOWN, STRANGER, "9");
    assert_eq!(court.judge(&event), Verdict::Pass);
    assert_eq!(court.judge(&event), Verdict::Pass);
    assert!(sentence(&court.judge(&event)).is_some());
    // As Asterisk tells it of requests that answer no challenge: each account counts, and each other request for one.
    for (names, most) in [(["9", "9", "9"], 5), (["7", "8", "9"], 3)] {
        let mut court = Court::with(|limits| limits.unknown_account = 3);
        let session = court.event(UNKNOWN, STRANGER, "9");
        let mut requests = 0;
        let blocked = names.iter().cycle().take(20).any(|name| {
            requests += 1;
            let refusal = SecurityEvent { account: name.as_bytes().into(), ..session.clone() };
            let challenge = Kind::ChallengeSent;
            let again = SecurityEvent { kind: challenge, account: b"<unknown>".as_slice().into(), ..session.clone() };
            let verdict = court.judge(&refusal);
            assert_eq!(court.judge(&again), Verdict::Pass);
            sentence(&verdict).is_some()
        });
        assert!(blocked && requests <= most, "{requests} requests for {names:?}");
    }
}

#[test]
fn what_is_refused_of_a_request_after_a_login_is_nothing() {
    for home_time in [30 * ONE_DAY, 0] {
        let mut court = Court::with(|limits| limits.home_time = home_time);
        for _ in 0..10 {
            court.register(STRANGER, "1000");
            court.acquit(Kind::RequestNotSupported, STRANGER, "1000");
            court.acquit(REGISTRAR, STRANGER, "1000");
            court.wait(59);
            court.acquit(REGISTRAR, STRANGER, "1000");
            court.wait(HOUR);
        }
    }
    let mut court = Court::new();
    court.acquit(REGISTRAR, STRANGER, "anonymous");
    court.acquit(REGISTRAR, STRANGER, "anonymous");
    court.convict(REGISTRAR, STRANGER, "anonymous");
}

#[test]
fn protected_addresses_are_never_blocked() {
    let mut court = Court::new();
    for address in ["192.0.2.9", "127.0.0.1", "::1", "198.18.0.1"] {
        let verdict = court.hear(UNKNOWN, address, "9");
        assert_eq!(verdict, Verdict::Protected { address: address.parse().unwrap(), reason: Reason::InvalidAccount });
        (0..200).for_each(|_| court.acquit(Kind::ChallengeSent, address, "9"));
        assert_eq!(court.tick(30), []);
    }
    assert!(court.evidence.is_empty());
}

#[test]
fn ipv6_addresses_of_a_network_count_together_but_for_protected_ones_among_them() {
    let mut court = Court::with(|limits| limits.unknown_account = 2);
    for (one, other, source) in [
        ("2001:db8:1::5", "2001:db8:1::6", "2001:db8:1::/64"),
        ("fe80::5", "fe80::5", "fe80::5/128"),
        // The white list holds a neighbour.
        ("2001:db8:aa::5", "2001:db8:aa::5", "2001:db8:aa::5/128"),
    ] {
        court.acquit(UNKNOWN, one, "9");
        let verdict = court.hear(UNKNOWN, other, "9");
        assert_eq!(sentence(&verdict).unwrap().source, net(source));
    }
}

#[test]
fn while_the_pbx_own_ipv6_address_is_not_known_nobody_around_it_is_blocked() {
    let mut court = Court::new();
    court.policy.knows_own_ipv6 = false;
    let verdict = court.hear(UNKNOWN, "2001:db8:1::5", "9");
    assert_eq!(sentence(&verdict).unwrap().source, net("2001:db8:1::5/128"));
    court.evidence.learn_own("2001:db8:9::1".parse().unwrap());
    let verdict = court.hear(UNKNOWN, "2001:db8:1::6", "9");
    assert_eq!(sentence(&verdict).unwrap().source, net("2001:db8:1::/64"));
}
