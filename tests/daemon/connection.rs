//! The connection to Asterisk, and all that can become of it.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use crate::lab::asterisk::{FakeAsterisk, Step, accept, greeting, quiet, refuse};
use crate::lab::netns::Variant;
use crate::lab::{Lab, challenge, event, unknown_account};

const ATTACKER: &str = "221.121.138.167";

/// A machine whose Asterisk plays these scripts first, and whose daemon runs.
fn facing(scripts: Vec<Vec<Step>>) -> Option<Lab> {
    let mut lab = Lab::facing(Variant::Nft, scripts)?;
    lab.set("ami.ping", 1);
    lab.spawn(&[]);
    Some(lab)
}

/// Logs in and then does this.
fn after_login(step: Step) -> Vec<Step> {
    vec![greeting(), Step::Expect("Login", &[]), accept(), step]
}

/// A phone that logs in.
fn login(address: &str) -> Vec<u8> {
    event("SuccessfulAuth", "Informational", "100", address, "1-7", "UsingPassword: 1\r\n")
}

#[test]
fn it_logs_in_with_what_the_configuration_says_and_asks_for_security_events() {
    let login = &[("Username", "sipban"), ("Secret", "getout"), ("Events", "security")];
    let Some(mut lab) = facing(vec![quiet(login)]) else { return };
    lab.wait_for_log("AMI => connected (Asterisk Call Manager/11.0.0)");
    lab.asterisk().wait_for_actions("two Pings", |actions| actions.iter().filter(|a| a.name() == "Ping").count() >= 2);
    assert!(lab.console("ping").starts_with("Ping sent\nPong received in "));
    assert!(lab.console("status").contains("AMI          up since "));
    assert_eq!(lab.logged("AMI => "), 1);
    lab.stop();
    assert!(!lab.log().contains("getout"));
}

#[test]
fn a_refused_login_is_told_from_a_lost_connection_and_told_once() {
    let Some(lab) = facing(vec![refuse(), refuse()]) else { return };
    lab.wait_for_log("AMI => connected");
    lab.asterisk().wait_for_connections(3);
    let log = lab.log();
    let told: Vec<&str> = log.lines().filter(|line| line.starts_with("AMI => ")).collect();
    assert_eq!(told.len(), 2, "{log}");
    assert!(
        told[0].starts_with("AMI => login refused (Authentication failed): look at ami.user and ami.pass"),
        "{log}"
    );
    lab.attack_and_block(ATTACKER);
}

#[test]
fn silence_is_noticed_and_the_connection_made_again() {
    let Some(lab) = facing(vec![after_login(Step::Stay)]) else { return };
    lab.wait_for_log("AMI => lost (no answer to a Ping within 1 s), retry in 1 s");
    lab.wait_for_log_times("AMI => connected", 2);
    lab.attack_and_block(ATTACKER);
    assert_eq!(lab.logged("AMI => "), 3);
}

#[test]
fn a_connection_that_brings_events_is_alive_however_late_the_answer_to_a_ping_comes() {
    let busy = (0..30).flat_map(|_| [Step::Pause(Duration::from_millis(100)), Step::Send(login("192.0.2.9"))]);
    let script = [greeting(), Step::Expect("Login", &[]), accept()].into_iter().chain(busy).chain([
        Step::Courtesy,
        Step::Expect("Ping", &[]),
        Step::Reply(&["Response: Success", "Ping: Pong"]),
        Step::Stay,
    ]);
    let Some(lab) = facing(vec![script.collect()]) else { return };
    // The first one was asked for at once; the next is not before that is answered.
    lab.asterisk().wait_for_actions("two Pings", |actions| actions.iter().filter(|a| a.name() == "Ping").count() >= 2);
    assert_eq!(lab.logged("AMI => "), 1, "{}", lab.log());
}

