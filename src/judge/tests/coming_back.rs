//! How long a block lasts, and what is remembered when it has ended.

use super::*;

const STRANGER: &str = "203.0.113.7";

/// Fails for the account 1000, which lives there, so fast that the next time blocks.
#[track_caller]
fn hammer(court: &mut Court, from: &str) {
    (0..31).for_each(|_| court.acquit(WRONG, from, "1000"));
    court.wait(10);
}

#[test]
fn each_further_block_of_a_stranger_lasts_four_times_as_long_up_to_a_month() {
    let mut court = Court::new();
    let mut days = Vec::new();
    for _ in 0..5 {
        let seconds = court.convict(UNKNOWN, STRANGER, "9");
        days.push(seconds / ONE_DAY);
        court.wait(seconds + 2 * ONE_DAY);
        court.evidence.expire(&court.policy, court.now);
    }
    assert_eq!(days, [1, 4, 16, 30, 30]);
}

#[test]
fn the_first_block_of_an_address_where_somebody_lives_lasts_ten_minutes() {
    let mut court = Court::new();
    let mut minutes = Vec::new();
    for _ in 0..4 {
        court.register(STRANGER, "1000");
        hammer(&mut court, STRANGER);
        let seconds = court.convict(WRONG, STRANGER, "1000");
        minutes.push(seconds / MINUTE);
        court.wait(seconds);
        court.evidence.expire(&court.policy, court.now);
    }
    assert_eq!(minutes, [10, 40, 160, 640]);
}

#[test]
fn what_a_stranger_did_before_is_no_measure_for_those_who_live_there_now() {
    let mut court = Court::new();
    court.convict(UNKNOWN, STRANGER, "9");
    court.wait(ONE_DAY);
    court.register(STRANGER, "1000");
    hammer(&mut court, STRANGER);
    assert_eq!(court.convict(WRONG, STRANGER, "1000"), 600);
}

#[test]
fn blocks_need_not_grow_and_homes_need_not_be_treated_gently() {
    let mut court = Court::new();
    (court.policy.lengths.growth, court.policy.lengths.home) = (0, 0);
    court.register("203.0.113.8", "1000");
    for _ in 0..3 {
        assert_eq!(court.convict(UNKNOWN, STRANGER, "9"), ONE_DAY);
        hammer(&mut court, "203.0.113.8");
        assert_eq!(court.convict(WRONG, "203.0.113.8", "1000"), ONE_DAY);
        court.wait(ONE_DAY + 60);
    }
}

#[test]
fn who_goes_on_where_he_was_stopped_is_stopped_at_the_first() {
    let mut court = Court::new();
    for _ in 0..2 {
        court.acquit(WRONG, STRANGER, "1000");
    }
    let mut days = vec![court.convict(WRONG, STRANGER, "1000") / ONE_DAY];
    for _ in 0..3 {
        // Until the block ends, and not yet a day longer.
        court.wait(days.last().unwrap() * ONE_DAY + ONE_DAY - 1);
        court.evidence.expire(&court.policy, court.now);
        days.push(court.convict(WRONG, STRANGER, "1001") / ONE_DAY);
    }
    assert_eq!(days, [1, 4, 16, 30]);
    // A day after his block has ended he is as any other, but for how long the next block lasts.
    court.wait(31 * ONE_DAY);
    court.evidence.expire(&court.policy, court.now);
    court.acquit(WRONG, STRANGER, "1000");
    court.acquit(WRONG, STRANGER, "1000");
    assert_eq!(court.convict(WRONG, STRANGER, "1000"), 30 * ONE_DAY);
}

#[test]
fn a_thief_in_an_office_who_goes_on_is_stopped_at_the_first_and_its_broken_phone_is_not() {
    let mut court = Court::new();
    court.register(STRANGER, "1000");
    (0..8).for_each(|n| court.acquit(WRONG, STRANGER, &n.to_string()));
    court.acquit(WRONG, STRANGER, "1000");
    assert_eq!(court.convict(WRONG, STRANGER, "8"), 600);
    court.wait(600);
    court.acquit(WRONG, STRANGER, "1000");
    assert_eq!(court.convict(WRONG, STRANGER, "9"), 2400);
}

#[test]
fn blocks_are_remembered_beyond_a_restart() {
    let mut court = Court::new();
    court.convict(UNKNOWN, STRANGER, "9");
    let told = court.evidence.take_news();
    assert!(court.evidence.take_news().is_empty());
    court.evidence = Evidence::default();
    court.evidence.restore(told);
    court.wait(ONE_DAY);
    assert_eq!(court.convict(WRONG, STRANGER, "1000"), 4 * ONE_DAY);
    assert_eq!(court.evidence.memories().count(), 1);
}

#[test]
fn whom_the_administrator_frees_is_as_any_other() {
    let mut court = Court::new();
    court.convict(UNKNOWN, STRANGER, "9");
    court.evidence.forget(&net(STRANGER));
    court.acquit(WRONG, STRANGER, "1000");
    court.acquit(WRONG, STRANGER, "1000");
    assert_eq!(court.convict(WRONG, STRANGER, "1000"), ONE_DAY);
}

#[test]
fn a_block_is_forgotten_a_month_after_its_end() {
    let mut court = Court::new();
    court.convict(UNKNOWN, STRANGER, "9");
    court.wait(31 * ONE_DAY);
    court.evidence.expire(&court.policy, court.now);
    assert_eq!(court.convict(UNKNOWN, STRANGER, "9"), ONE_DAY);
}

#[test]
fn when_the_clock_is_set_homes_and_blocks_move_with_it() {
    let mut court = Court::new();
    court.register("203.0.113.8", "1000");
    court.convict(UNKNOWN, STRANGER, "9");
    let year = 365 * ONE_DAY;
    court.now.wall = court.now.wall + year;
    court.evidence.shift(year as i64);
    court.evidence.expire(&court.policy, court.now);
    court.acquit(WRONG, "203.0.113.8", "1000");
    court.acquit(REGISTRAR, "203.0.113.8", "1000");
    assert_eq!(court.convict(UNKNOWN, STRANGER, "9"), 4 * ONE_DAY);
}
