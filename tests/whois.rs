//! The console's `whois`, against registries of our own: each a listener on its own loopback address, all on one port.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};
use sipban::config::Control;
use sipban::console::whois::{MAX_ANSWER, Whois};
use sipban::console::{self, Console, Context, Patience};
use sipban::event::Event;
use sipban::model::clock::{Clock, UnixTime};
use sipban::model::target::Holder;

const ROOT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const REGIONAL: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What no test waits for in vain.
const DEADLINE: Duration = Duration::from_secs(20);

/// The same free port on the addresses of both registries.
fn listeners() -> [TcpListener; 2] {
    loop {
        let root = TcpListener::bind((ROOT, 0)).unwrap();
        if let Ok(regional) = TcpListener::bind((REGIONAL, root.local_addr().unwrap().port())) {
            return [root, regional];
        }
    }
}

/// Answers the first question with this, and passes on the question.
fn registry(listener: TcpListener, answer: impl Into<Vec<u8>>) -> Receiver<String> {
    let (asked, questions) = channel();
    let answer = answer.into();
    let serve = move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = String::new();
        BufReader::new(&stream).read_line(&mut question).unwrap();
        asked.send(question).unwrap();
        // Who has heard enough hangs up.
        let _ = stream.write_all(&answer);
    };
    thread::Builder::new().name("registry".to_owned()).spawn(serve).unwrap();
    questions
}

fn whois(root: &TcpListener, patience: Duration) -> Whois {
    Whois { root: ROOT.to_string(), port: root.local_addr().unwrap().port(), patience }
}

/// A console whose owner does nothing: `whois` needs none.
fn console(whois: Whois, inbox: Sender<Event>) -> Console {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::current()).unwrap().unwrap().name;
    let control = Control { address: ROOT.into(), port: 0, users: vec![user], password: None };
    let (clock, local_time) = (Clock::start(), |_: UnixTime| String::new());
    let context = Context {
        holder: Holder::Chain("sipban-udp".parse().unwrap()),
        ask: sipban::event::asking(inbox),
        clock,
        local_time,
        patience: Patience::default(),
        whois,
        atlas: Default::default(),
    };
    console::listen(&control, context).unwrap()
}

/// All that the console says to these lines.
fn dialogue(whois: Whois, lines: &str) -> String {
    let (inbox, _events) = unbounded();
    let mut stream = TcpStream::connect(console(whois, inbox).address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(format!("{lines}\nexit\n").as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said.trim_start_matches("\r\nSipban\r\nuse 'help' for more commands\r\nsipban>").to_owned()
}

#[test]
fn a_referral_is_followed_and_the_registry_that_knows_is_quoted() {
    let [root, regional] = listeners();
    let whois = whois(&root, DEADLINE);
    let asked_first = registry(root, format!("% IANA\n\nrefer:        {REGIONAL}\n\ninetnum:      192.0.0.0\n"));
    let asked_next = registry(regional, "% Terms\n\ninetnum:        192.0.2.0\nnetname:\tTEST\x1b[2J\n\n");
    assert_eq!(
        dialogue(whois, "whois 192.0.2.7"),
        "\r\nWHOIS information: 192.0.2.7 (127.0.0.2)\r\n\r\n\
         inetnum:        192.0.2.0\r\nnetname:    TEST\\u{1b}[2J\r\n\r\nsipban>"
    );
    assert_eq!(asked_first.recv().unwrap(), "192.0.2.7\r\n");
    assert_eq!(asked_next.recv().unwrap(), "192.0.2.7\r\n");
}

#[test]
fn scripts_get_one_line_of_json() {
    let [root, _] = listeners();
    let whois = whois(&root, DEADLINE);
    let _asked = registry(root, "OrgName: Example\n");
    assert_eq!(
        dialogue(whois, "whois --json 2001:db8::7"),
        "\r\n{\"address\":\"2001:db8::7\",\"lines\":[\"OrgName: Example\"],\"server\":\"127.0.0.1\"}\r\n\r\nsipban>"
    );
}

#[test]
fn a_referral_that_leads_nowhere_or_in_a_circle_leaves_what_is_known() {
    let [root, regional] = listeners();
    let here = whois(&root, DEADLINE);
    drop(regional);
    let _asked = registry(root, format!("NetName: X\nReferralServer: whois://{REGIONAL}\n"));
    let said = dialogue(here, "whois 192.0.2.7");
    assert!(said.contains("\r\nNetName: X\r\n") && said.contains("(127.0.0.1 refers to 127.0.0.2: "), "{said}");

    let [root, regional] = listeners();
    let here = whois(&root, DEADLINE);
    let _asked = registry(root, format!("refer: {REGIONAL}\n"));
    let _asked_next = registry(regional, format!("netname: Y\nwhois: {ROOT}\n"));
    assert!(dialogue(here, "whois 192.0.2.7").contains("\r\nnetname: Y\r\nwhois: 127.0.0.1\r\n"));
}

#[test]
fn silence_and_endless_talk_come_to_an_end() {
    let [root, _regional] = listeners();
    let said = dialogue(whois(&root, Duration::from_millis(300)), "whois 192.0.2.7");
    assert_eq!(said, "\r\nNo response from WHOIS servers: 127.0.0.1: no answer in time\r\n\r\nsipban>");

    let [root, _regional] = listeners();
    let here = whois(&root, DEADLINE);
    let _asked = registry(root, "x".repeat(20 * MAX_ANSWER));
    let said = dialogue(here, "whois 192.0.2.7");
    assert!(said.len() > MAX_ANSWER && said.len() < MAX_ANSWER + 200, "{}", said.len());
}

#[test]
fn what_is_no_address_is_asked_of_nobody() {
    let nobody = Whois { port: 1, ..Whois::default() };
    for (line, answer) in [
        ("whois", "ip address missing"),
        ("whois example.com", "example.com don't seems like a valid address"),
        ("whois 192.0.2.0/24", "192.0.2.0/24 is a network: name one address of it"),
        ("whois 192.0.2.7 now", "too many words for 'whois': use 'help' to see how it is written"),
    ] {
        assert_eq!(dialogue(nobody.clone(), line), format!("\r\n{answer}\r\n\r\nsipban>"));
    }
}
