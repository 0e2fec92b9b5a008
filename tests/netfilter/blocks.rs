//! Blocks that come and go, and what they look like.

use sipban::config::Backend::Nft;
use sipban::model::target::{Icmp, Target};

use crate::bed::{NOW, V4, V6, each, net};

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
        bed.config.target = Target::Reject(Icmp::PortUnreachable);
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &[net("192.0.2.1/32"), net("2001:db8::1/128")], &[]);
        for tool in [V4, V6] {
            assert!(bed.rejects(tool));
        }
        if bed.config.backend != Nft {
            assert!(bed.chain(V4)[0].ends_with(" -j REJECT --reject-with icmp-port-unreachable"));
            assert!(bed.chain(V6)[0].ends_with(" -j REJECT --reject-with icmp6-port-unreachable"));
        }
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
        bed.apply(&mut firewall, &[around, one].concat(), &[]);
        bed.assert_blocked(&[around, one].concat());
        bed.apply(&mut firewall, &wide, &one);
        bed.assert_blocked(&[around, wide].concat());
        bed.assert_verified(&mut firewall);
        bed.apply(&mut firewall, &one, &wide);
        bed.assert_blocked(&[around, one].concat());
        bed.assert_verified(&mut firewall);
        bed.apply(&mut firewall, &[], &around);
        bed.assert_blocked(&one);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn every_kind_of_answer_is_taken_and_listed_as_written() {
    each(|mut bed| {
        for (icmp, _, _) in Icmp::ALL {
            bed.config.target = Target::Reject(icmp);
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
