use super::*;
use crate::model::clock::UnixTime;
use crate::model::security::{Endpoint, Transport};

const LIMITS: Limits = Limits {
    window: 600,
    unknown_account: 1,
    wrong_password: 3,
    acl: 1,
    ami: 1,
    trusted: 20,
    trust_time: 86_400,
    ipv6_prefix: 64,
    flood_count: 5,
    flood_interval: 10,
};

struct Court {
    evidence: Evidence,
    policy: Policy,
    now: Now,
    session: u64,
}

impl Court {
    fn new() -> Court {
        let now = Now { wall: UnixTime(1_000_000), monotonic: Duration::from_secs(1_000) };
        let protected =
            ["192.0.2.0/24", "2001:db8:aa::1/128"].iter().map(|net| net.parse::<IpNet>().unwrap()).collect();
        Court {
            evidence: Evidence::default(),
            policy: Policy { limits: LIMITS, protected, knows_own_ipv6: true },
            now,
            session: 0,
        }
    }

    fn wait(&mut self, seconds: f64) {
        self.now.monotonic += Duration::from_secs_f64(seconds);
        self.now.wall = self.now.wall + seconds as u64;
    }

    fn event(&mut self, kind: Kind, from: &str, account: &str) -> SecurityEvent {
        self.session += 1;
        SecurityEvent {
            kind,
            service: Service::Pjsip,
            account: account.as_bytes().into(),
            session: self.session,
            local: endpoint("198.18.0.1"),
            remote: endpoint(from),
            time: None,
        }
    }

    fn hear(&mut self, kind: Kind, from: &str, account: &str) -> Verdict {
        let event = self.event(kind, from, account);
        judge(&mut self.evidence, &self.policy, self.now, &event)
    }

    /// A phone registers: it is challenged and answers.
    fn register(&mut self, from: &str, account: &str) {
        let challenge = self.event(Kind::ChallengeSent, from, account);
        let success = SecurityEvent { kind: SUCCESS, ..challenge.clone() };
        for event in [challenge, success] {
            assert_eq!(judge(&mut self.evidence, &self.policy, self.now, &event), Verdict::Pass);
        }
    }

    fn overdue(&mut self) -> Vec<Verdict> {
        overdue(&mut self.evidence, &self.policy, self.now)
    }
}

const SUCCESS: Kind = Kind::SuccessfulAuth { using_password: true };

fn endpoint(address: &str) -> Endpoint {
    Endpoint { address: address.parse().unwrap(), transport: Transport::Udp, port: 5060 }
}

/// The verdict after as few failures as the default limits allow.
fn block(source: &str, reason: Reason) -> Verdict {
    let failures = match reason {
        Reason::ChallengeSent => 0,
        Reason::ChallengeFailed => 3,
        _ => 1,
    };
    block_after(failures, source, reason)
}

fn block_after(failures: u32, source: &str, reason: Reason) -> Verdict {
    let source = source.parse().unwrap_or_else(|_| IpNet::from(source.parse::<IpAddr>().unwrap()));
    Verdict::Block { source, reason, local: Some(endpoint("198.18.0.1")), failures }
}

#[test]
fn the_first_request_for_an_unknown_account_blocks() {
    let mut court = Court::new();
    let verdict = court.hear(Kind::InvalidAccountId, "203.0.113.7", "100");
    assert_eq!(verdict, block("203.0.113.7", Reason::InvalidAccount));
}

#[test]
fn the_third_wrong_password_within_the_window_blocks() {
    let mut court = Court::new();
    let wrong = Kind::ChallengeResponseFailed;
    assert_eq!(court.hear(wrong, "203.0.113.7", "1000"), Verdict::Pass);
    assert_eq!(court.hear(wrong, "203.0.113.7", "1000"), Verdict::Pass);
    assert_eq!(court.hear(wrong, "203.0.113.7", "1000"), block("203.0.113.7", Reason::ChallengeFailed));
}

#[test]
fn failures_older_than_the_window_do_not_count() {
    let mut court = Court::new();
    for _ in 0..100 {
        assert_eq!(court.hear(Kind::InvalidPassword, "203.0.113.7", "1000"), Verdict::Pass);
        court.wait(301.0);
    }
}

