//! What strangers lose, and those at home do not, with real packets.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use ipnet::IpNet;
use sipban::config::Backend::{self, Ipset, Iptables, Nft};
use sipban::config::ShieldMode;
use sipban::firewall::shield::{MOST_ADMITTED, MOST_LISTED, Shed};
use sipban::firewall::{Firewall, Traffic};

use crate::bed::{
    Bed, NOW, V4, V6, each, each_chain, each_joined, each_of, each_with, found, made, net, nets, send, sip_ports,
};
use crate::netns::{Netns, call, replace_by_script};

const ALL: [Backend; 3] = [Iptables, Ipset, Nft];

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

/// Whom the kernel admits, sorted.
fn admitted(bed: &Bed) -> Vec<IpNet> {
    let mut admitted: Vec<IpNet> = match bed.config.backend {
        Nft => ["b4", "n4", "a6", "b6", "n6"].iter().flat_map(|set| bed.elements(&format!("admitted_{set}"))).collect(),
        Ipset => [4, 6].iter().flat_map(|n| bed.entries(&format!("sipban-admitted{n}"))).map(|(net, _)| net).collect(),
        _ => {
            let rules = [V4, V6].map(|tool| bed.tool(tool, "-S sipban-udp-shield"));
            let net =
                |rule: &str| rule.strip_prefix("-A sipban-udp-shield -s ")?.strip_suffix(" -j RETURN")?.parse().ok();
            rules.iter().flat_map(|rules| rules.lines()).filter_map(net).collect()
        }
    };
    admitted.sort();
    admitted
}

/// All rules that are ours, and the names of all sets, as their tool shows them.
fn rules(bed: &Bed) -> String {
    let elements = |line: &&str| !line.contains("expires") && !line.contains("elements");
    match bed.config.backend {
        Nft => bed.nft("-s list table inet sipban").lines().filter(elements).collect::<Vec<_>>().join("\n"),
        _ => [[V4, V6].map(|tool| bed.all(tool)).concat(), bed.sets()].concat().join("\n"),
    }
}

/// Whether what is too much is dropped.
fn sheds(bed: &Bed) -> bool {
    match bed.config.backend {
        Nft => bed.nft("list table inet sipban").contains("\t\tdrop\n"),
        _ => rules(bed).contains("-A sipban-udp-shed -j DROP"),
    }
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
        // 16,384 find room. The others share what ten strangers may send, or have nothing.
        assert!((16_384..25_000).contains(&arrived), "{arrived}");
        let listed = shed(&mut firewall).len();
        let least = usize::from(bed.config.backend == Nft);
        assert!((least..=MOST_LISTED as usize).contains(&listed), "{listed}");
    });
}

#[test]
fn nothing_of_it_is_there_while_it_is_off_and_switching_it_keeps_the_blocks() {
    each(|mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        assert!(firewall.shield().is_none());
        bed.apply(&mut firewall, &nets(20), &[]);
        let without = rules(&bed);
        for mode in [ShieldMode::Count, ShieldMode::On, ShieldMode::Off] {
            bed.config.shield.mode = mode;
            firewall.reconfigure(&bed.config, sip_ports(), &bed.book, NOW).unwrap();
            assert_eq!(firewall.shield().is_some(), mode != ShieldMode::Off);
            if let Some(shield) = firewall.shield() {
                shield.admit_only(&[net("192.0.2.0/24")]).unwrap();
                assert_eq!(admitted(&bed), [net("192.0.2.0/24")]);
            }
            assert_eq!(sheds(&bed), mode == ShieldMode::On);
            assert_eq!(bed.blocked(), nets(20));
            bed.assert_led();
            bed.assert_verified(&mut firewall);
        }
        assert_eq!(rules(&bed), without);
        // And what an earlier process left goes when the next one begins without.
        drop(shielded(&mut bed, ShieldMode::On));
        assert_ne!(rules(&bed), without);
        bed.config.shield.mode = ShieldMode::Off;
        let mut firewall = bed.firewall();
        assert_eq!(found(&mut firewall), nets(20));
        bed.assert_verified(&mut firewall);
        assert_eq!(rules(&bed), without);
        assert_eq!(bed.blocked(), nets(20));
    });
}

#[test]
fn with_the_last_block_and_the_chain_goes_the_shield() {
    each(|mut bed| {
        let mut firewall = shielded(&mut bed, ShieldMode::On);
        admit(&mut firewall, &["192.0.2.7/32", "2001:db8::7/128"]);
        bed.apply(&mut firewall, &nets(2), &[]);
        firewall.tear_down().unwrap();
        assert_eq!(bed.traces(), Vec::<String>::new());
    });
}

