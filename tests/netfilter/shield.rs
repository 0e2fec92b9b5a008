//! What strangers lose, and those at home do not, with real packets.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use ipnet::IpNet;
use sipban::config::Backend::{self, Ipset, Iptables, Nft};
use sipban::config::ShieldMode;
use sipban::firewall::Firewall;
use sipban::firewall::shield::{MOST_LISTED, Shed};
use sipban::model::clock::Clock;

use crate::bed::{Bed, NOW, each_joined, net, send};
use crate::netns::{Netns, call};

const ALL: [Backend; 3] = [Iptables, Ipset, Nft];

/// `shield.shed`.
const SHED: u64 = 60;

/// At most this many packets of one sender wait in the socket of the phone.
const BATCH: usize = 50;

pub fn shielded(bed: &mut Bed, mode: ShieldMode) -> Box<dyn Firewall> {
    bed.config.shield.mode = mode;
    let mut firewall = bed.firewall();
    firewall.set_up(NOW).unwrap();
    firewall
}

pub fn admit(firewall: &mut Box<dyn Firewall>, nets: &[&str]) {
    let nets: Vec<IpNet> = nets.iter().map(|text| net(text)).collect();
    firewall.shield().unwrap().admit_only(&nets).unwrap();
}

fn shed(firewall: &mut Box<dyn Firewall>) -> HashMap<IpNet, u64> {
    firewall
        .shield()
        .unwrap()
        .shed()
        .unwrap()
        .into_iter()
        .map(|Shed { source, packets, .. }| (source, packets))
        .collect()
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

    /// Whether a datagram with these bytes arrives.
    fn arrives(&self, outside: &Netns, from: IpAddr, bytes: &[u8]) -> bool {
        outside.enter(|| {
            let sockets = [from, self.always].map(|from| UdpSocket::bind((from, 0)).unwrap());
            sockets[0].send_to(bytes, self.at).unwrap();
            sockets[1].send_to(b"last", self.at).unwrap();
            let mut senders = std::iter::repeat_with(|| self.socket.recv_from(&mut [0; 64]).unwrap().1);
            let arrived = senders.next() == Some(sockets[0].local_addr().unwrap());
            arrived && senders.next() == Some(sockets[1].local_addr().unwrap()) || {
                assert!(!arrived);
                false
            }
        })
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
        each_joined(&ALL, &[ours], &theirs, |mut bed, outside| {
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
    each_joined(&ALL, &[ours], &[stranger, always], |mut bed, outside| {
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
    each_joined(&ALL, &[ours], &[stranger, always], |mut bed, outside| {
        let mut firewall = shielded(&mut bed, ShieldMode::Count);
        assert_eq!(Phone::new(ours, always).arrived(outside, stranger, 3_000, 8), 3_000);
        let counted = shed(&mut firewall)[&stranger.into()];
        assert!((1_500..=3_000 - SHED).contains(&counted), "{counted}");
    });
}

#[test]
fn of_tcp_only_new_connections_count() {
    let [ours, stranger] = ["198.18.0.1", "198.18.0.66"].map(|text| text.parse::<IpAddr>().unwrap());
    each_joined(&ALL, &[ours], &[stranger], |mut bed, outside| {
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
    each_joined(&ALL, &[ours], &[always], |mut bed, outside| {
        let mut firewall = shielded(&mut bed, ShieldMode::On);
        admit(&mut firewall, &["198.18.0.9/32"]);
        // All of a network are addresses of the outside, and of each comes one packet.
        outside.run(&["ip", "route", "add", "local", "10.0.0.0/8", "dev", "lo"]);
        let phone = Phone::new(ours, always);
        // Those who find no room share what ten strangers may send, or have nothing.
        let room = if bed.config.backend == Nft { 16_384 } else { 65_536 };
        let sources = room + 14_000;
        let clock = Clock::start();
        let arrived = outside.enter(|| {
            let marker = UdpSocket::bind((always, 0)).unwrap();
            let last = marker.local_addr().unwrap();
            let mut arrived = 0_u32;
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
        // On a slow machine the first have ended when the last come.
        let times = 1 + clock.now().monotonic.as_secs() as u32 / 10;
        assert!((room..room * times + 9_000).contains(&arrived), "{arrived}");
        let listed = shed(&mut firewall).len();
        let least = usize::from(bed.config.backend == Nft);
        assert!((least..=MOST_LISTED as usize).contains(&listed), "{listed}");
    });
}

#[test]
fn a_connection_is_seen_when_its_handshake_is_complete_and_not_before() {
    let [ours, stranger] = ["198.18.0.1", "198.18.0.66"].map(|text| text.parse::<IpAddr>().unwrap());
    each_joined(&ALL, &[ours], &[stranger], |mut bed, outside| {
        let mut firewall = shielded(&mut bed, ShieldMode::On);
        let listener = TcpListener::bind((ours, 5060)).unwrap();
        let to = listener.local_addr().unwrap();
        let sources = HashSet::from([IpNet::from(stranger), net("203.0.113.9/32")]);
        let mut connected = |port| firewall.shield().unwrap().connected(&sources, &|it| it == port).unwrap();
        // Whoever forges an address never sees the answer.
        outside.run(&["iptables", "-I", "INPUT", "-p", "tcp", "--tcp-flags", "SYN,ACK", "SYN,ACK", "-j", "DROP"]);
        assert!(outside.enter(|| TcpStream::connect_timeout(&to, Duration::from_millis(200))).is_err());
        let tables = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
        assert!(tables.contains(" 03 "), "{tables}");
        assert_eq!(connected(5060), HashSet::new());
        outside.run(&["iptables", "-F", "INPUT"]);
        let _client = outside.enter(|| TcpStream::connect(to).unwrap());
        let (_server, _) = listener.accept().unwrap();
        assert_eq!(connected(5060), HashSet::from([IpNet::from(stranger)]));
        assert_eq!(connected(5061), HashSet::new());
    });
}

/// Headers of a request, with this between two others.
fn request(line: &str) -> Vec<u8> {
    format!("OPTIONS sip:x SIP/2.0\r\nFrom: <sip:x@x>\r\n{line}Content-Length: 0\r\n\r\n").into_bytes()
}

#[test]
fn what_scanners_send_is_shed_at_its_place_in_a_request_and_nothing_else() {
    let both = [
        ("198.18.0.1", ["198.18.0.66", "198.18.0.7", "198.18.0.9"]),
        ("2001:db8:5::1", ["2001:db8:5::66", "2001:db8:5:1::7", "2001:db8:5:2::9"]),
    ];
    for (ours, theirs) in both {
        let ours: IpAddr = ours.parse().unwrap();
        let [stranger, home, always] = theirs.map(|text| text.parse::<IpAddr>().unwrap());
        each_joined(&[Iptables, Ipset], &[ours], &[stranger, home, always], |mut bed, outside| {
            if ours.is_ipv6() {
                call("ip", &["route", "add", "2001:db8:5::/48", "dev", "near"]).unwrap();
            }
            bed.config.shield.scanners = true;
            std::fs::write(&bed.config.scanners_file, "friendly-scanner # a test\nsipcli/* # a test\n").unwrap();
            let mut firewall = shielded(&mut bed, ShieldMode::On);
            assert!(firewall.shield().unwrap().tells_scanners());
            admit(&mut firewall, &[&IpNet::from(home).to_string(), &IpNet::from(always).to_string()]);
            let phone = Phone::new(ours, always);
            let arrives = |from: IpAddr, text: &[u8]| phone.arrives(outside, from, text);
            for scanner in
                ["User-Agent: friendly-scanner\r\n", "user-agent: Friendly-Scanner\r\n", "User-Agent: sipcli/v1.8\r\n"]
            {
                assert!(!arrives(stranger, &request(scanner)), "{scanner}");
                assert!(arrives(home, &request(scanner)), "{scanner}");
            }
            for honest in [
                "User-Agent: friendly-scanner-of-mine\r\n",
                "User-Agent: my friendly-scanner\r\n",
                "X-User-Agent: friendly-scanner\r\n",
                "Subject: friendly-scanner\r\n",
            ] {
                assert!(arrives(stranger, &request(honest)), "{honest}");
            }
            assert_eq!(shed(&mut firewall).values().sum::<u64>(), 3);
            bed.assert_verified(&mut firewall);
        });
    }
}

#[test]
fn a_block_comes_before_the_shield() {
    let [ours, home, always] = ["198.18.0.1", "198.18.0.7", "198.18.0.9"].map(|text| text.parse::<IpAddr>().unwrap());
    each_joined(&ALL, &[ours], &[home, always], |mut bed, outside| {
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
