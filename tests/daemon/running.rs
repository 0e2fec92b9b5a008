//! Signals, and what goes wrong and right again while it runs.

use std::fs;

use nix::sys::signal::Signal;

use crate::lab::netns::{Variant, replace_by_script};
use crate::lab::{Lab, each, each_chain, wait_until};

const ATTACKER: &str = "221.121.138.167";

#[test]
fn it_stops_cleanly_by_either_signal_and_takes_its_rules_along() {
    each(|mut lab| {
        for stop in [Signal::SIGTERM, Signal::SIGINT] {
            lab.start();
            lab.console(&format!("block {ATTACKER}"));
            lab.signal(stop);
            assert_eq!(lab.wait_for_end().code(), Some(0));
            assert!(lab.log().ends_with(&format!("{} removed\nSipBan Stop\n", lab.holder())), "{}", lab.log());
            assert!(!lab.rules().iter().any(|rule| rule.contains("sipban")), "{:?}", lab.rules());
        }
    });
}

#[test]
fn a_signal_in_the_middle_of_a_start_waits_until_it_can_be_followed() {
    each(|mut lab| {
        // The first program that is started tells the daemon so.
        let script = format!(
            "rmdir {} 2>/dev/null && kill -s $(cat {}) $PPID\nexec \"$REAL\" \"$@\"",
            lab.path("first").display(),
            lab.path("which").display()
        );
        replace_by_script(lab.programs.path(), "iptables", &script);
        for (signal, name) in [(Signal::SIGTERM, "TERM"), (Signal::SIGINT, "INT")] {
            fs::create_dir(lab.path("first")).unwrap();
            fs::write(lab.path("which"), name).unwrap();
            lab.launch(&[]);
            assert_eq!(lab.wait_for_end().code(), Some(0), "{signal}");
            assert!(lab.log().ends_with(&format!("{} removed\nSipBan Stop\n", lab.holder())), "{}", lab.log());
            assert!(!lab.rules().iter().any(|rule| rule.contains("sipban")), "{:?}", lab.rules());
        }
        fs::create_dir(lab.path("first")).unwrap();
        fs::write(lab.path("which"), "HUP").unwrap();
        lab.start();
        lab.wait_for_log("RELOAD => ");
        lab.attack_and_block(ATTACKER);
    });
}

#[test]
fn a_monitor_is_told_in_a_line_how_it_is() {
    each(|mut lab| {
        let check = |lab: &Lab, args: &[&str]| {
            let output = lab.run_within_deadline(&[&["ctl", "check"], args].concat());
            (output.status.code(), String::from_utf8(output.stdout).unwrap())
        };
        lab.start();
        lab.attack_and_block(ATTACKER);
        wait_until("the connection", || check(&lab, &[]).0 == Some(0));
        let (_, line) = check(&lab, &["-w", "5", "-c", "10"]);
        let well = "SIPBAN OK - Asterisk is connected, rules are in force, 1 block | blocks=1;5;10;0 ";
        assert!(line.starts_with(well), "{line}");
        assert_eq!(check(&lab, &["-w", "0", "-c", "10"]).0, Some(1));
        assert_eq!(check(&lab, &["-w", "0", "-c", "0"]).0, Some(2));
        assert_eq!(check(&lab, &["-w", "x"]).0, Some(3));
        lab.stop();
        let (code, line) = check(&lab, &[]);
        assert!(code == Some(2) && line.starts_with("SIPBAN CRITICAL - cannot connect to the console at "), "{line}");
    });
}

#[test]
fn it_leaves_its_rules_in_force_where_that_is_wanted() {
    each(|mut lab| {
        lab.set("state.on_stop", "keep");
        for stop in [Signal::SIGTERM, Signal::SIGINT] {
            lab.start();
            lab.console(&format!("block {ATTACKER}"));
            let before = lab.rules();
            lab.signal(stop);
            assert_eq!(lab.wait_for_end().code(), Some(0));
            assert!(lab.log().ends_with(&format!("{} left in force\nSipBan Stop\n", lab.holder())), "{}", lab.log());
            assert_eq!(lab.rules(), before);
        }
    });
}

#[test]
fn hup_follows_a_rotated_log_and_reads_limits_and_white_list_without_losing_a_block() {
    each(|mut lab| {
        lab.set("limits.unknown_account", 2);
        lab.start();
        lab.console(&format!("block {ATTACKER}"));
        lab.console("block 192.0.2.7");
        lab.attack("198.51.100.1");
        wait_until("the evidence", || lab.console("why 198.51.100.1").contains("unknown_account 1 of 2"));

        fs::rename(lab.path("log"), lab.path("log.1")).unwrap();
        lab.set("limits.unknown_account", 1);
        fs::write(lab.path("white_list"), "127.0.0.1\n192.0.2.7\n").unwrap();
        lab.signal(Signal::SIGHUP);
        lab.wait_for_log("UNBLOCK => 192.0.2.7 (White List)");
        assert!(lab.text("log").contains("RELOAD => "));
        assert!(!lab.text("log.1").contains("RELOAD => "));
        lab.wait_for_blocks(&[ATTACKER]);
        lab.attack_and_block("198.51.100.2");
        assert_eq!(lab.logged("AMI => "), 0, "the connection stays");
    });
}