#[test]
fn another_backend_takes_the_shield_over_and_leaves_nothing_of_it() {
    for (old, new) in [(Ipset, Iptables), (Iptables, Nft), (Nft, Ipset)] {
        each_with(old, |mut bed| {
            let mut firewall = shielded(&mut bed, ShieldMode::On);
            admit(&mut firewall, &["192.0.2.7/32"]);
            bed.apply(&mut firewall, &nets(2), &[]);
            drop(firewall);
            bed.config.backend = new;
            let mut firewall = bed.firewall();
            assert_eq!(found(&mut firewall), nets(2));
            admit(&mut firewall, &["192.0.2.7/32"]);
            // The first look removes what is not needed any more.
            assert!(firewall.verify(&bed.book, NOW).failed.is_empty());
            bed.assert_verified(&mut firewall);
            assert_eq!(admitted(&bed), [net("192.0.2.7/32")]);
            let is_of_old = |trace: &&String| match old {
                Ipset => trace.starts_with("sipban"),
                Iptables => trace.contains("sipban-udp"),
                _ => trace.starts_with("table"),
            };
            let traces = bed.traces();
            assert_eq!(traces.iter().find(is_of_old), None, "{traces:?}");
        });
    }
}

#[test]
fn verify_repairs_what_other_tools_did_to_the_shield() {
    each(|mut bed| {
        let mut firewall = shielded(&mut bed, ShieldMode::On);
        let all = ["192.0.2.7/32", "198.51.100.0/25", "198.51.100.128/25", "2001:db8::7/128", "2001:db8:1::/64"];
        admit(&mut firewall, &all);
        bed.assert_verified(&mut firewall);
        let sound = (rules(&bed), admitted(&bed));
        for (tool, damage, report) in damages(bed.config.backend) {
            match *tool {
                "nft" => bed.nft(damage),
                "ipset" => bed.ipset(damage),
                tool => bed.tool(tool, damage),
            };
            assert_eq!(bed.repaired(&mut firewall), *report, "{damage}");
            // iptables shows its rules as they were written.
            assert_eq!((rules(&bed), admitted(&bed)), sound, "{damage}");
            bed.assert_verified(&mut firewall);
        }
        // What is admitted stays through a restart, and more ports are led through it.
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        firewall.set_traffic(Traffic::Ports { udp: vec![(5060, 5080)], tcp: vec![(5060, 5061)] }).unwrap();
        assert_eq!(admitted(&bed), sound.1);
        admit(&mut firewall, &all[1..4]);
        assert_eq!(admitted(&bed), ["198.51.100.0/25", "198.51.100.128/25", "2001:db8::7/128"].map(net));
        bed.assert_verified(&mut firewall);
    });
}

/// Which tool does what, and what is told of it.
fn damages(backend: Backend) -> &'static [(&'static str, &'static str, &'static str)] {
    match backend {
        Nft => &[
            ("nft", "flush chain inet sipban shield", "rules of chain shield"),
            ("nft", "insert rule inet sipban shed accept", "rules of chain shed"),
            ("nft", "flush set inet sipban admitted_n4", "2 admitted addresses"),
            ("nft", "add element inet sipban admitted_b4 { 203.0.113.7 }", "1 addresses too many that are admitted"),
            ("nft", "flush chain inet sipban prerouting", "rules of chain prerouting"),
            ("nft", "flush ruleset", "table inet sipban, 5 admitted addresses"),
        ],
        Ipset => &[
            (V4, "-F sipban-udp-shield", "rules of chain sipban-udp-shield (IPv4)"),
            (V6, "-I sipban-udp-shed 1 -j ACCEPT", "rules of chain sipban-udp-shed (IPv6)"),
            (V4, "-D sipban-udp -j sipban-udp-shield", "the way to the shield in sipban-udp (IPv4)"),
            (
                V4,
                "-A sipban-udp -j sipban-udp-shield",
                "2 rules too many in sipban-udp (IPv4), RETURN at the end of sipban-udp (IPv4)",
            ),
            ("ipset", "flush sipban-admitted4", "3 admitted addresses (IPv4)"),
            ("ipset", "add sipban-admitted6 2001:db8::9", "1 addresses too many that are admitted (IPv6)"),
        ],
        _ => &[
            (V4, "-F sipban-udp-measure", "rules of chain sipban-udp-measure (IPv4)"),
            (V6, "-I sipban-udp-shed 1 -j ACCEPT", "rules of chain sipban-udp-shed (IPv6)"),
            (V4, "-D sipban-udp -j sipban-udp-shield", "the way to the shield in sipban-udp (IPv4)"),
            (V4, "-D sipban-udp-shield -s 192.0.2.7 -j RETURN", "1 admitted addresses (IPv4)"),
            (V6, "-I sipban-udp-shield 1 -s 2001:db8::9 -j RETURN", "1 addresses too many that are admitted (IPv6)"),
        ],
    }
}

