//! What a flood can do to the memory of a day.

use super::*;

fn address(n: u32) -> String {
    IpAddr::from((0x0b00_0000 + n).to_be_bytes()).to_string()
}

#[test]
fn those_with_least_evidence_go_first_and_homes_stay() {
    let mut court = Court::with(|limits| limits.memory = 1 << 20);
    court.register("198.51.100.1", "2000");
    let guesser = "203.0.113.7";
    (0..2).for_each(|_| court.acquit(WRONG, guesser, "1000"));
    let mut most = 0;
    for n in 0..20_000 {
        let _ = court.hear(WRONG, &address(n * 256), &n.to_string());
        most = most.max(court.evidence.len());
    }
    assert!(most < 1 << 12, "{most} sources in a megabyte");
    assert_eq!(court.evidence.homes(), (1, 1));
    court.convict(WRONG, guesser, "1000");
}

#[test]
fn with_limits_switched_off_memory_is_bounded_all_the_same() {
    let mut court = Court::with(|limits| {
        *limits = Limits { flood_count: 0, unknown_account: 1000, day_guesses: 0, ..limits.clone() };
        (limits.pressure, limits.neighbours, limits.memory) = (0, 0, 1 << 20);
    });
    for n in 0..40_000_u32 {
        let from = address(n);
        for kind in [Kind::ChallengeSent, UNKNOWN] {
            court.acquit(kind, &from, "1000");
            let _ = court.hear(kind, "203.0.113.7", &n.to_string());
        }
    }
    assert!(court.evidence.len() < 1 << 12, "{}", court.evidence.len());
    assert!(court.evidence.get(&net("203.0.113.7")).unwrap().items() < 20_000);
}

#[test]
fn one_more_account_takes_the_place_of_another_and_nobody_is_forgotten_for_it() {
    let office = "203.0.113.7";
    let mut court = Court::new();
    court.register("198.51.100.1", "2000");
    (0..100).for_each(|n| court.register(office, &format!("1{n:03}")));
    // A thief in an office, who makes its own phones fail to have his guesses forgotten.
    let mut guesses = 0;
    let blocked = (0..1000).any(|turn| {
        guesses += 1;
        let blocked = court.hear(WRONG, office, "2000") != Verdict::Pass;
        if turn % 10 == 9 {
            (0..100).for_each(|n| court.acquit(WRONG, office, &format!("1{n:03}")));
        }
        court.wait(5);
        blocked
    });
    assert!(blocked && guesses == 20, "{guesses}");
}
