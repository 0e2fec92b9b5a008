//! Three whole daemons, each on a machine of its own, and a server on a fourth that is joined to all of them by cables.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use crate::lab::netns::{Netns, Variant};
use crate::lab::{Lab, event, wait_until};
use crate::redis::Redis;

/// Who attacks, from the machine of the server.
pub const ATTACKER: &str = "203.0.113.7";

pub struct Hub {
    pub redis: Redis,
    pub netns: Netns,
    pub pbxs: Vec<Lab>,
}

fn here(number: usize) -> IpAddr {
    IpAddr::from([198, 18, number as u8, 1])
}

fn there(number: usize) -> IpAddr {
    IpAddr::from([198, 18, number as u8, 2])
}

impl Hub {
    /// So many PBXs that know how to reach the server; `None`, loudly, if there can be no such machines here.
    pub fn new(count: usize, backend: &str) -> Option<Hub> {
        let netns = Netns::new()?;
        netns.run(&["ip", "address", "add", &format!("{ATTACKER}/32"), "dev", "lo"]);
        let mut pbxs = Vec::new();
        for number in 1..=count {
            let mut pbx = Lab::new(Variant::Nft)?;
            netns.connect(&format!("pbx{number}"), &[here(number)], &pbx.netns, "near", &[there(number)]);
            pbx.netns.run(&["ip", "route", "add", "default", "via", &here(number).to_string()]);
            pbx.set("fleet.url", format!("redis://{}:6379", here(number)));
            pbx.set("fleet.name", format!("pbx{number}"));
            pbx.set("iptables.backend", backend);
            pbxs.push(pbx);
        }
        let redis = netns.enter(|| Redis::start_at(6379, &["--bind", "0.0.0.0", "--protected-mode", "no"]));
        Some(Hub { redis, netns, pbxs })
    }

    /// Starts all daemons; each knows the others when this returns.
    #[track_caller]
    pub fn start(&mut self) {
        self.pbxs.iter_mut().for_each(Lab::start);
        let count = self.pbxs.len();
        for (number, pbx) in self.pbxs.iter().enumerate() {
            (0..count).filter(|other| *other != number).for_each(|other| {
                pbx.wait_for_log(&format!("FLEET => pbx{} is there", other + 1));
            });
        }
    }

    /// Whether a packet of the attacker arrives at a PBX.
    pub fn arrives(&self, number: usize) -> bool {
        self.arrives_from(ATTACKER, number)
    }

    fn arrives_from(&self, from: &str, number: usize) -> bool {
        let pbx = self.pbxs[number - 1].netns.enter(|| UdpSocket::bind((there(number), 5060)).unwrap());
        pbx.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        self.netns.enter(|| UdpSocket::bind((from, 0)).unwrap().send_to(b"x", (there(number), 5060)).unwrap());
        pbx.recv(&mut [0; 8]).is_ok()
    }

    pub fn say(&self, words: &[&str]) -> String {
        self.netns.enter(|| self.redis.say(words))
    }
}

#[test]
fn what_one_blocks_reaches_no_other_with_any_backend() {
    for backend in ["iptables", "ipset", "nft"] {
        let Some(mut hub) = Hub::new(3, backend) else { return };
        hub.start();
        assert!((1..=3).all(|number| hub.arrives(number)), "{backend}");
        hub.pbxs[0].attack(ATTACKER);
        for other in &hub.pbxs[1..] {
            other.wait_for_log(&format!("FLEET => {ATTACKER} blocked (Invalid Account, says pbx1)"));
        }
        assert!(!(1..=3).any(|number| hub.arrives(number)), "{backend}");
        let block = hub.pbxs[1].console("block");
        assert!(block.contains(&format!("{ATTACKER} (Invalid Account, says pbx1)")), "{block}");
        let why = hub.pbxs[1].console(&format!("why {ATTACKER}"));
        assert!(why.contains("pbx1 says so: blocked until"), "{why}");
        assert!(hub.pbxs[1].console("top").contains("pbx1"));
        let status = hub.pbxs[1].console("status");
        assert!(status.contains("pbx2 and pbx1 (") && status.contains("1 block of others in force"), "{status}");
        hub.pbxs[0].console(&format!("unblock {ATTACKER}"));
        for other in &hub.pbxs[1..] {
            other.wait_for_log(&format!("FLEET => {ATTACKER} freed (Withdrawn)"));
        }
        assert!((1..=3).all(|number| hub.arrives(number)), "{backend}");
        hub.pbxs.iter_mut().for_each(Lab::stop);
        let rules = hub.pbxs[1].netns.run(&["iptables-save"]) + &hub.pbxs[1].netns.run(&["nft", "list", "tables"]);
        assert!(!rules.contains("sipban"), "{rules}");
    }
}

