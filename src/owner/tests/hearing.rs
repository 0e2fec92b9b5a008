//! What is said of an Asterisk that is connected and says nothing.

use super::*;
use crate::event::AmiState;

fn silence(owner: &mut Owner) -> Option<String> {
    let Reply::Status(status) = ask(owner, Request::Status) else { panic!("no status") };
    assert_eq!(owner.measures(owner.started).ami_silent, status.ami.silent.is_some());
    status.ami.silent
}

#[test]
fn phones_that_fall_silent_are_missed_and_attackers_are_none_of_them() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![Event::Ami(AmiState::Up { greeting: String::new() })]);
    for _ in 0..2 * DAY / 600 {
        owner.turn(vec![security(Kind::SuccessfulAuth { using_password: true }, "192.0.2.7")]);
        machine.pass(&mut owner, 600);
    }
    assert_eq!(silence(&mut owner), None);
    // Whatever comes is heard.
    owner.turn(vec![attack("203.0.113.7")]);
    machine.pass(&mut owner, 3000);
    assert_eq!(silence(&mut owner), None);
    machine.pass(&mut owner, 1);
    let text = "no event for 3001 s, where phones log in at least every 600 s; try sipban check";
    assert_eq!(silence(&mut owner).as_deref(), Some(text));
    owner.turn(vec![attack("203.0.113.8")]);
    assert_eq!(silence(&mut owner), None);
}

#[test]
fn a_lost_connection_is_no_silence() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![Event::Ami(AmiState::Up { greeting: String::new() }), Event::Ami(AmiState::Deaf)]);
    assert!(silence(&mut owner).is_some());
    let lost = AmiState::Down { why: "gone".into(), retry: std::time::Duration::from_secs(1) };
    owner.turn(vec![Event::Ami(lost)]);
    assert_eq!(silence(&mut owner), None);
}
