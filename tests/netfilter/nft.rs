//! What only the table of nftables has to do.

use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use ipnet::IpNet;
use sipban::config::Backend::Nft;
use sipban::firewall::Traffic;
use sipban::model::clock::Clock;

use crate::bed::{NOW, each_joined, each_with, found, net, nets, send, sip_ports};
use crate::fire::{OURS, THEIRS, under_fire};
use crate::netns::replace_by_script;

#[test]
fn each_kind_of_block_has_its_set_and_hosts_end_by_themselves() {
    each_with(Nft, |mut bed| {
        let mut firewall = bed.firewall();
        assert_eq!(firewall.set_up(NOW).unwrap(), []);
        let add =
            ["192.0.2.1/32", "198.51.100.0/24", "2001:db8::1/128", "2001:db8:1::/64", "2001:db8:100::/40"].map(net);
        assert!(bed.apply(&mut firewall, &add, &[]).is_empty());
        for (set, net) in ["b4", "n4", "a6", "b6", "n6"].iter().zip(add) {
            assert_eq!(bed.elements(set), [net]);
        }
        for set in ["b4", "b6", "a6"] {
            assert!(bed.nft(&format!("list set inet sipban {set}")).contains("timeout 10m expires"));
        }
        let chain = bed.nft("list chain inet sipban prerouting");
        assert!(chain.contains("priority raw - 10; policy accept;"), "{chain}");
        bed.assert_led();
        bed.assert_verified(&mut firewall);
        let text = firewall.describe();
        assert!(text.starts_with("nftables v") && text.ends_with(", table inet sipban"), "{text}");
        assert!(bed.apply(&mut firewall, &[], &add[1..]).is_empty());
        assert_eq!(bed.blocked(), add[..1]);
        firewall.tear_down().unwrap();
        assert!(bed.traces().is_empty());
    });
}