#[test]
fn what_was_unblocked_here_stays_so_through_a_restart_and_whoever_says_it_again() {
    let Some(mut hub) = Hub::new(3, "nft") else { return };
    hub.start();
    hub.pbxs[0].attack(ATTACKER);
    let blocked = format!("FLEET => {ATTACKER} blocked");
    hub.pbxs[1].wait_for_log(&blocked);
    hub.pbxs[2].wait_for_log(&blocked);
    assert!(hub.pbxs[1].console(&format!("unblock {ATTACKER}")).contains("unblocked"));
    assert!(hub.arrives(2) && !hub.arrives(3));
    hub.pbxs[1].stop();
    hub.pbxs[1].start();
    hub.pbxs[2].attack("203.0.113.8");
    hub.pbxs[1].wait_for_log("FLEET => 203.0.113.8 blocked");
    assert!(hub.arrives(2));
    let why = hub.pbxs[1].console(&format!("why {ATTACKER}"));
    assert!(why.contains("not blocked, pardoned"), "{why}");
}

#[test]
fn no_vote_brings_back_a_block_of_our_own_that_was_unblocked() {
    let Some(mut hub) = Hub::new(2, "nft") else { return };
    hub.start();
    hub.pbxs[0].attack_and_block(ATTACKER);
    hub.pbxs[1].wait_for_log(&format!("FLEET => {ATTACKER} blocked"));
    hub.pbxs[0].console(&format!("unblock {ATTACKER}"));
    hub.pbxs[1].wait_for_log(&format!("FLEET => {ATTACKER} freed (Withdrawn)"));
    hub.pbxs[1].attack_and_block(ATTACKER);
    hub.pbxs[1].attack("203.0.113.8");
    hub.pbxs[0].wait_for_log("FLEET => 203.0.113.8 blocked");
    assert!(hub.arrives(1) && !hub.arrives(2));
    // Whoever blocks it himself means it.
    hub.pbxs[0].console(&format!("block {ATTACKER}"));
    assert!(!hub.arrives(1));
}

#[test]
fn a_flush_frees_what_others_say_and_nothing_of_ours() {
    let Some(mut hub) = Hub::new(2, "ipset") else { return };
    hub.start();
    hub.pbxs[0].attack(ATTACKER);
    hub.pbxs[1].wait_for_log(&format!("FLEET => {ATTACKER} blocked"));
    hub.pbxs[1].attack_and_block("203.0.113.9");
    assert!(hub.pbxs[1].console("flush fleet").contains("1 block of other PBXs removed"));
    assert!(hub.arrives(2) && hub.pbxs[1].is_blocked("203.0.113.9"));
}

