//! The console as its users meet it: over TCP, against an owner that follows a script.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use sipban::command::ctl;
use sipban::config::{Control, Secret};
use sipban::console::request::{Reply, Request};
use sipban::console::session::Session;
use sipban::console::whois::Whois;
use sipban::console::{self, Console, Context, Error, MAX_SESSIONS, Patience};
use sipban::event::Event;
use sipban::failure::Failure;
use sipban::model::block::{BlockLine, Reason};
use sipban::model::clock::{Clock, UnixTime};
use sipban::model::target::Holder;

const BANNER: &str = "\r\nSipban\r\nuse 'help' for more commands\r\nsipban>";

/// What no test waits for in vain.
const DEADLINE: Duration = Duration::from_secs(20);

fn control(port: u16) -> Control {
    Control { address: Ipv4Addr::LOCALHOST.into(), port, users: vec![me()], password: None }
}

/// The console serves root; whoever else runs the tests is named in the configuration.
fn me() -> String {
    nix::unistd::User::from_uid(nix::unistd::Uid::current()).unwrap().unwrap().name
}

fn context(inbox: Sender<Event>, patience: Patience) -> Context {
    let local_time = |time: UnixTime| format!("2019-06-13 12:01:{:02}", time.0 % 60);
    Context {
        holder: Holder::Chain("sipban-udp".parse().unwrap()),
        ask: sipban::event::asking(inbox),
        clock: Clock::start(),
        local_time,
        patience,
        whois: Whois::default(),
        atlas: Default::default(),
    }
}

/// A console on a free port, and the other end of its owner's inbox.
fn open(capacity: usize, patience: Patience) -> (Console, Receiver<Event>) {
    let (inbox, events) = bounded(capacity);
    (console::listen(&control(0), context(inbox, patience)).unwrap(), events)
}

/// A console whose owner answers like this. A reply that would block the owner fails the test.
fn open_with(mut owner: impl FnMut(Request) -> Vec<Reply> + Send + 'static) -> Console {
    let (console, events) = open(16, Patience::default());
    let serve = move || {
        for event in events {
            let Event::Request(request, replies) = event else { panic!("{event:?}") };
            for reply in owner(request) {
                // A session may be gone, but never full.
                assert!(!matches!(replies.try_send(reply), Err(crossbeam_channel::TrySendError::Full(_))));
            }
        }
    };
    thread::Builder::new().name("owner".to_owned()).spawn(serve).unwrap();
    console
}

fn net(text: &str) -> ipnet::IpNet {
    text.parse().unwrap()
}

fn some_block() -> BlockLine {
    BlockLine { net: net("221.121.138.167/32"), end: UnixTime(55), reason: Reason::InvalidAccount, origin: None }
}

/// An owner with an answer for everything.
fn obliging(request: Request) -> Vec<Reply> {
    let holder = Holder::Chain("sipban-udp".parse().unwrap());
    match request {
        Request::Blocks => vec![Reply::Blocks(vec![some_block()])],
        Request::Block(net, _) => vec![Reply::Blocked(net)],
        Request::Unblock(net) => vec![Reply::NotBlocked { net, by: None }],
        Request::Flush => vec![Reply::Flushed { holder }],
        Request::Restore => vec![Reply::Restored { holder, blocks: vec![some_block()], problems: vec![] }],
        Request::Ping => vec![Reply::PingSent, Reply::Pong(0.7)],
        Request::Uptime => vec![Reply::Uptime(93_784)],
        Request::WhiteList => vec![Reply::WhiteList { entries: vec!["127.0.0.1".to_owned()], own: vec![] }],
        other => vec![Reply::Failed(format!("not in the script: {other:?}"))],
    }
}

struct Client(TcpStream);

