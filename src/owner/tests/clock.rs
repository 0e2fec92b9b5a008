//! A wall clock that is set.

use super::*;

#[test]
fn a_wall_clock_that_is_set_neither_frees_nor_keeps() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    let shift = |owner: &mut Owner, wall: i64| {
        // What the tick sees: a second has passed, and the wall clock shows a year more or less.
        let before = owner.in_step;
        owner.follow_clock(Now {
            wall: UnixTime(before.wall.0.saturating_add_signed(wall) + 1),
            monotonic: before.monotonic + std::time::Duration::from_secs(1),
        });
    };
    let end = |owner: &Owner| owner.blocks().next().unwrap().1.end;
    let before = end(&owner);
    shift(&mut owner, 365 * DAY as i64);
    assert_eq!(end(&owner), before + 365 * DAY);
    shift(&mut owner, -365 * (DAY as i64));
    assert_eq!(end(&owner), before);
}

#[test]
fn a_login_from_before_the_clock_was_set_back_makes_no_home_for_longer() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![security(Kind::SuccessfulAuth { using_password: true }, "203.0.113.7")]);
    drop(owner);
    machine.clock.set(machine.clock.now() - 365 * DAY as i64 * 1000);
    let mut owner = machine.start();
    machine.pass(&mut owner, 30 * DAY);
    owner.turn(vec![attack("203.0.113.7")]);
    assert!(machine.holds("203.0.113.7"));
}

#[test]
fn a_block_made_right_after_the_clock_was_set_has_its_full_length() {
    let machine = Machine::new();
    let mut owner = machine.start();
    for (address, shown) in [("203.0.113.7", 365), ("203.0.113.8", -3)] {
        machine.clock.set_wall(shown * DAY as i64);
        owner.turn(vec![attack(address)]);
        let now = owner.clock.now().wall;
        machine.pass(&mut owner, 1);
        let net = IpNet::from(address.parse::<IpAddr>().unwrap());
        assert_eq!(owner.book.get(&net).unwrap().end, now + DAY);
    }
}

#[test]
fn a_clock_that_is_set_by_seconds_moves_the_ends_too() {
    for step in [-59, -10, -2, 2, 10, 59] {
        let machine = Machine::new();
        let mut owner = machine.start();
        owner.turn(vec![attack("203.0.113.7")]);
        let end = owner.blocks().next().unwrap().1.end;
        machine.pass(&mut owner, 100);
        machine.clock.set_wall(step);
        machine.pass(&mut owner, 1);
        let moved = owner.blocks().next().unwrap().1.end.0 as i64 - end.0 as i64;
        assert_eq!(moved, step);
    }
}

#[test]
fn steps_too_small_to_notice_add_up_and_the_fraction_of_a_second_does_not() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    let end = owner.blocks().next().unwrap().1.end;
    for _ in 0..1000 {
        machine.clock.set(machine.clock.now() + 1_700);
        owner.turn(vec![Event::Tick]);
    }
    assert_eq!(owner.blocks().next().unwrap().1.end, end);
    for step in 1..=10 {
        machine.clock.set_wall(step);
        machine.pass(&mut owner, 1);
    }
    assert_eq!(owner.blocks().next().unwrap().1.end, end + 10);
}