#[test]
fn nobody_who_is_protected_or_lives_here_or_is_a_member_is_blocked_because_others_say_so() {
    let Some(mut hub) = Hub::new(2, "nft") else { return };
    hub.start();
    let pbx = &hub.pbxs[1];
    pbx.say(event("SuccessfulAuth", "Informational", "100", "203.0.113.20", "1-7", "UsingPassword: 1\r\n"));
    wait_until("the home", || pbx.console("why 203.0.113.20").contains("100 (last login"));
    pbx.console("wl add 203.0.113.30");
    let say = |net: &str| {
        hub.say(&[
            "XADD",
            "sipban:{main}:s:mad",
            "*",
            "v",
            "1",
            "is",
            "block",
            "net",
            net,
            "for",
            "99",
            "reason",
            "Failed ACL",
        ]);
    };
    say("203.0.113.50");
    wait_until("the mad one", || pbx.console("status").contains("mad (SILENT"));
    let own = [there(1).to_string(), there(2).to_string()];
    for net in ["203.0.113.20", "203.0.113.30", "0.0.0.0/0", "127.0.0.1", &own[0], &own[1], "203.0.113.40"] {
        say(net);
    }
    pbx.wait_for_log("FLEET => 203.0.113.40 blocked (Failed ACL, says mad)");
    let log = pbx.log();
    for (net, why) in [
        ("203.0.113.20", "accounts live here"),
        ("203.0.113.30", "203.0.113.30 is protected"),
        (&own[0], "it is a member of the fleet"),
        (&own[1], "is protected"),
    ] {
        let line =
            log.lines().find(|line| line.contains(&format!("FLEET => {net} not blocked (Failed ACL, says mad): ")));
        assert!(line.is_some_and(|line| line.contains(why)), "{net}: {log}");
    }
    assert!(log.contains("part of what mad says counts for nothing"), "{log}");
    assert!(pbx.console("why 203.0.113.20").contains("mad says so: not blocked, accounts live here"));
}

#[test]
fn no_list_of_others_blocks_a_member() {
    let Some(mut hub) = Hub::new(2, "nft") else { return };
    let (member, stranger) = ("45.10.66.70", "45.10.66.71");
    hub.pbxs[0].netns.run(&["ip", "address", "add", &format!("{member}/32"), "dev", "near"]);
    for from in [member, stranger] {
        hub.netns.run(&["ip", "address", "add", &format!("{from}/32"), "dev", "lo"]);
    }
    let list = hub.pbxs[1].path("list");
    std::fs::write(&list, "45.10.66.64/27\n").unwrap();
    hub.pbxs[1].set("feed mine.url", list.display());
    hub.start();
    wait_until("the member's address", || hub.arrives_from(member, 2));
    wait_until("the list", || !hub.arrives_from(stranger, 2));
    assert!(hub.arrives_from(member, 2));
}

#[test]
fn who_comes_to_be_protected_is_freed_at_once() {
    let Some(mut hub) = Hub::new(2, "iptables") else { return };
    hub.start();
    hub.pbxs[0].attack(ATTACKER);
    hub.pbxs[1].wait_for_log(&format!("FLEET => {ATTACKER} blocked"));
    hub.pbxs[1].console(&format!("wl add {ATTACKER}"));
    assert!(hub.arrives(2));
}

#[test]
fn more_votes_than_one_can_be_asked_for() {
    let Some(mut hub) = Hub::new(3, "nft") else { return };
    hub.pbxs[2].set("fleet.votes", 2);
    hub.start();
    hub.pbxs[0].attack(ATTACKER);
    hub.pbxs[1].wait_for_log(&format!("FLEET => {ATTACKER} blocked"));
    wait_until("the vote", || hub.pbxs[2].console(&format!("why {ATTACKER}")).contains("too few say so"));
    assert!(hub.arrives(3));
    // What is blocked because of others makes no vote; the administrator's word does.
    hub.pbxs[1].console(&format!("block {ATTACKER}"));
    hub.pbxs[2].wait_for_log(&format!("FLEET => {ATTACKER} blocked"));
    assert!(!hub.arrives(3));
}

#[test]
fn a_cut_cable_frees_nobody_and_what_was_said_meanwhile_is_heard_when_it_is_mended() {
    let Some(mut hub) = Hub::new(2, "nft") else { return };
    hub.start();
    hub.pbxs[0].attack(ATTACKER);
    hub.pbxs[1].wait_for_log(&format!("FLEET => {ATTACKER} blocked"));
    hub.netns.run(&["ip", "link", "set", "pbx2", "down"]);
    hub.pbxs[1].wait_for_log("FLEET => reading does not work");
    hub.pbxs[0].attack("203.0.113.8");
    hub.pbxs[1].attack_and_block("203.0.113.9");
    hub.netns.run(&["ip", "link", "set", "pbx2", "up"]);
    hub.pbxs[1].wait_for_log("FLEET => 203.0.113.8 blocked");
    hub.pbxs[0].wait_for_log("FLEET => 203.0.113.9 blocked");
    assert!(!hub.arrives(2));
    assert!(!hub.pbxs[1].log().contains("freed"));
}