impl Client {
    fn connect(console: &Console) -> Client {
        let stream = TcpStream::connect(console.address()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Client(stream)
    }

    /// Connected, and greeted.
    fn greeted(console: &Console) -> Client {
        let mut client = Client::connect(console);
        client.expect(BANNER);
        client
    }

    fn send(&mut self, text: impl AsRef<[u8]>) {
        self.0.write_all(text.as_ref()).unwrap();
    }

    /// The next bytes are these.
    #[track_caller]
    fn expect(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        let mut bytes = vec![0; text.len()];
        self.0.read_exact(&mut bytes).unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(text));
    }

    #[track_caller]
    fn dialogue(&mut self, line: &str, answer: &str) {
        self.send(format!("{line}\r\n"));
        self.expect(answer);
    }

    /// What comes before the connection is closed.
    #[track_caller]
    fn rest(mut self) -> String {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Ok(_) => {}
            // The console hangs up on some without reading what else they sent.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{error}, after {:?}", String::from_utf8_lossy(&bytes)),
        }
        String::from_utf8(bytes).unwrap()
    }
}

#[test]
fn the_dialogue_of_the_perl_program_is_kept_byte_for_byte() {
    let mut client = Client::connect(&open_with(obliging));
    client.expect(BANNER);
    client.dialogue("", "\r\n\r\nsipban>");
    client.dialogue(
        "help",
        "\r\nCommands:\r\n\r\n\
         block                => List blocked ip address\r\n\
         block {ip address}   => block ip address\r\n\
         unblock [ip address] => unblock ip address\r\n\
         flush                => Dump the blocked IP's and clear rules on chain sipban-udp\r\n\
         restore              => If exists a dump file restore the rules from it\r\n\
         ping                 => Send ping to Asterisk AMI\r\n\
         uptime               => show the program uptime\r\n\
         wl                   => show white list ip address\r\n\
         exit/quit            => exit console session\r\n",
    );
    let mut more = String::new();
    while !more.ends_with("\r\n\r\nsipban>") {
        let mut byte = [0];
        client.0.read_exact(&mut byte).unwrap();
        more.push(char::from(byte[0]));
    }
    for command in ["save", "wl add", "wl del", "status", "why", "top", "whois"] {
        assert!(more.contains(&format!("\r\n{command} ")), "{more}");
    }
    client.dialogue("block", "\r\n[2019-06-13 12:01:55] 221.121.138.167 (Invalid Account)\r\n\r\nsipban>");
    client.dialogue("block 192.0.2.7", "\r\n192.0.2.7 block\r\n\r\nsipban>");
    client.dialogue("block me", "\r\nme don't seems like a valid address\r\n\r\nsipban>");
    client.dialogue("unblock", "\r\nip address missing\r\n\r\nsipban>");
    client.dialogue("unblock 192.0.2.8", "\r\n192.0.2.8 is not previously blocked\r\n\r\nsipban>");
    client.dialogue("flush", "\r\niptables rules from chain sipban-udp removed\r\n\r\nsipban>");
    client.dialogue(
        "restore",
        "\r\nRestore rules sipban-udp\r\n[2019-06-13 12:01:55] 221.121.138.167 (Invalid Account)\r\nEnd restore rules\r\n\r\nsipban>",
    );
    client.dialogue("ping", "\r\nPing sent\r\nPong received in 0.7 ms\r\n\r\nsipban>");
    client.dialogue("uptime", "\r\nUptime 1 day 02:03:04\r\n\r\nsipban>");
    client.dialogue("wl", "\r\n127.0.0.1\r\n\r\nsipban>");
    client.dialogue("whoami", "\r\nInvalid command 'whoami': use 'help' for more commands\r\n\r\nsipban>");
    client.dialogue(
        "block --json",
        "\r\n[{\"end\":55,\"net\":\"221.121.138.167/32\",\"reason\":\"Invalid Account\"}]\r\n",
    );
    client.expect("\r\nsipban>");
    client.send("exit\r\n");
    assert_eq!(client.rest(), "");
}

