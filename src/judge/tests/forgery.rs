//! The worst that can be done with forged UDP: failures and challenges of any account from any address, but no login.

use super::*;

/// The victim, where the accounts 1000 to 1003 live.
const OFFICE: &str = "203.0.113.7";

/// All that a datagram with a forged source makes Asterisk say of it.
const FORGED: [Kind; 10] = [
    UNKNOWN,
    WRONG,
    Kind::InvalidPassword,
    Kind::FailedAcl(Acl::Access),
    REGISTRAR,
    Kind::RequestNotSupported,
    Kind::InvalidTransport,
    Kind::RequestBadFormat,
    Kind::Tampered,
    Kind::ChallengeSent,
];

fn office() -> Court {
    let mut court = Court::new();
    (0..4).for_each(|n| court.register(OFFICE, &format!("100{n}")));
    (0..10).for_each(|n| court.register(&far(1000 + n), &format!("2{n:03}")));
    court.tick(HOUR);
    court
}

#[test]
fn no_number_of_forged_failures_blocks_a_home_for_longer_than_ten_minutes_at_first() {
    let own = ["1000"].as_slice();
    let others = ["2000", "2001"].as_slice();
    let strange: Vec<String> = (0..2000).map(|n| format!("x{n}")).collect();
    let strange: Vec<&str> = strange.iter().map(String::as_str).collect();
    for accounts in [own, others, &strange, &["1000", "2000", "x", "<unknown>", ""]] {
        for kind in FORGED {
            let mut court = office();
            let flood = (0..2000).map(|n| court.hear(kind, OFFICE, accounts[n % accounts.len()]));
            let first = flood.filter_map(|verdict| sentence(&verdict)).next();
            let first = first.or_else(|| court.tick(60).into_iter().next());
            assert!(first.is_none_or(|first| first.source == net(OFFICE) && first.seconds == 600), "{kind:?}");
        }
    }
}

#[test]
fn a_few_forged_failures_of_each_kind_do_a_home_no_harm() {
    let mut court = office();
    for turn in 0..600 {
        // Faster than any phone, but not hammering.
        for kind in FORGED.into_iter().filter(|kind| *kind != Kind::Tampered) {
            court.acquit(kind, OFFICE, ["1000", "1001", "1002"][turn % 3]);
        }
        assert_eq!(court.tick(60), []);
    }
}

#[test]
fn a_forged_event_that_is_no_phones_does_not_count_with_the_failures_of_a_broken_phone() {
    let mut court = office();
    for _ in 0..100 {
        court.acquit(WRONG, OFFICE, "1000");
        court.wait(20);
    }
    (0..19).for_each(|_| court.acquit(Kind::Tampered, OFFICE, "1000"));
}

#[test]
fn pressure_forged_on_an_account_harms_no_home() {
    let mut court = office();
    for n in 0..1000 {
        let _ = court.hear(WRONG, &far(n), "1000");
    }
    // The account's own phone with an old password, and another office that mistypes it.
    court.acquit(WRONG, OFFICE, "1000");
    court.acquit(WRONG, &far(1000), "1000");
    court.register(OFFICE, "1000");
    // All it costs: a stranger's first mistake.
    court.convict(WRONG, &far(2000), "1000");
}

#[test]
fn a_neighbourhood_forged_into_disrepute_harms_no_home_in_it_and_nobody_who_does_not_fail() {
    let mut court = office();
    for n in 0..250 {
        if n != 7 {
            let _ = court.hear(UNKNOWN, &format!("203.0.113.{n}"), "9");
        }
    }
    court.acquit(UNKNOWN, OFFICE, "9");
    court.acquit(WRONG, OFFICE, "1000");
    court.register("203.0.113.251", "1000");
    court.acquit(Kind::ChallengeSent, "203.0.113.252", "1000");
}

#[test]
fn forged_failures_make_no_home_and_end_none() {
    let mut court = office();
    let homes = court.evidence.homes();
    for kind in FORGED {
        for n in 0..500 {
            let _ = court.hear(kind, &far(n), "1000");
            let _ = court.hear(kind, OFFICE, &n.to_string());
        }
        court.tick(60);
    }
    assert_eq!(court.evidence.homes(), homes);
}

#[test]
fn forged_failures_free_nobody() {
    let guesser = &far(3000);
    for kind in FORGED {
        let mut court = office();
        for turn in 0..5 {
            court.acquit(WRONG, guesser, "1000");
            for n in 0..200 {
                let _ = court.hear(kind, &far(n), &format!("x{turn}{n}"));
            }
            court.tick(60);
            court.wait(HOUR);
        }
        court.convict(WRONG, guesser, "1000");
    }
}

/// Who knows where a fifth of the accounts live makes them look refused, again and again.
#[test]
fn forged_weather_spares_strangers_for_an_hour_in_a_day_and_wipes_no_more_than_twice_that() {
    let mut court = office();
    let homes: Vec<(String, String)> = (0..10).map(|n| (far(1000 + n), format!("2{n:03}"))).collect();
    let mut spared = 0;
    let mut caught = None;
    for minute in 0..6 * 60 {
        // A minute of weather, and in the next one the phones log in as they always do, which ends it.
        for (home, account) in &homes {
            if minute % 2 == 0 {
                court.acquit(UNKNOWN, home, account);
            } else {
                court.register(home, account);
            }
        }
        let sentences = court.tick(60);
        assert_eq!(sentences, []);
        spared += u64::from(court.evidence.refusing().is_some_and(|front| front.spares));
        // Meanwhile somebody guesses, who would be blocked at the sixth.
        if minute % 10 == 0 && caught.is_none() && court.hear(WRONG, &far(3000), "1000") != Verdict::Pass {
            caught = Some(minute);
        }
    }
    assert!(spared <= 70, "{spared} minutes");
    assert!(caught.is_some_and(|minute| minute < 5 * 60), "{caught:?}");
    // And nobody was blocked by it, whose phones were made to look refused.
    homes.iter().for_each(|(home, account)| court.register(home, account));
}

#[test]
fn a_flood_of_challenges_forged_for_a_home_blocks_it_for_ten_minutes() {
    let mut court = office();
    (0..100).for_each(|_| court.acquit(Kind::ChallengeSent, OFFICE, "1000"));
    assert_eq!(court.tick(29), []);
    let sentences = court.tick(1);
    assert_eq!(sentences, [Sentence { source: net(OFFICE), reason: Reason::ChallengeSent, seconds: 600 }]);
}