#[test]
fn a_daemon_that_is_killed_and_started_without_the_server_blocks_whom_others_said() {
    for backend in ["iptables", "nft"] {
        let Some(mut hub) = Hub::new(2, backend) else { return };
        hub.start();
        hub.pbxs[0].attack(ATTACKER);
        hub.pbxs[1].wait_for_log(&format!("FLEET => {ATTACKER} blocked"));
        hub.netns.enter(|| hub.redis.kill());
        hub.pbxs[1].kill();
        assert!(!hub.arrives(2), "{backend}");
        hub.pbxs[1].start();
        assert!(!hub.arrives(2), "{backend}");
        // A clean stop takes the rules away; what was heard is remembered.
        hub.pbxs[1].stop();
        assert!(hub.arrives(2), "{backend}");
        hub.pbxs[1].start();
        hub.pbxs[1].wait_for_log("FLEET => reading does not work");
        if backend == "nft" {
            assert!(hub.pbxs[1].console("status").contains("reading DOWN since"));
        }
    }
}

#[test]
fn a_daemon_that_leaves_the_fleet_after_a_crash_frees_whom_others_said_and_nobody_else() {
    for backend in ["iptables", "ipset", "nft"] {
        let Some(mut hub) = Hub::new(2, backend) else { return };
        hub.start();
        hub.pbxs[0].attack(ATTACKER);
        hub.pbxs[1].wait_for_log(&format!("FLEET => {ATTACKER} blocked"));
        hub.pbxs[1].attack_and_block("203.0.113.9");
        hub.pbxs[1].kill();
        hub.pbxs[1].set("fleet.url", "");
        hub.pbxs[1].start();
        hub.pbxs[1].wait_for_log("is gone: there is no fleet any more");
        assert!(hub.arrives(2) && hub.pbxs[1].is_blocked("203.0.113.9"), "{backend}");
        let netns = &hub.pbxs[1].netns;
        let rules = ["iptables-save", "ip6tables-save", "ipset save", "nft list tables"]
            .map(|command| netns.run(&command.split(' ').collect::<Vec<_>>()));
        assert!(!rules.concat().contains("-fleet"), "{backend}: {rules:?}");
    }
}

#[test]
fn another_backend_takes_over_whom_others_said() {
    for (old, new) in [("iptables", "nft"), ("nft", "ipset"), ("ipset", "iptables")] {
        let Some(mut hub) = Hub::new(2, old) else { return };
        hub.start();
        hub.pbxs[0].attack(ATTACKER);
        hub.pbxs[1].wait_for_log(&format!("FLEET => {ATTACKER} blocked"));
        hub.pbxs[1].kill();
        hub.netns.enter(|| hub.redis.kill());
        hub.pbxs[1].set("iptables.backend", new);
        hub.pbxs[1].set("iptables.verify", 1);
        hub.pbxs[1].start();
        assert!(!hub.arrives(2), "{old} to {new}");
        // The set of one backend stands in the chain of the other, which is kept.
        if (old, new) != ("ipset", "iptables") {
            hub.pbxs[1].wait_for_log("-fleet of the one before is gone");
        }
        assert!(!hub.arrives(2), "{old} to {new}");
    }
}

#[test]
fn rules_of_the_fleet_that_another_program_takes_away_come_back() {
    let Some(mut hub) = Hub::new(2, "iptables") else { return };
    hub.pbxs[1].set("iptables.verify", 1);
    hub.start();
    hub.pbxs[0].attack(ATTACKER);
    hub.pbxs[1].wait_for_log(&format!("FLEET => {ATTACKER} blocked"));
    hub.pbxs[1].tool("iptables", "-F").unwrap();
    wait_until("the repair", || !hub.arrives(2));
}
