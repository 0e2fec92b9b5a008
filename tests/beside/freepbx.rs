//! Beside a program that does to iptables what the firewall of FreePBX does.

use std::fs;
use std::process::Child;
use std::thread;

use crate::fire::{ATTACKER, under_fire};
use crate::lab::netns::Variant;
use crate::lab::{Lab, wait_until};

/// Seconds between its looks at INPUT. The real one takes a few.
const PAUSE: &str = "0.5";

/// Looks of it that the two have to get along for: a minute.
const LOOKS: usize = 120;

/// The program, killed when it is dropped.
struct FreePbx(Child);

impl Drop for FreePbx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(lab: &Lab) -> FreePbx {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/beside/freepbx.sh");
    let mut command = lab.program("sh");
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", lab.programs.path().display());
    command.args([script, PAUSE]).arg(lab.path("freepbx")).env("PATH", path);
    let started = FreePbx(lab.netns.enter(|| command.spawn().unwrap()));
    wait_until("FreePBX's firewall", || logged(lab, "begin") == 1);
    started
}

fn logged(lab: &Lab, word: &str) -> usize {
    fs::read_to_string(lab.path("freepbx")).unwrap_or_default().lines().filter(|line| *line == word).count()
}

#[test]
fn freepbx_s_firewall_and_ours_stand_side_by_side() {
    thread::scope(|scope| {
        for backend in ["iptables", "ipset", "nft"] {
            for variant in [Variant::Nft, Variant::Legacy] {
                let name = format!("{backend} {variant:?}");
                thread::Builder::new().name(name).spawn_scoped(scope, move || stand_beside(backend, variant)).unwrap();
            }
        }
    });
}

fn stand_beside(backend: &str, variant: Variant) {
    let Some(mut lab) = Lab::new(variant) else { return };
    lab.set("iptables.backend", backend);
    lab.set("iptables.verify", 1);
    lab.start();
    under_fire(&mut lab, |lab, arrived| {
        lab.attack_and_block(ATTACKER);
        let before = arrived.attacks();
        // It begins by emptying everything.
        let _freepbx = start(lab);
        if backend != "nft" {
            lab.wait_for_log("REPAIR => ");
            wait_until("peace", || {
                let (restarts, looks) = (logged(lab, "restart"), logged(lab, "check"));
                wait_until("looks", || logged(lab, "check") >= looks + 3 || logged(lab, "restart") > restarts);
                logged(lab, "restart") == restarts
            });
        }
        let (restarts, looks) = (logged(lab, "restart"), logged(lab, "check"));
        let before = if backend == "nft" { before } else { arrived.attacks() };
        for look in 1..=LOOKS {
            wait_until("its looks", || logged(lab, "check") >= looks + look);
        }
        assert_eq!(arrived.attacks(), before, "{}", lab.log());
        assert_eq!(logged(lab, "restart"), restarts, "{}", lab.log());
        assert!(restarts <= 1, "it began anew {restarts} times");
        assert_eq!(lab.logged("STEP BACK"), 0);
        let theirs = lab.tool("iptables", "-S fpbxfirewall").unwrap();
        assert_eq!(theirs.lines().count(), 5, "{theirs}");
        if backend == "nft" {
            assert_eq!((restarts, lab.logged("REPAIR => ")), (0, 0), "{}", lab.log());
        } else {
            let input = lab.tool("iptables", "-S INPUT").unwrap();
            assert_eq!(input.matches("--comment sipban-f2b -j sipban-udp").count(), 2, "{input}");
        }
    });
    lab.stop();
    assert!(!lab.rules().iter().any(|rule| rule.contains("sipban")), "{:?}", lab.rules());
}

#[test]
fn auto_chooses_nft_beside_freepbx_and_takes_over_what_the_chain_blocks() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    lab.set("iptables.backend", "auto");
    lab.set("state.on_stop", "keep");
    lab.start();
    lab.wait_for_log("BACKEND => iptables, because no other firewall is in the way");
    under_fire(&mut lab, |lab, arrived| {
        lab.attack_and_block(ATTACKER);
        lab.stop();
        let _freepbx = start(lab);
        lab.start();
        lab.wait_for_log("BACKEND => nft, because FreePBX's firewall is here");
        assert!(lab.nft("list set inet sipban b4").unwrap().contains(ATTACKER));
        let before = arrived.attacks();
        let looks = logged(lab, "check");
        wait_until("its looks", || logged(lab, "check") >= looks + 5);
        assert_eq!((arrived.attacks(), logged(lab, "restart")), (before, 0), "{}", lab.log());
    });
}
