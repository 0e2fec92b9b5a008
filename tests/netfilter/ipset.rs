//! What only the ipset backend has to do.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use ipnet::IpNet;
use sipban::config::Backend::Ipset;
use sipban::model::clock::Clock;

use crate::bed::{Bed, JUMPS, NOW, V4, V6, each_joined, each_with, found, net, nets, send};
use crate::fire::{OURS, THEIRS, under_fire};
use crate::netns::replace_by_script;

#[test]
fn one_rule_of_the_chain_looks_up_a_set_whose_entries_end_by_themselves() {
    each_with(Ipset, |mut bed| {
        let mut firewall = bed.firewall();
        assert_eq!(firewall.set_up(NOW).unwrap(), []);
        let add = ["192.0.2.1/32", "198.51.100.0/24", "2001:db8::1/128", "2001:db8:1::/64"].map(net);
        assert!(bed.apply(&mut firewall, &add, &[]).is_empty());
        assert_eq!(bed.blocked(), add);
        assert_eq!((bed.input(V4), bed.input(V6)), (JUMPS.map(str::to_owned).into(), JUMPS.map(str::to_owned).into()));
        for (net, seconds) in [bed.entries("sipban"), bed.entries("sipban6")].concat() {
            assert!((500..=600).contains(&seconds), "{net} {seconds}");
        }
        assert_eq!(bed.sets(), ["sipban", "sipban6"]);
        bed.assert_verified(&mut firewall);
        let text = firewall.describe();
        assert!(text.contains(", ipset v") && text.ends_with(", set sipban and sipban6, chain sipban-udp"), "{text}");
        assert!(bed.apply(&mut firewall, &[], &add[1..]).is_empty());
        assert_eq!(bed.blocked(), add[..1]);
        firewall.tear_down().unwrap();
        assert!(bed.sets().is_empty());
    });
}

#[test]
fn a_set_of_the_perl_program_is_adopted_with_the_times_that_are_left_and_its_rules_go() {
    for kind in ["hash:ip timeout 86400", "hash:net timeout 86400", "hash:ip", "hash:net maxelem 9 counters comment"] {
        each_with(Ipset, |mut bed| {
            bed.ipset(&format!("create sipban {kind}"));
            let timed = kind.contains("timeout");
            let [end, never] = if timed { [" timeout 500", " timeout 0"] } else { ["", ""] };
            bed.ipset(&format!("add sipban 192.0.2.1{end}"));
            bed.ipset(&format!("add sipban 192.0.2.2{never}"));
            for rule in [
                "-i eno1 -m set --match-set sipban src -j DROP",
                "-s 198.51.100.1 -j DROP",
                "-i eno1 -m set --match-set sipban src -j DROP",
                "-m set --match-set sipban src -j REJECT --reject-with icmp-port-unreachable",
            ] {
                bed.tool(V4, &format!("-I INPUT {rule}"));
            }
            let mut firewall = bed.firewall();
            let found: HashMap<IpNet, _> =
                firewall.set_up(NOW).unwrap().into_iter().map(|entry| (entry.net, entry.remaining)).collect();
            assert_eq!(found.len(), 2);
            assert_eq!(found[&net("192.0.2.1/32")].is_some_and(|left| (400..=500).contains(&left)), timed);
            assert_eq!(found[&net("192.0.2.2/32")], None);
            assert_eq!(bed.blocked(), ["192.0.2.1/32", "192.0.2.2/32"].map(net));
            assert_eq!(bed.input(V4), [&JUMPS[..], &["-s 198.51.100.1/32 -j DROP"]].concat());
            assert_eq!(bed.sets(), ["sipban", "sipban6"]);
            assert!(bed.ipset("list -t sipban").contains("maxelem 262144 timeout"));

            for net in found.keys() {
                bed.enter_in_book_until(NOW + 500, *net);
            }
            bed.assert_verified(&mut firewall);
            assert!(bed.entries("sipban").iter().all(|(_, left)| (400..=500).contains(left)));
            bed.apply(&mut firewall, &[net("203.0.113.0/24")], &[]);
            bed.assert_verified(&mut firewall);
            firewall.tear_down().unwrap();
            assert!(bed.sets().is_empty());
        });
    }
}

