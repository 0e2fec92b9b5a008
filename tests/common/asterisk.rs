//! A fake Asterisk: an AMI server on loopback that plays a script to each client in turn.
//!
//! A test file takes it in with `#[path = "common/asterisk.rs"] mod asterisk;`.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// How long anything that must happen may take.
pub const DEADLINE: Duration = Duration::from_secs(10);

const GREETING: &[u8] = b"Asterisk Call Manager/11.0.0\r\n";
/// What Asterisk 22 tells a client that may read security events of the client's own login.
const OWN_LOGIN: &str = "Event: SuccessfulAuth\r\nPrivilege: security,all\r\nEventTV: 2026-11-22T10:49:03.713+0000\r\n\
    Severity: Informational\r\nService: AMI\r\nEventVersion: 1\r\nAccountID: sipban\r\nSessionID: 0x7f1a60003b20\r\n\
    LocalAddress: IPV4/TCP/127.0.0.1/5038\r\nRemoteAddress: IPV4/TCP/127.0.0.1/48218\r\nUsingPassword: 0\r\n\
    SessionTV: 2026-11-22T10:49:03.713+0000\r\n\r\n";
const ACCEPTED: &[&str] = &["Response: Success", "Message: Authentication accepted"];

/// One thing that the fake does on a connection. When its steps are done, it closes the connection.
#[derive(Debug)]
pub enum Step {
    /// Waits for the client's next action, which must be this one and have these headers.
    Expect(&'static str, &'static [(&'static str, &'static str)]),
    /// Answers the action last expected with these lines, its ActionID behind the first of them.
    Reply(&'static [&'static str]),
    /// Sends these bytes in one piece.
    Send(Vec<u8>),
    /// Sends these bytes in pieces of this many.
    SendSlowly(Vec<u8>, usize),
    /// Goes on when the test sends something through the other end of the channel, or drops it.
    Wait(Receiver<()>),
    /// Greets, takes whatever Login comes, and tells of it as of every event. A client that goes away before is no
    /// problem.
    Welcome,
    /// Sends what the test puts in at the other end of the channel, until the test drops that end or the client goes.
    Relay(crossbeam_channel::Receiver<Vec<u8>>),
    /// Does nothing for this long.
    Pause(Duration),
    /// From now on answers every Ping, Events and Logoff by itself; `Expect` does not see them any more.
    Courtesy,
    /// Stays connected until the client closes, logs off or [`FakeAsterisk::hang_up`] is called.
    Stay,
}

/// Greets, takes a Login that has these headers, answers Pings and sends nothing more, as Asterisk does to one who may
/// read no events.
pub fn quiet(login: &'static [(&'static str, &'static str)]) -> Vec<Step> {
    vec![Step::Courtesy, greeting(), Step::Expect("Login", login), accept(), Step::Stay]
}

/// Greets and refuses the Login, as Asterisk does for a wrong secret.
pub fn refuse() -> Vec<Step> {
    let refusal = &["Response: Error", "Message: Authentication failed"];
    vec![greeting(), Step::Expect("Login", &[]), Step::Reply(refusal)]
}

/// Plays a recorded stream: its greeting, an answer to the client's own Login, then all its events at once.
/// Answers Pings and stays connected.
pub fn play(stream: &[u8]) -> Vec<Step> {
    let (greeting, events) = cut(stream);
    let (greeting, events) = (greeting.to_vec(), events.to_vec());
    vec![Step::Send(greeting), Step::Expect("Login", &[]), accept(), Step::Courtesy, Step::Send(events), Step::Stay]
}

/// The greeting of Asterisk 22.
pub fn greeting() -> Step {
    Step::Send(GREETING.to_vec())
}

/// The answer to a good Login.
pub fn accept() -> Step {
    Step::Reply(ACCEPTED)
}

/// Greeting line and events of a recorded stream, without the recorder's own login and logoff.
///
/// # Panics
/// If it is no such stream.
pub fn cut(stream: &[u8]) -> (&[u8], &[u8]) {
    const LOGIN: &[u8] = b"Response: Success\r\nActionID: login-1\r\nMessage: Authentication accepted\r\n\r\n";
    const GOODBYE: &[u8] = b"Response: Goodbye\r\nMessage: Thanks for all the fish.\r\n\r\n";
    let line = stream.iter().position(|&byte| byte == b'\n').expect("a recorded stream begins with a greeting line");
    let (greeting, rest) = stream.split_at(line + 1);
    let rest = rest.strip_prefix(LOGIN).expect("the recorder's login comes first");
    (greeting, rest.strip_suffix(GOODBYE).expect("the recorder's logoff comes last"))
}

/// An action that a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Number of the connection it came on, from 0.
    pub connection: usize,
    /// Its headers as sent.
    pub headers: Vec<(String, String)>,
}

impl Action {
    /// The first value of a header, whose name may be in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Which action it is, such as `Login`; empty if it does not say.
    pub fn name(&self) -> &str {
        self.get("Action").unwrap_or_default()
    }
}