#[test]
fn commands_sent_in_one_piece_are_answered_in_order_and_the_end_of_input_ends_the_session() {
    let mut client = Client::greeted(&open_with(obliging));
    client.send("uptime\nwl\nblock 192.0.2.7");
    client.0.shutdown(std::net::Shutdown::Write).unwrap();
    // A line that was cut short is not done: who knows how it would have gone on.
    assert_eq!(client.rest(), "\r\nUptime 1 day 02:03:04\r\n\r\nsipban>\r\n127.0.0.1\r\n\r\nsipban>");
}

#[test]
fn options_of_telnet_are_refused_and_do_not_disturb_the_line() {
    let mut client = Client::greeted(&open_with(obliging));
    client.send(b"\xff\xfb\x1f\xff\xfd\x03upt\xff\xfa\x18\x01flush\r\n\xff\xf0ime\r\0");
    client.expect(b"\xff\xfe\x1f\xff\xfc\x03");
    client.expect("\r\nUptime 1 day 02:03:04\r\n\r\nsipban>");
}

#[test]
fn control_c_leaves_and_over_long_lines_are_told() {
    let console = open_with(obliging);
    let mut client = Client::greeted(&console);
    client.dialogue("", "\r\n\r\nsipban>");
    client.send(vec![b'x'; 1 << 20]);
    client.expect("\r\nline longer than 512 bytes ignored\r\n\r\nsipban>");
    client.dialogue("\r\nuptime", "\r\nUptime 1 day 02:03:04\r\n\r\nsipban>");
    client.send(b"\xff\xf4");
    assert_eq!(client.rest(), "");
}

#[test]
fn sessions_do_not_wait_for_one_another() {
    let console = open_with(obliging);
    let mut clients: Vec<Client> = (0..MAX_SESSIONS).map(|_| Client::greeted(&console)).collect();
    for client in clients.iter_mut().rev() {
        client.send("up");
    }
    for client in &mut clients {
        client.dialogue("time", "\r\nUptime 1 day 02:03:04\r\n\r\nsipban>");
    }
}

#[test]
fn one_session_too_many_is_told_so_and_a_place_that_is_left_can_be_taken() {
    let console = open_with(obliging);
    let mut clients: Vec<Client> = (0..MAX_SESSIONS).map(|_| Client::greeted(&console)).collect();
    assert_eq!(Client::connect(&console).rest(), "too many sessions\r\n");
    let mut leaving = clients.pop().unwrap();
    leaving.send("quit\n");
    leaving.rest();
    // The place is given back just after the connection is closed.
    let found = (0..1000).any(|_| {
        let mut first = [0; 2];
        let mut client = Client::connect(&console);
        client.0.read_exact(&mut first).unwrap();
        &first == b"\r\n"
    });
    assert!(found);
}

#[test]
fn clients_of_other_protocols_are_hung_up_on_without_a_word() {
    let console = open_with(|request| panic!("{request:?}"));
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\nflush\r\n", "x".repeat(2000));
    for request in [
        &b"GET / HTTP/1.1\r\nHost: 127.0.0.1:4451\r\n\r\nflush\r\n"[..],
        b"POST / HTTP/1.1\r\n\r\nflush\r\n",
        b"Host: 127.0.0.1\r\nflush\r\n",
        b"OPTIONS rtsp://127.0.0.1:4451/ RTSP/1.0\r\nCSeq: 1\r\n\r\nflush\r\n",
        b"OPTIONS sip:nm SIP/2.0\r\n\r\nflush\r\n",
        b"\x16\x03\x01\x02\x00\nflush\r\n",
        b"\x80\x2e\x01\x00\x02\nflush\r\n",
        long.as_bytes(),
    ] {
        let mut client = Client::greeted(&console);
        client.send(request);
        assert_eq!(client.rest(), "");
    }
}

