//! What strangers lose, and those at home do not, with real packets.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use ipnet::IpNet;
use sipban::config::Backend::Nft;
use sipban::config::ShieldMode;
use sipban::firewall::shield::{MOST_ADMITTED, MOST_LISTED, Shed};
use sipban::firewall::{Firewall, Traffic};

use crate::bed::{Bed, NOW, each_joined, each_with, found, net, nets, send, sip_ports};
use crate::netns::{Netns, call, replace_by_script};

/// `shield.shed`.
const SHED: u64 = 60;

/// At most this many packets of one sender wait in the socket of the phone.
const BATCH: usize = 50;

fn shielded(bed: &mut Bed, mode: ShieldMode) -> Box<dyn Firewall> {
    bed.config.shield.mode = mode;
    let mut firewall = bed.firewall();
    firewall.set_up(NOW).unwrap();
    firewall
}

fn admit(firewall: &mut Box<dyn Firewall>, nets: &[&str]) {
    let nets = nets.iter().map(|text| net(text)).collect();
    firewall.shield().unwrap().admit_only(nets).unwrap();
}

fn shed(firewall: &mut Box<dyn Firewall>) -> HashMap<IpNet, u64> {
    firewall.shield().unwrap().shed().unwrap().into_iter().map(|Shed { source, packets }| (source, packets)).collect()
}

/// A phone, and the number of packets that arrived from each sender until one that always arrives.
struct Phone {
    socket: UdpSocket,
    at: SocketAddr,
    always: IpAddr,
}

