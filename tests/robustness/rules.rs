//! Rules in force without a gap.

use std::fs;

use crate::fire::{ATTACKER, under_fire};
use crate::lab::{each, each_chain, wait_until};

#[test]
fn not_one_packet_of_a_blocked_address_arrives_during_restarts_and_kills() {
    each(|mut lab| {
        lab.set("state.on_stop", "keep");
        lab.start();
        under_fire(&mut lab, |lab, arrived| {
            // So that the rules take a moment to write.
            for number in 0..250 {
                lab.attack(&format!("10.7.0.{number}"));
            }
            lab.attack_and_block(ATTACKER);
            let before = arrived.attacks();
            for _ in 0..3 {
                lab.stop();
                lab.start();
                lab.kill();
                lab.start();
            }
            // An upgrade brings another version of the rules: here another target for every block.
            lab.stop();
            lab.set("iptables.rule", "REJECT --reject-with icmp-port-unreachable");
            lab.start();
            wait_until("the new target", || lab.rules().iter().any(|rule| rule.to_lowercase().contains("reject")));
            lab.stop();
            lab.set("iptables.rule", "DROP");
            lab.start();
            assert_eq!(arrived.attacks(), before, "{}", lab.log());
            lab.console(&format!("unblock {ATTACKER}"));
            wait_until("attacks again", || arrived.attacks() > before);
        });
    });
}

#[test]
fn rules_that_an_old_file_replaced_are_back_within_a_second_or_two() {
    each_chain(|mut lab| {
        lab.set("iptables.verify", 1);
        let old = lab.path("old");
        lab.tool("iptables", "-A INPUT -p tcp --dport 22 -j ACCEPT").unwrap();
        fs::write(&old, lab.tool("iptables-save", "").unwrap()).unwrap();
        lab.start();
        under_fire(&mut lab, |lab, arrived| {
            lab.attack_and_block(ATTACKER);
            lab.tool("iptables-restore", &old.display().to_string()).unwrap();
            lab.wait_for_log(
                "REPAIR => jump to sipban-udp in INPUT (IPv4), chain sipban-udp (IPv4), 1 of 1 blocks (IPv4)",
            );
            assert!(lab.log().contains(" s at most"), "{}", lab.log());
            let before = arrived.attacks();
            assert_eq!(arrived.attacks(), before);
            assert!(lab.is_blocked(ATTACKER));
        });
    });
}

#[test]
fn what_other_tools_do_to_the_rules_is_repaired_and_named_while_it_runs() {
    each_chain(|mut lab| {
        lab.set("iptables.verify", 1);
        lab.start();
        lab.attack_and_block(ATTACKER);
        lab.attack("2001:db8:66::66");
        lab.wait_for_blocks(&[ATTACKER, "2001:db8:66::/64"]);
        let sound = lab.rules();
        let mut repairs = 0;
        for (tool, damage, named) in [
            ("iptables", "-F", "jump to sipban-udp in INPUT (IPv4), 1 of 1 blocks (IPv4)"),
            (
                "iptables",
                "-D INPUT -p udp -m udp --dport 5060:5061 -j sipban-udp",
                "jump to sipban-udp in INPUT (IPv4)",
            ),
            ("iptables", "-I INPUT -p udp -j ACCEPT", "jump to sipban-udp in INPUT before `-p udp -j ACCEPT` (IPv4)"),
            ("ip6tables", "-F sipban-udp", "1 of 1 blocks (IPv6)"),
            ("ip6tables", "-I sipban-udp -j RETURN", "rules too many in sipban-udp (IPv6)"),
        ] {
            lab.tool(tool, damage).unwrap();
            repairs += 1;
            lab.wait_for_log_times("REPAIR => ", repairs);
            let log = lab.log();
            let last = log.lines().rfind(|line| line.starts_with("REPAIR => ")).unwrap();
            assert!(last.contains(named), "{damage}: {last}");
            assert!(lab.console("status").contains("Last repair  ["));
        }
        // The rule of another tool stays where it is, behind ours.
        lab.tool("iptables", "-D INPUT -p udp -j ACCEPT").unwrap();
        assert_eq!(lab.rules(), sound);
        assert_eq!(lab.logged("REPAIR => "), repairs);
    });
}

#[test]
fn rules_that_are_gone_when_an_attack_comes_are_back_at_once_and_that_is_said() {
    for backend in ["iptables", "ipset"] {
        each_chain(|mut lab| {
            lab.set("iptables.backend", backend);
            // What is not seen because of the attack is not seen at all.
            lab.set("iptables.verify", 86_400);
            lab.start();
            under_fire(&mut lab, |lab, arrived| {
                for tool in ["iptables", "ip6tables"] {
                    lab.tool(tool, "-F").unwrap();
                    lab.tool(tool, "-X").unwrap();
                }
                lab.attack(ATTACKER);
                lab.wait_for_log(&format!("BLOCK => {ATTACKER}"));
                lab.wait_for_log("REPAIR => ");
                let log = lab.log();
                let repair = log.lines().find(|line| line.starts_with("REPAIR => ")).unwrap();
                assert!(repair.contains("chain sipban-udp (IPv4)"), "{repair}");
                let before = arrived.attacks();
                assert_eq!(arrived.attacks(), before);
            });
        });
    }
}

#[test]
fn where_another_program_undoes_the_jump_without_end_the_rules_step_back_and_stay() {
    each_chain(|mut lab| {
        lab.set("iptables.rule", "REJECT");
        lab.start();
        under_fire(&mut lab, |lab, arrived| {
            lab.attack_and_block(ATTACKER);
            // Looks come more often than every ten seconds, or this would take minutes.
            for strikes in 1..=9 {
                lab.tool("iptables", "-F INPUT").unwrap();
                lab.wait_for_log_times("REPAIR => jump to sipban-udp in INPUT (IPv4)", strikes);
            }
            lab.wait_for_log("STEP BACK => ");
            let before = arrived.attacks();
            for tool in ["iptables", "ip6tables"] {
                assert!(lab.chain(tool).is_err(), "nothing is left in INPUT");
                lab.tool(tool, "-F").unwrap();
                lab.tool(tool, "-X").unwrap();
            }
            lab.attack("192.0.2.9");
            lab.wait_for_log("BLOCK => 192.0.2.9");
            assert_eq!(arrived.attacks(), before, "{}", lab.log());
            let raw = lab.tool("iptables", "-t raw -S sipban-udp").unwrap();
            assert!(raw.contains("-A sipban-udp -s 192.0.2.9/32 -j DROP"), "{raw}");
            // A restart does not begin the dispute anew.
            lab.kill();
            lab.start();
            assert_eq!(arrived.attacks(), before, "{}", lab.log());
            assert!(lab.chain("iptables").is_err());
            lab.stop();
            assert!(!lab.tool("iptables-save", "-t raw").unwrap().contains("sipban"));
        });
    });
}
