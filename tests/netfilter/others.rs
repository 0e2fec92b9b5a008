//! Rules of others, which are none of our business.

use sipban::config::Backend::Nft;
use sipban::firewall::Traffic;

use crate::bed::{NOW, V4, V6, each, each_chain, net, nets};

#[test]
fn rules_of_others_are_as_before_after_all_is_over() {
    each(|mut bed| {
        for tool in [V4, V6] {
            for rule in [
                "-N sipban-udp-old",
                "-N other",
                "-A other -p tcp --dport 22 -m comment --comment -j_sipban-udp -j ACCEPT",
                "-A INPUT -i lo -j ACCEPT",
                "-A INPUT -j other",
                "-A INPUT -j sipban-udp-old",
                "-A FORWARD -p udp -j DROP",
                "-P FORWARD DROP",
            ] {
                bed.tool(tool, rule);
            }
        }
        let before = (bed.all(V4), bed.all(V6));
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        let all = [nets(30), vec![net("2001:db8::1/128")]].concat();
        bed.apply(&mut firewall, &all, &[]);
        bed.apply(&mut firewall, &[], &all[..20]);
        match bed.config.backend {
            Nft => drop(bed.nft("flush chain inet sipban prerouting")),
            _ => drop(bed.tool(V4, "-D INPUT 1")),
        }
        assert!(!bed.repaired(&mut firewall).is_empty());
        firewall.set_traffic(Traffic::All).unwrap();
        bed.assert_verified(&mut firewall);
        firewall.tear_down().unwrap();
        assert_eq!((bed.all(V4), bed.all(V6)), before);
        assert!(bed.traces().iter().all(|trace| trace.contains("sipban-udp-old") || trace.contains("-j_sipban")));
        firewall.tear_down().unwrap();
    });
}

#[test]
fn a_chain_that_others_lead_to_stays_behind_empty_and_that_is_said() {
    each_chain(|mut bed| {
        let mut firewall = bed.firewall();
        firewall.set_up(NOW).unwrap();
        bed.apply(&mut firewall, &nets(3), &[]);
        bed.tool(V4, "-A FORWARD -j sipban-udp");
        bed.assert_verified(&mut firewall);
        let error = firewall.tear_down().unwrap_err();
        assert!(error.0.contains("because of the rule `-A FORWARD -j sipban-udp`"), "{error}");
        assert!(bed.chain(V4).is_empty() && bed.input(V4).is_empty());
        assert!(!bed.all(V6).iter().any(|line| line.contains("sipban")));
    });
}
