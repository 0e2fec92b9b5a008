//! What the console asks for.

use super::*;

#[test]
fn restore_brings_back_what_flush_took_and_then_the_dump_goes() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7"), attack("2001:db8:1::7")]);
    let before: Vec<_> = owner.blocks().collect();
    assert!(matches!(ask(&mut owner, Request::Flush), Reply::Flushed { .. }));
    assert_eq!(owner.blocks().count(), 0);
    assert!(!machine.holds("203.0.113.7"));
    assert!(matches!(ask(&mut owner, Request::Restore), Reply::Restored { problems, .. } if problems.is_empty()));
    assert_eq!(owner.blocks().collect::<Vec<_>>(), before);
    assert_eq!(ask(&mut owner, Request::Restore), Reply::NoDump);
}

#[test]
fn a_second_flush_leaves_the_dump_of_the_first() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7"), attack("203.0.113.8")]);
    let before: Vec<_> = owner.blocks().collect();
    machine.kernel.refuse(&["203.0.113.7/32"]);
    assert!(matches!(ask(&mut owner, Request::Flush), Reply::Failed(_)));
    machine.kernel.refuse(&[]);
    for _ in 0..2 {
        assert!(matches!(ask(&mut owner, Request::Flush), Reply::Flushed { .. }));
    }
    assert_eq!(owner.blocks().count(), 0);
    assert!(matches!(ask(&mut owner, Request::Restore), Reply::Restored { problems, .. } if problems.is_empty()));
    assert_eq!(owner.blocks().collect::<Vec<_>>(), before);
}

#[test]
fn a_dump_that_was_not_restored_as_a_whole_stays() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7"), attack("203.0.113.8")]);
    assert!(matches!(ask(&mut owner, Request::Flush), Reply::Flushed { .. }));
    machine.kernel.refuse(&["203.0.113.7/32"]);
    match ask(&mut owner, Request::Restore) {
        Reply::Restored { blocks, problems, .. } => assert_eq!((blocks.len(), problems.len()), (1, 1)),
        other => panic!("{other:?}"),
    }
    machine.kernel.refuse(&[]);
    assert!(matches!(ask(&mut owner, Request::Restore), Reply::Restored { problems, .. } if problems.is_empty()));
}

#[test]
fn a_new_entry_of_the_white_list_frees_at_once_and_is_kept() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    let added = ask(&mut owner, Request::WhiteListAdd("203.0.113.0/24".into()));
    assert!(matches!(added, Reply::WhiteListAdded { freed, .. } if freed.len() == 1));
    assert!(!machine.holds("203.0.113.7"));
    owner.turn(vec![attack("203.0.113.7")]);
    assert!(!machine.holds("203.0.113.7"));
    assert_eq!(fs::read_to_string(machine.folder.path().join("wl")).unwrap(), "203.0.113.0/24\n");
    let net: IpNet = "203.0.113.7/32".parse().unwrap();
    assert!(matches!(ask(&mut owner, Request::Block(net, None)), Reply::InWhiteList { .. }));
}

#[test]
fn an_address_that_the_kernel_does_not_free_is_not_said_to_be_free() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    machine.kernel.refuse(&["203.0.113.7/32"]);
    let added = ask(&mut owner, Request::WhiteListAdd("203.0.113.7".into()));
    assert!(matches!(added, Reply::WhiteListAdded { freed, .. } if freed.is_empty()));
    assert!(machine.holds("203.0.113.7"));
}

#[test]
fn a_name_that_cannot_be_resolved_is_told_once_and_keeps_its_addresses() {
    let machine = Machine::new();
    machine.white_list("sip.example.com\n");
    let mut owner = machine.start();
    let mut resolve = |addresses: &[&str]| {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        owner.protection.resolved(vec![("sip.example.com".into(), addresses)])
    };
    assert_eq!(resolve(&[]), ["sip.example.com cannot be resolved: not protected"]);
    assert_eq!(resolve(&[]), [""; 0]);
    assert_eq!(resolve(&["192.0.2.7"]), ["sip.example.com is resolved now"]);
    assert_eq!(resolve(&[]), ["sip.example.com cannot be resolved: its last addresses stay protected"]);
    assert!(owner.protection.label(&"192.0.2.7/32".parse().unwrap()).is_some());
}

#[test]
fn a_dump_of_more_blocks_than_there_is_room_for_stays_and_drives_nobody_out() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    let end = machine.start_time() + 2 * DAY;
    let dump: String = (0..150).map(|n| format!("198.51.100.{n},{}\n", end.0)).collect();
    fs::write(machine.folder.path().join("dump"), &dump).unwrap();
    match ask(&mut owner, Request::Restore) {
        Reply::Restored { blocks, problems, .. } => {
            assert_eq!(blocks.len(), 99);
            assert_eq!(problems.len(), crate::state::dump::MOST_PROBLEMS + 1);
            assert_eq!(problems[0], "198.51.100.99: there is no room: 100 blocks are in force");
        }
        other => panic!("{other:?}"),
    }
    machine.pass(&mut owner, 1);
    assert!(machine.holds("203.0.113.7"));
    assert_eq!(owner.blocks().count(), 100);
    assert_eq!(fs::read_to_string(machine.folder.path().join("dump")).unwrap(), dump);
}

#[test]
fn sessions_that_wait_for_a_pong_are_bounded_and_the_last_are_answered() {
    let machine = Machine::new();
    let mut owner = machine.start();
    let sessions: Vec<_> = (0..1000).map(|_| bounded(1)).collect();
    sessions.iter().for_each(|(sender, _)| owner.await_pong(sender));
    owner.turn(vec![Event::Pong(std::time::Duration::from_millis(7))]);
    let answered: Vec<usize> = (0..1000).filter(|n| sessions[*n].1.try_recv().is_ok()).collect();
    assert_eq!(answered, (744..1000).collect::<Vec<_>>());
}
