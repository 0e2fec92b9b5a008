//! Blocks that nothing can make forgotten.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use nix::sched::{CloneFlags, unshare};
use sipban::model::clock::Clock;

use crate::lab::asterisk::Step;
use crate::lab::netns::{Variant, call};
use crate::lab::{Lab, attackers, each, each_chain, net, unknown_account, wait_until};

const ATTACKER: &str = "221.121.138.167";

/// Ends of blocks by their networks, as the journal has them.
fn journal(lab: &Lab) -> BTreeMap<String, u64> {
    let text = lab.text("state/bans");
    let block = |line: &str| {
        let (text, _sum) = line.split_once(" #")?;
        let words: Vec<&str> = text.strip_prefix("block ")?.splitn(4, ' ').collect();
        Some((words[0].to_owned(), words[2].parse().ok()?))
    };
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).filter_map(block).collect()
}

/// Ends of blocks by their networks, as the console tells them.
fn told(lab: &Lab) -> BTreeMap<String, u64> {
    let blocks: Vec<serde_json::Value> = serde_json::from_str(&lab.console("block --json")).unwrap();
    let block = |block: serde_json::Value| Some((block["net"].as_str()?.to_owned(), block["end"].as_u64()?));
    blocks.into_iter().map(|line| block(line).unwrap()).collect()
}

#[test]
fn however_often_it_is_killed_nobody_who_was_blocked_is_forgotten_or_blocked_for_another_time() {
    const KILLS: u8 = 50;
    each_at_its_own_pace(|variant, seed| {
        // Every connection brings other attackers, a few at a time.
        let scripts = (0..KILLS).map(|series| {
            let events: Vec<u8> = attackers(series, 60).flat_map(|address| unknown_account(&address)).collect();
            let events = Step::SendSlowly(events, 4 * 300);
            vec![Step::Courtesy, Step::Welcome, events, Step::Stay]
        });
        let Some(mut lab) = Lab::facing(variant, scripts.collect()) else { return };
        lab.set("timer.ban", 5000);
        let mut ends: BTreeMap<String, u64> = BTreeMap::new();
        let mut random = seed;
        for _ in 0..KILLS {
            lab.launch(&[]);
            // Anywhere between its first steps and its last block.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            std::thread::sleep(std::time::Duration::from_millis((random >> 33) % 150));
            lab.kill();
            let logged = lab.log();
            let (written, in_force) = (journal(&lab), lab.blocked());
            for line in logged.lines().filter_map(|line| line.strip_prefix("BLOCK => ")) {
                let address = line.split(' ').next().unwrap();
                assert!(
                    written.contains_key(&format!("{address}/32")),
                    "{address} is in the log and not in the journal"
                );
                assert!(in_force.contains(&net(address)), "{address} is in the log and not in the kernel");
            }
            for (net, end) in written {
                let first = *ends.entry(net.clone()).or_insert(end);
                assert_eq!(end, first, "another end for {net}");
            }
            let lost: Vec<&String> = ends.keys().filter(|block| !in_force.contains(&net(block))).collect();
            assert!(lost.is_empty(), "the kernel lost {lost:?}");
        }
        assert!(ends.len() > 100, "the kills came too early to tell: {} blocks", ends.len());
        let in_kernel = lab.blocked();
        lab.start();
        let told = told(&lab);
        for (net, end) in &ends {
            assert_eq!(told.get(net), Some(end), "{net}");
        }
        assert!(in_kernel.is_subset(&lab.blocked()));
        assert!(in_kernel.iter().all(|net| told.contains_key(&net.to_string())));
        assert!(!lab.log().contains("damaged"), "{}", lab.log());
    });
}

/// Both kinds of iptables, and with each of them other moments.
fn each_at_its_own_pace(test: impl Fn(Variant, u64)) {
    let seed = u64::from(std::process::id()) ^ Clock::start().now().wall.0;
    test(Variant::Nft, seed);
    test(Variant::Legacy, seed.rotate_left(17));
}

/// From now on what this thread and its programs mount is seen by them only, and goes with them.
fn mount_privately() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    call("mount", &["--make-rprivate", "/"]).unwrap();
}

