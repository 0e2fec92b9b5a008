//! The column of the addresses where somebody lives: an office with one broken phone is not cut off, a thief in it is
//! not let in.

use super::*;

const OFFICE: &str = "203.0.113.7";

/// An office of these accounts, and one that lives somewhere else.
fn office(accounts: &[&str]) -> Court {
    let mut court = Court::new();
    accounts.iter().for_each(|account| court.register(OFFICE, account));
    court.register("198.51.100.1", "2000");
    court
}

#[test]
fn a_phone_that_fails_where_it_lives_is_broken_and_never_blocks_at_any_pace_of_a_timer() {
    for kind in [WRONG, UNKNOWN, Kind::InvalidPassword, Kind::FailedAcl(Acl::Access), Kind::RequestNotAllowed] {
        for pause in [2, 20, 30, 60, 120] {
            let mut court = office(&["1000", "1001"]);
            for _ in 0..1000 {
                court.acquit(kind, OFFICE, "1000");
                court.wait(pause);
            }
        }
    }
}

#[test]
fn more_than_thirty_failures_of_one_account_in_a_minute_are_no_phone() {
    // Where it lives that must last: for a trunk, each of fifty calls a second is refused when the database goes away.
    for (account, hold) in [("1000", 10), ("10l0", 0)] {
        let mut court = office(&["1000", "1001"]);
        for _ in 0..30 {
            court.acquit(WRONG, OFFICE, account);
        }
        if hold > 0 {
            court.acquit(WRONG, OFFICE, account);
            court.wait(hold - 1);
            court.acquit(WRONG, OFFICE, account);
            court.wait(1);
        }
        assert_eq!(court.convict(WRONG, OFFICE, account), 600);
        let mut court = office(&["1000"]);
        (0..30).for_each(|_| court.acquit(WRONG, OFFICE, account));
        court.wait(60);
        court.acquit(WRONG, OFFICE, account);
    }
}

#[test]
fn a_thief_in_an_office_who_looks_for_accounts_with_one_call_id_is_seen() {
    let mut court = office(&["1000"]);
    let session = court.event(UNKNOWN, OFFICE, "");
    let blocked = (0..20).position(|n: u32| {
        let name = n.to_string().into_bytes();
        let refusal = SecurityEvent { account: name.into(), ..session.clone() };
        let unknown = b"<unknown>".as_slice().into();
        let challenge = SecurityEvent { kind: Kind::ChallengeSent, account: unknown, ..session.clone() };
        let verdict = court.judge(&refusal);
        assert_eq!(court.judge(&challenge), Verdict::Pass);
        sentence(&verdict).is_some()
    });
    assert_eq!(blocked, Some(8));
}

#[test]
fn hammering_can_be_switched_off() {
    let mut court = office(&["1000"]);
    court.policy.limits.hammer = 0;
    (0..500).for_each(|_| court.acquit(WRONG, OFFICE, "1000"));
}

#[test]
fn an_account_that_lives_elsewhere_may_be_guessed_at_nineteen_times_in_a_day() {
    for pause in [1, 60, 4_000] {
        let mut court = office(&["1000"]);
        for _ in 0..19 {
            court.acquit(WRONG, OFFICE, "2000");
            court.wait(pause);
        }
        assert_eq!(court.convict(WRONG, OFFICE, "2000"), 600);
    }
    let mut court = office(&["1000"]);
    for _ in 0..200 {
        court.acquit(WRONG, OFFICE, "2000");
        court.wait(ONE_DAY / 19 + 1);
    }
    court.policy.limits.home_guesses = 0;
    for _ in 0..200 {
        court.acquit(WRONG, OFFICE, "2000");
        court.wait(3);
    }
}

#[test]
fn who_fails_for_an_account_that_moved_in_meanwhile_is_no_guesser() {
    let mut court = office(&["1000"]);
    (0..19).for_each(|_| court.acquit(WRONG, OFFICE, "2000"));
    court.register(OFFICE, "2000");
    for _ in 0..100 {
        court.acquit(WRONG, OFFICE, "2000");
        court.wait(10);
    }
}

#[test]
fn a_phone_set_up_wrongly_counts_once_as_strange_however_often_it_tries() {
    for kind in [UNKNOWN, WRONG] {
        let mut court = office(&["1000"]);
        for _ in 0..2000 {
            court.acquit(kind, OFFICE, "10l0");
            court.wait(30);
        }
    }
}