#[test]
fn a_login_forgives_the_failures_of_its_own_account_only() {
    let mut court = Court::new();
    court.policy.limits.trusted = 3;
    let wrong = Kind::ChallengeResponseFailed;
    assert_eq!(court.hear(wrong, "203.0.113.7", "1000"), Verdict::Pass);
    assert_eq!(court.hear(wrong, "203.0.113.7", "1001"), Verdict::Pass);
    assert_eq!(court.hear(SUCCESS, "203.0.113.7", "1001"), Verdict::Pass);
    assert_eq!(court.hear(wrong, "203.0.113.7", "1002"), Verdict::Pass);
    assert_eq!(court.hear(wrong, "203.0.113.7", "1002"), block("203.0.113.7", Reason::ChallengeFailed));
}

#[test]
fn a_trusted_address_is_judged_by_its_own_limit_for_a_day() {
    let mut court = Court::new();
    court.register("203.0.113.7", "1000");
    for _ in 1..20 {
        assert_eq!(court.hear(Kind::InvalidAccountId, "203.0.113.7", "9"), Verdict::Pass);
    }
    assert_eq!(
        court.hear(Kind::InvalidAccountId, "203.0.113.7", "9"),
        block_after(20, "203.0.113.7", Reason::InvalidAccount)
    );
    court.register("203.0.113.8", "1000");
    court.wait(86_401.0);
    assert_eq!(court.hear(Kind::InvalidAccountId, "203.0.113.8", "9"), block("203.0.113.8", Reason::InvalidAccount));
}

#[test]
fn one_request_told_twice_counts_once() {
    let mut court = Court::new();
    court.policy.limits.unknown_account = 3;
    for _ in 0..2 {
        let first = court.event(Kind::InvalidAccountId, "203.0.113.7", "9");
        let second = SecurityEvent {
            kind: Kind::ChallengeResponseFailed,
            account: b"<unknown>".as_slice().into(),
            ..first.clone()
        };
        for event in [first, second] {
            assert_eq!(judge(&mut court.evidence, &court.policy, court.now, &event), Verdict::Pass);
        }
    }
    assert_eq!(
        court.hear(Kind::InvalidAccountId, "203.0.113.7", "9"),
        block_after(3, "203.0.113.7", Reason::InvalidAccount)
    );
}

#[test]
fn one_call_id_for_many_requests_does_not_hide_them() {
    let mut court = Court::new();
    court.policy.limits.unknown_account = 3;
    let event = court.event(Kind::InvalidAccountId, "203.0.113.7", "9");
    let verdicts: Vec<Verdict> = (0..3).map(|_| judge(&mut court.evidence, &court.policy, court.now, &event)).collect();
    assert_eq!(verdicts[2], block_after(3, "203.0.113.7", Reason::InvalidAccount));
}

#[test]
fn an_office_whose_power_comes_back_is_not_blocked() {
    let mut court = Court::new();
    let challenges: Vec<_> =
        (0..80).map(|n| court.event(Kind::ChallengeSent, "203.0.113.7", &format!("1{n:03}"))).collect();
    for event in &challenges {
        assert_eq!(judge(&mut court.evidence, &court.policy, court.now, event), Verdict::Pass);
    }
    court.wait(2.0);
    assert_eq!(court.overdue(), []);
    for challenge in challenges {
        let success = SecurityEvent { kind: SUCCESS, ..challenge };
        assert_eq!(judge(&mut court.evidence, &court.policy, court.now, &success), Verdict::Pass);
    }
    court.wait(5.0);
    assert_eq!(court.overdue(), []);
}

#[test]
fn challenges_left_unanswered_block_after_the_grace() {
    let mut court = Court::new();
    for _ in 0..6 {
        assert_eq!(court.hear(Kind::ChallengeSent, "203.0.113.7", "1000"), Verdict::Pass);
    }
    court.wait(3.0);
    assert_eq!(court.overdue(), []);
    court.wait(2.0);
    assert_eq!(court.overdue(), [block("203.0.113.7", Reason::ChallengeSent)]);
}

#[test]
fn five_unanswered_challenges_in_the_interval_are_tolerated() {
    let mut court = Court::new();
    for _ in 0..200 {
        assert_eq!(court.hear(Kind::ChallengeSent, "203.0.113.7", "1000"), Verdict::Pass);
        court.wait(2.1);
        assert_eq!(court.overdue(), []);
    }
}

#[test]
fn a_huge_imbalance_need_not_wait() {
    let mut court = Court::new();
    let verdict = (0..101).map(|_| court.hear(Kind::ChallengeSent, "203.0.113.7", "1000")).last();
    assert_eq!(verdict, Some(block("203.0.113.7", Reason::ChallengeSent)));
}

