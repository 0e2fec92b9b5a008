//! What only the chain with a rule an address has to do.

use sipban::config::Backend::Iptables;

use crate::bed::{JUMPS, NOW, V4, V6, each_with, net, nets};
use crate::netns::{Variant, replace_by_script};

#[test]
fn blocks_stand_before_a_return_in_a_chain_that_input_jumps_to() {
    each_with(Iptables, |mut bed| {
        let mut firewall = bed.firewall();
        assert_eq!(firewall.set_up(NOW).unwrap(), []);
        let add = ["192.0.2.1/32", "198.51.100.0/24", "2001:db8::1/128", "2001:db8:1::/64"].map(net);
        assert!(bed.apply(&mut firewall, &add, &[]).is_empty());
        assert_eq!(bed.chain(V4), ["-s 198.51.100.0/24 -j DROP", "-s 192.0.2.1/32 -j DROP", "-j RETURN"]);
        assert_eq!(bed.chain(V6), ["-s 2001:db8:1::/64 -j DROP", "-s 2001:db8::1/128 -j DROP", "-j RETURN"]);
        assert_eq!(bed.input(V4), JUMPS);
        assert_eq!(bed.input(V6), JUMPS);
        bed.assert_verified(&mut firewall);

        assert!(bed.apply(&mut firewall, &[], &add[1..]).is_empty());
        assert_eq!(bed.chain(V4), ["-s 192.0.2.1/32 -j DROP", "-j RETURN"]);
        assert_eq!(bed.chain(V6), ["-j RETURN"]);
        bed.assert_verified(&mut firewall);
        let kind = if bed.variant == Variant::Nft { "nf_tables" } else { "legacy" };
        assert!(firewall.describe().contains(kind), "{}", firewall.describe());
    });
}