#[test]
fn one_who_may_not_read_security_events_is_told_so_until_one_comes() {
    let (go, gate) = mpsc::channel();
    let event = unknown_account(ATTACKER);
    let script =
        [Step::Courtesy, greeting(), Step::Expect("Login", &[]), accept(), Step::Wait(gate), Step::Send(event)];
    let Some(lab) = facing(vec![script.into_iter().chain([Step::Stay]).collect()]) else { return };
    let why = "not even our own login is told, so ami.user may not read security events; give it read = security in \
               manager.conf";
    lab.wait_for_log(&format!("AMI => silent ({why})"));
    assert!(lab.console("status").contains("SILENT: not even our own login is told"), "{}", lab.console("status"));
    assert!(lab.console("ping").starts_with("Ping sent\nPong received in "));
    assert!(lab.console("status --json").contains(&format!("\"silent\":\"{why}\"")));
    go.send(()).unwrap();
    lab.wait_for_log("AMI => heard again (after ");
    lab.wait_for_log(&format!("BLOCK => {ATTACKER}"));
    assert!(!lab.console("status").contains("SILENT"));
    assert_eq!(lab.logged("AMI => "), 3, "{}", lab.log());
}

#[test]
fn a_connection_that_dies_without_a_word_is_noticed() {
    let Some(lab) = facing(vec![quiet(&[])]) else { return };
    lab.wait_for_log("AMI => connected");
    let rule = format!("OUTPUT -p tcp --sport {} -j DROP", lab.asterisk().address().port());
    lab.tool("iptables", &format!("-I {rule}")).unwrap();
    lab.wait_for_log("AMI => lost (no answer to a Ping within 1 s)");
    lab.tool("iptables", &format!("-D {rule}")).unwrap();
    lab.asterisk().hang_up();
    lab.wait_for_log_times("AMI => connected", 2);
    lab.attack_and_block(ATTACKER);
}

#[test]
fn an_asterisk_that_takes_the_connection_and_never_greets_is_given_up() {
    let Some(lab) = facing(vec![vec![Step::Stay]]) else { return };
    lab.wait_for_log("AMI => lost (no greeting within 10 s), retry in 1 s");
    lab.wait_for_log("AMI => connected");
    lab.attack_and_block(ATTACKER);
}

#[test]
fn whoever_sends_events_without_end_instead_of_an_answer_to_the_login_fills_no_memory() {
    let flood = unknown_account("192.0.2.66").repeat(200_000);
    let Some(lab) = facing(vec![vec![greeting(), Step::Expect("Login", &[]), Step::Send(flood), Step::Stay]]) else {
        return;
    };
    lab.wait_for_log("AMI => lost (no manager interface: it sends events and does not answer the login), retry in 1 s");
    assert!(lab.resident() < 3 << 20, "{} bytes resident", lab.resident());
    lab.wait_for_log("AMI => connected");
    lab.attack_and_block(ATTACKER);
    lab.wait_for_blocks(&[ATTACKER]);
}

#[test]
fn what_is_no_manager_interface_is_named() {
    let ssh = vec![Step::Send(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())];
    let noise = vec![Step::Send([&[0xff, 0, 27][..], &[b'x'; 100_000]].concat())];
    let Some(lab) = facing(vec![ssh, noise]) else { return };
    lab.wait_for_log("AMI => lost (no manager interface: it greets with \"SSH-2.0-OpenSSH_9.2\"), retry in 1 s");
    lab.wait_for_log("AMI => lost (no manager interface: it greets with more than a line)");
    lab.wait_for_log("AMI => connected");
    lab.attack_and_block(ATTACKER);
}

#[test]
fn a_stream_cut_in_the_middle_of_a_line_accuses_nobody_and_the_next_connection_begins_anew() {
    let whole = unknown_account("192.0.2.1");
    let cut = unknown_account("198.51.100.77");
    let last = "RemoteAddress: IPV4/UDP/198.51.100.7".len();
    let until = cut.windows(last).position(|text| text == b"RemoteAddress: IPV4/UDP/198.51.100.7").unwrap() + last;
    let Some(lab) = facing(vec![after_login(Step::Send([&whole, &cut[..until]].concat()))]) else { return };
    lab.wait_for_log("AMI => lost (Asterisk closed the connection), retry in 1 s");
    // What would have been the rest of that line.
    lab.say(&cut[until..]);
    lab.attack_and_block(ATTACKER);
    lab.wait_for_blocks(&["192.0.2.1", ATTACKER]);
    assert_eq!(lab.logged("AMI => "), 3);
}