#[test]
fn a_replacement_that_was_cut_short_is_completed() {
    each_with(Ipset, |bed| {
        let draft = "sipban~4";
        for line in [
            &format!("create {draft} hash:net timeout 86400 counters maxelem 262144"),
            &format!("add {draft} 192.0.2.1 timeout 500"),
            "create sipban hash:net timeout 86400 counters maxelem 262144",
            "add sipban 192.0.2.2 timeout 500",
        ] {
            bed.ipset(line);
        }
        bed.tool(V4, "-N sipban-udp");
        bed.tool(V4, &format!("-A sipban-udp -m set --match-set {draft} src -j DROP"));
        let mut firewall = bed.firewall();
        let both = ["192.0.2.1/32", "192.0.2.2/32"].map(net);
        assert_eq!(found(&mut firewall), both);
        assert_eq!(bed.blocked(), both);
        assert_eq!(bed.sets(), ["sipban", "sipban6"]);

        // Nothing leads to it: it is old.
        bed.ipset(&format!("create {draft} hash:net timeout 86400"));
        bed.ipset(&format!("add {draft} 192.0.2.3"));
        assert_eq!(found(&mut bed.firewall()), both);
        assert_eq!(bed.sets(), ["sipban", "sipban6"]);
    });
}

#[test]
fn a_set_of_another_program_is_left_alone() {
    each_with(Ipset, |mut bed| {
        for kind in ["hash:ip,port", "bitmap:port range 1-9", "hash:ip netmask 24", "list:set", "hash:net family inet6"]
        {
            bed.ipset(&format!("create sipban {kind}"));
            let error = bed.firewall().set_up(NOW).unwrap_err();
            assert!(error.0.ends_with("choose another ipset.set_name"), "{error}");
            bed.ipset("destroy sipban");
        }
        bed.ipset("create sipban hash:ip");
        bed.tool(V4, "-A FORWARD -m set --match-set sipban src -j DROP");
        let error = bed.firewall().set_up(NOW).unwrap_err();
        assert!(error.0.contains("in use"), "{error}");
        bed.config.set_name = "other".to_owned();
        assert!(bed.firewall().set_up(NOW).is_ok());
    });
}

#[test]
fn a_set_that_others_use_stays_behind_empty_and_that_is_said() {
    each_with(Ipset, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &nets(3), &[]);
        bed.tool(V4, "-A FORWARD -m set --match-set sipban src -j DROP");
        let error = firewall.tear_down().unwrap_err();
        assert!(error.0.contains("set sipban is empty but stays"), "{error}");
        assert_eq!(bed.sets(), ["sipban"]);
        assert!(bed.entries("sipban").is_empty() && bed.input(V4).is_empty());
    });
}