#[test]
fn two_thousand_blocks_come_and_go_in_one_transaction_each() {
    each_with(Iptables, |mut bed| {
        let counted = format!("echo >>{}/runs; exec $REAL \"$@\"", bed.folder.display());
        replace_by_script(bed.folder, "iptables-restore", &counted);
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let runs = || std::fs::read_to_string(bed.folder.join("runs")).unwrap().lines().count();
        let all = nets(2_010);
        let before = runs();
        bed.apply(&mut firewall, &all, &[]);
        assert_eq!(bed.chain(V4).len(), 2_011);
        bed.apply(&mut firewall, &[net("192.0.2.1/32")], &all[..2_000]);
        assert_eq!(runs() - before, 2);
        let chain = bed.chain(V4);
        assert_eq!((chain.len(), &chain[0][..]), (12, "-s 192.0.2.1/32 -j DROP"));
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn a_culprit_in_a_batch_is_refused_alone() {
    each_with(Iptables, |mut bed| {
        let picky = "text=$(cat)\ncase $text in *10.0.0.7/32*) echo bad address >&2; exit 2;; esac\n\
                     echo \"$text\" | $REAL \"$@\"";
        replace_by_script(bed.folder, "iptables-restore", picky);
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &[net("192.0.2.1/32")], &[]);
        let refused = bed.apply(&mut firewall, &nets(40), &[net("192.0.2.1/32")]);
        assert_eq!(refused.iter().map(|refused| refused.net).collect::<Vec<_>>(), [net("10.0.0.7/32")]);
        assert!(refused[0].why.contains("iptables-restore --noflush"), "{}", refused[0].why);
        assert!(refused[0].why.ends_with("exit status: 2: bad address"), "{}", refused[0].why);
        assert_eq!(bed.chain(V4).len(), 40);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn a_restore_killed_in_the_middle_leaves_each_block_in_force_once() {
    each_with(Iptables, |mut bed| {
        let folder = bed.folder.display();
        let mortal = format!(
            "if test -e {folder}/mortal; then rm {folder}/mortal; $REAL \"$@\"; kill -9 $$; fi\nexec $REAL \"$@\""
        );
        replace_by_script(bed.folder, "iptables-restore", &mortal);
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &nets(2), &[]);
        for spare in [false, true] {
            std::fs::write(bed.folder.join("mortal"), "").unwrap();
            if spare {
                firewall.prepare();
            }
            let add = if spare { net("192.0.2.1/32") } else { net("192.0.2.2/32") };
            let refused = bed.apply(&mut firewall, &[add], &[]);
            assert!(refused.is_empty(), "{refused:?}");
            bed.assert_verified(&mut firewall);
        }
        assert_eq!(bed.chain(V4).len(), 5);
    });
}

#[test]
fn a_block_freed_by_another_tool_can_still_be_freed() {
    each_with(Iptables, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let all = nets(4);
        bed.apply(&mut firewall, &all, &[]);
        bed.tool(V4, "-D sipban-udp -s 10.0.0.1 -j DROP");
        assert!(bed.apply(&mut firewall, &[net("192.0.2.1/32")], &all[..2]).is_empty());
        let expected = ["-s 192.0.2.1/32 -j DROP", "-s 10.0.0.3/32 -j DROP", "-s 10.0.0.2/32 -j DROP", "-j RETURN"];
        assert_eq!(bed.chain(V4), expected);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn a_block_succeeds_though_another_tool_has_removed_the_chain() {
    each_with(Iptables, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &nets(2), &[]);
        bed.tool(V4, "-F");
        bed.tool(V4, "-X");
        firewall.prepare();
        assert!(bed.apply(&mut firewall, &[net("192.0.2.1/32")], &[]).is_empty());
        assert_eq!(bed.input(V4), JUMPS);
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn a_waiting_spare_holds_nobody_up_and_works_on_the_rules_of_the_moment() {
    each_with(Iptables, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &nets(2), &[]);
        firewall.prepare();
        bed.tool(V4, "-w 1 -A INPUT -s 203.0.113.1 -j DROP");
        bed.tool(V4, "-w 1 -I sipban-udp 1 -s 203.0.113.2 -j DROP");
        bed.tool(V4, "-w 1 -D sipban-udp -s 10.0.0.0 -j DROP");
        bed.tool(V4, "-w 1 -N other");
        assert!(bed.apply(&mut firewall, &[net("192.0.2.1/32")], &[]).is_empty());
        let head = ["-s 192.0.2.1/32 -j DROP", "-s 203.0.113.2/32 -j DROP", "-s 10.0.0.1/32 -j DROP", "-j RETURN"];
        assert_eq!(bed.chain(V4), head);
        assert_eq!(bed.input(V4).last().unwrap(), "-s 203.0.113.1/32 -j DROP");
        assert!(bed.all(V4).contains(&":other -".to_owned()));
    });
}

#[test]
fn verify_names_and_repairs_what_other_tools_did() {
    each_with(Iptables, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &[nets(20), vec![net("2001:db8::1/128"), net("2001:db8::2/128")]].concat(), &[]);
        let sound = (bed.all(V4), bed.all(V6));
        for (tool, damage, report) in [
            (
                V4,
                "-F",
                "jump to sipban-udp in INPUT (IPv4), 20 of 20 blocks (IPv4), RETURN at the end of sipban-udp (IPv4)",
            ),
            (V6, "-F INPUT", "jump to sipban-udp in INPUT (IPv6)"),
            (V4, "-D INPUT -p udp --dport 5060:5061 -j sipban-udp", "jump to sipban-udp in INPUT (IPv4)"),
            (V4, "-A INPUT -j sipban-udp", "jump to sipban-udp in INPUT (IPv4)"),
            (V4, "-D sipban-udp -j RETURN", "RETURN at the end of sipban-udp (IPv4)"),
            (V4, "-D sipban-udp -s 10.0.0.3 -j DROP", "1 of 20 blocks (IPv4)"),
            (V6, "-D sipban-udp 1", "1 of 2 blocks (IPv6)"),
            (V4, "-I sipban-udp 1 -s 10.0.0.3 -j DROP", "1 rules too many in sipban-udp (IPv4)"),
            (
                V4,
                "-A sipban-udp -s 192.0.2.9 -j DROP",
                "2 rules too many in sipban-udp (IPv4), RETURN at the end of sipban-udp (IPv4)",
            ),
            (V4, "-I sipban-udp 1 -s 10.0.0.3 -j ACCEPT", "1 rules too many in sipban-udp (IPv4)"),
            (V4, "-R sipban-udp 1 -s 10.0.0.19 -j REJECT", "the target of 1 blocks (IPv4)"),
        ] {
            bed.tool(tool, damage);
            assert_eq!(bed.repaired(&mut firewall), report, "{damage}");
            let now = (bed.all(V4), bed.all(V6));
            let sorted = |mut lines: Vec<String>| {
                lines.sort();
                lines
            };
            assert_eq!((sorted(now.0), sorted(now.1)), (sorted(sound.0.clone()), sorted(sound.1.clone())), "{damage}");
            assert_eq!(bed.input(tool), JUMPS);
            bed.assert_verified(&mut firewall);
        }
        bed.tool(V4, "-F");
        bed.tool(V4, "-X");
        let report = bed.repaired(&mut firewall);
        assert!(report.contains("chain sipban-udp (IPv4), 20 of 20 blocks (IPv4)"), "{report}");
        bed.assert_verified(&mut firewall);
    });
}