/// A running fake. It takes as many connections as it has scripts, one after the other; then its port refuses.
#[derive(Debug)]
pub struct FakeAsterisk {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// What the threads of the fake tell the test.
#[derive(Debug, Default)]
struct State {
    actions: Vec<Action>,
    connections: usize,
    current: Option<TcpStream>,
    stopped: bool,
    finished: bool,
    problem: Option<String>,
}

impl FakeAsterisk {
    /// Listens on a free port of 127.0.0.1.
    pub fn start(scripts: Vec<Vec<Step>>) -> FakeAsterisk {
        FakeAsterisk::start_at("127.0.0.1:0".parse().unwrap(), scripts)
    }

    /// Listens on this address, port 0 being any free one.
    pub fn start_at(address: SocketAddr, scripts: Vec<Vec<Step>>) -> FakeAsterisk {
        let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("fake Asterisk on {address}: {e}"));
        let fake = FakeAsterisk { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let shared = Arc::clone(&fake.shared);
        thread::Builder::new().name("fake-asterisk".into()).spawn(move || serve(listener, scripts, &shared)).unwrap();
        fake
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the present connection, as a restart of Asterisk does; the next script awaits the next one.
    pub fn hang_up(&self) {
        if let Some(stream) = &self.shared.state().current {
            let _ = stream.shutdown(Shutdown::Both); // It may be closed already.
        }
    }

    /// Waits until this many connections have been taken in all.
    pub fn wait_for_connections(&self, count: usize) {
        drop(self.wait(&format!("{count} connections"), |state| state.connections >= count));
    }

    /// Waits until what clients have sent so far satisfies `enough`, and returns it.
    pub fn wait_for_actions(&self, what: &str, enough: impl Fn(&[Action]) -> bool) -> Vec<Action> {
        self.wait(what, |state| enough(&state.actions)).actions.clone()
    }

    /// Waits until all scripts are done.
    pub fn finish(&self) {
        drop(self.wait("the end of all scripts", |state| state.finished));
    }

    /// Panics if a script met something else than it expected, or if it takes longer than [`DEADLINE`].
    fn wait(&self, what: &str, done: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waiting = |state: &mut State| state.problem.is_none() && !done(state);
        let (state, _) = self.shared.changed.wait_timeout_while(self.shared.state(), DEADLINE, waiting).unwrap();
        if let Some(problem) = state.problem.clone() {
            drop(state);
            panic!("fake Asterisk: {problem}");
        }
        assert!(done(&state), "fake Asterisk: waited {DEADLINE:?} for {what}, got {:?}", state.actions);
        state
    }
}

impl Drop for FakeAsterisk {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        self.hang_up();
        let _ = TcpStream::connect(self.address); // Wakes the listener; it may have ended already.
    }
}

impl Shared {
    /// The state. A thread that panicked left nothing half done in it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    fn stopped(&self) -> bool {
        self.state().stopped
    }
}

fn serve(listener: TcpListener, scripts: Vec<Vec<Step>>, shared: &Arc<Shared>) {
    for (number, script) in scripts.into_iter().enumerate() {
        let accepted = listener.accept().and_then(|(stream, _)| Connection::start(number, stream, shared));
        if shared.stopped() {
            return;
        }
        let played = accepted.map_err(|e| e.to_string()).and_then(|mut connection| connection.play(script));
        if let Err(problem) = played {
            shared.change(|state| state.problem = Some(format!("connection {number}: {problem}")));
            return;
        }
    }
    drop(listener);
    shared.change(|state| state.finished = true);
}

/// The side of a connection that sends. The other, which reads, is a thread of its own.
struct Connection {
    stream: Arc<Mutex<TcpStream>>,
    actions: Receiver<Action>,
    courtesy: Arc<Mutex<bool>>,
    shared: Arc<Shared>,
    last: Option<Action>,
}