impl Phone {
    fn new(at: IpAddr, always: IpAddr) -> Phone {
        let socket = UdpSocket::bind((at, 5060)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Phone { at: socket.local_addr().unwrap(), socket, always }
    }

    /// Sends datagrams of so many bytes and returns how many arrived. One cable, so they arrive in the order sent.
    fn arrived(&self, outside: &Netns, from: IpAddr, count: usize, bytes: usize) -> u64 {
        outside.enter(|| {
            let sockets = [from, self.always].map(|from| UdpSocket::bind((from, 0)).unwrap());
            let last = sockets[1].local_addr().unwrap();
            let mut arrived = 0;
            for sent in (0..count).step_by(BATCH) {
                for _ in sent..count.min(sent + BATCH) {
                    sockets[0].send_to(&vec![b'x'; bytes], self.at).unwrap();
                }
                sockets[1].send_to(b"last", self.at).unwrap();
                while self.socket.recv_from(&mut [0; 64]).unwrap().1 != last {
                    arrived += 1;
                }
            }
            arrived
        })
    }
}

#[test]
fn strangers_lose_what_is_over_and_nobody_who_is_admitted_loses_anything() {
    let both = [
        ("198.18.0.1", ["198.18.0.66", "198.18.0.67", "198.18.0.7", "198.18.0.8", "198.18.0.9"]),
        ("2001:db8:5::1", ["2001:db8:5::66", "2001:db8:5::67", "2001:db8:5::7", "2001:db8:5::8", "2001:db8:5::9"]),
    ];
    for (ours, theirs) in both {
        let ours: IpAddr = ours.parse().unwrap();
        let theirs = theirs.map(|text| text.parse::<IpAddr>().unwrap());
        each_joined(&[Nft], &[ours], &theirs, |mut bed, outside| {
            let [flooder, lamps, home, listed, always] = theirs;
            let mut firewall = shielded(&mut bed, ShieldMode::On);
            let around = if ours.is_ipv4() { "198.18.0.8/31" } else { "2001:db8:5::8/127" };
            admit(&mut firewall, &[around, &IpNet::from(home).to_string()]);
            let phone = Phone::new(ours, always);

            for admitted in [home, listed] {
                assert_eq!(phone.arrived(outside, admitted, 1_000, 8), 1_000);
            }
            assert_eq!(shed(&mut firewall), HashMap::new());

            let arrived = phone.arrived(outside, flooder, 3_000, 8);
            assert!((SHED..1_500).contains(&arrived), "{arrived}");
            let source = if ours.is_ipv4() { flooder.into() } else { net("2001:db8:5::/64") };
            assert_eq!(shed(&mut firewall), HashMap::from([(source, 3_000 - arrived)]));

            // A new phone registers, is at home then, and asks for its forty lamps.
            if ours.is_ipv4() {
                assert_eq!(phone.arrived(outside, lamps, 4, 8), 4);
                firewall.shield().unwrap().admit(&[lamps.into()]).unwrap();
                assert_eq!(phone.arrived(outside, lamps, 160, 8), 160);
                assert!(!shed(&mut firewall).contains_key(&lamps.into()));
            }
            assert_eq!(phone.arrived(outside, home, 1_000, 8), 1_000);
            bed.assert_verified(&mut firewall);
        });
    }
}

#[test]
fn the_bytes_of_a_stranger_are_measured_too() {
    let [ours, stranger, always] =
        ["198.18.0.1", "198.18.0.66", "198.18.0.9"].map(|text| text.parse::<IpAddr>().unwrap());
    each_joined(&[Nft], &[ours], &[stranger, always], |mut bed, outside| {
        bed.config.shield.shed = 20;
        let mut firewall = shielded(&mut bed, ShieldMode::On);
        admit(&mut firewall, &["198.18.0.9/32"]);
        call("ip", &["link", "set", "near", "mtu", "9000"]).unwrap();
        outside.run(&["ip", "link", "set", "far", "mtu", "9000"]);
        // A bucket of 30,000 bytes does not hold them, and the other one is not empty.
        let arrived = Phone::new(ours, always).arrived(outside, stranger, 18, 6_000);
        assert!((4..18).contains(&arrived), "{arrived}");
        assert_eq!(shed(&mut firewall)[&stranger.into()], 18 - arrived);
    });
}

#[test]
fn counting_alone_takes_nothing_from_anybody() {
    let [ours, stranger, always] =
        ["198.18.0.1", "198.18.0.66", "198.18.0.9"].map(|text| text.parse::<IpAddr>().unwrap());
    each_joined(&[Nft], &[ours], &[stranger, always], |mut bed, outside| {
        let mut firewall = shielded(&mut bed, ShieldMode::Count);
        assert_eq!(Phone::new(ours, always).arrived(outside, stranger, 3_000, 8), 3_000);
        let counted = shed(&mut firewall)[&stranger.into()];
        assert!((1_500..=3_000 - SHED).contains(&counted), "{counted}");
    });
}

#[test]
fn of_tcp_only_new_connections_count() {
    let [ours, stranger] = ["198.18.0.1", "198.18.0.66"].map(|text| text.parse::<IpAddr>().unwrap());
    each_joined(&[Nft], &[ours], &[stranger], |mut bed, outside| {
        let mut firewall = shielded(&mut bed, ShieldMode::On);
        let listener = TcpListener::bind((ours, 5060)).unwrap();
        let to = listener.local_addr().unwrap();
        let client = outside.enter(|| TcpStream::connect(to).unwrap());
        let (server, _) = listener.accept().unwrap();
        use std::io::{Read, Write};
        client.set_nodelay(true).unwrap();
        for _ in 0..3 * SHED {
            (&client).write_all(b"REGISTER").unwrap();
            (&server).read_exact(&mut [0; 8]).unwrap();
        }
        assert_eq!(shed(&mut firewall), HashMap::new());
        let connects = || TcpStream::connect_timeout(&to, Duration::from_millis(300)).is_ok();
        let connected = outside.enter(|| (0..3 * SHED).take_while(|_| connects()).count() as u64);
        assert!((SHED - 1..3 * SHED).contains(&connected), "{connected}");
        assert!(shed(&mut firewall)[&stranger.into()] >= 1);
        // The connection that stands goes on.
        (&client).write_all(b"REGISTER").unwrap();
        (&server).read_exact(&mut [0; 8]).unwrap();
    });
}

#[test]
fn all_forged_sources_together_are_bounded_and_those_at_home_notice_nothing() {
    let [ours, always] = ["198.18.0.1", "198.18.0.9"].map(|text| text.parse::<IpAddr>().unwrap());
    each_joined(&[Nft], &[ours], &[always], |mut bed, outside| {
        let mut firewall = shielded(&mut bed, ShieldMode::On);
        admit(&mut firewall, &["198.18.0.9/32"]);
        // All of a network are addresses of the outside, and of each comes one packet.
        outside.run(&["ip", "route", "add", "local", "10.0.0.0/8", "dev", "lo"]);
        let phone = Phone::new(ours, always);
        let sources = 30_000_u32;
        let arrived = outside.enter(|| {
            let marker = UdpSocket::bind((always, 0)).unwrap();
            let last = marker.local_addr().unwrap();
            let mut arrived = 0;
            for n in 0..sources {
                let from = Ipv4Addr::from_bits(0x0a00_0000 + n);
                UdpSocket::bind((from, 0)).unwrap().send_to(b"INVITE", phone.at).unwrap();
                if n as usize % BATCH == BATCH - 1 {
                    marker.send_to(b"last", phone.at).unwrap();
                    while phone.socket.recv_from(&mut [0; 64]).unwrap().1 != last {
                        arrived += 1;
                    }
                }
            }
            arrived
        });
        // 16,384 find room, and the others share what ten strangers may send.
        assert!((16_384..25_000).contains(&arrived), "{arrived}");
        let listed = shed(&mut firewall).len();
        assert!((1..=MOST_LISTED as usize).contains(&listed), "{listed}");
    });
}

#[test]
fn nothing_of_it_is_there_while_it_is_off_and_switching_it_keeps_the_blocks() {
    each_with(Nft, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        assert!(firewall.shield().is_none());
        bed.apply(&mut firewall, &nets(20), &[]);
        let without = bed.nft("-s list table inet sipban");
        assert!(["shield", "shed", "admitted", "rate"].iter().all(|word| !without.contains(word)), "{without}");
        for mode in [ShieldMode::Count, ShieldMode::On, ShieldMode::Off] {
            bed.config.shield.mode = mode;
            firewall.reconfigure(&bed.config, sip_ports(), &bed.book, NOW).unwrap();
            assert_eq!(firewall.shield().is_some(), mode != ShieldMode::Off);
            if let Some(shield) = firewall.shield() {
                shield.admit_only(BTreeSet::from([net("192.0.2.0/24")])).unwrap();
                assert_eq!(bed.elements("admitted_n4"), [net("192.0.2.0/24")]);
            }
            assert_eq!(bed.nft("list table inet sipban").contains("\t\tdrop\n"), mode == ShieldMode::On);
            assert_eq!(bed.blocked(), nets(20));
            bed.assert_led();
            bed.assert_verified(&mut firewall);
        }
        assert!(!bed.nft("list table inet sipban").contains("shield"));
        // And what an earlier process left goes when the next one begins without.
        drop(shielded(&mut bed, ShieldMode::On));
        bed.config.shield.mode = ShieldMode::Off;
        assert_eq!(found(&mut bed.firewall()), nets(20));
        assert!(!bed.nft("list table inet sipban").contains("shield"));
        assert_eq!(bed.blocked(), nets(20));
    });
}