#[test]
fn hup_with_a_broken_configuration_keeps_the_old_one_and_says_so() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    lab.start();
    lab.attack_and_block(ATTACKER);
    lab.set("limits.unknown_account", "many");
    lab.set("iptables.rule", "ACCEPT");
    lab.signal(Signal::SIGHUP);
    lab.wait_for_log(&format!("{} has errors: the old configuration stays in force", lab.path("conf").display()));
    assert!(lab.logged("limits.unknown_account") > 0 && lab.logged("iptables.rule") > 0, "{}", lab.log());
    lab.attack_and_block("192.0.2.8");
    lab.wait_for_blocks(&[ATTACKER, "192.0.2.8"]);
}

#[test]
fn reloads_that_bring_nothing_new_do_not_fill_the_log() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    let entry = |n: usize| format!("198.51.100.{n}\n");
    fs::write(lab.path("white_list"), (0..200).map(entry).collect::<String>()).unwrap();
    lab.start();
    for _ in 0..20 {
        lab.signal(Signal::SIGHUP);
        lab.console("uptime");
    }
    assert_eq!(lab.logged("WHITE LIST => "), 200);
    fs::write(lab.path("white_list"), (1..201).map(entry).collect::<String>()).unwrap();
    lab.signal(Signal::SIGHUP);
    lab.wait_for_log("WHITE LIST => 198.51.100.0 removed");
    lab.wait_for_log("WHITE LIST => 198.51.100.200");
    assert_eq!(lab.logged("WHITE LIST => "), 202);
}

#[test]
fn errors_that_came_again_are_told_at_the_end_as_errors() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    lab.start();
    let reload = |lab: &Lab, entry: &str| {
        // The white list is read whatever is wrong with the configuration, and shows that this reload is done.
        fs::write(lab.path("white_list"), entry).unwrap();
        lab.signal(Signal::SIGHUP);
        wait_until("the reload", || lab.console("wl").contains(entry));
    };
    lab.set("log.level", "error");
    reload(&lab, "192.0.2.1");
    lab.set("iptables.verfy", 1);
    reload(&lab, "192.0.2.2");
    reload(&lab, "192.0.2.3");
    lab.signal(Signal::SIGTERM);
    lab.wait_for_end();
    let text = "the old configuration stays in force (1 time more in the last minute)";
    assert_eq!(lab.logged(text), 1, "{}", lab.log());
}

#[test]
fn how_often_somebody_protected_was_spared_is_told_at_the_end() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    lab.start();
    for _ in 0..3 {
        lab.attack("127.0.0.1");
    }
    // Those and that of our own login.
    wait_until("the events", || lab.console("status --json").contains("\"events\":4"));
    lab.signal(Signal::SIGTERM);
    lab.wait_for_end();
    let text = "127.0.0.1 not blocked (Invalid Account): 127.0.0.0/8 (2 times more in the last minute)";
    assert_eq!(lab.logged(text), 1, "{}", lab.log());
}

#[test]
fn hup_changes_target_and_scope_of_all_blocks() {
    each_chain(|mut lab| {
        lab.start();
        lab.attack_and_block(ATTACKER);
        lab.set("iptables.rule", "REJECT --reject-with icmp-port-unreachable");
        lab.set("iptables.scope", "");
        lab.signal(Signal::SIGHUP);
        lab.wait_for_log("RELOAD => ");
        let rule = format!("-A sipban-udp -s {ATTACKER}/32 -j REJECT --reject-with icmp-port-unreachable");
        wait_until("the new target", || lab.chain("iptables").unwrap()[0] == rule);
        wait_until("the new scope", || lab.rules().iter().any(|rule| rule == "-A INPUT -j sipban-udp"));
    });
}

#[test]
fn a_block_that_the_kernel_refuses_is_an_error_and_is_tried_until_it_is_in_force() {
    each_chain(|mut lab| {
        let broken = lab.path("broken");
        let script = format!("test -e {} && {{ echo no memory >&2; exit 4; }}; exec $REAL \"$@\"", broken.display());
        replace_by_script(lab.programs.path(), "iptables-restore", &script);
        lab.start();
        lab.attack_and_block("192.0.2.1");
        fs::write(&broken, "").unwrap();
        // The process started ahead is still a good one.
        lab.attack_and_block("192.0.2.2");
        lab.attack(ATTACKER);
        lab.wait_for_log(&format!("ERROR => {ATTACKER} is not blocked, to be tried again: "));
        assert!(lab.log().contains("no memory"), "{}", lab.log());
        assert_eq!(lab.logged(&format!("BLOCK => {ATTACKER}")), 0);
        assert!(!lab.console("block").contains(ATTACKER));
        fs::remove_file(&broken).unwrap();
        lab.wait_for_log(&format!("BLOCK => {ATTACKER} (Invalid Account)"));
        wait_until("the block", || lab.is_blocked(ATTACKER));
    });
}
