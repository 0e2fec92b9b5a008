//! Challenges that are left unanswered.

use super::*;

const SOMEBODY: &str = "203.0.113.7";

fn blocked(seconds: u64) -> Sentence {
    Sentence { source: net(SOMEBODY), reason: Reason::ChallengeSent, seconds }
}

#[test]
fn more_than_five_that_are_four_seconds_old_block_a_stranger() {
    let mut court = Court::new();
    (0..6).for_each(|_| court.acquit(Kind::ChallengeSent, SOMEBODY, "1000"));
    assert_eq!(court.tick(3), []);
    assert_eq!(court.tick(1), [blocked(ONE_DAY)]);
    // What they came to has been done.
    assert_eq!(court.tick(60), []);
}

#[test]
fn five_in_the_interval_are_tolerated() {
    let mut court = Court::new();
    for _ in 0..200 {
        court.acquit(Kind::ChallengeSent, SOMEBODY, "1000");
        assert_eq!(court.tick(5), []);
    }
}

#[test]
fn twenty_times_as_many_at_once_need_not_wait() {
    let mut court = Court::new();
    (0..100).for_each(|_| court.acquit(Kind::ChallengeSent, SOMEBODY, "1000"));
    court.convict(Kind::ChallengeSent, SOMEBODY, "1000");
    // But where somebody lives it may be the weather, which is seen by then.
    let mut court = Court::new();
    court.register(SOMEBODY, "1000");
    (0..10_000).for_each(|_| court.acquit(Kind::ChallengeSent, SOMEBODY, "1000"));
    assert_eq!(court.tick(29), []);
    assert_eq!(court.tick(1), [blocked(600)]);
}

#[test]
fn an_address_may_leave_open_three_for_each_account_that_lives_there_and_for_half_a_minute() {
    let mut court = Court::new();
    (0..4).for_each(|n| court.register(SOMEBODY, &format!("100{n}")));
    court.tick(60);
    (0..12).for_each(|_| court.acquit(Kind::ChallengeSent, SOMEBODY, "1000"));
    assert_eq!(court.tick(60), []);
    (0..13).for_each(|_| court.acquit(Kind::ChallengeSent, SOMEBODY, "1000"));
    assert_eq!(court.tick(29), []);
    assert_eq!(court.tick(1), [blocked(600)]);
    // Where one account lives it is no less than anywhere.
    let mut court = Court::new();
    court.register(SOMEBODY, "1000");
    court.tick(60);
    (0..5).for_each(|_| court.acquit(Kind::ChallengeSent, SOMEBODY, "1000"));
    assert_eq!(court.tick(60), []);
    court.policy.limits.home_challenges = 0;
    (0..6).for_each(|_| court.acquit(Kind::ChallengeSent, SOMEBODY, "1000"));
    assert_eq!(court.tick(60), [blocked(600)]);
}

#[test]
fn an_office_whose_power_comes_back_is_not_blocked() {
    for is_new in [false, true] {
        let mut court = Court::new();
        let phones: Vec<String> = (0..80).map(|n| format!("1{n:03}")).collect();
        if !is_new {
            phones.iter().for_each(|phone| court.register(SOMEBODY, phone));
            court.tick(HOUR);
        }
        let challenges: Vec<_> = phones.iter().map(|phone| court.event(Kind::ChallengeSent, SOMEBODY, phone)).collect();
        challenges.iter().for_each(|event| assert_eq!(court.judge(event), Verdict::Pass));
        assert_eq!(court.tick(if is_new { 3 } else { 15 }), []);
        for challenge in challenges {
            let login = SecurityEvent { kind: LOGIN, ..challenge };
            assert_eq!(court.judge(&login), Verdict::Pass);
        }
        assert_eq!(court.tick(60), []);
    }
}

#[test]
fn a_login_answers_the_challenges_of_its_session_and_account_and_where_neither_fits_the_oldest() {
    let other = Kind::SuccessfulAuth { using_password: false };
    let mut court = Court::new();
    (0..50).for_each(|_| court.acquit(Kind::ChallengeSent, SOMEBODY, "1000"));
    court.acquit(other, SOMEBODY, "1000");
    for n in 0..8 {
        court.acquit(Kind::ChallengeSent, SOMEBODY, &n.to_string());
    }
    court.acquit(other, SOMEBODY, "1000");
    court.acquit(other, SOMEBODY, "1000");
    court.acquit(other, SOMEBODY, "5");
    assert_eq!(court.tick(60), []);
}

#[test]
fn a_login_answers_a_challenge_that_counts_not_one_that_is_too_old_to() {
    let mut court = Court::new();
    court.acquit(Kind::ChallengeSent, SOMEBODY, "sip:1000@pbx");
    court.wait(36);
    (0..6).for_each(|_| court.acquit(Kind::ChallengeSent, SOMEBODY, "sip:1000@pbx"));
    court.wait(5);
    court.acquit(Kind::SuccessfulAuth { using_password: false }, SOMEBODY, "600");
    assert_eq!(court.tick(10), []);
}

#[test]
fn a_wrong_answer_is_a_failure_and_no_silence() {
    let mut court = Court::with(|limits| (limits.wrong_password, limits.day_guesses) = (0, 0));
    for _ in 0..50 {
        let challenge = court.event(Kind::ChallengeSent, SOMEBODY, "1000");
        assert_eq!(court.judge(&challenge), Verdict::Pass);
        let wrong = SecurityEvent { kind: WRONG, ..challenge };
        assert_eq!(court.judge(&wrong), Verdict::Pass);
    }
    assert_eq!(court.tick(60), []);
}

#[test]
fn an_address_protected_after_it_was_challenged_is_not_blocked() {
    let mut court = Court::new();
    for from in [SOMEBODY, "2001:db8:1::5"] {
        (0..30).for_each(|_| court.acquit(Kind::ChallengeSent, from, "1000"));
    }
    court.policy.protected = [net(SOMEBODY), net("2001:db8:1::9")].into_iter().collect();
    assert_eq!(court.tick(60), []);
}