#[test]
fn verify_repairs_what_other_tools_did_to_the_shield() {
    each_with(Nft, |mut bed| {
        let mut firewall = shielded(&mut bed, ShieldMode::On);
        let admitted = ["192.0.2.7/32", "198.51.100.0/25", "198.51.100.128/25", "2001:db8::7/128", "2001:db8:1::/64"];
        admit(&mut firewall, &admitted);
        bed.assert_verified(&mut firewall);
        let shown = || ["admitted_b4", "admitted_n4", "admitted_a6", "admitted_b6"].map(|set| bed.elements(set));
        let sound = shown();
        for (damage, report) in [
            ("flush chain inet sipban shield", "rules of chain shield"),
            ("insert rule inet sipban shed accept", "rules of chain shed"),
            ("flush set inet sipban admitted_n4", "2 admitted addresses"),
            ("add element inet sipban admitted_b4 { 203.0.113.7 }", "1 addresses too many that are admitted"),
            ("flush chain inet sipban prerouting", "rules of chain prerouting"),
            ("flush ruleset", "table inet sipban, 5 admitted addresses"),
        ] {
            bed.nft(damage);
            assert_eq!(bed.repaired(&mut firewall), report, "{damage}");
            assert_eq!(shown(), sound, "{damage}");
            bed.assert_verified(&mut firewall);
        }
        // What is admitted stays through a restart, and more ports are led through it.
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        firewall.set_traffic(Traffic::Ports { udp: vec![(5060, 5080)], tcp: vec![(5060, 5061)] }).unwrap();
        assert!(bed.nft("list chain inet sipban prerouting").contains("udp dport 5060-5080 jump shield"));
        assert_eq!(shown(), sound);
        admit(&mut firewall, &admitted[1..4]);
        assert_eq!(shown().concat(), ["198.51.100.0/25", "198.51.100.128/25", "2001:db8::7/128"].map(net));
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn who_is_admitted_is_bounded_and_one_more_is_one_element() {
    each_with(Nft, |mut bed| {
        let counted = format!(
            "text=$(cat); echo \"$text\" | wc -l >>{}/lines; echo \"$text\" | $REAL \"$@\"",
            bed.folder.display()
        );
        let counted = format!("test \"$1\" = -f || exec $REAL \"$@\"\n{counted}");
        replace_by_script(bed.folder, "nft", &counted);
        let mut firewall = shielded(&mut bed, ShieldMode::On);
        let shield = firewall.shield().unwrap();
        let all = nets(MOST_ADMITTED as u32 + 1_000);
        shield.admit_only(all[..100_000].iter().copied().collect()).unwrap();
        let lines = || {
            std::fs::read_to_string(bed.folder.join("lines")).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let before = lines().len();
        shield.admit(&[net("192.0.2.7/32"), all[0]]).unwrap();
        assert_eq!(lines()[before..], ["1"]);
        shield.admit_only(all.iter().copied().collect()).unwrap();
        shield.admit(&[net("192.0.2.8/32")]).unwrap();
        assert_eq!(bed.elements("admitted_b4").len(), MOST_ADMITTED);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn a_block_comes_before_the_shield() {
    let [ours, home, always] = ["198.18.0.1", "198.18.0.7", "198.18.0.9"].map(|text| text.parse::<IpAddr>().unwrap());
    each_joined(&[Nft], &[ours], &[home, always], |mut bed, outside| {
        let mut firewall = shielded(&mut bed, ShieldMode::On);
        admit(&mut firewall, &["198.18.0.7/32"]);
        let phone = Phone::new(ours, always);
        assert_eq!(phone.arrived(outside, home, 1, 8), 1);
        bed.apply(&mut firewall, &[home.into()], &[]);
        assert_eq!(phone.arrived(outside, home, 1, 8), 0);
        // Other ports are none of its business.
        let elsewhere = UdpSocket::bind((ours, 5090)).unwrap();
        elsewhere.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        for _ in 0..2 * SHED {
            send(outside, always, elsewhere.local_addr().unwrap());
            elsewhere.recv_from(&mut [0; 64]).unwrap();
        }
        assert_eq!(shed(&mut firewall), HashMap::new());
    });
}