#[test]
fn what_is_refused_of_a_request_after_a_login_is_nothing() {
    let mut court = Court::new();
    for _ in 0..10 {
        court.register("203.0.113.7", "1000");
        assert_eq!(court.hear(Kind::RequestNotSupported, "203.0.113.7", "1000"), Verdict::Pass);
        assert_eq!(court.hear(Kind::FailedAcl(Acl::Request), "203.0.113.7", "1000"), Verdict::Pass);
    }
    let refused = Kind::FailedAcl(Acl::Request);
    assert_eq!(court.hear(refused, "203.0.113.8", "anonymous"), Verdict::Pass);
    assert_eq!(court.hear(refused, "203.0.113.8", "anonymous"), Verdict::Pass);
    assert_eq!(court.hear(refused, "203.0.113.8", "anonymous"), block_after(3, "203.0.113.8", Reason::FailedAcl));
}

#[test]
fn protected_addresses_are_never_blocked() {
    let mut court = Court::new();
    for address in ["192.0.2.9", "127.0.0.1", "::1", "198.18.0.1"] {
        let verdict = court.hear(Kind::InvalidAccountId, address, "9");
        assert_eq!(verdict, Verdict::Protected { address: address.parse().unwrap(), reason: Reason::InvalidAccount });
        for _ in 0..200 {
            assert_eq!(court.hear(Kind::ChallengeSent, address, "9"), Verdict::Pass);
        }
    }
    assert!(court.evidence.is_empty());
}

#[test]
fn ipv6_neighbours_count_together_but_for_honest_ones_among_them() {
    let mut court = Court::new();
    let blame = |court: &mut Court, from| court.hear(Kind::InvalidAccountId, from, "9");
    assert_eq!(blame(&mut court, "2001:db8:1::5"), block("2001:db8:1::/64", Reason::InvalidAccount));
    assert_eq!(blame(&mut court, "fe80::5"), block("fe80::5", Reason::InvalidAccount));
    // The white list holds a neighbour.
    assert_eq!(blame(&mut court, "2001:db8:aa::5"), block("2001:db8:aa::5", Reason::InvalidAccount));
    // A phone registered from there.
    court.register("2001:db8:2::100", "1000");
    assert_eq!(blame(&mut court, "2001:db8:2::5"), block("2001:db8:2::5", Reason::InvalidAccount));
}

#[test]
fn one_address_behind_a_translator_does_not_stand_for_all_of_them() {
    let mut court = Court::new();
    for from in ["64:ff9b::203.0.113.7", "64:ff9b:1:abcd::7", "::ffff:0:203.0.113.7", "2001:0:5ef5:79fd::7"] {
        assert_eq!(court.hear(Kind::InvalidAccountId, from, "9"), block(from, Reason::InvalidAccount));
    }
    assert_eq!(
        court.hear(Kind::InvalidAccountId, "64:ff9b:2::7", "9"),
        block("64:ff9b:2::/64", Reason::InvalidAccount)
    );
}

#[test]
fn while_the_pbx_own_ipv6_address_is_not_known_nobody_around_it_is_blocked() {
    let mut court = Court::new();
    court.policy.knows_own_ipv6 = false;
    assert_eq!(
        court.hear(Kind::InvalidAccountId, "2001:db8:1::5", "9"),
        block("2001:db8:1::5", Reason::InvalidAccount)
    );
    court.evidence.learn_own("2001:db8:9::1".parse().unwrap());
    assert_eq!(
        court.hear(Kind::InvalidAccountId, "2001:db8:1::6", "9"),
        block("2001:db8:1::/64", Reason::InvalidAccount)
    );
}

#[test]
fn anything_at_the_manager_interface_blocks_at_once() {
    let mut court = Court::new();
    for kind in [Kind::InvalidPassword, Kind::RequestNotAllowed, Kind::SessionLimit, Kind::ChallengeResponseFailed] {
        let event = SecurityEvent { service: Service::Ami, ..court.event(kind, "203.0.113.7", "admin") };
        let verdict = judge(&mut court.evidence, &court.policy, court.now, &event);
        assert!(matches!(verdict, Verdict::Block { .. }), "{kind:?}");
    }
}

#[test]
fn a_limit_of_zero_is_switched_off() {
    let mut court = Court::new();
    court.policy.limits.unknown_account = 0;
    court.policy.limits.flood_count = 0;
    for _ in 0..500 {
        assert_eq!(court.hear(Kind::InvalidAccountId, "203.0.113.7", "9"), Verdict::Pass);
        assert_eq!(court.hear(Kind::ChallengeSent, "203.0.113.7", "9"), Verdict::Pass);
    }
}

