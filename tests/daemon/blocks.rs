//! A block from its beginning to its end, by event, by console and across restarts.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;

use crate::lab::netns::Variant;
use crate::lab::{DEADLINE, Lab, attackers, each, each_chain, unknown_account, wait_until};

const ATTACKER: &str = "221.121.138.167";

#[test]
fn an_attack_is_blocked_and_the_chain_looks_as_in_the_manual() {
    each_chain(|mut lab| {
        lab.start();
        lab.attack_and_block(ATTACKER);
        lab.attack_and_block("77.247.110.158");
        assert_eq!(
            lab.chain("iptables").unwrap(),
            [
                "-A sipban-udp -s 77.247.110.158/32 -j DROP",
                "-A sipban-udp -s 221.121.138.167/32 -j DROP",
                "-A sipban-udp -j RETURN"
            ]
        );
        assert_eq!(lab.chain("ip6tables").unwrap(), ["-A sipban-udp -j RETURN"]);
        let jumps = |lab: &Lab| lab.rules().iter().filter(|rule| rule.ends_with("-j sipban-udp")).count();
        assert_eq!(jumps(&lab), 4, "UDP and TCP, for IPv4 and IPv6: {:?}", lab.rules());
        let log = lab.log();
        for line in ["SipBan Start", "WHITE LIST => 127.0.0.1", "CHAIN => sipban-udp created"] {
            assert!(log.lines().any(|logged| logged == line), "no {line:?} in {log}");
        }
    });
}

#[test]
fn an_attack_over_ipv6_blocks_the_network_of_the_customer() {
    each_chain(|mut lab| {
        lab.start();
        lab.attack("2001:db8:66::66");
        lab.wait_for_blocks(&["2001:db8:66::/64"]);
        assert_eq!(
            lab.chain("ip6tables").unwrap(),
            ["-A sipban-udp -s 2001:db8:66::/64 -j DROP", "-A sipban-udp -j RETURN"]
        );
        assert_eq!(lab.console("unblock 2001:db8:66::/64"), "2001:db8:66::/64 unblocked");
        lab.wait_for_blocks(&[]);
        // A neighbour of the PBX itself is blocked alone.
        lab.attack("2001:db8:18::66");
        lab.wait_for_blocks(&["2001:db8:18::66"]);
    });
}

#[test]
fn packets_of_a_blocked_address_do_not_arrive_and_those_of_an_honest_one_do() {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    each(|mut lab| {
        let near = ["198.18.0.1", "2001:db8:18::1"].map(address);
        let far = ["198.18.0.66", "2001:db8:18::66", "198.18.0.77", "2001:db8:18::77"].map(address);
        let Some(outside) = lab.netns.joined(&near, &far) else { return };
        lab.start();
        for (at, (attacker, honest)) in near.into_iter().zip([(far[0], far[2]), (far[1], far[3])]) {
            let phone = lab.netns.enter(|| UdpSocket::bind((at, 5060)).unwrap());
            phone.set_read_timeout(Some(DEADLINE)).unwrap();
            let next = || phone.recv_from(&mut [0; 64]).unwrap().1.ip();
            let send = |from: IpAddr| {
                outside.enter(|| UdpSocket::bind((from, 0)).unwrap().send_to(b"REGISTER", (at, 5060)).unwrap());
            };
            send(attacker);
            assert_eq!(next(), attacker);
            lab.attack_and_block(&attacker.to_string());
            // One cable: what arrives, arrives in the order sent.
            send(attacker);
            send(honest);
            assert_eq!(next(), honest);
            let why = lab.console(&format!("why {attacker}"));
            assert!(why.contains("Dropped      1 packet"), "{why}");
            lab.console(&format!("unblock {attacker}"));
            send(attacker);
            assert_eq!(next(), attacker);
        }
    });
}

#[test]
fn a_block_of_the_console_is_in_force_when_it_is_answered_and_ends_when_told() {
    each(|mut lab| {
        lab.start();
        assert_eq!(lab.console("block 192.0.2.7 2"), "192.0.2.7 block");
        assert!(lab.is_blocked("192.0.2.7"));
        assert_eq!(lab.console("block 192.0.2.7"), "192.0.2.7 previously blocked");
        assert_eq!(lab.console("block 198.51.100.0/24"), "198.51.100.0/24 block");
        lab.wait_for_log("UNBLOCK => 192.0.2.7 (Timeout Unblock)");
        lab.wait_for_blocks(&["198.51.100.0/24"]);
        assert_eq!(lab.console("unblock 198.51.100.0/24"), "198.51.100.0/24 unblocked");
        assert_eq!(lab.console("unblock 198.51.100.0/24"), "198.51.100.0/24 is not previously blocked");
        lab.wait_for_blocks(&[]);
        // Whoever was unblocked begins anew, and can be blocked again.
        lab.attack_and_block("192.0.2.7");
    });
}