#[test]
fn more_than_eight_strange_accounts_in_a_day_are_a_guesser() {
    let mut court = office(&["1000", "1001"]);
    let strange = ["2000", "10l0", "3001", "3002", "3003", "3004", "3005", "3006"];
    for account in strange.iter().cycle().take(16) {
        court.acquit(WRONG, OFFICE, account);
        // Those that live here are not strange.
        court.acquit(WRONG, OFFICE, "1000");
        court.acquit(UNKNOWN, OFFICE, "1001");
        court.wait(HOUR);
    }
    assert_eq!(court.convict(UNKNOWN, OFFICE, "3007"), 600);
    let mut court = office(&["1000"]);
    for n in 0..200 {
        court.acquit(WRONG, OFFICE, &n.to_string());
        court.wait(ONE_DAY / 8);
    }
    court.policy.limits.strange = 0;
    (0..200).for_each(|n| court.acquit(WRONG, OFFICE, &n.to_string()));
}

#[test]
fn phones_set_up_wrongly_that_go_on_after_the_block_are_no_news() {
    let mut court = office(&["1000"]);
    (0..8).for_each(|n| court.acquit(WRONG, OFFICE, &n.to_string()));
    assert_eq!(court.convict(WRONG, OFFICE, "8"), 600);
    court.wait(600);
    for _ in 0..100 {
        (0..9).for_each(|n| court.acquit(WRONG, OFFICE, &n.to_string()));
        court.wait(30);
    }
    assert_eq!(court.convict(WRONG, OFFICE, "9"), 2400);
}

#[test]
fn an_office_whose_line_has_another_address_every_day_takes_its_broken_phone_along() {
    let mut court = office(&["1000", "1001"]);
    court.wait(HOUR);
    let moved = "203.0.113.99";
    court.register(moved, "1000");
    for _ in 0..500 {
        court.acquit(WRONG, moved, "1001");
        court.wait(30);
    }
    // Accounts of others it may not guess at all the same.
    (0..19).for_each(|_| court.acquit(WRONG, moved, "2000"));
    assert_eq!(court.convict(WRONG, moved, "2000"), 600);
}

#[test]
fn who_takes_his_phone_home_may_not_guess_at_those_of_his_office() {
    let mut court = office(&["1000", "1001"]);
    court.wait(HOUR);
    let home = "203.0.113.99";
    court.register(home, "1000");
    court.wait(MINUTE);
    // The office goes on.
    court.register(OFFICE, "1001");
    (0..19).for_each(|_| court.acquit(WRONG, home, "1001"));
    court.convict(WRONG, home, "1001");
}

#[test]
fn what_blocks_a_stranger_does_not_block_an_office() {
    let mut court = office(&["1000"]);
    court.acquit(UNKNOWN, OFFICE, "9");
    (0..10).for_each(|_| court.acquit(WRONG, OFFICE, "1000"));
    (0..7).for_each(|n| court.acquit(Kind::FailedAcl(Acl::Access), OFFICE, &n.to_string()));
}

#[test]
fn who_knocks_at_the_manager_interface_or_breaks_events_is_no_phone_of_the_office() {
    let mut court = office(&["1000"]);
    for _ in 0..19 {
        let knock = SecurityEvent { service: Service::Ami, ..court.event(Kind::InvalidPassword, OFFICE, "admin") };
        assert_eq!(court.judge(&knock), Verdict::Pass);
        court.acquit(Kind::Tampered, OFFICE, "x");
    }
    assert_eq!(court.convict(Kind::Tampered, OFFICE, "x"), 600);
    // Nor is it, where the account of this name lives.
    let mut court = office(&["1000"]);
    (0..19).for_each(|_| court.acquit(Kind::Tampered, OFFICE, "1000"));
    court.convict(Kind::Tampered, OFFICE, "1000");
}

#[test]
fn an_account_lives_where_it_logged_in_for_a_month_after_the_last_time() {
    let mut court = office(&["1000"]);
    court.wait(20 * ONE_DAY);
    court.register(OFFICE, "1000");
    court.wait(30 * ONE_DAY - 1);
    court.evidence.expire(&court.policy, court.now);
    court.acquit(UNKNOWN, OFFICE, "9");
    court.wait(1);
    court.evidence.expire(&court.policy, court.now);
    assert_eq!(court.convict(UNKNOWN, OFFICE, "9"), ONE_DAY);
    // Without homes everybody is a stranger.
    let mut court = Court::with(|limits| limits.home_time = 0);
    court.register(OFFICE, "1000");
    court.convict(UNKNOWN, OFFICE, "9");
}

