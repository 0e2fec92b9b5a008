//! The backends against the real netfilter, of both kinds and for both IP versions, in namespaces of the tests' own.

#[path = "common/bed.rs"]
mod bed;
#[path = "netfilter/ipset.rs"]
mod ipset;
#[path = "common/netns.rs"]
mod netns;

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use ipnet::IpNet;
use sipban::config::Backend::{self, Ipset, Iptables};
use sipban::config::FirewallConfig;
use sipban::firewall::Scope;

use bed::{JUMPS, NOW, V4, V6, each, each_joined, each_with, found, made, net, nets, send, sip_ports};
use netns::{Variant, replace_by_script};

#[test]
fn blocks_stand_before_a_return_in_a_chain_that_input_jumps_to() {
    each_with(Iptables, |mut bed| {
        let mut firewall = bed.firewall();
        assert_eq!(firewall.set_up(NOW).unwrap(), []);
        let add = ["192.0.2.1/32", "198.51.100.0/24", "2001:db8::1/128", "2001:db8:1::/64"].map(net);
        assert!(bed.apply(&mut firewall, &add, &[]).is_empty());
        assert_eq!(bed.chain(V4), ["-s 198.51.100.0/24 -j DROP", "-s 192.0.2.1/32 -j DROP", "-j RETURN"]);
        assert_eq!(bed.chain(V6), ["-s 2001:db8:1::/64 -j DROP", "-s 2001:db8::1/128 -j DROP", "-j RETURN"]);
        assert_eq!(bed.input(V4), JUMPS);
        assert_eq!(bed.input(V6), JUMPS);
        bed.assert_verified(&mut firewall);

        assert!(bed.apply(&mut firewall, &[], &add[1..]).is_empty());
        assert_eq!(bed.chain(V4), ["-s 192.0.2.1/32 -j DROP", "-j RETURN"]);
        assert_eq!(bed.chain(V6), ["-j RETURN"]);
        bed.assert_verified(&mut firewall);
        let kind = if bed.variant == Variant::Nft { "nf_tables" } else { "legacy" };
        assert!(firewall.describe().contains(kind), "{}", firewall.describe());
    });
}

