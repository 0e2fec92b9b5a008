//! The fake Asterisk of the other tests keeps the protocol of a real one.

#[path = "common/asterisk.rs"]
mod asterisk;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;

use asterisk::{DEADLINE, FakeAsterisk, Step, accept, cut, greeting, play, quiet, refuse};

const LOGIN: &str = "Action: Login\r\nActionID: a-1\r\nUsername: sipban\r\nSecret: getout\r\n\r\n";
const PING: &str = "action:ping\nactionid: p-1\n\n";

/// A client that only knows lines.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(asterisk: &FakeAsterisk) -> Client {
        let stream = TcpStream::connect(asterisk.address()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Client(BufReader::new(stream))
    }

    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// Lines up to and with the empty one.
    fn frame(&mut self) -> String {
        let mut frame = String::new();
        while !frame.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut frame).unwrap(), 0, "closed after {frame:?}");
        }
        frame
    }

    fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        rest
    }
}

#[test]
fn a_recorded_stream_is_played_behind_the_clients_own_login() {
    let stream = include_bytes!("captures/ast22/inject-user.ami");
    let asterisk = FakeAsterisk::start(vec![play(stream)]);
    let mut client = Client::connect(&asterisk);
    assert_eq!(client.line(), "Asterisk Call Manager/11.0.0\r\n");
    client.send(LOGIN);
    assert_eq!(client.frame(), "Response: Success\r\nActionID: a-1\r\nMessage: Authentication accepted\r\n\r\n");
    let (_, events) = cut(stream);
    let mut played = vec![0; events.len()];
    client.0.read_exact(&mut played).unwrap();
    assert_eq!(played, events);

    client.send(PING);
    let pong = client.frame();
    assert!(pong.starts_with("Response: Success\r\nActionID: p-1\r\nPing: Pong\r\nTimestamp: "), "{pong}");
    asterisk.hang_up();
    assert_eq!(client.rest(), b"");
    asterisk.finish();
}

#[test]
fn every_recorded_stream_can_be_cut() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures");
    for asterisk in ["ast16", "ast22"] {
        for entry in std::fs::read_dir(format!("{folder}/{asterisk}")).unwrap() {
            let stream = std::fs::read(entry.unwrap().path()).unwrap();
            let (greeting, events) = cut(&stream);
            assert!(greeting.starts_with(b"Asterisk Call Manager/") && greeting.ends_with(b"\r\n"));
            assert!(events.starts_with(b"Event: SuccessfulAuth\r\n"));
        }
    }
}

#[test]
fn what_the_client_sent_is_recorded_with_its_connection() {
    let asterisk = FakeAsterisk::start(vec![refuse(), quiet(&[("Secret", "getout")])]);
    let mut first = Client::connect(&asterisk);
    first.line();
    first.send(LOGIN);
    assert_eq!(first.frame(), "Response: Error\r\nActionID: a-1\r\nMessage: Authentication failed\r\n\r\n");
    assert_eq!(first.rest(), b"");

    let mut second = Client::connect(&asterisk);
    second.line();
    second.send(LOGIN);
    second.frame();
    second.send(PING);
    second.frame();
    asterisk.wait_for_connections(2);
    let actions = asterisk.wait_for_actions("a Ping", |actions| actions.iter().any(|a| a.name() == "ping"));
    let seen: Vec<_> = actions.iter().map(|a| (a.connection, a.name(), a.get("ACTIONID"))).collect();
    assert_eq!(seen, [(0, "Login", Some("a-1")), (1, "Login", Some("a-1")), (1, "ping", Some("p-1"))]);
    drop(second);
    asterisk.finish();
}

#[test]
fn after_the_last_script_the_port_refuses() {
    let asterisk = FakeAsterisk::start(vec![vec![Step::Send(b"SSH-2.0-nonsense\r\n".to_vec())]]);
    assert_eq!(Client::connect(&asterisk).rest(), b"SSH-2.0-nonsense\r\n");
    asterisk.finish();
    assert!(TcpStream::connect(asterisk.address()).is_err());
}

#[test]
fn a_slow_sender_loses_no_byte() {
    let asterisk = FakeAsterisk::start(vec![vec![Step::SendSlowly(b"Asterisk Call Manager/5.0.4\r\n".to_vec(), 1)]]);
    assert_eq!(Client::connect(&asterisk).rest(), b"Asterisk Call Manager/5.0.4\r\n");
}

#[test]
fn a_script_waits_for_the_test() {
    let (go, gate) = mpsc::channel();
    let late = Step::Send(b"late".to_vec());
    let asterisk =
        FakeAsterisk::start(vec![vec![greeting(), Step::Expect("Login", &[]), accept(), Step::Wait(gate), late]]);
    let mut client = Client::connect(&asterisk);
    client.line();
    client.send(LOGIN);
    client.frame();
    client.0.get_ref().set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
    assert!(client.0.fill_buf().is_err(), "it did not wait");
    client.0.get_ref().set_read_timeout(Some(DEADLINE)).unwrap();
    go.send(()).unwrap();
    assert_eq!(client.rest(), b"late");
}

#[test]
#[should_panic(expected = "expected Login [(\"Secret\", \"other\")]")]
fn a_client_that_does_not_keep_to_the_script_fails_the_test() {
    let asterisk = FakeAsterisk::start(vec![quiet(&[("Secret", "other")])]);
    Client::connect(&asterisk).send(LOGIN);
    asterisk.finish();
}

#[test]
fn a_fake_that_is_dropped_hangs_up_and_frees_its_port() {
    let (_go, gate) = mpsc::channel();
    let asterisk = FakeAsterisk::start(vec![vec![greeting(), Step::Wait(gate)], quiet(&[])]);
    let address = asterisk.address();
    let mut client = Client::connect(&asterisk);
    client.line();
    drop(asterisk);
    assert_eq!(client.rest(), b"");
    // The listener goes a moment later than the connection.
    let again = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        std::net::TcpListener::bind(address).is_ok()
    });
    assert!(again, "{address} is still taken");
}