#[test]
fn verify_names_and_repairs_what_other_tools_did_to_sets() {
    each_with(Ipset, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let all = [nets(20), vec![net("2001:db8::1/128"), net("2001:db8::2/128")]].concat();
        bed.apply(&mut firewall, &all, &[]);
        for (damage, report) in [
            ("flush sipban", "20 of 20 blocks (IPv4)"),
            ("flush sipban6", "2 of 2 blocks (IPv6)"),
            ("flush", "20 of 20 blocks (IPv4), 2 of 2 blocks (IPv6)"),
            ("del sipban 10.0.0.3", "1 of 20 blocks (IPv4)"),
        ] {
            bed.ipset(damage);
            assert_eq!(bed.repaired(&mut firewall), report, "{damage}");
            assert_eq!(bed.blocked(), all);
            bed.assert_verified(&mut firewall);
        }
        bed.tool(V4, "-D sipban-udp 1");
        assert_eq!(bed.repaired(&mut firewall), "rule of set sipban (IPv4)");
        for tool in [V4, V6] {
            bed.tool(tool, "-F");
            bed.tool(tool, "-X");
        }
        bed.destroy_sets();
        let report = bed.repaired(&mut firewall);
        for part in ["set sipban (IPv4), 20 of 20 blocks (IPv4)", "chain sipban-udp (IPv6), rule of set sipban6 (IPv6)"]
        {
            assert!(report.contains(part), "{report}");
        }
        assert_eq!(bed.blocked(), all);
        assert_eq!(bed.input(V4), JUMPS);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn a_block_succeeds_though_another_tool_has_destroyed_everything() {
    each_with(Ipset, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &nets(2), &[]);
        firewall.prepare();
        for tool in [V4, V6] {
            bed.tool(tool, "-F");
        }
        bed.destroy_sets();
        assert!(bed.apply(&mut firewall, &[net("192.0.2.1/32")], &nets(1)).is_empty());
        assert_eq!(bed.blocked(), ["10.0.0.1/32", "192.0.2.1/32"].map(net));
        assert_eq!(bed.input(V4), JUMPS);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn ends_that_differ_from_the_book_are_put_right_at_the_next_close_look() {
    each_with(Ipset, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &nets(3), &[]);
        bed.apply_until(NOW + 10_000_000, &mut firewall, &[net("192.0.2.1/32")], &[]);
        bed.ipset("add sipban 10.0.0.0 timeout 100 -exist");
        bed.ipset("add sipban 10.0.0.1 timeout 0 -exist");
        bed.ipset("add sipban 10.0.0.2 timeout 5000 -exist");
        let looks = (0..10).flat_map(|_| firewall.verify(&bed.book, NOW).mended);
        assert_eq!(looks.collect::<Vec<_>>(), ["the end of 1 blocks (IPv4)"]);
        let entries = bed.entries("sipban");
        assert!(entries[..3].iter().all(|(_, left)| (500..=600).contains(left)), "{entries:?}");
        assert!((2_147_000..=2_147_483).contains(&entries[3].1), "{entries:?}");
    });
}

#[test]
fn what_an_administrator_adds_by_hand_stays_for_as_long_as_he_said() {
    each_with(Ipset, |mut bed| {
        bed.config.maxelem = 20;
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &nets(3), &[]);
        bed.ipset("add sipban 192.0.2.1 timeout 0");
        bed.ipset("add sipban 192.0.2.2");
        bed.ipset("add sipban 192.0.2.3 timeout 77 nomatch");
        for _ in 0..10 {
            bed.assert_verified(&mut firewall);
        }
        bed.apply(&mut firewall, &nets(30), &[]);
        bed.assert_verified(&mut firewall);
        let left: HashMap<IpNet, u64> = bed.entries("sipban").into_iter().collect();
        assert_eq!(left.len(), 33);
        assert_eq!(left[&net("192.0.2.1/32")], 0);
        assert!((86_000..=86_400).contains(&left[&net("192.0.2.2/32")]));
        assert!(bed.ipset("save sipban").contains(" nomatch"));
        bed.ipset("del sipban 192.0.2.1");
        bed.assert_verified(&mut firewall);

        // What is blocked in earnest is no exception and nobody else's any more.
        let three = [net("192.0.2.2/32"), net("192.0.2.3/32")];
        bed.apply(&mut firewall, &three, &[]);
        bed.assert_verified(&mut firewall);
        assert!(!bed.ipset("save sipban").contains(" nomatch"));
        bed.apply(&mut firewall, &[], &three);
        assert_eq!(bed.entries("sipban").len(), 30);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn a_set_grows_before_it_is_full_and_when_others_have_filled_it() {
    each_with(Ipset, |mut bed| {
        bed.config.maxelem = 10;
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let size = |bed: &Bed| {
            let text = bed.ipset("list -t sipban");
            text.split("maxelem ").nth(1).unwrap().split(' ').next().unwrap().parse::<u32>().unwrap()
        };
        let all = nets(60);
        bed.apply(&mut firewall, &all[..9], &[]);
        assert_eq!(size(&bed), 10);
        bed.apply(&mut firewall, &all[9..10], &[]);
        assert_eq!(size(&bed), 20);
        assert!(bed.apply(&mut firewall, &all[10..40], &[]).is_empty());
        assert_eq!(size(&bed), 80);
        bed.assert_verified(&mut firewall);

        let by_hand: String = (0..40).map(|n| format!("add sipban 192.0.2.{n}\n")).collect();
        let file = bed.folder.join("by-hand");
        std::fs::write(&file, by_hand).unwrap();
        bed.ipset(&format!("restore -f {}", file.display()));
        assert!(bed.apply(&mut firewall, &all[40..], &all[..10]).is_empty());
        assert_eq!(size(&bed), 160);
        assert_eq!(bed.entries("sipban").len(), 90);
        bed.assert_verified(&mut firewall);
        drop(firewall);

        // A set that has grown is as good as one that was made so, and one that shrinks would lose entries.
        let mut firewall = bed.firewall();
        assert_eq!(found(&mut firewall).len(), 90);
        assert_eq!(size(&bed), 160);
    });
}

#[test]
fn what_the_kernel_will_not_take_is_refused_alone_and_says_why() {
    each_with(Ipset, |mut bed| {
        // Passes on what comes before the line that it does not like, as ipset itself does.
        let picky = "case $1 in restore) ;; *) exec $REAL \"$@\";; esac\ntext=$(cat)\n\
                     line=$(echo \"$text\" | grep -n -e '10.0.0.7/32' -e '2001:db8::7/128' | head -n 1 | cut -d: -f1)\n\
                     test -z \"$line\" && { echo \"$text\" | $REAL \"$@\"; exit; }\n\
                     echo \"$text\" | head -n $((line - 1)) | $REAL \"$@\"\n\
                     echo \"ipset v7.17: Error in line $line: no, thanks\" >&2\nexit 1";
        replace_by_script(bed.folder, "ipset", picky);
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &[net("192.0.2.1/32")], &[]);
        let six = ["2001:db8::6/128", "2001:db8::7/128", "2001:db8::8/128"].map(net);
        let refused = bed.apply(&mut firewall, &[nets(40), six.to_vec()].concat(), &[net("192.0.2.1/32")]);
        assert_eq!(refused.iter().map(|refused| refused.net).collect::<Vec<_>>(), [net("10.0.0.7/32"), six[1]]);
        assert!(refused[0].why.contains("ipset restore -exist` ended with exit status: 1"), "{}", refused[0].why);
        assert_eq!(bed.blocked().len(), 41);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn when_everything_is_refused_exactly_what_is_not_in_force_is_named() {
    each_with(Ipset, |mut bed| {
        let grumpy = format!(
            "test -e {}/off && case $1 in restore) cat >/dev/null; echo out of order >&2; exit 1;; esac\n\
             exec $REAL \"$@\"",
            bed.folder.display()
        );
        replace_by_script(bed.folder, "ipset", &grumpy);
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &nets(4), &[]);
        std::fs::write(bed.folder.join("off"), "").unwrap();
        let refused = bed.apply(&mut firewall, &[nets(1), vec![net("192.0.2.1/32")]].concat(), &nets(4)[2..3]);
        assert_eq!(
            refused.iter().map(|refused| refused.net).collect::<Vec<_>>(),
            ["10.0.0.2/32", "192.0.2.1/32"].map(net)
        );
        std::fs::remove_file(bed.folder.join("off")).unwrap();
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn a_restore_killed_before_in_or_after_its_work_loses_nothing() {
    each_with(Ipset, |mut bed| {
        let folder = bed.folder.display();
        let mortal = format!(
            "if test $1 = restore && test -e {folder}/mortal; then n=$(cat {folder}/mortal); rm {folder}/mortal\n\
             head -n $n | $REAL \"$@\"; kill -9 $$; fi\nexec $REAL \"$@\""
        );
        replace_by_script(bed.folder, "ipset", &mortal);
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let all = nets(1_200);
        for (from, spare) in [(0, false), (400, true), (800, true)] {
            std::fs::write(bed.folder.join("mortal"), from.to_string()).unwrap();
            if spare {
                firewall.prepare();
            }
            let refused = bed.apply(&mut firewall, &all[from..from + 400], &[]);
            assert!(refused.is_empty(), "{refused:?}");
            assert_eq!(bed.blocked(), all[..from + 400]);
        }
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn a_waiting_spare_holds_nobody_up_and_works_on_the_sets_of_the_moment() {
    each_with(Ipset, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &nets(2), &[]);
        firewall.prepare();
        bed.ipset("create other hash:net timeout 86400 maxelem 262144 counters");
        bed.ipset("add other 10.0.0.0");
        bed.ipset("swap other sipban");
        bed.ipset("destroy other");
        assert!(bed.apply(&mut firewall, &[net("192.0.2.1/32")], &[]).is_empty());
        assert_eq!(bed.blocked(), ["10.0.0.0/32", "192.0.2.1/32"].map(net));
        assert_eq!(bed.repaired(&mut firewall), "1 of 3 blocks (IPv4)");
    });
}

#[test]
fn no_packet_of_a_blocked_address_passes_while_a_set_grows() {
    let [ours, theirs] = [OURS, THEIRS].map(|text| text.parse::<IpAddr>().unwrap());
    each_joined(&[Ipset], &[ours], &[theirs], |mut bed, outside| {
        bed.config.maxelem = 100;
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &[theirs.into()], &[]);
        let all = nets(5_000);
        under_fire(outside, || {
            for from in [0, 50, 100, 200, 400, 1_000, 2_000, 4_000] {
                assert!(bed.apply(&mut firewall, &all[from..(2 * from).clamp(50, 5_000)], &[]).is_empty());
            }
        });
        assert_eq!(bed.config.maxelem, 100);
        assert!(bed.ipset("list -t sipban").contains("maxelem 6400 "));
        assert!(firewall.packets(&theirs.into()).unwrap() >= 100);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn no_packet_of_a_blocked_address_passes_while_a_set_of_the_perl_program_is_adopted() {
    let [ours, theirs] = [OURS, THEIRS].map(|text| text.parse::<IpAddr>().unwrap());
    for kind in ["hash:ip", "hash:net"] {
        each_joined(&[Ipset], &[ours], &[theirs], |bed, outside| {
            bed.ipset(&format!("create sipban {kind} timeout 86400"));
            bed.ipset(&format!("add sipban {theirs}"));
            bed.tool(V4, "-I INPUT -i near -m set --match-set sipban src -j DROP");
            let mut firewall = bed.firewall();
            under_fire(outside, || assert_eq!(found(&mut firewall), [IpNet::from(theirs)]));
            assert_eq!(bed.input(V4), JUMPS);
        });
    }
}

#[test]
fn the_kernel_ends_a_block_with_the_daemon_gone() {
    let [ours, theirs] = [OURS, THEIRS].map(|text| text.parse::<IpAddr>().unwrap());
    each_joined(&[Ipset], &[ours], &[theirs], |mut bed, outside| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply_until(NOW + 2, &mut firewall, &[theirs.into()], &[]);
        drop(firewall);
        let phone = UdpSocket::bind((ours, 5060)).unwrap();
        phone.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let to: SocketAddr = phone.local_addr().unwrap();
        let clock = Clock::start();
        let arrives = || {
            send(outside, theirs, to);
            phone.recv_from(&mut [0; 64]).is_ok()
        };
        assert!(!arrives());
        while !arrives() {
            assert!(clock.now().monotonic < Duration::from_secs(20));
        }
    });
}

#[test]
#[expect(clippy::print_stderr, reason = "figures to be looked at, not judged")]
fn sixty_thousand_blocks_are_added_verified_and_removed() {
    each_with(Ipset, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let all = nets(60_000);
        let clock = Clock::start();
        let timed = |what: &str, took: Duration| eprintln!("60,000 blocks {what}: {took:?}");
        let began = clock.now().monotonic;
        assert!(bed.apply(&mut firewall, &all, &[]).is_empty());
        timed("added", clock.now().monotonic - began);
        for what in ["verified closely", "verified"] {
            let began = clock.now().monotonic;
            bed.assert_verified(&mut firewall);
            timed(what, clock.now().monotonic - began);
        }
        let began = clock.now().monotonic;
        assert!(bed.apply(&mut firewall, &[], &all).is_empty());
        timed("removed", clock.now().monotonic - began);
        assert!(bed.blocked().is_empty());
    });
}