#[test]
fn what_is_blocked_already_is_not_blocked_twice_and_what_is_not_cannot_be_freed() {
    each(|mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let (one, two) = (net("192.0.2.1/32"), net("192.0.2.2/32"));
        bed.apply(&mut firewall, &[one], &[]);
        assert!(bed.apply(&mut firewall, &[one, two, two], &[net("192.0.2.3/32")]).is_empty());
        assert_eq!(bed.blocked(), [one, two]);
        let refused = bed.apply(&mut firewall, &[net("0.0.0.0/0"), net("::/0")], &[]);
        assert_eq!(refused.len(), 2);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn a_reject_is_translated_for_ipv6_and_found_again() {
    each(|mut bed| {
        bed.config.rule = ["REJECT", "--reject-with", "icmp-port-unreachable"].map(str::to_owned).to_vec();
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &[net("192.0.2.1/32"), net("2001:db8::1/128")], &[]);
        assert!(bed.chain(V4)[0].ends_with(" -j REJECT --reject-with icmp-port-unreachable"));
        assert!(bed.chain(V6)[0].ends_with(" -j REJECT --reject-with icmp6-port-unreachable"));
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn networks_and_addresses_in_them_come_and_go_on_their_own() {
    each(|mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let one = ["203.0.113.7/32", "2001:db8:1:2::7/128"].map(net);
        let around = ["203.0.113.0/24", "2001:db8:1:2::/64"].map(net);
        let wide = ["203.0.112.0/22", "2001:db8::/32"].map(net);
        let sorted = |nets: &[[IpNet; 2]]| {
            let mut nets = nets.concat();
            nets.sort();
            nets
        };
        bed.apply(&mut firewall, &sorted(&[around, one]), &[]);
        assert_eq!(bed.blocked(), sorted(&[around, one]));
        bed.apply(&mut firewall, &wide, &one);
        assert_eq!(bed.blocked(), sorted(&[around, wide]));
        bed.apply(&mut firewall, &one, &wide);
        bed.assert_verified(&mut firewall);
        bed.apply(&mut firewall, &[], &around);
        assert_eq!(bed.blocked(), one);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn another_target_interface_and_scope_hold_from_now_on_and_bad_ones_leave_the_old_in_force() {
    each(|mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let both = ["192.0.2.1/32", "2001:db8::1/128"].map(net);
        bed.apply(&mut firewall, &both, &[]);
        let rule = vec!["REJECT".to_owned()];
        let config = FirewallConfig { rule, interface: Some("eth9".to_owned()), ..bed.config.clone() };
        firewall.reconfigure(&config, Scope::All, &bed.book, NOW).unwrap();
        let check = |bed: &bed::Bed| {
            for tool in [V4, V6] {
                assert_eq!(bed.input(tool), ["-i eth9 -j sipban-udp"]);
                assert!(bed.chain(tool)[0].contains("-j REJECT"));
            }
        };
        check(&bed);
        bed.assert_verified(&mut firewall);
        let bad = Scope::Match(vec!["--no-such-match".to_owned()]);
        assert!(firewall.reconfigure(&bed.config, bad, &bed.book, NOW).is_err());
        check(&bed);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn a_change_of_the_backend_keeps_what_is_in_force() {
    each(|mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let both = ["192.0.2.1/32", "2001:db8::1/128"].map(net);
        bed.apply(&mut firewall, &both, &[]);
        drop(firewall);
        bed.config.backend = if bed.config.backend == Ipset { Backend::Iptables } else { Ipset };
        let mut firewall = bed.firewall();
        let found = found(&mut firewall);
        if bed.config.backend == Ipset {
            assert_eq!(found, both);
        } else {
            assert_eq!(bed.chain(V4)[0], "-m set --match-set sipban src -j DROP");
            assert!(firewall.verify(&bed.book, NOW).unwrap().unwrap().contains("1 of 1 blocks (IPv4)"));
        }
        assert_eq!(bed.blocked(), both);
    });
}

#[test]
fn every_kind_of_answer_is_taken_and_listed_as_written() {
    each(|mut bed| {
        for kind in [
            "port-unreach",
            "net-unreach",
            "host-unreach",
            "proto-unreach",
            "net-prohib",
            "host-prohib",
            "admin-prohib",
        ] {
            bed.config.rule = ["REJECT", "--reject-with", kind].map(str::to_owned).to_vec();
            let mut firewall = bed.firewall();
            firewall.set_up(NOW).unwrap();
            let add = [net("192.0.2.1/32"), net("2001:db8::1/128")];
            let refused = bed.apply(&mut firewall, &add, &[]);
            assert!(refused.is_empty(), "{refused:?}");
            bed.assert_verified(&mut firewall);
            bed.apply(&mut firewall, &[], &add);
            firewall.tear_down().unwrap();
        }
    });
}

#[test]
fn two_thousand_blocks_come_and_go_in_one_transaction_each() {
    each_with(Iptables, |mut bed| {
        let counted = format!("echo >>{}/runs; exec $REAL \"$@\"", bed.folder.display());
        replace_by_script(bed.folder, "iptables-restore", &counted);
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let runs = || std::fs::read_to_string(bed.folder.join("runs")).unwrap().lines().count();
        let all = nets(2_010);
        let before = runs();
        bed.apply(&mut firewall, &all, &[]);
        assert_eq!(bed.chain(V4).len(), 2_011);
        bed.apply(&mut firewall, &[net("192.0.2.1/32")], &all[..2_000]);
        assert_eq!(runs() - before, 2);
        let chain = bed.chain(V4);
        assert_eq!((chain.len(), &chain[0][..]), (12, "-s 192.0.2.1/32 -j DROP"));
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn a_culprit_in_a_batch_is_refused_alone() {
    each_with(Iptables, |mut bed| {
        let picky = "text=$(cat)\ncase $text in *10.0.0.7/32*) echo bad address >&2; exit 2;; esac\n\
                     echo \"$text\" | $REAL \"$@\"";
        replace_by_script(bed.folder, "iptables-restore", picky);
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &[net("192.0.2.1/32")], &[]);
        let refused = bed.apply(&mut firewall, &nets(40), &[net("192.0.2.1/32")]);
        assert_eq!(refused.iter().map(|refused| refused.net).collect::<Vec<_>>(), [net("10.0.0.7/32")]);
        assert!(refused[0].why.contains("iptables-restore --noflush"), "{}", refused[0].why);
        assert!(refused[0].why.ends_with("exit status: 2: bad address"), "{}", refused[0].why);
        assert_eq!(bed.chain(V4).len(), 40);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn a_restore_killed_in_the_middle_leaves_each_block_in_force_once() {
    each_with(Iptables, |mut bed| {
        let folder = bed.folder.display();
        let mortal = format!(
            "if test -e {folder}/mortal; then rm {folder}/mortal; $REAL \"$@\"; kill -9 $$; fi\nexec $REAL \"$@\""
        );
        replace_by_script(bed.folder, "iptables-restore", &mortal);
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &nets(2), &[]);
        for spare in [false, true] {
            std::fs::write(bed.folder.join("mortal"), "").unwrap();
            if spare {
                firewall.prepare();
            }
            let add = if spare { net("192.0.2.1/32") } else { net("192.0.2.2/32") };
            let refused = bed.apply(&mut firewall, &[add], &[]);
            assert!(refused.is_empty(), "{refused:?}");
            bed.assert_verified(&mut firewall);
        }
        assert_eq!(bed.chain(V4).len(), 5);
    });
}

#[test]
fn a_block_freed_by_another_tool_can_still_be_freed() {
    each_with(Iptables, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let all = nets(4);
        bed.apply(&mut firewall, &all, &[]);
        bed.tool(V4, "-D sipban-udp -s 10.0.0.1 -j DROP");
        assert!(bed.apply(&mut firewall, &[net("192.0.2.1/32")], &all[..2]).is_empty());
        let expected = ["-s 192.0.2.1/32 -j DROP", "-s 10.0.0.3/32 -j DROP", "-s 10.0.0.2/32 -j DROP", "-j RETURN"];
        assert_eq!(bed.chain(V4), expected);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn a_block_succeeds_though_another_tool_has_removed_the_chain() {
    each_with(Iptables, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &nets(2), &[]);
        bed.tool(V4, "-F");
        bed.tool(V4, "-X");
        firewall.prepare();
        assert!(bed.apply(&mut firewall, &[net("192.0.2.1/32")], &[]).is_empty());
        assert_eq!(bed.input(V4), JUMPS);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn a_waiting_spare_holds_nobody_up_and_works_on_the_rules_of_the_moment() {
    each_with(Iptables, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &nets(2), &[]);
        firewall.prepare();
        bed.tool(V4, "-w 1 -A INPUT -s 203.0.113.1 -j DROP");
        bed.tool(V4, "-w 1 -I sipban-udp 1 -s 203.0.113.2 -j DROP");
        bed.tool(V4, "-w 1 -D sipban-udp -s 10.0.0.0 -j DROP");
        bed.tool(V4, "-w 1 -N other");
        assert!(bed.apply(&mut firewall, &[net("192.0.2.1/32")], &[]).is_empty());
        let head = ["-s 192.0.2.1/32 -j DROP", "-s 203.0.113.2/32 -j DROP", "-s 10.0.0.1/32 -j DROP", "-j RETURN"];
        assert_eq!(bed.chain(V4), head);
        assert_eq!(bed.input(V4).last().unwrap(), "-s 203.0.113.1/32 -j DROP");
        assert!(bed.all(V4).contains(&":other -".to_owned()));
    });
}

#[test]
fn what_a_crash_left_is_adopted() {
    each(|mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let add = ["192.0.2.1/32", "198.51.100.0/24", "2001:db8::1/128"].map(net);
        bed.apply(&mut firewall, &add, &[]);
        drop(firewall);
        for _ in 0..2 {
            let mut firewall = bed.firewall();
            assert_eq!(found(&mut firewall), add);
            assert_eq!(bed.blocked(), add);
            assert_eq!(bed.input(V4), JUMPS);
            bed.assert_verified(&mut firewall);
        }
    });
}

#[test]
fn the_chain_of_the_perl_program_is_adopted_and_put_right() {
    each(|mut bed| {
        for rule in [
            "-A INPUT -i lo -j ACCEPT",
            "-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT",
            "-N sipban-udp",
            "-A INPUT -j sipban-udp",
            "-A INPUT -j sipban-udp",
            "-A sipban-udp -j RETURN",
            "-I sipban-udp 1 -s 192.0.2.1 -j REJECT --reject-with icmp-port-unreachable",
            "-I sipban-udp 1 -s 192.0.2.2 -j DROP",
            "-I sipban-udp 1 -s 192.0.2.2 -j DROP",
            "-I sipban-udp 1 -s 192.0.2.3 -j ACCEPT",
        ] {
            bed.tool(V4, rule);
        }
        let mut firewall = bed.firewall();
        let two = ["192.0.2.1/32", "192.0.2.2/32"].map(net);
        assert_eq!(found(&mut firewall), two);
        assert_eq!(bed.blocked(), two);
        let input = bed.input(V4);
        assert_eq!(input[..2], JUMPS);
        assert_eq!(input.len(), 4);
        two.into_iter().for_each(|net| bed.enter_in_book(net));
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn rules_of_others_are_as_before_after_all_is_over() {
    each(|mut bed| {
        for tool in [V4, V6] {
            for rule in [
                "-N sipban-udp-old",
                "-N other",
                "-A other -p tcp --dport 22 -m comment --comment -j_sipban-udp -j ACCEPT",
                "-A INPUT -i lo -j ACCEPT",
                "-A INPUT -j other",
                "-A INPUT -j sipban-udp-old",
                "-A FORWARD -p udp -j DROP",
                "-P FORWARD DROP",
            ] {
                bed.tool(tool, rule);
            }
        }
        let before = (bed.all(V4), bed.all(V6));
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let all = [nets(30), vec![net("2001:db8::1/128")]].concat();
        bed.apply(&mut firewall, &all, &[]);
        bed.apply(&mut firewall, &[], &all[..20]);
        bed.tool(V4, "-D INPUT 1");
        firewall.verify(&bed.book, NOW).unwrap();
        firewall.set_scope(Scope::All).unwrap();
        assert_ne!(bed.all(V4), before.0);
        firewall.tear_down().unwrap();
        assert_eq!((bed.all(V4), bed.all(V6)), before);
        assert!(bed.sets().is_empty());
        firewall.tear_down().unwrap();
    });
}

#[test]
fn a_chain_that_others_lead_to_stays_behind_empty_and_that_is_said() {
    each(|mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &nets(3), &[]);
        bed.tool(V4, "-A FORWARD -j sipban-udp");
        bed.assert_verified(&mut firewall);
        let error = firewall.tear_down().unwrap_err();
        assert!(error.0.contains("because of the rule `-A FORWARD -j sipban-udp`"), "{error}");
        assert!(bed.chain(V4).is_empty() && bed.input(V4).is_empty());
        assert!(!bed.all(V6).iter().any(|line| line.contains("sipban")));
    });
}

#[test]
fn verify_names_and_repairs_what_other_tools_did() {
    each_with(Iptables, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &[nets(20), vec![net("2001:db8::1/128"), net("2001:db8::2/128")]].concat(), &[]);
        let sound = (bed.all(V4), bed.all(V6));
        for (tool, damage, report) in [
            (
                V4,
                "-F",
                "jump to sipban-udp in INPUT (IPv4), 20 of 20 blocks (IPv4), RETURN at the end of sipban-udp (IPv4)",
            ),
            (V6, "-F INPUT", "jump to sipban-udp in INPUT (IPv6)"),
            (V4, "-D INPUT -p udp --dport 5060:5061 -j sipban-udp", "jump to sipban-udp in INPUT (IPv4)"),
            (V4, "-A INPUT -j sipban-udp", "jump to sipban-udp in INPUT (IPv4)"),
            (V4, "-D sipban-udp -j RETURN", "RETURN at the end of sipban-udp (IPv4)"),
            (V4, "-D sipban-udp -s 10.0.0.3 -j DROP", "1 of 20 blocks (IPv4)"),
            (V6, "-D sipban-udp 1", "1 of 2 blocks (IPv6)"),
            (V4, "-I sipban-udp 1 -s 10.0.0.3 -j DROP", "1 rules too many in sipban-udp (IPv4)"),
            (
                V4,
                "-A sipban-udp -s 192.0.2.9 -j DROP",
                "2 rules too many in sipban-udp (IPv4), RETURN at the end of sipban-udp (IPv4)",
            ),
            (V4, "-I sipban-udp 1 -s 10.0.0.3 -j ACCEPT", "1 rules too many in sipban-udp (IPv4)"),
            (V4, "-R sipban-udp 1 -s 10.0.0.19 -j REJECT", "the target of 1 blocks (IPv4)"),
        ] {
            bed.tool(tool, damage);
            assert_eq!(firewall.verify(&bed.book, NOW).unwrap().as_deref(), Some(report), "{damage}");
            let now = (bed.all(V4), bed.all(V6));
            let sorted = |mut lines: Vec<String>| {
                lines.sort();
                lines
            };
            assert_eq!((sorted(now.0), sorted(now.1)), (sorted(sound.0.clone()), sorted(sound.1.clone())), "{damage}");
            assert_eq!(bed.input(tool), JUMPS);
            bed.assert_verified(&mut firewall);
        }
        bed.tool(V4, "-F");
        bed.tool(V4, "-X");
        let report = firewall.verify(&bed.book, NOW).unwrap().unwrap();
        assert!(report.contains("chain sipban-udp (IPv4), 20 of 20 blocks (IPv4)"), "{report}");
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn the_jump_goes_before_rules_that_let_attackers_in_but_does_not_fight_for_the_first_place() {
    each(|bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        for rule in ["-N other", "-I INPUT 1 -j other", "-I INPUT 1 -i lo -j ACCEPT", "-I INPUT 1 -s 192.0.2.1 -j DROP"]
        {
            bed.tool(V4, rule);
            bed.assert_verified(&mut firewall);
        }
        bed.tool(V4, "-I INPUT 1 -m state --state RELATED,ESTABLISHED -j ACCEPT");
        let report = firewall.verify(&bed.book, NOW).unwrap().unwrap();
        let expected = "jump to sipban-udp in INPUT before `-m state --state RELATED,ESTABLISHED -j ACCEPT` (IPv4)";
        assert_eq!(report, expected);
        let input = bed.input(V4);
        assert_eq!(input[..2], JUMPS);
        assert_eq!(input.len(), 6);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn a_scope_is_replaced_and_a_bad_one_leaves_the_old_one_in_force() {
    each(|mut bed| {
        bed.config.interface = Some("eth+".to_owned());
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        firewall.set_scope(Scope::All).unwrap();
        for tool in [V4, V6] {
            assert_eq!(bed.input(tool), ["-i eth+ -j sipban-udp"]);
        }
        let words = |text: &str| Scope::Match(text.split(' ').map(str::to_owned).collect());
        assert!(firewall.set_scope(words("-p udp --no-such-match 1")).is_err());
        assert!(firewall.set_scope(words("-p udp -s 192.0.2.0/24")).is_err());
        for tool in [V4, V6] {
            assert_eq!(bed.input(tool), ["-i eth+ -j sipban-udp"]);
        }
        bed.assert_verified(&mut firewall);
        let ports: Vec<(u16, u16)> = (0..20).map(|n| (6000 + 10 * n, 6000 + 10 * n)).collect();
        firewall.set_scope(Scope::Ports { udp: ports, tcp: vec![(5060, 5061), (5080, 5080)] }).unwrap();
        assert_eq!(bed.input(V6).len(), 22);
        assert!(bed.input(V6)[20].ends_with("-p tcp -m tcp --dport 5060:5061 -j sipban-udp"));
        bed.assert_verified(&mut firewall);
        let more = Scope::Ports { udp: vec![(6000, 6000), (7000, 7000)], tcp: vec![] };
        firewall.set_scope(more).unwrap();
        assert_eq!(bed.input(V4).len(), 2);
        let more = Scope::Ports { udp: vec![(6000, 6000), (7000, 7000), (8000, 8000)], tcp: vec![(8088, 8088)] };
        firewall.set_scope(more).unwrap();
        assert_eq!(bed.input(V4).len(), 4);
        assert!(bed.input(V4)[0].ends_with("-p udp -m udp --dport 8000 -j sipban-udp"));
        bed.assert_verified(&mut firewall);
        bed.tool(V4, "-w -D INPUT 1");
        assert!(firewall.verify(&bed.book, NOW).unwrap().is_some());
        bed.assert_verified(&mut firewall);
        firewall.set_scope(words("-p udp -m comment --comment")).unwrap_err();
        firewall
            .set_scope(Scope::Match(["-m", "comment", "--comment", "a \"b\\ -j ACCEPT"].map(str::to_owned).into()))
            .unwrap();
        bed.assert_verified(&mut firewall);
        firewall.set_scope(sip_ports()).unwrap();
        assert_eq!(bed.input(V4).len(), 2);
    });
}

#[test]
fn without_ip6tables_ipv4_is_guarded_and_ipv6_refused_with_the_reason_until_it_is_back() {
    each(|mut bed| {
        let off =
            format!("test -e {}/on || {{ echo no IPv6 here >&2; exit 3; }}; exec $REAL \"$@\"", bed.folder.display());
        for name in ["ip6tables-save", "ip6tables-restore"] {
            replace_by_script(bed.folder, name, &off);
        }
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let (four, six) = (net("192.0.2.1/32"), net("2001:db8::1/128"));
        let refused = bed.apply(&mut firewall, &[four, six], &[]);
        assert_eq!(refused.iter().map(|refused| refused.net).collect::<Vec<_>>(), [six]);
        assert!(refused[0].why.contains("no IPv6 here"), "{}", refused[0].why);
        assert!(firewall.describe().ends_with("IPv4 only"), "{}", firewall.describe());
        bed.assert_verified(&mut firewall);
        std::fs::write(bed.folder.join("on"), "").unwrap();
        assert_eq!(firewall.verify(&bed.book, NOW).unwrap().as_deref(), Some("all rules (IPv6)"));
        assert!(bed.apply(&mut firewall, &[six], &[]).is_empty());
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn what_cannot_work_is_refused_with_a_reason_and_touches_nothing() {
    each(|mut bed| {
        let before = bed.all(V4);
        let refusal = |config: &FirewallConfig, scope: Scope| match made(config, scope) {
            Ok(mut firewall) => firewall.set_up(NOW).unwrap_err().0,
            Err(error) => error.0,
        };
        let sound = bed.config.clone();
        bed.config.chain = "INPUT".to_owned();
        assert!(refusal(&bed.config, sip_ports()).contains("is a word of iptables itself"));
        bed.config = FirewallConfig { rule: vec!["ACCEPT".to_owned()], ..sound.clone() };
        assert!(refusal(&bed.config, sip_ports()).contains("`ACCEPT` is neither DROP nor REJECT"));
        let error = refusal(&sound, Scope::Match(vec!["--no-such-match".to_owned()]));
        assert!(error.contains("no-such-match") && error.contains("iptables-restore --noflush -w"), "{error}");
        replace_by_script(bed.folder, "iptables-save", "exec setpriv --reuid 65534 --clear-groups $REAL \"$@\"");
        let error = refusal(&sound, sip_ports());
        assert!(error.contains("ermission denied"), "{error}");
        std::fs::remove_file(bed.folder.join("iptables-save")).unwrap();
        std::fs::rename(bed.folder.join("real/iptables-save"), bed.folder.join("iptables-save")).unwrap();
        assert_eq!(bed.all(V4), before);
    });
}

#[test]
fn datagrams_of_a_blocked_address_do_not_arrive_and_those_of_others_do() {
    let ours = ["198.18.0.1", "2001:db8:5::1"].map(|text| text.parse::<IpAddr>().unwrap());
    let theirs: [[IpAddr; 2]; 2] = [["198.18.0.66", "198.18.0.77"], ["2001:db8:5::66", "2001:db8:5::77"]]
        .map(|pair| pair.map(|text| text.parse().unwrap()));
    each_joined(&[Iptables, Ipset], &ours, theirs.as_flattened(), |mut bed, outside| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        for (ours, [attacker, customer]) in ours.into_iter().zip(theirs) {
            let phone = UdpSocket::bind((ours, 5060)).unwrap();
            phone.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let at = phone.local_addr().unwrap();
            let next = || phone.recv_from(&mut [0; 64]).unwrap().1.ip();
            send(outside, attacker, at);
            assert_eq!(next(), attacker);

            // One cable, so what arrives arrives in the order sent.
            bed.apply(&mut firewall, &[attacker.into()], &[]);
            send(outside, attacker, at);
            send(outside, customer, at);
            assert_eq!(next(), customer);
            assert_eq!(firewall.packets(&attacker.into()), Some(1));
            assert_eq!(firewall.packets(&customer.into()), None);

            let elsewhere = UdpSocket::bind((ours, 5090)).unwrap();
            elsewhere.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            send(outside, attacker, elsewhere.local_addr().unwrap());
            assert_eq!(elsewhere.recv_from(&mut [0; 64]).unwrap().1.ip(), attacker);

            bed.apply(&mut firewall, &[], &[attacker.into()]);
            send(outside, attacker, at);
            assert_eq!(next(), attacker);
        }
    });
}