impl Connection {
    fn start(number: usize, stream: TcpStream, shared: &Arc<Shared>) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        let reader = BufReader::new(stream.try_clone()?);
        let present = stream.try_clone()?;
        let (sender, actions) = mpsc::channel();
        let stream = Arc::new(Mutex::new(stream));
        let courtesy = Arc::new(Mutex::new(false));
        let listening = Listening {
            number,
            reader,
            stream: Arc::clone(&stream),
            courtesy: Arc::clone(&courtesy),
            shared: Arc::clone(shared),
            actions: sender,
        };
        shared.change(|state| {
            state.current = Some(present);
            state.connections += 1;
        });
        thread::Builder::new().name(format!("fake-asterisk-{number}")).spawn(move || listening.run())?;
        Ok(Connection { stream, actions, courtesy, shared: Arc::clone(shared), last: None })
    }

    /// Does the steps. A client that goes away in the middle ends the script, which is no problem unless an
    /// action was expected of it.
    fn play(&mut self, script: Vec<Step>) -> Result<(), String> {
        for step in script {
            match step {
                Step::Expect(name, headers) => self.expect(name, headers)?,
                Step::Reply(lines) => {
                    let action = self.last.as_ref().ok_or("Reply before any Expect")?;
                    send(&self.stream, answer(action, lines).as_bytes(), usize::MAX);
                }
                Step::Send(bytes) => send(&self.stream, &bytes, usize::MAX),
                Step::SendSlowly(bytes, size) => send(&self.stream, &bytes, size),
                Step::Wait(gate) => self.wait(&gate)?,
                Step::Welcome => {
                    send(&self.stream, GREETING, usize::MAX);
                    let Ok(login) = self.actions.recv_timeout(DEADLINE) else { return Ok(()) };
                    send(&self.stream, (answer(&login, ACCEPTED) + OWN_LOGIN).as_bytes(), usize::MAX);
                }
                Step::Relay(pieces) => self.relay(&pieces),
                Step::Pause(time) => thread::sleep(time),
                Step::Courtesy => *self.courtesy.lock().unwrap() = true,
                Step::Stay => while self.actions.recv().is_ok() {},
            }
        }
        Ok(())
    }

    fn expect(&mut self, name: &str, headers: &[(&str, &str)]) -> Result<(), String> {
        let action = match self.actions.recv_timeout(DEADLINE) {
            Ok(action) => action,
            Err(RecvTimeoutError::Timeout) => return Err(format!("expected {name}, got nothing in {DEADLINE:?}")),
            Err(RecvTimeoutError::Disconnected) => return Err(format!("expected {name}, the client closed")),
        };
        let fits = action.name().eq_ignore_ascii_case(name)
            && headers.iter().all(|&(key, value)| action.get(key) == Some(value));
        let problem = format!("expected {name} {headers:?}, got {:?}", action.headers);
        self.last = Some(action);
        if fits { Ok(()) } else { Err(problem) }
    }

    fn relay(&self, pieces: &crossbeam_channel::Receiver<Vec<u8>>) {
        while !self.shared.stopped() && !matches!(self.actions.try_recv(), Err(TryRecvError::Disconnected)) {
            match pieces.recv_timeout(Duration::from_millis(20)) {
                Ok(piece) => send(&self.stream, &piece, usize::MAX),
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn wait(&self, gate: &Receiver<()>) -> Result<(), String> {
        while !self.shared.stopped() {
            match gate.recv_timeout(Duration::from_millis(20)) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
        Err("stopped while it waited for the test".into())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.stream.lock().unwrap().shutdown(Shutdown::Both); // The client may have closed already.
    }
}

/// The side of a connection that reads.
struct Listening {
    number: usize,
    reader: BufReader<TcpStream>,
    stream: Arc<Mutex<TcpStream>>,
    courtesy: Arc<Mutex<bool>>,
    shared: Arc<Shared>,
    actions: Sender<Action>,
}

impl Listening {
    /// Reads until the client closes.
    fn run(mut self) {
        while let Some(headers) = next_headers(&mut self.reader) {
            let action = Action { connection: self.number, headers };
            self.shared.change(|state| state.actions.push(action.clone()));
            let polite = if *self.courtesy.lock().unwrap() { courtesy(&action) } else { None };
            match polite {
                Some(lines) => send(&self.stream, answer(&action, lines).as_bytes(), usize::MAX),
                // After its script the fake listens to nobody.
                None => drop(self.actions.send(action)),
            }
        }
    }
}

/// What Asterisk answers to the actions that need no script.
fn courtesy(action: &Action) -> Option<&'static [&'static str]> {
    match action.name().to_ascii_lowercase().as_str() {
        "ping" => Some(&["Response: Success", "Ping: Pong", "Timestamp: 1795345279.582866"]),
        "events" => Some(&["Response: Success", "Events: On"]),
        "logoff" => Some(&["Response: Goodbye", "Message: Thanks for all the fish."]),
        _ => None,
    }
}

fn answer(action: &Action, lines: &[&str]) -> String {
    let id = action.get("ActionID").map(|id| format!("ActionID: {id}"));
    let (first, rest) = lines.split_at(1);
    let lines = first.iter().copied().chain(id.as_deref()).chain(rest.iter().copied());
    lines.chain([""]).map(|line| format!("{line}\r\n")).collect()
}

/// Sends in pieces of `size`, far enough apart to be read one by one. Nothing else comes in between.
fn send(stream: &Mutex<TcpStream>, bytes: &[u8], size: usize) {
    let mut stream = stream.lock().unwrap();
    for (number, piece) in bytes.chunks(size).enumerate() {
        if number > 0 {
            thread::sleep(Duration::from_micros(100));
        }
        if stream.write_all(piece).is_err() {
            return; // The client has gone; the reading side notices.
        }
    }
}

/// Reads an action as Asterisk does: lines end with CR LF or LF, an empty one ends the action.
fn next_headers(reader: &mut impl BufRead) -> Option<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let line = String::from_utf8_lossy(&line);
        match line.trim_end_matches(['\r', '\n']).split_once(':') {
            Some((key, value)) => headers.push((key.to_owned(), value.trim_start().to_owned())),
            None if headers.is_empty() => {}
            None => return Some(headers),
        }
    }
}