/// More blocks than the buffers of a connection hold.
fn many_blocks(request: Request) -> Vec<Reply> {
    match request {
        Request::Blocks => vec![Reply::Blocks(vec![some_block(); 40_000])],
        other => obliging(other),
    }
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let console = open_with(many_blocks);
    let (mut deaf, mut other) = (Client::greeted(&console), Client::greeted(&console));
    deaf.send("block\n".repeat(20));
    for _ in 0..20 {
        other.dialogue("uptime", "\r\nUptime 1 day 02:03:04\r\n\r\nsipban>");
    }
}

#[test]
fn a_client_that_does_not_read_is_dropped() {
    let patience = Patience { write: Duration::from_millis(50), ..Patience::default() };
    let (stream, mut client) = connection();
    stream.set_write_timeout(Some(patience.write)).unwrap();
    let (inbox, events) = bounded(1);
    client.send("block\n".repeat(20));
    let owner = move || {
        let mut asked = 0;
        for event in events {
            let Event::Request(request, replies) = event else { panic!("{event:?}") };
            many_blocks(request).into_iter().for_each(|reply| replies.try_send(reply).unwrap());
            asked += 1;
        }
        asked
    };
    let asked = thread::scope(|scope| {
        let owner = scope.spawn(owner);
        let context = context(inbox, patience);
        Session::new(&stream, &context).converse().unwrap_err();
        drop(context);
        owner.join().unwrap()
    });
    assert!(asked < 20, "answered {asked} times");
}

#[test]
fn an_owner_without_time_is_reported_as_busy() {
    let moment = Duration::from_millis(50);
    let patience = Patience { enqueue: moment, reply: moment, ..Patience::default() };
    let (console, events) = open(1, patience);
    let mut client = Client::greeted(&console);
    // Taken into the inbox, and not answered.
    client.dialogue("flush", "\r\nbusy, try again: the command may still be carried out\r\n\r\nsipban>");
    // The inbox is full.
    client.dialogue("flush", "\r\nbusy, try again\r\n\r\nsipban>");
    assert_eq!(events.len(), 1);
    drop(events);
    client.dialogue("flush", "\r\nthe program is stopping\r\n\r\nsipban>");
}

#[test]
fn a_pong_that_does_not_come_is_reported() {
    let patience = Patience { pong: Duration::from_millis(50), ..Patience::default() };
    let (console, events) = open(1, patience);
    let mut client = Client::greeted(&console);
    client.send("ping\n");
    let Ok(Event::Request(Request::Ping, replies)) = events.recv_timeout(DEADLINE) else { panic!("no ping") };
    replies.try_send(Reply::PingSent).unwrap();
    client.expect("\r\nPing sent\r\nNo Pong within 0 s\r\n\r\nsipban>");
    client.send("ping\n");
    let Ok(Event::Request(Request::Ping, replies)) = events.recv_timeout(DEADLINE) else { panic!("no ping") };
    replies.try_send(Reply::NotConnected).unwrap();
    client.expect("\r\nPing not sent: there is no connection to Asterisk\r\n\r\nsipban>");
}

#[test]
fn a_silent_session_is_closed() {
    let patience = Patience { idle: Duration::from_millis(50), ..Patience::default() };
    let (console, _events) = open(1, patience);
    assert_eq!(Client::greeted(&console).rest(), "");
}

/// A connection without a console: the end of a session, and that of its client.
fn connection() -> (TcpStream, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    client.0.set_read_timeout(Some(DEADLINE)).unwrap();
    (listener.accept().unwrap().0, client)
}

/// What a login that is answered like this says, and how it ends.
fn login(tries: &[&str]) -> (String, bool) {
    let (stream, mut client) = connection();
    let patience = Patience { wrong_password: Duration::from_millis(1), ..Patience::default() };
    let context = context(bounded(1).0, patience);
    client.send(tries.join("\n") + "\n");
    let session = || {
        let outcome = Session::new(&stream, &context).login(&Secret("getout".to_owned())).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        outcome
    };
    let right = thread::scope(|scope| scope.spawn(session).join().unwrap());
    let mut said = Vec::new();
    client.0.read_to_end(&mut said).unwrap();
    (said.iter().map(|&byte| char::from(byte)).collect(), right)
}

