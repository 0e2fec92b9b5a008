//! Whom the shield lets pass, and who is blocked for what he loses to it.

use super::*;

fn machine(mode: ShieldMode) -> Machine {
    let machine = Machine { shield: mode, ..Machine::new() };
    {
        let mut kernel = machine.kernel.1.lock().unwrap();
        (kernel.has_shield, kernel.room) = (true, 1_000);
    }
    machine
}

fn lets_pass(machine: &Machine, address: &str) -> bool {
    let net = IpNet::from(address.parse::<IpAddr>().unwrap());
    machine.kernel.1.lock().unwrap().admitted.contains(&net)
}

fn login(from: &str) -> Event {
    security(Kind::SuccessfulAuth { using_password: true }, from)
}

/// These addresses lose packets for so many seconds, as many in each.
fn flood(machine: &Machine, owner: &mut Owner, from: &[IpNet], seconds: u64) {
    flood_with(Excess::Datagrams, machine, owner, from, seconds);
}

fn flood_with(excess: Excess, machine: &Machine, owner: &mut Owner, from: &[IpNet], seconds: u64) {
    for second in 1..=seconds {
        let shed = from.iter().map(|source| Shed { source: *source, excess, packets: 100 * second });
        machine.kernel.1.lock().unwrap().shed = shed.collect();
        machine.pass(owner, 1);
    }
    machine.kernel.1.lock().unwrap().shed.clear();
    machine.pass(owner, 1);
}

#[test]
fn who_logs_in_passes_at_once_and_as_long_as_he_lives_there() {
    let machine = machine(ShieldMode::On);
    machine.white_list("198.51.100.7\n");
    let mut owner = machine.start();
    assert!(lets_pass(&machine, "198.51.100.7") && !lets_pass(&machine, "203.0.113.7"));
    owner.turn(vec![login("203.0.113.7")]);
    assert!(lets_pass(&machine, "203.0.113.7"));
    machine.pass(&mut owner, 60);
    assert!(lets_pass(&machine, "203.0.113.7"));
    // And through a restart.
    drop(owner);
    machine.kernel.1.lock().unwrap().admitted.clear();
    let mut owner = machine.start();
    assert!(lets_pass(&machine, "203.0.113.7"));
    machine.pass(&mut owner, 31 * DAY);
    assert!(lets_pass(&machine, "198.51.100.7") && !lets_pass(&machine, "203.0.113.7"));
    let added = ask(&mut owner, Request::WhiteListAdd("192.0.2.9".into()));
    assert!(matches!(added, Reply::WhiteListAdded { .. }) && lets_pass(&machine, "192.0.2.9"));
    ask(&mut owner, Request::WhiteListDel("192.0.2.9".into()));
    assert!(!lets_pass(&machine, "192.0.2.9"));
}

#[test]
fn patience_ends_in_a_block_that_grows_with_each_time() {
    let machine = machine(ShieldMode::On);
    let mut owner = machine.start();
    let attacker: IpNet = "203.0.113.7/32".parse().unwrap();
    flood(&machine, &mut owner, &[attacker], 60);
    assert!(!machine.holds("203.0.113.7"));
    for seconds in [600, 2_400, 9_600] {
        let began = machine.start_time();
        flood(&machine, &mut owner, &[attacker], 61);
        let (net, block) = owner.blocks().next().unwrap();
        assert_eq!((net, block.reason, block.proof), (attacker, Reason::Flood, Proof::Claimed));
        assert_eq!((block.since, block.end), (began + 61, began + 61 + seconds));
        machine.pass(&mut owner, seconds);
        assert!(!machine.holds("203.0.113.7"));
    }
}

#[test]
fn forged_syns_have_nobody_blocked_and_a_connection_that_stands_proves_who_floods() {
    let machine = machine(ShieldMode::On);
    let mut owner = machine.start();
    let forged: IpNet = "203.0.113.7/32".parse().unwrap();
    let attacker: IpNet = "203.0.113.8/32".parse().unwrap();
    machine.kernel.1.lock().unwrap().connected.insert(attacker);
    flood_with(Excess::Connections, &machine, &mut owner, &[forged, attacker], 600);
    assert_eq!(owner.blocks().map(|(net, block)| (net, block.reason)).collect::<Vec<_>>(), [(attacker, Reason::Flood)]);
}

