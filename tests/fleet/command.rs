//! `sipban fleet`, and what `sipban check` says of the fleet.

use std::io::Write;
use std::process::Stdio;

use crate::daemons::{ATTACKER, Hub};
use crate::lab::Lab;

/// Has the server know a member as `sipban fleet acl` says, with this password.
fn admit(hub: &Hub, name: &str, password: &str) {
    let output = hub.pbxs[0].run(&["fleet", "acl", name]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with("ACL SETUSER")).unwrap().replace("PASSWORD", password);
    assert_eq!(hub.say(&line.split(' ').collect::<Vec<_>>()), "OK");
}

/// Runs `sipban fleet` with this password on standard input; whether it succeeded, and what it said.
fn fleet(pbx: &Lab, args: &[&str], password: &str) -> (bool, String) {
    let mut command = pbx.command(&[&["fleet"], args].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pbx.netns.enter(|| command.spawn().unwrap());
    // It may have refused its arguments already.
    let _ = child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes());
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn check(pbx: &Lab) -> String {
    let text = String::from_utf8(pbx.run(&["check"]).stdout).unwrap();
    text.lines().filter(|line| line.contains("fleet")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_administrator_blocks_and_frees_networks_at_all_of_them() {
    let Some(mut hub) = Hub::new(2, "nft") else { return };
    for name in ["pbx1", "pbx2", "admin"] {
        admit(&hub, name, &format!("of-{name}"));
    }
    hub.say(&["ACL", "SETUSER", "default", "off"]);
    hub.pbxs[0].set("fleet.password", "of-pbx1");
    hub.pbxs[1].set("fleet.password", "of-pbx2");
    hub.start();
    let (done, said) = fleet(&hub.pbxs[0], &["block", "203.0.113.0/24", "600"], "of-admin");
    assert!(done, "{said}");
    for (number, pbx) in (1..).zip(&hub.pbxs) {
        pbx.wait_for_log("FLEET => 203.0.113.0/24 blocked (Manual block, says admin)");
        assert!(!hub.arrives(number));
    }
    // A block made here is freed too.
    hub.pbxs[0].console(&format!("block {ATTACKER}"));
    let (done, said) = fleet(&hub.pbxs[1], &["unblock", "203.0.113.0/24"], "of-admin");
    assert!(done, "{said}");
    hub.pbxs[0].wait_for_log(&format!("UNBLOCK => {ATTACKER} (Pardoned)"));
    for (number, pbx) in (1..).zip(&hub.pbxs) {
        pbx.wait_for_log("FLEET => 203.0.113.0/24 freed (");
        assert!(hub.arrives(number));
    }
    let (done, said) = fleet(&hub.pbxs[0], &["block", "203.0.113.0/24"], "of-pbx1");
    assert!(!done && said.contains("refuses user or password"), "{said}");
    let (done, said) = fleet(&hub.pbxs[0], &["block", "0.0.0.0/0"], "of-admin");
    assert!(!done && said.contains("too wide"), "{said}");
}

#[test]
fn a_check_says_whether_members_can_speak_in_each_others_name() {
    let Some(mut hub) = Hub::new(1, "iptables") else { return };
    let open = check(&hub.pbxs[0]);
    assert!(open.contains("OK    fleet          pbx1 of main at 198.18.1.1:6379 (without TLS), answers in "), "{open}");
    assert!(open.contains("WARN  fleet rights   it may write the keys of other members"), "{open}");
    assert_eq!(hub.say(&["DBSIZE"]), "0", "a check leaves nothing behind");
    admit(&hub, "pbx1", "getout");
    hub.pbxs[0].set("fleet.password", "getout");
    let guarded = check(&hub.pbxs[0]);
    assert!(guarded.contains("OK    fleet rights   as pbx1 it writes its own keys and nobody else's"), "{guarded}");
    hub.say(&["ACL", "SETUSER", "pbx1", "-zadd"]);
    let lacking = check(&hub.pbxs[0]);
    assert!(lacking.contains("FAIL  fleet rights   NOPERM") && lacking.contains("zadd"), "{lacking}");
    hub.pbxs[0].set("fleet.password", "wrong");
    assert!(check(&hub.pbxs[0]).contains("FAIL  fleet          the server refuses user or password"));
}

#[test]
fn an_acl_is_printed_for_names_only() {
    let Some(hub) = Hub::new(1, "iptables") else { return };
    let (done, said) = fleet(&hub.pbxs[0], &["acl", "pbx*"], "");
    assert!(!done && said.contains("is no name of a member"), "{said}");
}
