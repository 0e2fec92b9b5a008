//! Many that each do little: the account under attack, and the neighbours.

use super::*;

/// Six strangers, one more than the limit, have failed for this account.
fn siege(account: &str) -> Court {
    let mut court = Court::new();
    (0..6).for_each(|n| court.acquit(WRONG, &far(n), account));
    court
}

/// Six strangers of 203.0.113.0/24 have failed, each for an account of its own.
fn bad_neighbourhood() -> Court {
    let mut court = Court::new();
    (0..6).for_each(|n| court.acquit(WRONG, &format!("203.0.113.{n}"), &n.to_string()));
    court
}

#[test]
fn a_botnet_of_two_guesses_an_address_is_stopped_at_the_first_of_its_seventh_address() {
    let mut court = siege("1000");
    court.convict(WRONG, &far(0), "1000");
    for n in 6..50 {
        court.convict(WRONG, &far(n), "1000");
    }
    // Other accounts are under no pressure.
    court.acquit(WRONG, &far(100), "1001");
}

#[test]
fn an_address_counts_once_for_an_account_however_often_it_fails() {
    let mut court = Court::new();
    for n in 0..5 {
        (0..2).for_each(|_| court.acquit(WRONG, &far(n), "1000"));
    }
    court.acquit(WRONG, &far(5), "1000");
    court.convict(WRONG, &far(6), "1000");
}

#[test]
fn addresses_where_an_account_lives_put_no_pressure_on_it() {
    let mut court = Court::new();
    (0..20).for_each(|n| court.register(&far(n), "1000"));
    for n in 0..20 {
        (0..5).for_each(|_| court.acquit(WRONG, &far(n), "1000"));
        court.wait(700);
    }
    court.acquit(WRONG, &far(100), "1000");
}

#[test]
fn homes_of_others_put_pressure_on_an_account_and_are_not_blocked_by_it() {
    let mut court = Court::new();
    (0..8).for_each(|n| court.register(&far(n), "2000"));
    for n in 0..8 {
        (0..3).for_each(|_| court.acquit(WRONG, &far(n), "1000"));
    }
    court.convict(WRONG, &far(100), "1000");
}

#[test]
fn pressure_lasts_until_a_day_has_passed_without_a_failure() {
    let mut court = siege("1000");
    court.wait(ONE_DAY - 1);
    court.convict(WRONG, &far(10), "1000");
    // By now no six have failed within a day.
    court.wait(ONE_DAY - 1);
    court.convict(WRONG, &far(11), "1000");
    court.wait(ONE_DAY);
    court.acquit(WRONG, &far(12), "1000");
}

#[test]
fn those_that_logged_in_since_put_no_pressure_on_an_account() {
    let mut court = siege("1000");
    court.register(&far(3), "1000");
    court.acquit(WRONG, &far(10), "1000");
    // So does one with another account.
    court.register(&far(10), "1001");
    court.acquit(WRONG, &far(11), "1000");
    court.convict(WRONG, &far(12), "1000");
}

#[test]
fn a_siege_ends_when_those_that_are_left_are_no_more_than_the_limit() {
    let mut court = siege("1000");
    court.wait(ONE_DAY - HOUR);
    court.convict(WRONG, &far(10), "1000");
    court.wait(2 * HOUR);
    // Of the first six more than a day has passed.
    court.convict(WRONG, &far(11), "1000");
    court.register(&far(11), "2000");
    court.acquit(WRONG, &far(12), "1000");
}

#[test]
fn names_that_do_not_exist_are_under_no_pressure() {
    let mut court = Court::with(|limits| limits.unknown_account = 3);
    (0..20).for_each(|n| court.acquit(UNKNOWN, &far(n), "admin"));
}

#[test]
fn six_that_fail_in_more_than_a_day_are_no_siege() {
    let mut court = Court::new();
    for n in 0..50 {
        court.acquit(WRONG, &far(n), "1000");
        court.wait(ONE_DAY / 5);
    }
}

#[test]
fn pressure_can_be_switched_off() {
    let mut court = Court::with(|limits| limits.pressure = 0);
    (0..100).for_each(|n| court.acquit(WRONG, &far(n), "1000"));
}

#[test]
fn a_rented_network_that_guesses_slowly_is_stopped_address_by_address() {
    let mut court = bad_neighbourhood();
    court.convict(WRONG, "203.0.113.0", "1000");
    (6..40).for_each(|n| {
        court.convict(WRONG, &format!("203.0.113.{n}"), &n.to_string());
    });
    // The network next to it is another one.
    court.acquit(WRONG, "203.0.112.1", "1000");
}

#[test]
fn a_rented_ipv6_network_is_stopped_64_by_64() {
    let mut court = Court::new();
    for n in 0..5 {
        court.acquit(WRONG, &format!("2001:db8:7:{n}::1"), &n.to_string());
        // Two addresses of one /64 count as one.
        court.acquit(WRONG, &format!("2001:db8:7:{n}::2"), &n.to_string());
    }
    court.acquit(WRONG, "2001:db8:7:5::1", "5");
    court.convict(WRONG, "2001:db8:7:99::1", "1000");
    court.acquit(WRONG, "2001:db8:8:99::1", "1000");
}

#[test]
fn homes_are_no_bad_neighbours_and_are_not_harmed_by_them() {
    let mut court = Court::new();
    (0..20).for_each(|n| court.register(&format!("203.0.113.{n}"), &format!("1{n}")));
    (0..20).for_each(|n| court.acquit(WRONG, &format!("203.0.113.{n}"), "x"));
    court.acquit(WRONG, "203.0.113.200", "y");
    let mut court = bad_neighbourhood();
    court.register("203.0.113.77", "1000");
    (0..10).for_each(|_| court.acquit(WRONG, "203.0.113.77", "9"));
}

#[test]
fn neighbours_that_logged_in_since_are_taken_off() {
    let mut court = bad_neighbourhood();
    court.register("203.0.113.2", "1000");
    court.acquit(WRONG, "203.0.113.100", "1000");
    court.convict(WRONG, "203.0.113.101", "1000");
}

#[test]
fn neighbours_are_forgotten_after_a_day() {
    let mut court = bad_neighbourhood();
    court.wait(ONE_DAY);
    court.acquit(WRONG, "203.0.113.100", "1000");
}

#[test]
fn neighbours_can_be_switched_off() {
    let mut court = Court::with(|limits| limits.neighbours = 0);
    (0..100).for_each(|n| court.acquit(WRONG, &format!("203.0.113.{n}"), &n.to_string()));
}