#[test]
fn the_time_of_a_block_is_that_of_the_configuration() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    lab.set("timer.ban", 1);
    lab.start();
    lab.attack(ATTACKER);
    lab.wait_for_log(&format!("BLOCK => {ATTACKER} (Invalid Account)"));
    lab.wait_for_log(&format!("UNBLOCK => {ATTACKER} (Timeout Unblock)"));
    lab.wait_for_blocks(&[]);
}

#[test]
fn flushed_blocks_are_restored_with_their_ends_and_reasons() {
    each(|mut lab| {
        lab.start();
        lab.attack_and_block(ATTACKER);
        lab.console("block 2001:db8:7::/64 5000");
        lab.console("block 192.0.2.7 1");
        lab.wait_for_log("UNBLOCK => 192.0.2.7");
        let before = lab.console("block");
        assert_eq!(lab.console("flush"), lab.flushed());
        lab.wait_for_blocks(&[]);
        assert_eq!(lab.console("block"), "");
        // A block that has ended since is not restored.
        let dump = lab.text("dump");
        fs::write(lab.path("dump"), dump + "192.0.2.9,1560427315\n").unwrap();
        let restored = format!("Restore rules {}\n{before}\nEnd restore rules", lab.holder_name());
        assert_eq!(lab.console("restore"), restored);
        lab.wait_for_blocks(&[ATTACKER, "2001:db8:7::/64"]);
        assert_eq!(lab.console("block"), before);
        assert_eq!(lab.console("restore"), "no dump file to restore rules");
    });
}

#[test]
fn what_is_wrong_with_a_dump_is_escaped_once() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    fs::write(lab.path("dump"), "\x1b[31m,5\n").unwrap();
    lab.start();
    let problem = r#"line 1: "\x1b[31m,5": no address or network"#;
    let answer = lab.console("restore");
    assert!(answer.contains(problem), "{answer}");
    lab.wait_for_log(&format!("RESTORE RULES => {problem}"));
}

#[test]
fn a_dump_of_the_perl_program_is_restored() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    lab.start();
    fs::write(lab.path("dump"), "221.121.138.167,2000000000\n77.247.110.158,1560427315\n127.0.0.1,2000000000\n")
        .unwrap();
    let answer = lab.console("restore");
    assert!(answer.contains("] 221.121.138.167 (") && answer.lines().count() == 3, "{answer}");
    lab.wait_for_blocks(&[ATTACKER]);
    assert!(!lab.path("dump").exists());
}

#[test]
fn who_is_white_listed_is_never_blocked_and_freed_at_once() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    lab.start();
    lab.attack_and_block(ATTACKER);
    let answer = lab.console(&format!("wl add {ATTACKER}"));
    assert_eq!(answer, format!("{ATTACKER} added to the white list\n{ATTACKER} unblocked"));
    lab.wait_for_blocks(&[]);
    assert_eq!(lab.text("white_list"), format!("127.0.0.1\n{ATTACKER}\n"));
    assert_eq!(lab.console(&format!("block {ATTACKER}")), format!("{ATTACKER} is in the white list"));
    lab.attack(ATTACKER);
    lab.wait_for_log(&format!("WHITE LIST => {ATTACKER} not blocked (Invalid Account)"));
    lab.attack("127.0.0.1");
    lab.attack_and_block("192.0.2.66");
    lab.wait_for_blocks(&["192.0.2.66"]);
}

#[test]
fn the_white_list_of_somebody_else_is_changed_without_the_right_to_give_it_back() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    let path = lab.path("white_list");
    std::os::unix::fs::chown(&path, Some(65534), Some(65534)).unwrap();
    lab.launch_confined();
    lab.wait_for_log("AMI => connected");
    assert_eq!(lab.console(&format!("wl add {ATTACKER}")), format!("{ATTACKER} added to the white list"));
    assert_eq!(lab.text("white_list"), format!("127.0.0.1\n{ATTACKER}\n"));
    lab.wait_for_log(&format!("WHITE LIST => {} belongs to the user of SIPban now", path.display()));
    let there = fs::metadata(&path).unwrap();
    assert_eq!((there.uid(), there.mode() & 0o777), (0, 0o644));
    assert_eq!(lab.console(&format!("wl del {ATTACKER}")), format!("{ATTACKER} removed from the white list"));
    assert_eq!(lab.logged("belongs to the user of SIPban now"), 1);
}

