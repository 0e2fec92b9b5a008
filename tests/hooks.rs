//! The sample hooks: each is run with facts as the daemon runs it, against a program or a server that notes what comes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

const FACTS: [&str; 7] = [
    "block 203.0.113.7 1764107815 Invalid Account",
    "block 198.51.100.9 1764107815 Manual block",
    "block 198.51.100.10 1764107815 Adopted",
    "block 2001:db8:7::/64 1764107815 Challenge Failed",
    "block 198.51.100.0/24 1764107815 Failed ACL",
    "unblock 203.0.113.8 Timeout Unblock",
    "ami-down \"quoted\" \\x1b `id` $(id)",
];

#[expect(clippy::disallowed_methods, reason = "the program under test is a shell script")]
fn run(hook: &str, facts: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(format!("{}/packaging/hooks/{hook}", env!("CARGO_MANIFEST_DIR")));
    command.args(facts).env("SIPBAN_COUNT", facts.len().to_string()).env("SIPBAN_LEFT_OUT", "3");
    command.envs(variables.iter().copied()).output().unwrap()
}

/// A web server that answers this many requests with this status, and returns each with its body.
fn server(requests: usize, status: &'static str) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/report", listener.local_addr().unwrap());
    let serve = move || {
        let one = |_| {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let mut request = String::new();
            while !request.ends_with("\r\n\r\n") {
                assert!(stream.read_line(&mut request).unwrap() > 0, "{request}");
            }
            let length = request.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            write!(stream.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            request + &String::from_utf8(body).unwrap()
        };
        (0..requests).map(one).collect()
    };
    (url, thread::Builder::new().name("server".into()).spawn(serve).unwrap())
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_mail_is_a_digest_that_no_fact_can_forge() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("mail");
    let sendmail =
        file(folder.path(), "sendmail", &format!("#!/bin/sh\n{{ echo \"$@\"; cat; }} > {}\n", out.display()));
    let output = run("mail", &FACTS, &[("SIPBAN_SENDMAIL", &sendmail), ("SIPBAN_MAIL_TO", "me@example.org")]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let mail = fs::read_to_string(out).unwrap();
    let (head, body) = mail.split_once("\n\n").unwrap();
    assert!(head.starts_with("-i -- me@example.org\nTo: me@example.org\nSubject: SIPban on "), "{head}");
    assert!(head.contains(": 7 events\n"), "{head}");
    let lines: Vec<&str> = body.lines().collect();
    assert_eq!(lines[..7], FACTS);
    assert!(lines[7].starts_with("and 3 more"), "{body}");
}

#[test]
fn the_web_service_gets_json_whatever_the_facts_hold() {
    let folder = tempfile::tempdir().unwrap();
    let (url, requests) = server(1, "200 OK");
    let url = file(folder.path(), "url", &format!("{url}\n"));
    let output = run("webhook", &FACTS, &[("SIPBAN_WEBHOOK_URL", &url)]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let request = &requests.join().unwrap()[0];
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /report ") && head.contains("Content-Type: application/json"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let text: Vec<&str> = body["text"].as_str().unwrap().lines().collect();
    assert_eq!(text[1..8], FACTS);
    assert_eq!(text[8], "and 3 more");
}

#[test]
fn reported_are_only_addresses_that_this_machine_blocked_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (url, requests) = server(2, "200 OK");
    let key = file(folder.path(), "key", "0123abcd\n");
    let output = run("abuseipdb", &FACTS, &[("SIPBAN_ABUSEIPDB_KEY", &key), ("SIPBAN_ABUSEIPDB_URL", &url)]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let requests = requests.join().unwrap();
    for (request, body) in requests.iter().zip([
        "ip=203.0.113.7&categories=8,18&comment=SIP%3A%20Invalid%20Account%20%28SIPban%29",
        "ip=2001%3Adb8%3A7%3A%3A&categories=8,18&comment=SIP%3A%20Challenge%20Failed%20%28SIPban%29",
    ]) {
        assert!(request.contains("\r\nKey: 0123abcd\r\n"), "{request}");
        assert!(request.replace('+', "%20").to_lowercase().ends_with(&body.to_lowercase()), "{request}");
    }
}

#[test]
fn a_service_that_refuses_is_a_failure_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (url, requests) = server(1, "429 Too Many Requests");
    let key = file(folder.path(), "key", "0123abcd\n");
    let output = run("abuseipdb", &FACTS[..1], &[("SIPBAN_ABUSEIPDB_KEY", &key), ("SIPBAN_ABUSEIPDB_URL", &url)]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("429"), "{output:?}");
    requests.join().unwrap();
}
