//! Who is blocked, what the kernel takes, and which ports lead there.

use super::*;

#[test]
fn an_attacker_is_blocked_for_a_day_and_then_free() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    assert!(machine.holds("203.0.113.7"));
    machine.pass(&mut owner, DAY - 1);
    assert!(machine.holds("203.0.113.7"));
    machine.pass(&mut owner, 1);
    assert!(!machine.holds("203.0.113.7"));
}

#[test]
fn a_block_that_the_kernel_refused_is_not_claimed_and_is_tried_again() {
    let machine = Machine::new();
    let mut owner = machine.start();
    machine.kernel.refuse(&["203.0.113.7/32"]);
    owner.turn(vec![attack("203.0.113.7"), attack("203.0.113.8")]);
    assert!(!machine.holds("203.0.113.7"));
    assert!(machine.holds("203.0.113.8"));
    assert_eq!(owner.blocks().count(), 1);
    machine.kernel.refuse(&[]);
    machine.pass(&mut owner, 1);
    assert!(machine.holds("203.0.113.7"));
    assert_eq!(owner.blocks().count(), 2);
}

#[test]
fn in_a_flood_of_forged_sources_old_blocks_make_room_but_not_the_administrators() {
    let machine = Machine::new();
    let mut owner = machine.start();
    ask(&mut owner, Request::Block("203.0.113.1/32".parse().unwrap(), Some(60)));
    for n in 0..150 {
        owner.turn(vec![attack(&format!("198.51.100.{n}"))]);
        machine.pass(&mut owner, 0);
    }
    assert_eq!(owner.blocks().count(), 100);
    assert!(machine.holds("203.0.113.1"));
    assert!(machine.holds("198.51.100.149"));
}

#[test]
fn nobody_who_was_proven_to_attack_frees_himself_by_forging_other_sources() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![security_over(Transport::Tcp, 5060, Kind::InvalidAccountId, "203.0.113.1")]);
    owner.turn((0..3).map(|_| security(Kind::ChallengeResponseFailed, "203.0.113.2")));
    owner.turn(vec![attack("203.0.113.3")]);
    // What was proven is known after a restart too.
    drop(owner);
    let mut owner = machine.start();
    let forge = |owner: &mut Owner, network: u8, kind: Kind, times: usize| {
        for n in 0..150 {
            machine.pass(owner, 1);
            owner.turn((0..times).map(|_| security(kind, &format!("198.{n}.{network}.1"))));
        }
        machine.pass(owner, 1);
    };
    forge(&mut owner, 100, Kind::InvalidAccountId, 1);
    assert_eq!(["1", "2", "3"].map(|n| machine.holds(&format!("203.0.113.{n}"))), [true, true, false]);
    // To forge many failures costs more, and is no handshake.
    owner.config.limits.pressure = 0;
    owner.renew_policy();
    forge(&mut owner, 101, Kind::ChallengeResponseFailed, 3);
    assert_eq!(["1", "2"].map(|n| machine.holds(&format!("203.0.113.{n}"))), [true, false]);
    assert_eq!(owner.blocks().count(), 100);
}

#[test]
fn what_the_kernel_would_not_free_is_freed_later() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    machine.kernel.refuse(&["203.0.113.7/32"]);
    ask(&mut owner, Request::WhiteListAdd("203.0.113.7".into()));
    assert!(machine.holds("203.0.113.7"));
    // However long it refuses, also past the end of the block, it is one block to be freed.
    for _ in 0..3 {
        machine.pass(&mut owner, DAY);
        assert_eq!(owner.pending.frees().count(), 1);
    }
    machine.kernel.refuse(&[]);
    machine.pass(&mut owner, 60);
    assert!(!machine.holds("203.0.113.7"));
    assert_eq!(owner.blocks().count(), 0);
}

#[test]
fn a_blocked_address_is_blocked_on_the_other_port_it_attacks_too() {
    let machine = Machine::new();
    let scope = || machine.kernel.1.lock().unwrap().scope.clone();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    let end = owner.blocks().next().unwrap().1.end;
    machine.pass(&mut owner, 9);
    owner.turn(vec![security_on(5080, Kind::ChallengeSent, "203.0.113.7")]);
    assert_eq!(scope(), None);
    owner.turn(vec![security_on(5080, Kind::InvalidAccountId, "203.0.113.7")]);
    assert_eq!(scope(), udp(&[(5060, 5061), (5080, 5080)]));
    assert_eq!(owner.blocks().map(|(_, block)| block.end).collect::<Vec<_>>(), [end]);
    assert_eq!(owner.stats.blocks, 1);
    drop(owner);
    let owner = machine.start();
    assert_eq!(owner.covered.to_string(), "UDP 5060-5061, 5080; TCP 5060-5061");
}