#[test]
fn the_password_is_asked_for_unseen_three_times_at_most() {
    let hide = "\u{ff}\u{fb}\u{1}";
    assert_eq!(login(&["getout"]), (format!("{hide}Password: "), true));
    assert_eq!(login(&["wrong", "getout"]), (format!("{hide}Password: \r\nPassword: "), true));
    let thrice = format!("{hide}Password: \r\nPassword: \r\nPassword: \r\n");
    assert_eq!(login(&["a", "b", "c", "getout"]), (thrice, false));
    assert!(!login(&["GET / HTTP/1.1", "getout"]).1);
}

#[test]
fn a_console_that_cannot_be_opened_says_what_to_do() {
    let (console, _events) = open(1, Patience::default());
    let again = |control: Control| console::listen(&control, context(bounded(1).0, Patience::default())).unwrap_err();
    let taken = again(control(console.address().port())).to_string();
    assert!(taken.contains(&console.address().to_string()) && taken.contains("another sipban"), "{taken}");
    for address in ["0.0.0.0", "::", "192.0.2.1"] {
        let address: IpAddr = address.parse().unwrap();
        let error = again(Control { address, ..control(0) });
        assert!(matches!(error, Error::NoPassword(refused) if refused == address), "{error}");
        let empty = Control { address, password: Some(Secret(String::new())), ..control(0) };
        assert!(matches!(again(empty), Error::NoPassword(_)));
    }
    let elsewhere =
        Control { address: "192.0.2.1".parse().unwrap(), password: Some(Secret("x".to_owned())), ..control(0) };
    assert!(again(elsewhere).to_string().contains("an address of this machine"));
}