#[test]
fn who_is_admitted_is_bounded() {
    each(|mut bed| {
        let mut firewall = shielded(&mut bed, ShieldMode::On);
        let shield = firewall.shield().unwrap();
        let room = shield.room();
        assert_eq!(room, if bed.config.backend == Iptables { 256 } else { MOST_ADMITTED });
        let all = nets(room as u32 + 1_000);
        shield.admit_only(&all[..room - 1]).unwrap();
        shield.admit(&[net("192.0.2.7/32"), net("192.0.2.8/32"), all[0]]).unwrap();
        assert_eq!(admitted(&bed).len(), room);
        assert!(admitted(&bed).contains(&net("192.0.2.7/32")));
        shield.admit_only(&all).unwrap();
        assert_eq!(admitted(&bed), all[..room]);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn one_more_who_is_admitted_is_one_element() {
    each_of(&[Nft, Ipset], |mut bed| {
        let tool = if bed.config.backend == Nft { "nft" } else { "ipset" };
        let counted = format!(
            "test \"$1\" = -f -o \"$1\" = restore || exec $REAL \"$@\"\n\
             text=$(cat); echo \"$text\" | wc -l >>{}/lines; echo \"$text\" | $REAL \"$@\"",
            bed.folder.display()
        );
        replace_by_script(bed.folder, tool, &counted);
        let mut firewall = shielded(&mut bed, ShieldMode::On);
        let shield = firewall.shield().unwrap();
        let all = nets(20_000);
        shield.admit_only(&all).unwrap();
        let lines = || {
            std::fs::read_to_string(bed.folder.join("lines")).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let before = lines().len();
        shield.admit(&[net("192.0.2.7/32"), all[0]]).unwrap();
        assert_eq!(lines()[before..], ["1"]);
        assert_eq!(admitted(&bed).len(), 20_001);
    });
}

#[test]
fn a_kernel_that_does_not_take_the_shield_still_blocks() {
    each_chain(|mut bed| {
        let refuses = r#"text=$(cat); case $text in *hashlimit*) echo "no hashlimit" >&2; exit 2;; esac
            echo "$text" | $REAL "$@""#;
        replace_by_script(bed.folder, "iptables-restore", refuses);
        replace_by_script(bed.folder, "ip6tables-restore", refuses);
        bed.config.shield.mode = ShieldMode::On;
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        assert!(firewall.shield().is_none());
        bed.apply(&mut firewall, &nets(20), &[]);
        bed.assert_led();
        assert_eq!(bed.blocked(), nets(20));
        bed.assert_verified(&mut firewall);
        assert!(!rules(&bed).contains("sipban-udp-shield"));
    });
}

#[test]
fn old_tools_count_less_of_what_is_lost() {
    each_chain(|mut bed| {
        let old = r#"text=$(cat); case $text in *"burst 86000"*) echo "bad value for burst" >&2; exit 2;; esac
            echo "$text" | $REAL "$@""#;
        replace_by_script(bed.folder, "iptables-restore", old);
        let mut firewall = shielded(&mut bed, ShieldMode::On);
        assert!(firewall.shield().is_some());
        assert!(rules(&bed).contains("--hashlimit-burst 10000"), "{}", rules(&bed));
        bed.assert_verified(&mut firewall);
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
fn a_bad_file_of_scanners_is_an_error_and_a_reload_reads_it_again() {
    each_chain(|mut bed| {
        bed.config.shield.scanners = true;
        bed.config.shield.mode = ShieldMode::On;
        let why = made(&bed.config, sip_ports()).map(drop).unwrap_err().to_string();
        assert!(why.contains("scanners: No such file"), "{why}");
        std::fs::write(&bed.config.scanners_file, "one scanner # a test\n").unwrap();
        let mut firewall = shielded(&mut bed, ShieldMode::On);
        let before = rules(&bed);
        std::fs::write(&bed.config.scanners_file, "other scanner # a test\nx # too short\n").unwrap();
        let why = firewall.reconfigure(&bed.config, sip_ports(), &bed.book, NOW).unwrap_err().to_string();
        assert!(why.contains("line 2"), "{why}");
        assert_eq!(rules(&bed), before);
        std::fs::write(&bed.config.scanners_file, "other scanner # a test\n").unwrap();
        firewall.reconfigure(&bed.config, sip_ports(), &bed.book, NOW).unwrap();
        assert_ne!(rules(&bed), before);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn a_kernel_that_cannot_search_a_packet_still_has_a_shield() {
    each(|mut bed| {
        let refuses = r#"text=$(cat); case $text in *hex-string*) echo "no string" >&2; exit 2;; esac
            echo "$text" | $REAL "$@""#;
        replace_by_script(bed.folder, "iptables-restore", refuses);
        bed.config.shield.scanners = true;
        std::fs::write(&bed.config.scanners_file, "one scanner # a test\n").unwrap();
        let mut firewall = shielded(&mut bed, ShieldMode::On);
        assert!(!firewall.shield().unwrap().tells_scanners());
        bed.assert_verified(&mut firewall);
    });
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
