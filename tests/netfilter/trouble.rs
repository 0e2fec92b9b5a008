//! Programs that are missing, refuse, or do not do what they say.

use sipban::config::Backend::{Ipset, Nft};
use sipban::config::FirewallConfig;
use sipban::firewall::Traffic;

use crate::bed::{NOW, V4, V6, each, each_chain, each_with, made, net, nets, sip_ports};
use crate::netns::replace_by_script;

#[test]
fn without_ip6tables_ipv4_is_guarded_and_ipv6_refused_with_the_reason_until_it_is_back() {
    each_chain(|mut bed| {
        let off =
            format!("test -e {}/on || {{ echo no IPv6 here >&2; exit 3; }}; exec $REAL \"$@\"", bed.folder.display());
        for name in ["ip6tables-save", "ip6tables-restore"] {
            replace_by_script(bed.folder, name, &off);
        }
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let (four, six) = (net("192.0.2.1/32"), net("2001:db8::1/128"));
        let refused = bed.apply(&mut firewall, &[four, six], &[]);
        assert_eq!(refused.iter().map(|refused| refused.net).collect::<Vec<_>>(), [six]);
        assert!(refused[0].why.contains("no IPv6 here"), "{}", refused[0].why);
        assert!(firewall.describe().ends_with("IPv4 only"), "{}", firewall.describe());
        bed.assert_verified(&mut firewall);
        std::fs::write(bed.folder.join("on"), "").unwrap();
        assert_eq!(bed.repaired(&mut firewall), "all rules (IPv6)");
        assert!(bed.apply(&mut firewall, &[six], &[]).is_empty());
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn what_cannot_work_is_refused_with_a_reason_and_touches_nothing() {
    each_chain(|bed| {
        let before = bed.all(V4);
        let refusal = |config: &FirewallConfig, traffic: Traffic| match made(config, traffic) {
            Ok(mut firewall) => firewall.set_up(NOW).unwrap_err().0,
            Err(error) => error.0,
        };
        let sound = bed.config.clone();
        let error = refusal(&sound, Traffic::Match(vec!["--no-such-match".to_owned()]));
        assert!(error.contains("no-such-match") && error.contains("iptables-restore --noflush -w"), "{error}");
        replace_by_script(bed.folder, "iptables-save", "exec setpriv --reuid 65534 --clear-groups $REAL \"$@\"");
        let error = refusal(&sound, sip_ports());
        assert!(error.contains("ermission denied"), "{error}");
        std::fs::remove_file(bed.folder.join("iptables-save")).unwrap();
        std::fs::rename(bed.folder.join("real/iptables-save"), bed.folder.join("iptables-save")).unwrap();
        assert_eq!(bed.all(V4), before);
    });
}

#[test]
fn what_a_change_finds_missing_it_mends_and_says() {
    each(|mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &[nets(3), vec![net("2001:db8::1/128")]].concat(), &[]);
        bed.flush_all();
        let both = ["192.0.2.1/32", "2001:db8::2/128"].map(net);
        let applied = bed.change(&mut firewall, &both, &nets(1));
        assert!(applied.refused.is_empty(), "{applied:?}");
        let led = if bed.config.backend == Nft { "table inet sipban" } else { "jump to sipban-udp in INPUT (IPv6)" };
        for part in ["3 of 3 blocks (IPv4)", led] {
            assert!(applied.mended.iter().any(|what| what == part), "{applied:?}");
        }
        assert!(!applied.mended.iter().any(|what| what.contains("too many")), "{applied:?}");
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn a_program_that_says_yes_and_does_nothing_is_not_believed_at_set_up() {
    each_chain(|bed| {
        for name in ["iptables-save", "iptables-restore"] {
            replace_by_script(bed.folder, name, "cat >/dev/null");
        }
        let error = bed.firewall().set_up(NOW).unwrap_err();
        let expected = "iptables-restore` ended with success, but what it was to make is not there";
        assert!(error.0.ends_with(expected), "{error}");
    });
}

#[test]
fn blocks_that_a_program_only_says_it_made_are_found_not_to_be_in_force() {
    each_chain(|mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let add = [nets(3), vec![net("2001:db8::1/128")]].concat();
        bed.apply(&mut firewall, &add[1..2], &[]);
        let idle = format!("test -e {}/idle && exec cat >/dev/null; exec $REAL \"$@\"", bed.folder.display());
        for name in ["iptables-restore", "ipset"] {
            let reads = "case $1 in list|save|-V) exec $REAL \"$@\";; esac\n";
            replace_by_script(bed.folder, name, &format!("{reads}{idle}"));
        }
        // A process that was started before it became idle does its work.
        drop(firewall);
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        std::fs::write(bed.folder.join("idle"), "").unwrap();
        bed.apply(&mut firewall, &add, &[]);
        let verified = firewall.verify(&bed.book, NOW);
        let mut lost: Vec<_> = verified.lost.iter().map(|lost| lost.net).collect();
        lost.sort();
        let never_made = |net: &&ipnet::IpNet| **net != add[1] && (bed.config.backend == Ipset || net.addr().is_ipv4());
        let mut expected: Vec<_> = add.iter().filter(never_made).copied().collect();
        expected.sort();
        assert_eq!(lost, expected, "{verified:?}");
        assert!(verified.failed[0].0.contains("ended with success, but"), "{verified:?}");
        for net in &lost {
            bed.book.remove(net);
        }
        std::fs::remove_file(bed.folder.join("idle")).unwrap();
        assert!(bed.apply(&mut firewall, &lost, &[]).is_empty());
        bed.assert_verified(&mut firewall);
    });
}

#[test]
fn an_error_of_one_family_does_not_hide_what_was_mended_for_the_other() {
    each_chain(|mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &["192.0.2.1/32", "2001:db8::1/128"].map(net), &[]);
        bed.tool(V6, "-F INPUT");
        replace_by_script(bed.folder, "iptables-save", "echo out of order >&2; exit 1");
        let verified = firewall.verify(&bed.book, NOW);
        assert_eq!(verified.mended, ["jump to sipban-udp in INPUT (IPv6)"]);
        assert!(verified.failed[0].0.ends_with("exit status: 1: out of order"), "{verified:?}");
        assert!(verified.lost.is_empty(), "{verified:?}");
    });
}

#[test]
fn blocks_of_a_set_that_another_program_replaced_are_not_said_to_be_in_force() {
    each_with(Ipset, |mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &[nets(200), vec![net("2001:db8::1/128")]].concat(), &[]);
        for tool in [V4, V6] {
            bed.tool(tool, "-F");
        }
        bed.destroy_sets();
        bed.ipset("create sipban hash:ip,port");
        let verified = firewall.verify(&bed.book, NOW);
        assert_eq!(verified.lost.len(), 200);
        assert!(verified.lost[0].why.ends_with("choose another ipset.set_name"), "{verified:?}");
        assert_eq!(verified.failed.len(), 1);
        assert!(verified.mended.iter().any(|what| what == "1 of 1 blocks (IPv6)"), "{verified:?}");
        bed.ipset("destroy sipban");
        assert!(bed.repaired(&mut firewall).contains("200 of 200 blocks (IPv4)"));
    });
}