/// Runs `nc` as `nobody` and returns what the console told it.
#[expect(clippy::disallowed_methods, reason = "another user's client is another program")]
fn as_nobody(address: SocketAddr) -> String {
    let output = Command::new("setpriv")
        .args(["--reuid=nobody", "--regid=65534", "--clear-groups", "nc", "-N"])
        .args([address.ip().to_string(), address.port().to_string()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn other_users_are_turned_away_until_they_are_named() {
    if !nix::unistd::Uid::current().is_root() {
        return;
    }
    let console = open_with(|request| panic!("{request:?}"));
    assert_eq!(as_nobody(console.address()), "only root and the users named in control.users may use this console\r\n");
    console.admit(&Control { users: vec!["nobody".to_owned()], ..control(0) });
    assert_eq!(as_nobody(console.address()), BANNER);
}

/// Connects as `nobody`: the kernel knows a socket by the user that the thread had for files when it was made.
fn connect_as_nobody(address: SocketAddr) -> TcpStream {
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap().uid;
    let connect = || {
        nix::unistd::setfsuid(nobody);
        TcpStream::connect(address).unwrap()
    };
    thread::scope(|scope| scope.spawn(connect).join().unwrap())
}

#[test]
fn root_gets_in_whatever_crowd_of_others_stands_at_the_door() {
    if !nix::unistd::Uid::current().is_root() {
        return;
    }
    let console = open_with(obliging);
    let control = Control { users: vec![], ..control(console.address().port()) };
    let done = AtomicBool::new(false);
    // Whose connection one was that is closed already, the kernel does not say, and is asked again.
    let crowd = || {
        while !done.load(Ordering::Relaxed) {
            (0..40).map(|_| connect_as_nobody(console.address())).for_each(drop);
        }
    };
    thread::scope(|scope| {
        scope.spawn(crowd);
        let calls = (0..20).map(|_| ctl(&control, &["uptime"], false));
        let refused: Vec<_> = calls.filter(|(code, ..)| *code != ctl::OK).collect();
        done.store(true, Ordering::Relaxed);
        assert_eq!(refused, []);
    });
}

#[test]
fn root_gets_in_when_the_users_whom_he_named_fill_the_console() {
    if !nix::unistd::Uid::current().is_root() {
        return;
    }
    let console = open_with(obliging);
    let control = Control { users: vec!["nobody".to_owned()], ..control(console.address().port()) };
    console.admit(&control);
    let mut users: Vec<Client> = (0..MAX_SESSIONS).map(|_| Client(connect_as_nobody(console.address()))).collect();
    users.iter_mut().for_each(|user| user.expect(BANNER));
    assert_eq!(Client(connect_as_nobody(console.address())).rest(), "too many sessions\r\n");
    assert_eq!(ctl(&control, &["uptime"], false).0, ctl::OK);
}

fn ctl(control: &Control, words: &[&str], json: bool) -> (u8, String, String) {
    let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let console = ctl::Destination { address: SocketAddr::new(control.address, control.port), password: None };
    let code = console.call(&words, json, &mut out, &mut err);
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn ctl_does_one_command_and_tells_success_from_failure() {
    let console = open_with(obliging);
    let control = control(console.address().port());
    let done = |text: &str| (ctl::OK, text.to_owned(), String::new());
    let failed = |text: &str| (ctl::FAILED, String::new(), text.to_owned());
    assert_eq!(ctl(&control, &["block", "192.0.2.7"], false), done("192.0.2.7 block\n"));
    assert_eq!(ctl(&control, &["unblock", "192.0.2.7"], false), failed("192.0.2.7 is not previously blocked\n"));
    assert_eq!(ctl(&control, &["block", "x"], false), failed("x don't seems like a valid address\n"));
    assert_eq!(ctl(&control, &["flush"], false), done("iptables rules from chain sipban-udp removed\n"));
    assert_eq!(ctl(&control, &["ping"], false), done("Ping sent\nPong received in 0.7 ms\n"));
    assert_eq!(ctl(&control, &["ping"], true), done("{\"pong\":0.7}\n"));
    assert_eq!(ctl(&control, &["wl"], true), done("{\"entries\":[\"127.0.0.1\"],\"own\":[]}\n"));
    assert_eq!(ctl(&control, &["quit"], false), done(""));
    assert!(ctl(&control, &["help"], false).1.starts_with("Commands:\n\nblock  "));
    let (code, _, text) = ctl(&control, &["nonsense"], false);
    assert!(code == ctl::FAILED && text.contains("'help'"), "{text}");
}

#[test]
fn ctl_gives_the_reason_when_it_is_not_let_in() {
    let console = open_with(obliging);
    let control = control(console.address().port());
    let _clients: Vec<Client> = (0..MAX_SESSIONS).map(|_| Client::greeted(&console)).collect();
    let (code, out, err) = ctl(&control, &["uptime"], false);
    assert_eq!((code, out.as_str()), (Failure::UNAVAILABLE, ""));
    assert!(err.contains("too many sessions"), "{err}");
}

#[test]
fn a_false_console_commands_no_terminal() {
    let harmful = "\u{1b}]0;x\u{7}\u{9b}2J\u{202e}";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let control = control(listener.local_addr().unwrap().port());
    let answers =
        [format!("sipban>\nctl\n {harmful}\nok\n"), format!("sipban>\nctl\n {harmful}\nerror\n"), harmful.to_owned()];
    let serve = || {
        for answer in &answers {
            let mut stream = listener.accept().unwrap().0;
            stream.write_all(answer.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            // Until the other side has heard enough.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    };
    thread::scope(|scope| {
        scope.spawn(serve);
        for code in [ctl::OK, ctl::FAILED, Failure::UNAVAILABLE] {
            let (ended, out, err) = ctl(&control, &["uptime"], false);
            let said = out + &err;
            assert_eq!(ended, code, "{said}");
            assert!(said.contains(r"\u{1b}]0;x\u{7}\u{9b}2J\u{202e}") && !said.contains(is_command), "{said}");
        }
    });
}

/// What a terminal would obey, but for the ends of lines.
fn is_command(c: char) -> bool {
    c != '\n' && sipban::logging::is_command(c)
}
