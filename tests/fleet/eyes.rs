//! What metrics, the hook and the plugin for monitoring say of the fleet.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use crate::daemons::{ATTACKER, Hub};
use crate::lab::{Lab, wait_until};

const PORT: u16 = 9109;

fn metrics(pbx: &Lab) -> String {
    pbx.netns.enter(|| {
        let mut stream = TcpStream::connect(("127.0.0.1", PORT)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    })
}

#[test]
fn metrics_and_hook_name_who_said_so_and_tell_that_the_server_is_gone() {
    let Some(mut hub) = Hub::new(2, "nft") else { return };
    let (hook, told) = (hub.pbxs[1].path("hook"), hub.pbxs[1].path("told"));
    fs::write(&hook, format!("#!/bin/sh\nprintf '%s\\n' \"$SIPBAN_ORIGIN\" \"$@\" >> {}\n", told.display())).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    hub.pbxs[1].set("hook.program", hook.display());
    hub.pbxs[1].set("hook.every", 1);
    hub.pbxs[1].set("metrics.port", PORT);
    hub.start();
    hub.pbxs[0].attack(ATTACKER);
    hub.pbxs[1].wait_for_log(&format!("FLEET => {ATTACKER} blocked"));
    let text = metrics(&hub.pbxs[1]);
    for line in [
        "sipban_blocks{origin=\"fleet:pbx1\",reason=\"Invalid Account\",family=\"ipv4\"} 1.0",
        "sipban_fleet_up{side=\"reading\"} 1.0",
        "sipban_fleet_up{side=\"writing\"} 1.0",
        "sipban_fleet_members 1.0",
        "sipban_fleet_waiting 0.0",
        "sipban_dropped_packets_total{origin=\"fleet\"} 0",
    ] {
        assert!(text.lines().any(|there| there == line), "{line}\n{text}");
    }
    assert!(!metrics(&hub.pbxs[1]).contains("sipban_blocks{origin=\"local\""));
    hub.pbxs[0].console(&format!("unblock {ATTACKER}"));
    let lines = || fs::read_to_string(&told).unwrap_or_default();
    wait_until("the hook", || lines().contains(&format!("\nfleet-unblock {ATTACKER} Withdrawn\n")));
    assert!(lines().contains("pbx1\n") && lines().contains(&format!("\nfleet-block {ATTACKER} ")), "{}", lines());
    assert!(hub.pbxs[1].console("status --json").contains("\"gone\":null"));
    hub.netns.enter(|| hub.redis.kill());
    wait_until("the loss", || metrics(&hub.pbxs[1]).contains("sipban_fleet_up{side=\"reading\"} 0.0"));
    assert!(!hub.pbxs[1].console("status --json").contains("\"gone\":null"));
}