#[test]
fn a_flood_of_sources_is_held_in_bounded_memory_and_the_worst_is_kept() {
    let mut court = Court::new();
    let wrong = Kind::ChallengeResponseFailed;
    assert_eq!(court.hear(wrong, "203.0.113.7", "1000"), Verdict::Pass);
    assert_eq!(court.hear(wrong, "203.0.113.7", "1000"), Verdict::Pass);
    for n in 0u32..100_000 {
        let from = IpAddr::from((0x0b00_0000 + n).to_be_bytes()).to_string();
        assert_eq!(court.hear(wrong, &from, "1000"), Verdict::Pass);
        assert!(court.evidence.len() <= evidence::MAX_SOURCES);
    }
    assert_eq!(court.hear(wrong, "203.0.113.7", "1000"), block("203.0.113.7", Reason::ChallengeFailed));
}

#[test]
fn with_limits_switched_off_memory_is_bounded_all_the_same() {
    let mut court = Court::new();
    court.policy.limits = Limits { unknown_account: 0, flood_count: 0, ..LIMITS };
    for n in 0u32..40_000 {
        let from = IpAddr::from((0x0b00_0000 + n).to_be_bytes()).to_string();
        for kind in [Kind::ChallengeSent, Kind::InvalidAccountId] {
            assert_eq!(court.hear(kind, &from, "1000"), Verdict::Pass);
            assert_eq!(court.hear(kind, "203.0.113.7", "1000"), Verdict::Pass);
        }
    }
    assert!(court.evidence.len() <= evidence::MAX_SOURCES);
    let flooder = "203.0.113.7".parse::<IpAddr>().unwrap();
    assert_eq!(standing(&court.evidence, &court.policy, court.now, &flooder.into()).last().map(|s| s.count), Some(0));
}

#[test]
fn an_address_protected_after_it_was_challenged_is_not_blocked() {
    let mut court = Court::new();
    for from in ["203.0.113.7", "2001:db8:1::5", "2001:db8:2::5"] {
        for _ in 0..30 {
            assert_eq!(court.hear(Kind::ChallengeSent, from, "1000"), Verdict::Pass);
        }
    }
    court.policy.protected =
        ["203.0.113.7/32", "2001:db8:1::9/128"].iter().map(|net| net.parse::<IpNet>().unwrap()).collect();
    // A neighbour in the third network logs in.
    assert_eq!(court.hear(SUCCESS, "2001:db8:2::9", "1001"), Verdict::Pass);
    court.wait(5.0);
    assert_eq!(court.overdue(), []);
}

#[test]
fn trust_lasts_from_the_last_login_not_from_one_an_hour_before() {
    let mut court = Court::new();
    court.policy.limits.trust_time = 600;
    for _ in 0..20 {
        court.register("203.0.113.7", "1000");
        court.wait(300.0);
        assert_eq!(court.hear(Kind::InvalidAccountId, "203.0.113.7", "9"), Verdict::Pass);
        court.wait(300.0);
    }
}

#[test]
fn a_login_answers_a_challenge_that_counts_not_one_that_is_too_old_to() {
    let mut court = Court::new();
    assert_eq!(court.hear(Kind::ChallengeSent, "203.0.113.7", "sip:1000@pbx"), Verdict::Pass);
    court.wait(10.0);
    for _ in 0..6 {
        assert_eq!(court.hear(Kind::ChallengeSent, "203.0.113.7", "sip:1000@pbx"), Verdict::Pass);
    }
    court.wait(4.5);
    let without_password = Kind::SuccessfulAuth { using_password: false };
    assert_eq!(court.hear(without_password, "203.0.113.7", "600"), Verdict::Pass);
    assert_eq!(court.overdue(), []);
}

#[test]
fn more_logins_in_a_second_than_are_remembered_leave_most_of_them_trusted() {
    let mut court = Court::new();
    for n in 0..=evidence::MAX_TRUSTED as u32 {
        let from = IpAddr::from((0x0b00_0000 + n).to_be_bytes());
        court.evidence.trust(from, court.now.wall);
    }
    let trusted = court.evidence.trusted().count();
    assert!(trusted > evidence::MAX_TRUSTED / 2 && trusted <= evidence::MAX_TRUSTED, "{trusted}");
}
