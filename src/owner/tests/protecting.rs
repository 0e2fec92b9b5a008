//! Who is never blocked, and what it costs to find that out.

use super::*;

/// The shortest time that this takes when the white list has this many entries beside 203.0.113.7.
fn cost(entries: u32, dump: &str, mut work: impl FnMut(&mut Owner)) -> std::time::Duration {
    let machine = Machine::new();
    let others = (0..entries).map(|n| format!("{}\n", std::net::Ipv4Addr::from_bits(0x0a00_0000 + n * 2)));
    machine.white_list(&others.chain(["203.0.113.7\n".to_owned()]).collect::<String>());
    let mut owner = machine.start();
    let clock = Clock::start();
    let mut measure = || {
        fs::write(machine.folder.path().join("dump"), dump).unwrap();
        let before = clock.now().monotonic;
        work(&mut owner);
        clock.now().monotonic - before
    };
    (0..5).map(|_| measure()).min().unwrap()
}

/// Ten thousand times as long a list may cost ten times as much, since other work is done on this machine too.
fn assert_does_not_grow(dump: &str, work: impl Fn(&mut Owner) + Copy) {
    let (short, long) = (cost(5, dump, work), cost(50_000, dump, work));
    assert!(long < 10 * short, "{short:?} with 5 entries, {long:?} with 50,000");
}

#[test]
fn an_event_of_a_protected_sender_costs_the_same_however_long_the_white_list_is() {
    assert_does_not_grow("", |owner| {
        owner.turn((0..100).map(|_| attack("203.0.113.7")));
    });
}

#[test]
fn a_line_of_the_dump_costs_the_same_however_long_the_white_list_is() {
    let line = |n: u32| format!("{},1000500000\n", std::net::Ipv4Addr::from_bits(0xc633_6400 + n));
    assert_does_not_grow(&(0..50).map(line).collect::<String>(), |owner| {
        assert!(matches!(ask(owner, Request::Restore), Reply::Restored { blocks, .. } if blocks.len() == 50));
    });
}

#[test]
fn the_label_is_that_of_the_widest_entry_and_the_white_lists_own() {
    let machine = Machine::new();
    machine.white_list("203.0.113.7\n203.0.113.0/24\nsip.example.com\n127.0.0.0/8\n");
    let mut owner = machine.start();
    owner.turn(vec![Event::Resolved(vec![("sip.example.com".into(), vec!["192.0.2.7".parse().unwrap()])])]);
    let label = |net: &str| owner.protection.label(&net.parse().unwrap());
    assert_eq!(label("203.0.113.7/32").as_deref(), Some("203.0.113.0/24"));
    assert_eq!(label("203.0.0.0/16").as_deref(), Some("203.0.113.0/24"));
    assert_eq!(label("192.0.2.7/32").as_deref(), Some("192.0.2.7 (sip.example.com)"));
    assert_eq!(label("127.1.2.3/32").as_deref(), Some("127.0.0.0/8"));
    assert_eq!(label("::1/128").as_deref(), Some("::1/128"));
    assert_eq!(label("192.0.2.8/32"), None);
}

#[test]
fn a_host_name_added_on_the_console_is_looked_up_at_once() {
    let machine = Machine::new();
    let (sender, inbox) = bounded(8);
    let mut owner = machine.start_with(Some(crate::protection::resolver::start(sender).unwrap()));
    let added = ask(&mut owner, Request::WhiteListAdd("localhost".into()));
    assert!(matches!(added, Reply::WhiteListAdded { .. }), "{added:?}");
    let resolved = inbox.recv_timeout(std::time::Duration::from_secs(30)).expect("nobody looked the name up");
    assert!(matches!(&resolved, Event::Resolved(names) if names[0].0 == "localhost"), "{resolved:?}");
}

#[test]
fn what_was_added_by_hand_holds_with_the_next_command_even_if_that_changes_nothing() {
    let machine = Machine::new();
    machine.white_list("192.0.2.1\n");
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7"), attack("203.0.113.8")]);
    machine.white_list("192.0.2.1\n203.0.113.7\n");
    assert!(matches!(ask(&mut owner, Request::WhiteListAdd("192.0.2.1".into())), Reply::WhiteListHas(_)));
    assert_eq!(["7", "8"].map(|n| machine.holds(&format!("203.0.113.{n}"))), [false, true]);
    machine.white_list("192.0.2.1\n203.0.113.8\n");
    assert!(matches!(ask(&mut owner, Request::WhiteListDel("192.0.2.2".into())), Reply::WhiteListLacks(_)));
    assert!(!machine.holds("203.0.113.8"));
}
