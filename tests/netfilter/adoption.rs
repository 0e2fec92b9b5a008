//! What is found in force at set-up.

use sipban::config::Backend::{self, Ipset};

use crate::bed::{JUMPS, NOW, V4, each, found, net};

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
            assert!(bed.repaired(&mut firewall).contains("1 of 1 blocks (IPv4)"));
        }
        assert_eq!(bed.blocked(), both);
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