#[test]
fn a_login_without_a_password_makes_no_home() {
    let mut court = Court::new();
    court.acquit(Kind::SuccessfulAuth { using_password: false }, OFFICE, "1000");
    assert_eq!(court.evidence.homes(), (0, 0));
    court.convict(UNKNOWN, OFFICE, "9");
}

#[test]
fn homes_are_remembered_beyond_a_restart() {
    let mut court = office(&["1000"]);
    let told = court.evidence.take_news();
    let mut evidence = Evidence::default();
    evidence.restore(told);
    assert_eq!(evidence.homes(), (2, 2));
    court.evidence = evidence;
    (0..1000).for_each(|_| {
        court.acquit(WRONG, OFFICE, "1000");
        court.wait(20);
    });
    (0..19).for_each(|_| court.acquit(WRONG, OFFICE, "2000"));
    court.convict(WRONG, OFFICE, "2000");
}

#[test]
fn an_ipv6_network_is_one_home() {
    let mut court = Court::new();
    court.register("2001:db8:1::100", "1000");
    // Another address of the same customer, whose phones change theirs every day.
    court.acquit(UNKNOWN, "2001:db8:1::200", "9");
    (0..31).for_each(|_| court.acquit(WRONG, "2001:db8:1::200", "1000"));
    court.wait(10);
    assert_eq!(court.convict(WRONG, "2001:db8:1::300", "1000"), 600);
    // The next customer is another one.
    assert_eq!(court.convict(UNKNOWN, "2001:db8:1:1::100", "9"), ONE_DAY);
}

#[test]
fn accounts_of_protected_addresses_live_elsewhere_too() {
    let mut court = office(&["1000"]);
    court.register("192.0.2.20", "3000");
    (0..19).for_each(|_| court.acquit(WRONG, OFFICE, "3000"));
    court.convict(WRONG, OFFICE, "3000");
}

mod chan_sip {
    use super::*;

    fn event(court: &mut Court, kind: Kind, account: &str, session: u64) -> SecurityEvent {
        SecurityEvent { service: Service::Sip, session, ..court.event(kind, OFFICE, account) }
    }

    /// A call: the challenge names the caller by the URI of its From header, the answer the number that was dialled.
    fn call(court: &mut Court, from: &str, dialled: &str, answer: Kind, session: u64) -> Verdict {
        let uri = format!("sip:{from}@198.18.0.1");
        let challenge = event(court, Kind::ChallengeSent, &uri, session);
        assert_eq!(court.judge(&challenge), Verdict::Pass);
        let answer = event(court, answer, dialled, session);
        court.judge(&answer)
    }

    #[test]
    fn who_calls_lives_where_it_calls_from_and_not_the_number_it_dials() {
        let mut court = Court::new();
        assert_eq!(call(&mut court, "2000", "600", LOGIN, 77), Verdict::Pass);
        let homes: Vec<_> = court.evidence.dossier(&court.policy, court.now, OFFICE.parse().unwrap()).homes;
        assert_eq!(homes.iter().map(|home| &*home.account).collect::<Vec<_>>(), [b"2000"]);
    }

    #[test]
    fn a_caller_with_a_wrong_password_fails_for_its_own_account() {
        let mut court = Court::new();
        assert_eq!(call(&mut court, "2000", "600", LOGIN, 1), Verdict::Pass);
        for number in 0..100 {
            let dialled = format!("0049{number}");
            assert_eq!(call(&mut court, "2000", &dialled, Kind::InvalidPassword, 100 + number), Verdict::Pass);
            court.wait(10);
        }
    }

    #[test]
    fn a_number_dialled_late_is_not_at_home_where_it_was_dialled() {
        let mut court = Court::new();
        court.register("198.51.100.1", "1001");
        assert_eq!(call(&mut court, "2000", "600", LOGIN, 1), Verdict::Pass);
        let uri = event(&mut court, Kind::ChallengeSent, "sip:2000@198.18.0.1", 2);
        assert_eq!(court.judge(&uri), Verdict::Pass);
        // So late that the challenge is forgotten.
        assert_eq!(court.tick(40), []);
        let answer = event(&mut court, LOGIN, "1001", 2);
        assert_eq!(court.judge(&answer), Verdict::Pass);
        // Guesses at 1001 are guesses still.
        (0..19).for_each(|_| court.acquit(WRONG, OFFICE, "1001"));
        court.convict(WRONG, OFFICE, "1001");
    }
}