#[test]
fn a_restart_of_asterisk_is_survived_any_number_of_times_and_each_change_told_once() {
    let Some(lab) = facing(vec![]) else { return };
    for (times, attacker) in (1..=3).zip(["192.0.2.1", "192.0.2.2", "192.0.2.3"]) {
        lab.wait_for_log_times("AMI => connected", times);
        lab.attack_and_block(attacker);
        lab.asterisk().hang_up();
        lab.wait_for_log_times("AMI => lost (Asterisk closed the connection), retry in 1 s", times);
    }
    lab.wait_for_log_times("AMI => connected", 4);
    assert_eq!(lab.logged("AMI => "), 7);
    lab.wait_for_blocks(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
}

#[test]
fn an_asterisk_that_starts_later_is_found() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    let at: SocketAddr = "127.0.0.1:5038".parse().unwrap();
    lab.set("ami.port", at.port());
    lab.spawn(&[]);
    lab.wait_for_log("AMI => lost (cannot connect to 127.0.0.1:5038: Connection refused");
    assert!(lab.console("status").contains("AMI          DOWN since "));
    assert_eq!(lab.console("ping"), "Ping sent\n".replace("sent\n", "not sent: there is no connection to Asterisk"));
    let asterisk = lab.netns.enter(|| FakeAsterisk::start_at(at, vec![quiet(&[])]));
    lab.wait_for_log("AMI => connected");
    assert_eq!(lab.logged("AMI => "), 2);
    lab.netns.enter(|| drop(asterisk));
}

#[test]
fn hostile_frames_neither_stop_it_nor_block_anybody_whom_they_name() {
    let Some(mut lab) = facing(vec![]) else { return };
    lab.wait_for_log("AMI => connected");
    let named = "192.0.2.200";
    let event = String::from_utf8(unknown_account("192.0.2.201")).unwrap();
    let (head, _) = event.split_once("RemoteAddress").unwrap();
    for hostile in [
        b"\r\n\r\n\r\n".to_vec(),
        vec![0; 300_000],
        b"\r\n\r\n".to_vec(),
        [b"Event: ".to_vec(), vec![b'A'; 2_000_000], b"\r\n\r\n".to_vec()].concat(),
        (0u8..=255).cycle().take(100_000).collect(),
        b"\r\n\r\n".to_vec(),
        format!("{head}RemoteAddress: IPV4/UDP/{named}\r\n\r\n").into(),
        format!("{head}RemoteAddress: IPV4/UDP/{named}/5060; iptables -F\r\n\r\n").into(),
        format!("{head}RemoteAddress: IPV4/UDP/{named}/70000\r\n\r\n").into(),
        format!("{head}remoteaddress: IPV4/UDP/{named}/5060\r\n\r\n").into(),
        format!("{head}RemoteAddress: IPV4/UDP/0.0.0.0/0/5060\r\n\r\n").into(),
        format!("{head}\r\nRemoteAddress: IPV4/UDP/{named}/5060\r\n\r\n").into(),
        format!("Response: Success\r\nActionID: sipban-0\r\nRemoteAddress: IPV4/UDP/{named}/5060\r\n\r\n").into(),
    ] {
        lab.say(hostile);
    }
    // Whatever an attacker writes, the true end of his event follows it.
    let writer = "192.0.2.203";
    let addresses = event.split_once("SessionID").unwrap().1.replace("192.0.2.201", writer);
    lab.say(format!("SessionID{addresses}"));
    lab.say(challenge("192.0.2.202", 1));
    lab.attack_and_block(ATTACKER);
    lab.wait_for_blocks(&[writer, ATTACKER]);
    lab.assert_running();
    assert_eq!(lab.logged("AMI => "), 1);
}

#[test]
fn what_an_attacker_writes_reaches_neither_log_nor_terminal_as_it_is() {
    let Some(lab) = facing(vec![]) else { return };
    lab.wait_for_log("AMI => connected");
    let account = "\u{1b}[2J<evil>";
    let event = String::from_utf8(unknown_account(ATTACKER)).unwrap();
    lab.say(event.replace("AccountID: 100", &format!("AccountID: {account}")));
    lab.wait_for_blocks(&[ATTACKER]);
    assert!(!lab.console(&format!("why {ATTACKER}")).contains('\u{1b}'));
    assert!(!lab.log().contains('\u{1b}'));
}