#[test]
fn verify_names_and_repairs_what_other_tools_did_to_the_table() {
    each_with(Nft, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let all = [nets(20), ["2001:db8::1/128", "2001:db8::2/128", "2001:db8:7::/48"].map(net).to_vec()].concat();
        bed.apply(&mut firewall, &all, &[]);
        let sound = bed.nft("-s list table inet sipban");
        let shape = |text: &str| {
            let lines = text.lines().filter(|line| !line.contains("expires") && !line.contains("elements"));
            let mut lines: Vec<String> = lines.map(str::to_owned).collect();
            lines.sort();
            lines
        };
        for (damage, report) in [
            ("flush ruleset", "table inet sipban, 20 of 20 blocks (IPv4), 3 of 3 blocks (IPv6)"),
            ("flush set inet sipban b4", "20 of 20 blocks (IPv4)"),
            ("flush set inet sipban n6", "1 of 3 blocks (IPv6)"),
            ("delete element inet sipban b4 { 10.0.0.3 }", "1 of 20 blocks (IPv4)"),
            ("flush chain inet sipban blocks", "rules of chain blocks"),
            ("insert rule inet sipban blocks accept", "rules of chain blocks"),
            ("flush chain inet sipban prerouting", "rules of chain prerouting"),
            ("delete element inet sipban ports { udp . 5060 }", "ports in set ports"),
            ("delete chain inet sipban prerouting", "chain prerouting, rules of chain prerouting"),
            ("chain inet sipban prerouting { policy drop; }", "chain prerouting"),
        ] {
            bed.nft(damage);
            assert_eq!(bed.repaired(&mut firewall), report, "{damage}");
            assert_eq!(shape(&bed.nft("-s list table inet sipban")), shape(&sound), "{damage}");
            bed.assert_blocked(&all);
            bed.assert_verified(&mut firewall);
        }
        // A set of another kind under our name can only be replaced with everything around it.
        bed.nft("delete table inet sipban");
        bed.nft("add table inet sipban { set b4 { type ether_addr; }; }");
        let report = bed.repaired(&mut firewall);
        assert!(report.contains("set b4") && report.contains("20 of 20 blocks (IPv4)"), "{report}");
        bed.assert_blocked(&all);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn no_program_is_started_for_a_block_nor_as_long_as_nobody_changes_anything() {
    each_with(Nft, |mut bed| {
        let counted = format!("echo >>{}/runs; exec $REAL \"$@\"", bed.folder.display());
        replace_by_script(bed.folder, "nft", &counted);
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let runs = || std::fs::read_to_string(bed.folder.join("runs")).unwrap().lines().count();
        let before = runs();
        for net in nets(10) {
            let change = sipban::firewall::Change { add: vec![(net, NOW + 600)], remove: vec![] };
            assert!(firewall.apply(&bed.book, &change, NOW).refused.is_empty());
            bed.book.insert(net, block());
            bed.assert_verified(&mut firewall);
        }
        assert_eq!(runs() - before, 0);
        // Others may come and go beside us.
        bed.nft("add table inet other { chain c { type filter hook input priority 0; }; }");
        bed.tool("iptables", "-A INPUT -j ACCEPT");
        bed.tool("iptables", "-F");
        bed.assert_verified(&mut firewall);
        assert_eq!(runs() - before, 0);
    });
}

fn block() -> sipban::model::block::Block {
    use sipban::model::block::{Block, Proof, Reason};
    Block { since: NOW, end: NOW + 600, reason: Reason::Manual, proof: Proof::Claimed }
}

#[test]
fn a_block_that_lasts_longer_than_before_is_renewed_and_one_that_ended_by_itself_can_be_freed() {
    each_with(Nft, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let all = nets(3);
        bed.apply(&mut firewall, &all, &[]);
        assert!(bed.apply_until(NOW + 2_592_000, &mut firewall, &all[..1], &[]).is_empty());
        let set = bed.nft("list set inet sipban b4");
        assert!(set.contains("timeout 30d expires"), "{set}");
        bed.nft("delete element inet sipban b4 { 10.0.0.1 }");
        assert!(bed.apply(&mut firewall, &[], &all[1..]).is_empty());
        assert_eq!(bed.blocked(), all[..1]);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn what_an_administrator_adds_by_hand_stays_and_does_not_hinder_us() {
    each_with(Nft, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &nets(3), &[]);
        bed.nft("add element inet sipban b4 { 192.0.2.1, 192.0.2.2 timeout 77s }");
        bed.nft("add element inet sipban n4 { 203.0.113.0/25 }");
        bed.assert_verified(&mut firewall);
        assert_eq!(bed.blocked().len(), 6);
        assert!(bed.apply(&mut firewall, &[net("203.0.112.0/22")], &[]).is_empty());
        bed.assert_verified(&mut firewall);
        assert!(bed.apply(&mut firewall, &[], &[net("203.0.112.0/22")]).is_empty());
        assert_eq!(bed.elements("n4"), [net("203.0.113.0/25")]);
        // Unseen so far.
        bed.nft("add element inet sipban n4 { 198.51.100.0/25 }");
        assert!(bed.apply(&mut firewall, &[net("198.51.100.0/24")], &[]).is_empty());
        bed.assert_verified(&mut firewall);
        assert!(bed.elements("n4").contains(&net("198.51.100.0/24")));
    });
}

#[test]
fn a_table_of_another_program_is_left_alone() {
    each_with(Nft, |mut bed| {
        bed.nft("add table inet sipban { chain input { type filter hook input priority 0; }; }");
        let error = bed.firewall().set_up(NOW).unwrap_err();
        assert!(error.0.ends_with("choose another nft.table"), "{error}");
        bed.config.nft_table = "other".to_owned();
        assert!(bed.firewall().set_up(NOW).is_ok());
        assert!(bed.nft("list table inet sipban").contains("chain input"));
    });
}

#[test]
fn more_ports_are_elements_and_another_scope_replaces_the_rules() {
    each_with(Nft, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &nets(3), &[]);
        let more = Traffic::Ports { udp: vec![(5060, 5061), (5080, 5080)], tcp: vec![(5060, 5061)] };
        firewall.set_traffic(more).unwrap();
        // Where the names of protocols are not known, it is 17.
        assert!(bed.nft("list set inet sipban ports").contains(" . 5080"));
        bed.assert_verified(&mut firewall);
        let words = |text: &str| Traffic::Match(text.split(' ').map(str::to_owned).collect());
        firewall.set_traffic(words("-p udp -m multiport --dports 5060,10000:20000")).unwrap();
        let chain = bed.nft("list chain inet sipban prerouting");
        assert!(chain.contains("udp dport 10000-20000 jump blocks"), "{chain}");
        bed.assert_verified(&mut firewall);
        let error = firewall.set_traffic(words("-s 10.0.0.0/8 -p udp")).unwrap_err();
        assert!(error.0.contains("iptables.scope"), "{error}");
        bed.assert_verified(&mut firewall);
        firewall.set_traffic(Traffic::All).unwrap();
        assert!(bed.nft("list chain inet sipban prerouting").contains("\n\t\tjump blocks\n"));
        firewall.set_traffic(sip_ports()).unwrap();
        bed.assert_led();
        bed.assert_verified(&mut firewall);
        assert_eq!(bed.blocked(), nets(3));
    });
}