/// Gives the journal a disk of this size.
fn small_disk(lab: &Lab, size: &str) {
    let folder = lab.path("state");
    fs::create_dir(&folder).unwrap();
    call("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "none", folder.to_str().unwrap()]).unwrap();
}

fn remount(lab: &Lab, options: &str) {
    let folder = lab.path("state");
    call("mount", &["-o", &format!("remount,{options}"), folder.to_str().unwrap()]).unwrap();
}

#[test]
fn a_full_disk_stops_no_block_and_is_told_and_made_good_when_there_is_room() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    mount_privately();
    small_disk(&lab, "64k");
    lab.set("state.on_stop", "keep");
    lab.start();
    let all: Vec<String> = attackers(1, 1500).collect();
    lab.say(all.iter().flat_map(|address| unknown_account(address)).collect::<Vec<u8>>());
    lab.wait_for_log_times("BLOCK => ", 1500);
    lab.wait_for_blocks(&all.iter().map(String::as_str).collect::<Vec<_>>());
    lab.wait_for_log("No space left on device");
    lab.wait_for_log("the blocks are in force all the same");
    assert!(lab.console("status").contains("NOT COMPLETE"), "{}", lab.console("status"));
    let before = told(&lab);

    // Killed with a journal that lacks the half of it, it finds the rest in the kernel.
    lab.kill();
    lab.start();
    assert_eq!(told(&lab).keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    lab.attack_and_block(ATTACKER);

    remount(&lab, "size=1m");
    lab.wait_for_log("is complete again");
    let before = told(&lab);
    lab.kill();
    assert_eq!(journal(&lab), before);
    lab.tool("iptables", "-F").unwrap();
    lab.start();
    assert_eq!(told(&lab), before);
    assert_eq!(lab.blocked().len(), 1501);
    lab.stop();
}

#[test]
fn a_disk_that_is_read_only_stops_no_block_and_is_told_and_made_good_when_it_can_be_written() {
    each(|mut lab| {
        // A thread of its own, so that the mounts of one go before those of the next.
        std::thread::scope(|scope| {
            let test = || {
                mount_privately();
                small_disk(&lab, "1m");
                lab.start();
                lab.attack_and_block("192.0.2.1");
                lab.kill();
                remount(&lab, "ro");
                lab.start();
                lab.wait_for_log("Read-only file system");
                lab.attack_and_block(ATTACKER);
                lab.wait_for_blocks(&["192.0.2.1", ATTACKER]);
                remount(&lab, "rw");
                lab.wait_for_log("is complete again");
                wait_until("the journal", || journal(&lab) == told(&lab));
                lab.kill();
            };
            std::thread::Builder::new().name("read-only".into()).spawn_scoped(scope, test).unwrap().join().unwrap();
        });
    });
}

#[test]
fn a_log_that_cannot_be_written_stops_no_block() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    mount_privately();
    small_disk(&lab, "4k");
    lab.set("log.file", lab.path("state/log").display().to_string());
    lab.set("state.file", lab.path("bans").display().to_string());
    lab.spawn(&[]);
    let all: Vec<String> = attackers(1, 200).collect();
    lab.say(all.iter().flat_map(|address| unknown_account(address)).collect::<Vec<u8>>());
    lab.wait_for_blocks(&all.iter().map(String::as_str).collect::<Vec<_>>());
    remount(&lab, "size=1m");
    lab.console(&format!("block {ATTACKER}"));
    let log = lab.text("state/log");
    assert!(log.contains(" lines could not be written\n"), "{log}");
    assert!(log.ends_with(&format!("BLOCK => {ATTACKER} (Manual block)\n")), "{log}");
    lab.stop();
}

#[test]
fn half_a_line_at_the_end_of_the_journal_costs_nothing_else() {
    each_chain(|mut lab| {
        lab.start();
        lab.attack_and_block(ATTACKER);
        lab.console("block 2001:db8:7::/64 5000");
        let before = told(&lab);
        lab.kill();
        let mut journal = fs::File::options().append(true).open(lab.path("state/bans")).unwrap();
        journal.write_all(b"block 203.0.113.9/32 1560340915 15604").unwrap();
        let lines = lab.text("state/bans").lines().count();
        lab.tool("iptables", "-F").unwrap();
        lab.tool("ip6tables", "-F").unwrap();
        lab.start();
        lab.wait_for_log(&format!("JOURNAL => line {lines} is cut off, it is left out"));
        assert_eq!(told(&lab), before);
        lab.wait_for_blocks(&[ATTACKER, "2001:db8:7::/64"]);
        lab.attack_and_block("192.0.2.8");
        lab.kill();
        lab.start();
        assert_eq!(lab.logged("JOURNAL => "), 0, "{}", lab.log());
        assert!(lab.is_blocked("192.0.2.8"));
    });
}

#[test]
fn a_journal_that_is_none_is_kept_aside_and_what_the_kernel_has_is_adopted() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    lab.start();
    lab.attack_and_block(ATTACKER);
    lab.kill();
    fs::write(lab.path("state/bans"), "root:x:0:0:root:/root:/bin/bash\n").unwrap();
    lab.start();
    lab.wait_for_log(&format!("kept as {}.damaged-1", lab.path("state/bans").display()));
    assert_eq!(lab.text("state/bans.damaged-1"), "root:x:0:0:root:/root:/bin/bash\n");
    assert_eq!(lab.blocked(), [net(ATTACKER)].into());
    assert_eq!(journal(&lab).len(), 1);
}

#[test]
fn a_journal_that_is_taken_away_while_it_runs_is_written_again() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    lab.start();
    lab.attack_and_block(ATTACKER);
    fs::remove_file(lab.path("state/bans")).unwrap();
    lab.wait_for_log("is complete again");
    assert_eq!(journal(&lab), told(&lab));
}