#[test]
fn a_port_that_the_kernel_did_not_lead_through_the_chain_is_tried_again() {
    let machine = Machine::new();
    let mut owner = machine.start();
    machine.kernel.1.lock().unwrap().refuses = true;
    owner.turn(vec![security_on(5080, Kind::InvalidAccountId, "203.0.113.7")]);
    machine.kernel.1.lock().unwrap().refuses = false;
    let verify = owner.config.firewall.verify;
    machine.pass(&mut owner, verify);
    assert_eq!(machine.kernel.1.lock().unwrap().scope, udp(&[(5060, 5061), (5080, 5080)]));
}

#[test]
fn blocks_that_the_kernel_refuses_are_bounded_and_drive_nobody_out() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn((0..60).map(|n| attack(&format!("203.0.113.{n}"))));
    let refused: Vec<String> = (0..250).map(|n| format!("198.51.100.{n}/32")).collect();
    machine.kernel.refuse(&refused.iter().map(String::as_str).collect::<Vec<_>>());
    for n in 0..250 {
        owner.turn(vec![attack(&format!("198.51.100.{n}"))]);
        machine.pass(&mut owner, 1);
    }
    assert_eq!(owner.blocks().count(), 60);
    assert_eq!(owner.pending.blocks().count(), 100);
    // When it takes them again, they fill what room there is.
    machine.kernel.refuse(&[]);
    machine.pass(&mut owner, 60);
    machine.pass(&mut owner, 60);
    assert_eq!(owner.blocks().count(), 100);
    assert!((0..60).all(|n| machine.holds(&format!("203.0.113.{n}"))));
}

#[test]
fn a_block_of_before_does_not_overwrite_a_newer_one_of_the_administrator() {
    let machine = Machine::new();
    let mut owner = machine.start();
    machine.kernel.refuse(&["203.0.113.7/32"]);
    owner.turn(vec![attack("203.0.113.7")]);
    machine.kernel.refuse(&[]);
    let net = "203.0.113.7/32".parse().unwrap();
    assert_eq!(ask(&mut owner, Request::Block(net, Some(60))), Reply::Blocked(net));
    machine.pass(&mut owner, 5);
    assert_eq!(owner.book.get(&net).unwrap().end, machine.start_time() + 55);
    machine.pass(&mut owner, 55);
    assert!(!machine.holds("203.0.113.7"));
}

#[test]
fn an_unblock_of_before_does_not_free_who_was_restored() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    machine.kernel.refuse(&["203.0.113.7/32"]);
    assert!(matches!(ask(&mut owner, Request::Flush), Reply::Failed(_)));
    machine.kernel.refuse(&[]);
    assert!(matches!(ask(&mut owner, Request::Restore), Reply::Restored { blocks, .. } if blocks.len() == 1));
    machine.pass(&mut owner, 60);
    assert!(machine.holds("203.0.113.7"));
    assert_eq!(owner.blocks().count(), 1);
}

#[test]
fn blocks_that_are_gone_and_cannot_be_brought_back_are_not_claimed_until_they_are() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7"), attack("203.0.113.8")]);
    machine.kernel.refuse(&["203.0.113.7/32"]);
    machine.kernel.0.lock().unwrap().flush();
    let verify = owner.config.firewall.verify;
    machine.pass(&mut owner, verify);
    assert_eq!(owner.blocks().map(|(net, _)| net.to_string()).collect::<Vec<_>>(), ["203.0.113.8/32"]);
    assert!(owner.stats.last_repair.as_ref().unwrap().1.starts_with("1 of 2 blocks"));
    machine.kernel.refuse(&[]);
    machine.pass(&mut owner, 1);
    assert_eq!(owner.blocks().count(), 2);
    assert!(machine.holds("203.0.113.7"));
}

#[test]
fn where_the_log_has_no_room_for_all_it_names_who_was_blocked() {
    let net = |text: &str| text.parse::<IpNet>().unwrap();
    let blocked = [(net("203.0.113.7/32"), "Failed ACL"), (net("2001:db8::/64"), "Invalid Account")];
    let freed = [(net("198.51.100.7/32"), "No Room")];
    let lines: Vec<String> = enforce::lines(&blocked, &freed).collect();
    assert_eq!(
        lines,
        [
            "BLOCK => 203.0.113.7 (Failed ACL)",
            "BLOCK => 2001:db8::/64 (Invalid Account)",
            "UNBLOCK => 198.51.100.7 (No Room)"
        ]
    );
}
