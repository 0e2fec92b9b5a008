//! Beside the real firewalls of the distribution.

use std::thread;

use crate::fire::{ATTACKER, Arrived, under_fire};
use crate::lab::netns::Variant;
use crate::lab::{Lab, wait_until};

/// Has the neighbour do a step; what it prints.
fn step(lab: &Lab, neighbour: &str, step: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/beside/neighbour.sh");
    let mut command = lab.program("sh");
    command.args([script, neighbour, step]).arg(lab.path(neighbour));
    let output = lab.netns.enter(|| command.output().unwrap());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{neighbour} {step}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// After a step of a neighbour: nobody of whom packets came before gets in again, or not for long.
fn assert_held(lab: &Lab, arrived: &Arrived, before: u64, what: &str) -> u64 {
    if what.contains("nft") {
        assert_eq!(arrived.attacks(), before, "{what}: {}", lab.log());
    } else {
        wait_until("the rules", || arrived.attacks() == arrived.attacks());
    }
    arrived.attacks()
}

fn stand_beside(neighbour: &str) {
    let beside = |backend: &str| {
        let Some(mut lab) = Lab::new(Variant::Nft) else { return };
        lab.set("iptables.backend", backend);
        lab.set("iptables.verify", 1);
        if neighbour == "persistent" {
            // What it saved once.
            step(&lab, neighbour, "start");
        }
        lab.start();
        under_fire(&mut lab, |lab, arrived| {
            lab.attack_and_block(ATTACKER);
            let mut before = arrived.attacks();
            let theirs = |lab: &Lab| {
                // Without what changes by itself.
                let rules = step(lab, neighbour, "rules");
                rules.lines().filter(|rule| !rule.contains("sipban")).map(str::to_owned).collect::<Vec<_>>()
            };
            if neighbour != "persistent" {
                step(lab, neighbour, "start");
            }
            before = assert_held(lab, arrived, before, &format!("{backend}, {neighbour} starts"));
            let rules = theirs(lab);
            for _ in 0..2 {
                step(lab, neighbour, "reload");
                before = assert_held(lab, arrived, before, &format!("{backend}, {neighbour} is loaded again"));
            }
            lab.attack("192.0.2.9");
            lab.wait_for_blocks(&[ATTACKER, "192.0.2.9"]);
            assert_eq!(theirs(lab), rules, "{backend}: {neighbour} is harmed");
            step(lab, neighbour, "stop");
            assert_held(lab, arrived, before, &format!("{backend}, {neighbour} ends"));
            lab.wait_for_blocks(&[ATTACKER, "192.0.2.9"]);
            assert_eq!(lab.logged("STEP BACK") + lab.logged("ERROR"), 0, "{}", lab.log());
        });
        lab.stop();
        assert!(!lab.rules().iter().any(|rule| rule.contains("sipban")), "{:?}", lab.rules());
    };
    thread::scope(|scope| {
        for backend in ["iptables", "ipset", "nft"] {
            thread::Builder::new().name(backend.to_owned()).spawn_scoped(scope, move || beside(backend)).unwrap();
        }
    });
}

#[test]
fn firewalld_starts_reloads_and_ends_beside_it() {
    stand_beside("firewalld");
}

#[test]
fn ufw_is_enabled_reloaded_and_disabled_beside_it() {
    stand_beside("ufw");
}

#[test]
fn fail2ban_starts_bans_reloads_and_ends_beside_it() {
    stand_beside("fail2ban");
}

#[test]
fn docker_starts_containers_beside_it() {
    stand_beside("docker");
}

#[test]
fn netfilter_persistent_loads_old_rules_beside_it() {
    stand_beside("persistent");
}