#[test]
fn a_program_that_says_yes_and_does_nothing_is_not_believed() {
    each_with(Nft, |mut bed| {
        let idle = format!(
            "test -e {}/idle && test \"$1\" = -f && exec cat >/dev/null; exec $REAL \"$@\"",
            bed.folder.display()
        );
        replace_by_script(bed.folder, "nft", &idle);
        let says = "nft` ended with success, but what it was to make is not there";
        std::fs::write(bed.folder.join("idle"), "").unwrap();
        assert!(bed.firewall().set_up(NOW).unwrap_err().0.ends_with(says));
        std::fs::remove_file(bed.folder.join("idle")).unwrap();
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &nets(2), &[]);
        std::fs::write(bed.folder.join("idle"), "").unwrap();
        let refused = bed.apply(&mut firewall, &[net("192.0.2.0/24")], &[]);
        assert!(refused[0].why.ends_with(says), "{refused:?}");
        // What is there already is no lie.
        bed.assert_verified(&mut firewall);
        bed.nft("flush ruleset");
        let verified = firewall.verify(&bed.book, NOW);
        assert_eq!(verified.lost.len(), 2, "{verified:?}");
        std::fs::remove_file(bed.folder.join("idle")).unwrap();
        assert!(bed.repaired(&mut firewall).contains("2 of 2 blocks (IPv4)"));
        bed.assert_verified(&mut firewall);
    });
}

/// Networks, each of another one.
fn networks(count: usize) -> Vec<IpNet> {
    (0..count).map(|n| net(&format!("10.{}.{}.0/24", n / 256, n % 256))).collect()
}

