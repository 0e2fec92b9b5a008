//! The administrator's program, as the daemon runs it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use crate::lab::asterisk::quiet;
use crate::lab::netns::Variant;
use crate::lab::{Lab, each_chain, wait_until};

/// Has the daemon run a program that writes down its facts, a line each.
fn with_hook(lab: &mut Lab) {
    let (program, facts) = (lab.path("hook"), lab.path("facts"));
    fs::write(&program, format!("#!/bin/sh\nfor fact; do echo \"$fact\"; done >> {}\n", facts.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    lab.set("hook.program", program.display());
    lab.set("hook.every", 1);
}

fn wait_for_fact(lab: &Lab, start: &str) {
    let told = || fs::read_to_string(lab.path("facts")).unwrap_or_default();
    wait_until(start, || told().lines().any(|fact| fact.starts_with(start)));
}

#[test]
fn what_happens_is_told_and_what_a_restart_finds_is_not() {
    each_chain(|mut lab| {
        with_hook(&mut lab);
        lab.start();
        wait_for_fact(&lab, "ami-up Asterisk Call Manager/");
        lab.attack_and_block("221.121.138.167");
        wait_for_fact(&lab, "block 221.121.138.167 ");
        lab.console("block 192.0.2.7");
        lab.console("unblock 192.0.2.7");
        wait_for_fact(&lab, "unblock 192.0.2.7 ");
        lab.tool("iptables", "-F sipban-udp").unwrap();
        wait_for_fact(&lab, "repair ");

        lab.signal(Signal::SIGTERM);
        assert_eq!(lab.wait_for_end().code(), Some(0));
        fs::remove_file(lab.path("facts")).unwrap();
        lab.start();
        lab.attack_and_block("77.247.110.158");
        wait_for_fact(&lab, "block 77.247.110.158 ");
        let told = fs::read_to_string(lab.path("facts")).unwrap();
        assert!(!told.contains("221.121.138.167"), "{told}");
    });
}

#[test]
fn an_asterisk_that_sends_no_events_is_told() {
    let Some(mut lab) = Lab::facing(Variant::Nft, vec![quiet(&[])]) else { return };
    with_hook(&mut lab);
    lab.start();
    wait_for_fact(&lab, "ami-silent not even our own login is told");
}

#[test]
fn a_program_that_fails_or_hangs_holds_up_no_block_and_is_named() {
    each_chain(|mut lab| {
        let program = lab.path("hook");
        fs::write(
            &program,
            "#!/bin/sh\n[ \"$SIPBAN_EVENT\" = ami-up ] && { echo no mail >&2; exit 4; }\nexec sleep 600\n",
        )
        .unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        lab.set("hook.program", program.display());
        lab.set("hook.every", 1);
        lab.start();
        lab.wait_for_log(&format!("HOOK => {} ended with exit status: 4: no mail", program.display()));
        lab.attack_and_block("221.121.138.167");
        lab.attack_and_block("77.247.110.158");
        lab.stop();
    });
}
