//! Which traffic meets the blocks, and what changes that.

use sipban::config::Backend::Nft;
use sipban::config::FirewallConfig;
use sipban::firewall::Traffic;
use sipban::model::target::{Icmp, Target};

use crate::bed::{Bed, JUMPS, NOW, V4, V6, each, each_chain, net, sip_ports};

#[test]
fn another_target_interface_and_scope_hold_from_now_on_and_bad_ones_leave_the_old_in_force() {
    each(|mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let both = ["192.0.2.1/32", "2001:db8::1/128"].map(net);
        bed.apply(&mut firewall, &both, &[]);
        let target = Target::Reject(Icmp::PortUnreachable);
        let config = FirewallConfig { target, interface: Some("eth9".to_owned()), ..bed.config.clone() };
        firewall.reconfigure(&config, Traffic::All, &bed.book, NOW).unwrap();
        let check = |bed: &Bed| {
            for tool in [V4, V6] {
                assert!(bed.rejects(tool));
                if bed.config.backend != Nft {
                    assert_eq!(bed.input(tool), ["-i eth9 -j sipban-udp"]);
                }
            }
            if bed.config.backend == Nft {
                assert!(bed.nft("list chain inet sipban prerouting").contains("\n\t\tiifname \"eth9\" jump blocks\n"));
            }
        };
        check(&bed);
        bed.assert_verified(&mut firewall);
        let bad = Traffic::Match(vec!["--no-such-match".to_owned()]);
        assert!(firewall.reconfigure(&bed.config, bad, &bed.book, NOW).is_err());
        check(&bed);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn the_jump_goes_before_rules_that_let_attackers_in_but_does_not_fight_for_the_first_place() {
    each_chain(|bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        for rule in ["-N other", "-I INPUT 1 -j other", "-I INPUT 1 -i lo -j ACCEPT", "-I INPUT 1 -s 192.0.2.1 -j DROP"]
        {
            bed.tool(V4, rule);
            bed.assert_verified(&mut firewall);
        }
        bed.tool(V4, "-I INPUT 1 -m state --state RELATED,ESTABLISHED -j ACCEPT");
        let report = bed.repaired(&mut firewall);
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
    each_chain(|mut bed| {
        bed.config.interface = Some("eth+".to_owned());
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        firewall.set_traffic(Traffic::All).unwrap();
        for tool in [V4, V6] {
            assert_eq!(bed.input(tool), ["-i eth+ -j sipban-udp"]);
        }
        let words = |text: &str| Traffic::Match(text.split(' ').map(str::to_owned).collect());
        assert!(firewall.set_traffic(words("-p udp --no-such-match 1")).is_err());
        assert!(firewall.set_traffic(words("-p udp -s 192.0.2.0/24")).is_err());
        for tool in [V4, V6] {
            assert_eq!(bed.input(tool), ["-i eth+ -j sipban-udp"]);
        }
        bed.assert_verified(&mut firewall);
        let ports: Vec<(u16, u16)> = (0..20).map(|n| (6000 + 10 * n, 6000 + 10 * n)).collect();
        firewall.set_traffic(Traffic::Ports { udp: ports, tcp: vec![(5060, 5061), (5080, 5080)] }).unwrap();
        assert_eq!(bed.input(V6).len(), 22);
        assert!(bed.input(V6)[20].ends_with("-p tcp -m tcp --dport 5060:5061 -j sipban-udp"));
        bed.assert_verified(&mut firewall);
        let more = Traffic::Ports { udp: vec![(6000, 6000), (7000, 7000)], tcp: vec![] };
        firewall.set_traffic(more).unwrap();
        assert_eq!(bed.input(V4).len(), 2);
        let more = Traffic::Ports { udp: vec![(6000, 6000), (7000, 7000), (8000, 8000)], tcp: vec![(8088, 8088)] };
        firewall.set_traffic(more).unwrap();
        assert_eq!(bed.input(V4).len(), 4);
        assert!(bed.input(V4)[0].ends_with("-p udp -m udp --dport 8000 -j sipban-udp"));
        bed.assert_verified(&mut firewall);
        bed.tool(V4, "-w -D INPUT 1");
        assert!(!bed.repaired(&mut firewall).is_empty());
        bed.assert_verified(&mut firewall);
        firewall.set_traffic(words("-p udp -m comment --comment")).unwrap_err();
        firewall
            .set_traffic(Traffic::Match(["-m", "comment", "--comment", "a \"b\\ -j ACCEPT"].map(str::to_owned).into()))
            .unwrap();
        bed.assert_verified(&mut firewall);
        firewall.set_traffic(sip_ports()).unwrap();
        assert_eq!(bed.input(V4).len(), 2);
    });
}
