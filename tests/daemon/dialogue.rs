//! The console over real TCP, with the programs that people use.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;

use crate::lab::netns::Variant;
use crate::lab::{CONSOLE, Lab, wait_until};

/// From the manual, between the first prompt and the commands that are newer than it.
const HELP: &str = "
Commands:

block                => List blocked ip address
block {ip address}   => block ip address
unblock [ip address] => unblock ip address
flush                => Dump the blocked IP's and clear rules on chain sipban-udp
restore              => If exists a dump file restore the rules from it
ping                 => Send ping to Asterisk AMI
uptime               => show the program uptime
wl                   => show white list ip address
exit/quit            => exit console session
";

fn guarded() -> Option<Lab> {
    let mut lab = Lab::new(Variant::Nft)?;
    lab.start();
    Some(lab)
}

/// What a person sees who types these lines, each at the prompt, in a terminal with this program.
fn typed(lab: &Lab, telnet: &str, lines: &[&str]) -> String {
    let session = format!("{telnet} localhost {CONSOLE}");
    let mut command = lab.program("timeout");
    command.args(["30", "script", "--quiet", "--flush", "--echo", "always", "--command", &session, "/dev/null"]);
    let mut terminal = lab.netns.enter(|| command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let (mut keys, mut screen) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
    let mut seen = Vec::new();
    let mut read = |until: Option<&[u8]>| {
        let mut piece = [0; 4096];
        loop {
            let count = screen.read(&mut piece).unwrap();
            seen.extend_from_slice(&piece[..count]);
            if count == 0 || until.is_some_and(|until| seen.ends_with(until)) {
                break;
            }
        }
        String::from_utf8_lossy(&seen).replace("\r\n", "\n")
    };
    for line in lines {
        read(Some(b"\nsipban>"));
        write!(keys, "{line}\r").unwrap();
    }
    let seen = read(None);
    assert!(terminal.wait().unwrap().code().is_some_and(|code| code < 124), "{telnet}: {seen}");
    seen
}

#[test]
fn the_session_of_the_manual_looks_in_telnet_as_printed_there() {
    let Some(lab) = guarded() else { return };
    let telnets = ["/usr/bin/inetutils-telnet", "/usr/bin/telnet.netkit"];
    let telnets: Vec<&str> = telnets.into_iter().filter(|telnet| Path::new(telnet).exists()).collect();
    assert!(!telnets.is_empty(), "telnet is needed");
    for telnet in telnets {
        let seen = typed(
            &lab,
            telnet,
            &[
                "",
                "help",
                "block 221.121.138.167",
                "block 221.121.138.167",
                "block nobody",
                "unblock",
                "unblock 221.121.138.167",
                "exit",
            ],
        );
        let session = "Connected to localhost.\nEscape character is '^]'.\n\nSipban\nuse 'help' for more commands\n\
                       sipban>\n\n\nsipban>help\n";
        let (_, rest) = seen.split_once(session).unwrap_or_else(|| panic!("{telnet}: {seen}"));
        let rest = rest.strip_prefix(HELP).unwrap_or_else(|| panic!("{telnet}: {rest}"));
        let (_, rest) = rest.split_once("\n\nsipban>").unwrap();
        let expected = "block 221.121.138.167\n\n221.121.138.167 block\n\n\
                        sipban>block 221.121.138.167\n\n221.121.138.167 previously blocked\n\n\
                        sipban>block nobody\n\nnobody don't seems like a valid address\n\n\
                        sipban>unblock\n\nip address missing\n\n\
                        sipban>unblock 221.121.138.167\n\n221.121.138.167 unblocked\n\n\
                        sipban>exit\n";
        assert!(rest.starts_with(expected), "{telnet}: {rest}");
    }
}

#[test]
fn nc_gets_the_same_bytes() {
    let Some(lab) = guarded() else { return };
    lab.console("block 221.121.138.167 5000");
    let mut command = lab.program("nc");
    command.args(["-N", "localhost", &CONSOLE.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut nc = lab.netns.enter(|| command.spawn().unwrap());
    let lines = b"\nunblock 221.121.138.167\nwl\nuptime now\nrestore\nflush\nflash\nexit\n";
    nc.stdin.take().unwrap().write_all(lines).unwrap();
    let said = String::from_utf8(nc.wait_with_output().unwrap().stdout).unwrap();
    let expected = "\r\nSipban\r\nuse 'help' for more commands\r\nsipban>\r\n\r\nsipban>\r\n221.121.138.167 unblocked\r\n\r\nsipban>\
         \r\n127.0.0.1\r\n";
    assert!(said.starts_with(expected), "{said:?}");
    for answer in ["no dump file to restore rules", "iptables rules from chain sipban-udp removed"] {
        assert!(said.contains(&format!("sipban>\r\n{answer}\r\n\r\nsipban>")), "{said:?}");
    }
    assert!(said.ends_with("\r\nInvalid command 'flash': use 'help' for more commands\r\n\r\nsipban>"), "{said:?}");
}

#[test]
fn scripts_use_ctl() {
    let Some(lab) = guarded() else { return };
    let ctl = |words: &[&str]| {
        let output = lab.run(&[&["ctl"], words].concat());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    assert_eq!(ctl(&["block", "192.0.2.7", "5000"]), (Some(0), "192.0.2.7 block\n".into(), String::new()));
    let (status, out, error) = ctl(&["block", "192.0.2.7"]);
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(error.contains("192.0.2.7 previously blocked"), "{error}");
    let (status, out, _) = ctl(&["--json", "block"]);
    let blocks: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(status, Some(0));
    assert_eq!((blocks[0]["net"].as_str(), blocks[0]["reason"].as_str()), (Some("192.0.2.7/32"), Some("Manual block")));
}

#[test]
fn only_root_gets_in() {
    let Some(lab) = guarded() else { return };
    let nc = "setpriv --reuid 65534 --clear-groups nc -N localhost 4451 </dev/null";
    let mut command = lab.program("sh");
    command.args(["-c", nc]);
    let said = lab.netns.enter(|| command.output().unwrap()).stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("only root and the users named in control.users"), "{said}");
    assert!(!said.contains("sipban>"), "{said}");
}

#[test]
fn clients_that_send_megabytes_or_nothing_or_http_hold_up_nobody() {
    let Some(mut lab) = guarded() else { return };
    let connect = || lab.netns.enter(|| TcpStream::connect(("127.0.0.1", CONSOLE)).unwrap());
    let (_silent, mut loud, mut browser) = (connect(), connect(), connect());
    // Not at once, which would be taken for a browser.
    loud.write_all(b"\r\n").unwrap();
    loud.write_all(&vec![b'x'; 4 << 20]).unwrap();
    loud.write_all(b"\r\nblock 192.0.2.7\r\n").unwrap();
    browser.write_all(b"POST / HTTP/1.1\r\nHost: localhost:4451\r\n\r\nflush\r\n").unwrap();
    let mut said = String::new();
    // It may be reset, with something of it unread.
    let _ = browser.read_to_string(&mut said);
    assert!(!said.contains("removed"), "{said}");
    wait_until("the command behind the over-long line", || lab.is_blocked("192.0.2.7"));
    lab.attack_and_block("192.0.2.8");
    assert!(lab.resident() < 3 << 20);
    lab.assert_running();
}
