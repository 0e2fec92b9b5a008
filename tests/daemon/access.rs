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
