//! Packets prove a block, not a listing alone.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use sipban::config::Backend::{Ipset, Iptables, Nft};

use crate::bed::{NOW, each_joined, send};

#[test]
fn datagrams_of_a_blocked_address_do_not_arrive_and_those_of_others_do() {
    let ours = ["198.18.0.1", "2001:db8:5::1"].map(|text| text.parse::<IpAddr>().unwrap());
    let theirs: [[IpAddr; 2]; 2] = [["198.18.0.66", "198.18.0.77"], ["2001:db8:5::66", "2001:db8:5::77"]]
        .map(|pair| pair.map(|text| text.parse().unwrap()));
    each_joined(&[Iptables, Ipset, Nft], &ours, theirs.as_flattened(), |mut bed, outside| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        for (so_far, (ours, [attacker, customer])) in (1..).zip(ours.into_iter().zip(theirs)) {
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
            // A rule for each block has no counter of all.
            let counts = bed.config.backend != Iptables;
            assert_eq!(firewall.dropped(), counts.then_some(so_far));

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
