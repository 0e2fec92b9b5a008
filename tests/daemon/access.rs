//! Who gets into the console, and whom strangers cannot keep out.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::process::{Child, Stdio};

use crate::lab::netns::{Netns, Variant};
use crate::lab::{CONSOLE, DEADLINE, Lab, wait_until};

const OWN: &str = "198.18.0.1";

/// A machine whose console is open to its network, and a network full of strangers.
fn open_to_the_network() -> Option<(Lab, Netns)> {
    let mut lab = Lab::new(Variant::Nft)?;
    let strangers: Vec<IpAddr> = (66..90).map(|number| IpAddr::from([198, 18, 0, number])).collect();
    let outside = lab.netns.joined(&[OWN.parse().unwrap()], &strangers)?;
    lab.set("control.address", OWN);
    lab.set("control.password", "open sesame");
    lab.start();
    Some((lab, outside))
}

/// What is said to who connects from the first address out there and knows this password, or none.
fn enter(outside: &Netns, password: Option<&str>) -> String {
    outside.enter(|| {
        let mut stream = TcpStream::connect((OWN, CONSOLE)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut said = read_until(&mut stream, "Password: ");
        if let Some(password) = password.filter(|_| said.ends_with("Password: ")) {
            stream.write_all(format!("{password}\n").as_bytes()).unwrap();
            said += &read_until(&mut stream, "sipban>");
        }
        said
    })
}

fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut said = Vec::new();
    let mut byte = [0];
    while !said.ends_with(end.as_bytes()) && stream.read(&mut byte).unwrap() > 0 {
        said.push(byte[0]);
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// Connects from this address, and says nothing.
fn silent(lab: &Lab, outside: &Netns, address: &str) -> Child {
    let mut command = lab.program("nc");
    command.args(["-s", address, OWN, &CONSOLE.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut stranger = outside.enter(|| command.spawn().unwrap());
    // Asked for the password, he is there.
    let mut prompt = [0; 13];
    stranger.stdout.as_mut().unwrap().read_exact(&mut prompt).unwrap();
    assert!(prompt.ends_with(b"Password: "));
    stranger
}

#[test]
fn strangers_who_keep_silent_lock_out_neither_root_nor_who_knows_the_password() {
    let Some((lab, outside)) = open_to_the_network() else { return };
    let mut strangers: Vec<Child> =
        (67..90).map(|number| silent(&lab, &outside, &format!("198.18.0.{number}"))).collect();
    assert!(enter(&outside, Some("open sesame")).ends_with("use 'help' for more commands\r\nsipban>"));
    assert!(lab.console("uptime").starts_with("Uptime "));
    let output = lab.run(&["ctl", "uptime"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for stranger in &mut strangers {
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}

#[test]
fn an_address_that_fails_waits_longer_each_time() {
    let Some((lab, outside)) = open_to_the_network() else { return };
    for wait in [1, 2, 4] {
        let told = format!("too many failures: try again in {wait} s\r\n");
        wait_until(&told, || enter(&outside, None) == told);
    }
    // The machine itself has not failed.
    assert!(lab.console("uptime").starts_with("Uptime "));
    wait_until("another chance", || enter(&outside, Some("open sesame")).ends_with("sipban>"));
    assert!(enter(&outside, Some("open sesame")).ends_with("sipban>"), "what was before is forgotten");
}

/// What `sipban` with these arguments says to `nobody`, after root has done this: exit status, output, complaint.
fn as_nobody_after(lab: &Lab, preparation: &str, args: &[&str]) -> (Option<i32>, String, String) {
    // Where he may go, unlike the folder it was built in.
    let program = lab.path("sipban");
    if !program.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_sipban"), &program).unwrap();
        lab.netns.run(&["chmod", "755", &lab.folder.path().display().to_string()]);
    }
    let script = format!("{preparation} exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"");
    let mut command = lab.program("unshare");
    command.args(["--mount", "sh", "-c", &script, "sh"]).arg(&program).arg("-c").arg(lab.path("conf"));
    let output = lab.netns.enter(|| command.args(args).output().unwrap());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn as_nobody(lab: &Lab, args: &[&str]) -> (Option<i32>, String, String) {
    as_nobody_after(lab, "", args)
}

#[test]
fn a_named_user_needs_no_right_to_read_the_configuration() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    lab.set("control.users", "nobody");
    lab.start();
    let (status, said, complaint) = as_nobody(&lab, &["ctl", "uptime"]);
    assert!(status == Some(0) && said.starts_with("Uptime ") && complaint.is_empty(), "{complaint}");
    let (status, said, complaint) = as_nobody(&lab, &["ctl", "--address", "127.0.0.1", "--port", "4451", "uptime"]);
    assert!(status == Some(0) && said.starts_with("Uptime ") && complaint.is_empty(), "{complaint}");

    // Elsewhere it has to be told where.
    lab.stop();
    lab.set("control.port", "4452");
    lab.launch(&[]);
    wait_until("the console", || lab.run(&["ctl", "uptime"]).status.success());
    let (status, _, complaint) = as_nobody(&lab, &["ctl", "uptime"]);
    assert_eq!(status, Some(69), "{complaint}");
    let unread = format!("{} cannot be read: Permission denied", lab.path("conf").display());
    assert!(complaint.contains(&unread) && complaint.contains("--port"), "{complaint}");
    let (status, said, complaint) = as_nobody(&lab, &["ctl", "--port", "4452", "uptime"]);
    assert!(status == Some(0) && said.starts_with("Uptime ") && complaint.is_empty(), "{complaint}");
}

#[test]
fn statistics_need_no_right_to_read_the_configuration() {
    let Some(lab) = Lab::new(Variant::Nft) else { return };
    // A file system of their own, so that the machine's log is out of sight.
    let own = "mount -t tmpfs none /var/log &&";
    let log = "echo '[2026-11-22 10:00:00] BLOCK => 192.0.2.7 (Invalid Account)' >/var/log/sipban.log &&";
    let (status, said, complaint) = as_nobody_after(&lab, &format!("{own} {log}"), &["stats", "--csv"]);
    assert!(status == Some(0) && said.contains("192.0.2.7") && complaint.is_empty(), "{said}{complaint}");

    let (status, _, complaint) = as_nobody_after(&lab, own, &["stats"]);
    assert_eq!(status, Some(66), "{complaint}");
    let unread = format!("{} cannot be read: Permission denied", lab.path("conf").display());
    assert!(
        complaint.contains("/var/log/sipban.log: there is no such log") && complaint.contains(&unread),
        "{complaint}"
    );
}

#[test]
fn a_configuration_that_is_named_and_not_there_is_an_error() {
    let Some(lab) = Lab::new(Variant::Nft) else { return };
    for command in ["ctl status", "stats"] {
        let args = [&["-c", "/no/such/file"][..], &command.split(' ').collect::<Vec<_>>()].concat();
        let mut program = lab.program(env!("CARGO_BIN_EXE_sipban"));
        let output = program.args(args).output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{complaint}");
        assert!(complaint.contains("/no/such/file"), "{complaint}");
    }
}

#[test]
fn root_on_the_machine_needs_no_password_wherever_the_console_listens() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    lab.set("control.password", "open sesame");
    for address in ["0.0.0.0", "::", "::1", "127.0.0.2"] {
        lab.set("control.address", address);
        lab.launch(&[]);
        wait_until(address, || lab.run(&["ctl", "uptime"]).status.success());
        lab.stop();
    }
}
