//! What is found in force at set-up.

use std::net::IpAddr;

use sipban::config::Backend::{Ipset, Iptables, Nft};

use crate::bed::{JUMPS, NOW, V4, each, each_chain, each_joined, found, net, nets};
use crate::fire::{OURS, THEIRS, under_fire};

#[test]
fn a_change_of_the_backend_keeps_what_is_in_force_and_leaves_nothing_of_the_old_one() {
    each(|bed| {
        for other in [Iptables, Ipset, Nft].into_iter().filter(|other| *other != bed.config.backend) {
            let mut bed = bed.anew();
            let mut firewall = bed.firewall();
            firewall.set_up(NOW).unwrap();
            let all = ["192.0.2.1/32", "198.51.100.0/24", "2001:db8::1/128", "2001:db8:1::/64"].map(net);
            bed.apply(&mut firewall, &all, &[]);
            drop(firewall);
            let from = std::mem::replace(&mut bed.config.backend, other);
            let mut firewall = bed.firewall();
            assert_eq!(found(&mut firewall), all, "{from} to {other}");
            let verified = firewall.verify(&bed.book, NOW);
            assert!(verified.failed.is_empty() && verified.lost.is_empty(), "{from} to {other}: {verified:?}");
            bed.assert_blocked(&all);
            bed.assert_led();
            bed.assert_verified(&mut firewall);
            let strange = |trace: &String| match other {
                Nft => trace != "table inet sipban",
                Ipset => trace == "table inet sipban",
                _ => trace == "table inet sipban" || trace.starts_with("sipban"),
            };
            let traces = bed.traces();
            assert!(!traces.iter().any(strange), "{from} to {other}: {traces:?}");
            firewall.tear_down().unwrap();
            assert!(bed.traces().is_empty());
        }
    });
}

#[test]
fn no_packet_of_a_blocked_address_passes_while_the_backend_changes() {
    let [ours, theirs] = [OURS, THEIRS].map(|text| text.parse::<IpAddr>().unwrap());
    each_joined(&[Iptables, Ipset, Nft], &[ours], &[theirs], |mut bed, outside| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &[nets(2_000), vec![theirs.into()]].concat(), &[]);
        under_fire(outside, || {
            for backend in [Nft, Ipset, Iptables, Nft, Iptables, Ipset, Nft] {
                bed.config.backend = backend;
                let mut firewall = bed.firewall();
                assert_eq!(found(&mut firewall).len(), 2_001);
                let verified = firewall.verify(&bed.book, NOW);
                assert!(verified.failed.is_empty() && verified.lost.is_empty(), "{verified:?}");
            }
        });
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
            bed.assert_led();
            bed.assert_verified(&mut firewall);
        }
    });
}

#[test]
fn the_chain_of_the_perl_program_is_adopted_and_put_right() {
    each_chain(|mut bed| {
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