#[test]
fn a_culprit_in_a_batch_is_refused_alone() {
    each_with(Nft, |mut bed| {
        let picky = "test \"$1\" = -f || exec $REAL \"$@\"\ntext=$(cat)\n\
                     case $text in *10.0.7.0/*) echo bad address >&2; exit 1;; esac\necho \"$text\" | $REAL \"$@\"";
        replace_by_script(bed.folder, "nft", picky);
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &[net("192.0.2.1/32")], &[]);
        let add = [networks(20), vec![net("198.51.100.1/32")]].concat();
        let refused = bed.apply(&mut firewall, &add, &[net("192.0.2.1/32")]);
        assert_eq!(refused.iter().map(|refused| refused.net).collect::<Vec<_>>(), [net("10.0.7.0/24")]);
        assert!(refused[0].why.ends_with("exit status: 1: bad address"), "{}", refused[0].why);
        assert_eq!(bed.blocked().len(), 20);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn what_a_full_set_has_no_room_for_is_refused_with_the_reason_of_the_kernel() {
    each_with(Nft, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &nets(10), &[]);
        // Somebody restores what they have saved, with a limit of their own.
        let saved = bed.nft("list table inet sipban");
        let small = saved.replacen("type ipv4_addr\n", "type ipv4_addr\n size 30\n", 1);
        assert!(small.contains("size 30"), "{saved}");
        let file = bed.folder.join("small");
        std::fs::write(&file, format!("delete table inet sipban\n{small}")).unwrap();
        bed.nft(&format!("include \"{}\"", file.display()));
        bed.assert_verified(&mut firewall);
        let all = nets(40);
        let refused = bed.apply(&mut firewall, &all[10..], &[]);
        assert_eq!(refused.iter().map(|refused| refused.net).collect::<Vec<_>>(), all[30..]);
        assert!(refused[0].why.contains("Too many open files"), "{}", refused[0].why);
        assert_eq!(bed.blocked(), all[..30]);
        // Who is renewed or goes needs no more room.
        assert!(bed.apply_until(NOW + 2_592_000, &mut firewall, &all[..9], &all[9..30]).is_empty());
        assert!(bed.apply(&mut firewall, &all[30..], &[]).is_empty());
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn a_transaction_killed_before_or_after_its_work_loses_nothing() {
    each_with(Nft, |mut bed| {
        let folder = bed.folder.display();
        let mortal = format!(
            "if test -e {folder}/mortal && test \"$1\" = -f; then what=$(cat {folder}/mortal); rm {folder}/mortal\n\
             test \"$what\" = after && $REAL \"$@\"; kill -9 $$; fi\nexec $REAL \"$@\""
        );
        replace_by_script(bed.folder, "nft", &mortal);
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let all = networks(1_200);
        for (from, when) in [(0, "before"), (400, "after"), (800, "after")] {
            std::fs::write(bed.folder.join("mortal"), when).unwrap();
            let refused = bed.apply(&mut firewall, &all[from..from + 400], &[]);
            assert!(refused.is_empty(), "{refused:?}");
            assert_eq!(bed.blocked(), all[..from + 400]);
        }
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn where_the_kernel_takes_only_small_transactions_there_are_more_of_them() {
    each_with(Nft, |mut bed| {
        let small = format!(
            "test \"$1\" = -f || exec $REAL \"$@\"\ntext=$(cat)\n\
             test $(echo \"$text\" | wc -c) -gt 9000 && {{ echo 'netlink: Error: Message too long' >&2; exit 1; }}\n\
             echo >>{}/runs\necho \"$text\" | $REAL \"$@\"",
            bed.folder.display()
        );
        replace_by_script(bed.folder, "nft", &small);
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let all = networks(2_000);
        assert!(bed.apply(&mut firewall, &all, &[]).is_empty());
        assert_eq!(bed.blocked(), all);
        bed.nft("flush ruleset");
        assert!(bed.repaired(&mut firewall).contains("2000 of 2000 blocks (IPv4)"));
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn what_others_change_between_two_blocks_is_seen_with_the_second() {
    each_with(Nft, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let all = nets(3);
        bed.apply(&mut firewall, &all[..1], &[]);
        bed.nft("flush chain inet sipban blocks");
        assert!(bed.apply(&mut firewall, &all[1..2], &[]).is_empty());
        bed.assert_led();
        bed.nft("flush ruleset");
        assert!(bed.apply(&mut firewall, &all[2..], &[]).is_empty());
        assert_eq!(bed.blocked(), all);
        bed.assert_led();
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn a_connection_that_stands_is_cut_too_and_nobody_else_is_let_in() {
    let [ours, theirs] = [OURS, THEIRS].map(|text| text.parse::<IpAddr>().unwrap());
    each_joined(&[Nft], &[ours], &[theirs], |mut bed, outside| {
        bed.nft(
            "add table inet filter { chain input { type filter hook input priority 0; ct state established accept; \
             udp dport 5090 drop; }; }",
        );
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let listener = TcpListener::bind((ours, 5060)).unwrap();
        let client = outside.enter(|| TcpStream::connect((ours, 5060)).unwrap());
        let (server, _) = listener.accept().unwrap();
        server.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        use std::io::{Read, Write};
        (&client).write_all(b"a").unwrap();
        assert_eq!((&server).read(&mut [0; 8]).unwrap(), 1);
        bed.apply(&mut firewall, &[theirs.into()], &[]);
        (&client).write_all(b"b").unwrap();
        assert!((&server).read(&mut [0; 8]).is_err());
        bed.apply(&mut firewall, &[], &[theirs.into()]);
        // What another table drops stays dropped.
        let phone = UdpSocket::bind((ours, 5090)).unwrap();
        phone.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        send(outside, theirs, phone.local_addr().unwrap());
        assert!(phone.recv_from(&mut [0; 8]).is_err());
    });
}

#[test]
fn no_packet_passes_while_the_table_is_made_anew() {
    let [ours, theirs] = [OURS, THEIRS].map(|text| text.parse::<IpAddr>().unwrap());
    each_joined(&[Nft], &[ours], &[theirs], |mut bed, outside| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &[nets(5_000), vec![theirs.into()]].concat(), &[]);
        under_fire(outside, || {
            for n in 0..5 {
                let udp = vec![(5060, 5061), (6000 + n, 6000 + n)];
                firewall.set_traffic(Traffic::Ports { udp, tcp: vec![(5060, 5061)] }).unwrap();
                let mut firewall = bed.firewall();
                assert_eq!(found(&mut firewall).len(), 5_001);
                // The sets cannot stay as they are, because a port in them is of another type.
                bed.nft("flush chain inet sipban blocks; add rule inet sipban blocks ip saddr 198.18.0.66 drop");
                bed.nft("delete set inet sipban a6; add set inet sipban a6 { type ether_addr; }");
                assert!(!bed.repaired(&mut firewall).is_empty());
            }
        });
        assert!(firewall.packets(&theirs.into()).unwrap() > 0);
    });
}

#[test]
#[expect(clippy::print_stderr, reason = "figures to be looked at, not judged")]
fn two_hundred_thousand_blocks_are_added_verified_and_removed() {
    each_with(Nft, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let all = nets(200_000);
        let clock = Clock::start();
        let began = clock.now().monotonic;
        assert!(bed.apply(&mut firewall, &all, &[]).is_empty());
        eprintln!("200,000 blocks added: {:?}", clock.now().monotonic - began);
        let began = clock.now().monotonic;
        bed.assert_verified(&mut firewall);
        eprintln!("verified: {:?}", clock.now().monotonic - began);
        bed.nft("delete element inet sipban b4 { 10.0.0.3 }");
        let began = clock.now().monotonic;
        // The kernel's time goes on meanwhile, and that of the test does not.
        assert!(bed.repaired(&mut firewall).starts_with("1 of 200000 blocks (IPv4)"));
        eprintln!("looked at closely: {:?}", clock.now().monotonic - began);
        let began = clock.now().monotonic;
        assert!(bed.apply(&mut firewall, &[], &all).is_empty());
        eprintln!("removed: {:?}", clock.now().monotonic - began);
        assert_eq!(bed.blocked(), [] as [IpNet; 0]);
    });
}