#[test]
fn a_restart_keeps_every_block_its_end_and_its_reason() {
    each(|mut lab| {
        lab.start();
        lab.attack_and_block(ATTACKER);
        lab.console("block 2001:db8:7::/64 5000");
        lab.console("block 198.51.100.0/24 4000");
        lab.console("block 192.0.2.7");
        lab.console("unblock 192.0.2.7");
        let before = lab.console("block");
        lab.stop();
        lab.start();
        lab.wait_for_blocks(&[ATTACKER, "2001:db8:7::/64", "198.51.100.0/24"]);
        assert_eq!(lab.console("block"), before);
    });
}

#[test]
fn a_killed_daemon_leaves_its_rules_in_force_and_the_next_one_takes_them_over() {
    each(|mut lab| {
        lab.set("state.on_stop", "keep");
        lab.start();
        lab.attack_and_block(ATTACKER);
        lab.console("block 2001:db8:7::/64 5000");
        let before = (lab.console("block"), lab.rules());
        lab.kill();
        assert_eq!(lab.rules(), before.1);
        lab.start();
        lab.wait_for_log("FIREWALL => 2 blocks in force, 2 of them found there");
        assert_eq!((lab.console("block"), lab.rules()), before);
    });
}

#[test]
fn a_block_that_ended_while_the_daemon_was_down_goes_at_the_next_start() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    lab.start();
    lab.console("block 192.0.2.7 1");
    lab.attack_and_block(ATTACKER);
    lab.kill();
    assert!(lab.is_blocked("192.0.2.7"));
    let end: u64 = lab.text("state/bans").split(' ').nth(4).unwrap().parse().unwrap();
    let clock = sipban::model::clock::Clock::start();
    wait_until("its end", || clock.now().wall.0 > end);
    lab.start();
    lab.wait_for_blocks(&[ATTACKER]);
}

#[test]
fn rules_of_others_are_never_touched() {
    each_chain(|mut lab| {
        for rule in [
            "-N other",
            "-A other -s 192.0.2.7 -j DROP",
            "-A INPUT -p tcp --dport 22 -j other",
            "-A FORWARD -p udp -j DROP",
            "-P FORWARD DROP",
        ] {
            lab.tool("iptables", rule).unwrap();
        }
        let theirs = lab.rules();
        lab.start();
        lab.attack_and_block(ATTACKER);
        lab.console("block 192.0.2.7");
        lab.console("unblock 192.0.2.7");
        lab.console("flush");
        lab.console("restore");
        lab.attack_and_block("192.0.2.8");
        let others = |rules: Vec<String>| -> Vec<String> {
            rules.into_iter().filter(|rule| !rule.contains("sipban-udp")).collect()
        };
        assert_eq!(others(lab.rules()), theirs);
        lab.stop();
        assert_eq!(lab.rules(), theirs);
    });
}

#[test]
fn a_thousand_attackers_at_once_are_all_blocked_in_little_memory() {
    each(|mut lab| {
        lab.start();
        let all: Vec<String> = attackers(1, 1000).collect();
        lab.say(all.iter().flat_map(|address| unknown_account(address)).collect::<Vec<u8>>());
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        lab.wait_for_blocks(&all);
        lab.wait_for_log_times("BLOCK => ", 1000);
        assert_eq!(lab.logged("BLOCK => "), 1000);
        assert_eq!(lab.console("block").lines().count(), 1000);
        assert!(lab.resident() < 6 << 20, "{} bytes resident", lab.resident());
    });
}

#[test]
fn the_gateways_are_never_blocked_and_freed_when_they_become_gateways() {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    each(|mut lab| {
        let Some(_outside) = lab.netns.joined(&["198.18.0.1", "2001:db8:18::1"].map(address), &[]) else { return };
        let route = |lab: &Lab, via: &str| {
            let family = if via.contains(':') { "-6" } else { "-4" };
            lab.netns.run(&["ip", family, "route", "replace", "default", "via", via, "dev", "near"]);
        };
        route(&lab, "198.18.0.254");
        route(&lab, "2001:db8:18::fe");
        lab.start();
        for gateway in ["198.18.0.254", "2001:db8:18::fe"] {
            lab.attack(gateway);
            lab.wait_for_log(&format!("WHITE LIST => {gateway} not blocked (Invalid Account): {gateway} (gateway)"));
            let refused = format!("{gateway} is in the white list\nprotected by {gateway} (gateway)");
            assert_eq!(lab.console(&format!("block {gateway}")), refused);
            assert!(lab.console("wl").contains(&format!("{gateway} (gateway)")));
            assert!(lab.console(&format!("why {gateway}")).contains(&format!("{gateway} (gateway)")));
        }
        lab.attack_and_block("198.18.0.253");
        route(&lab, "198.18.0.253");
        lab.wait_for_blocks(&[]);
        lab.wait_for_log("UNBLOCK => 198.18.0.253 (White List)");
    });
}