#[test]
fn where_there_is_little_room_the_white_list_passes_and_the_homes_heard_of_last() {
    let machine = machine(ShieldMode::On);
    machine.white_list("192.0.2.9\n");
    let mut owner = machine.start();
    let own = machine.kernel.1.lock().unwrap().admitted.len();
    let homes: Vec<String> = (1..=9).map(|n| format!("203.0.113.{n}")).collect();
    for home in &homes {
        owner.turn(vec![login(home)]);
        machine.pass(&mut owner, 1);
    }
    machine.kernel.1.lock().unwrap().room = own + 3;
    machine.pass(&mut owner, 60);
    let passing = |text: &str| lets_pass(&machine, text);
    assert!(passing("192.0.2.9"));
    let passing: Vec<&String> = homes.iter().filter(|home| passing(home)).collect();
    assert_eq!(passing, homes[6..].iter().collect::<Vec<_>>());
}

#[test]
fn a_known_attacker_is_not_let_off_for_a_flood() {
    let machine = machine(ShieldMode::On);
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    machine.pass(&mut owner, DAY);
    flood(&machine, &mut owner, &["203.0.113.7/32".parse().unwrap()], 61);
    let (_, block) = owner.blocks().next().unwrap();
    assert_eq!((block.reason, block.end.since(block.since)), (Reason::Flood, 4 * DAY));
}

#[test]
fn nobody_is_blocked_who_is_protected_or_lives_there_nor_while_it_only_counts() {
    let counting = machine(ShieldMode::Count);
    let mut owner = counting.start();
    flood(&counting, &mut owner, &["203.0.113.7/32".parse().unwrap()], 120);
    assert_eq!(owner.blocks().count(), 0);

    let machine = machine(ShieldMode::On);
    machine.white_list("2001:db8:1::9\n");
    let mut owner = machine.start();
    owner.turn(vec![login("203.0.113.7"), login("2001:db8:2::9")]);
    let near = ["203.0.113.7/32", "2001:db8:1::/64", "2001:db8:2::/64"].map(|net| net.parse().unwrap());
    flood(&machine, &mut owner, &near, 120);
    assert_eq!(owner.blocks().count(), 0);
}

#[test]
fn status_top_and_why_tell_of_it() {
    let machine = machine(ShieldMode::On);
    let mut owner = machine.start();
    let source: IpNet = "203.0.113.7/32".parse().unwrap();
    machine.kernel.1.lock().unwrap().shed = vec![Shed { source, excess: Excess::Datagrams, packets: 70 }];
    machine.pass(&mut owner, 1);
    let Reply::Status(status) = ask(&mut owner, Request::Status) else { panic!() };
    assert_eq!(status.shield, "on: 1 strangers over 60 packets in 10 s, 70 packets shed since start");
    let Reply::Top(top) = ask(&mut owner, Request::Top) else { panic!() };
    assert_eq!(top.shed, [(source, 70)]);
    assert!(matches!(ask(&mut owner, Request::TopShed), Reply::TopShed(shed) if shed == top.shed));
    let mut shield = |address: &str| match ask(&mut owner, Request::Why(address.parse().unwrap())) {
        Reply::Why(why) => why.shield.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(shield("203.0.113.7"), "70 packets over 60 in 10 s");
    assert_eq!(shield("203.0.113.8"), "a stranger within 60 packets in 10 s");
    assert_eq!(shield("127.0.0.1"), "no stranger: all pass");
}

#[test]
fn without_a_backend_that_has_one_there_is_none() {
    let machine = Machine { shield: ShieldMode::On, ..Machine::new() };
    let mut owner = machine.start();
    owner.turn(vec![login("203.0.113.7"), Event::Tick]);
    let Reply::Status(status) = ask(&mut owner, Request::Status) else { panic!() };
    assert_eq!(status.shield, "off");
    assert!(matches!(ask(&mut owner, Request::TopShed), Reply::Failed(_)));
}
