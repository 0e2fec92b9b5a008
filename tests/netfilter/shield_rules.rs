//! The rules and sets of the shield: how they come, go and are repaired.

use ipnet::IpNet;
use sipban::config::Backend::{self, Ipset, Iptables, Nft};
use sipban::config::ShieldMode;
use sipban::firewall::Traffic;
use sipban::firewall::shield::MOST_ADMITTED;

use crate::bed::{Bed, NOW, V4, V6, each, each_chain, each_of, each_with, found, made, net, nets, sip_ports};
use crate::netns::replace_by_script;
use crate::shield::{admit, shielded};

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
fn a_chain_of_the_shield_that_others_lead_to_stays_behind_empty_and_all_else_goes() {
    const RULE: &str = "-A FORWARD -j sipban-udp-shed";
    const WHY: &str =
        "chain sipban-udp-shed (IPv4) is empty but stays, because of the rule `-A FORWARD -j sipban-udp-shed`";
    each_of(&[Iptables, Ipset], |mut bed| {
        let mut firewall = shielded(&mut bed, ShieldMode::On);
        bed.apply(&mut firewall, &nets(2), &[]);
        bed.tool(V4, RULE);
        bed.assert_verified(&mut firewall);
        bed.config.shield.mode = ShieldMode::Off;
        firewall.reconfigure(&bed.config, sip_ports(), &bed.book, NOW).unwrap();
        assert!(firewall.shield().is_none());
        assert_eq!(bed.blocked(), nets(2));
        bed.assert_verified(&mut firewall);
        let left = |bed: &Bed, word| rules(bed).lines().filter(|line| line.contains(word)).count();
        assert_eq!((left(&bed, "sipban-udp-measure"), left(&bed, "sipban-udp-shield")), (0, 0));
        assert_eq!(left(&bed, "sipban-udp-shed"), 2, "{}", rules(&bed));
        bed.config.shield.mode = ShieldMode::On;
        firewall.reconfigure(&bed.config, sip_ports(), &bed.book, NOW).unwrap();
        assert!(sheds(&bed));
        assert_eq!(firewall.tear_down().unwrap_err().0, WHY);
        assert_eq!(left(&bed, "sipban"), 2, "{}", rules(&bed));
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
        // The table is told without a program.
        let told: &[&str] = if bed.config.backend == Nft { &[] } else { &["1"] };
        assert_eq!(lines()[before..], *told);
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
