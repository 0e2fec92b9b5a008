//! One connection to Asterisk, from its greeting until it is lost.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;

use super::frame::{Frame, Framer};
use super::lines::FrameLines;
use super::security::{Guard, Unsound};
use crate::config::Ami;
use crate::event::{AmiState, Event};
use crate::geo::Atlas;
use crate::model::clock::Clock;
use crate::model::security::SecurityEvent;

/// How long to wait for the connection, for the greeting, for the answer to the login, and for a write. Asterisk takes
/// a second to refuse a wrong secret.
const PATIENCE: Duration = Duration::from_secs(10);

/// At most this many bytes of a greeting are read. That of a manager interface has about thirty.
const MAX_GREETING: usize = 1024;

/// At most this many events, and those of one read, are kept before the login is answered. Asterisk sends one, that of
/// the login itself; whoever sends more and never answers would fill the memory.
const MAX_BEFORE_LOGIN: usize = 1000;

/// How long to wait for the rest of an event that an attacker may have cut, from Asterisk on this machine and over a
/// network. Asterisk sends it in the same write, but a network may have to send a part of that again.
const SILENCE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How long a read waits, and so how late a Ping that the console asks for may go out.
const IDLE: Duration = Duration::from_millis(250);

/// Asterisk sends the event of our own login at once to whoever may read security events. Who has not had it this long
/// after is deaf.
const DEAF: Duration = Duration::from_secs(5);

/// A session keeps the rights that it had at its login. One that is deaf ends this long after it, to see whether the
/// rights were given meanwhile.
const DEAF_SESSION: Duration = Duration::from_secs(60);

/// Why a session ended, or never began.
#[derive(Debug)]
pub(super) enum End {
    /// The connection could not be made, or is lost.
    Lost(String),
    /// Asterisk refused the login.
    Refused(String),
    /// It had no event, and so no right to read any.
    Deaf,
    /// The owner has stopped.
    OwnerGone,
}

/// What one read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Bytes,
    /// Nothing came in time.
    Silence,
    /// The end of the stream.
    End,
}

/// Whether security events come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    /// That of our own login may still come.
    Unproved,
    Proved,
    /// None came, and the owner knows.
    Deaf,
}

/// A connection that is logged in.
pub(super) struct ManagerSession<'a> {
    ami: &'a Ami,
    inbox: &'a Sender<Event>,
    clock: &'a Clock,
    ping_wanted: &'a AtomicBool,
    atlas: &'a Atlas,
    stream: TcpStream,
    silence: Duration,
    framer: Framer,
    guard: Guard,
    /// What the guard had met when the owner was last told of it.
    told: Unsound,
    /// The ActionID of all actions of this session. It is random, so that no attacker can write an answer to them.
    token: String,
    /// When it was logged in.
    since: Duration,
    hearing: Hearing,
    /// When the unanswered Ping was sent.
    pinged: Option<Duration>,
    /// When Asterisk was last heard.
    heard: Duration,
    /// When the next Ping is due.
    next_ping: Duration,
}

impl<'a> ManagerSession<'a> {
    /// Connects and logs in.
    pub(super) fn open(
        ami: &'a Ami,
        inbox: &'a Sender<Event>,
        clock: &'a Clock,
        ping_wanted: &'a AtomicBool,
        atlas: &'a Atlas,
    ) -> Result<ManagerSession<'a>, End> {
        let stream = connect(ami)?;
        let now = clock.now().monotonic;
        let mut session = ManagerSession {
            ami,
            inbox,
            clock,
            ping_wanted,
            atlas,
            silence: if is_local(&stream) { SILENCE.0 } else { SILENCE.1 },
            stream,
            framer: Framer::default(),
            guard: Guard::default(),
            told: Unsound::default(),
            token: token()?,
            since: now,
            hearing: Hearing::Unproved,
            pinged: None,
            heard: now,
            next_ping: now + Duration::from_secs(ami.ping),
        };
        let greeting = session.greeting(now + PATIENCE)?;
        session.log_in(now + 2 * PATIENCE)?;
        session.since = clock.now().monotonic;
        session.tell(Event::Ami(AmiState::Up { greeting }))?;
        Ok(session)
    }

    /// Reads events until the connection is lost.
    pub(super) fn run(&mut self) -> End {
        loop {
            if let Err(end) = self.turn() {
                return end;
            }
        }
    }

    /// Reads what comes within a fraction of a second, passes it on, and sends a Ping if one is due.
    pub(super) fn turn(&mut self) -> Result<(), End> {
        let waits = self.guard.is_waiting() && self.framer.is_between_frames();
        let mut events = Vec::new();
        let heard = self.read(if waits { self.silence } else { IDLE })?;
        match heard {
            Heard::Bytes => self.frames(&mut events)?,
            // No rest has come to what waits, so there is none.
            Heard::Silence | Heard::End if waits => self.guard.silence(&mut events),
            Heard::Silence | Heard::End => {}
        }
        self.pass_on(events)?;
        self.tell_unread()?;
        if heard == Heard::End {
            return Err(closed());
        }
        self.listen_for_own_login()?;
        self.keep_alive(heard)
    }

    fn listen_for_own_login(&mut self) -> Result<(), End> {
        let waited = self.clock.now().monotonic.saturating_sub(self.since);
        match self.hearing {
            Hearing::Unproved if waited >= DEAF => {
                self.hearing = Hearing::Deaf;
                self.tell(Event::Ami(AmiState::Deaf))
            }
            Hearing::Deaf if waited >= DEAF_SESSION => Err(End::Deaf),
            Hearing::Unproved | Hearing::Proved | Hearing::Deaf => Ok(()),
        }
    }

    fn tell_unread(&mut self) -> Result<(), End> {
        let (now, told) = (self.guard.unsound, std::mem::replace(&mut self.told, self.guard.unsound));
        if (now.strange, now.overlong) == (told.strange, told.overlong) {
            return Ok(());
        }
        self.hearing = Hearing::Proved;
        self.tell(Event::Unread { strange: now.strange - told.strange, overlong: now.overlong - told.overlong })
    }

    /// Takes in the frames that have been read.
    fn frames(&mut self, events: &mut Vec<SecurityEvent>) -> Result<(), End> {
        while let Some(frame) = self.framer.next_frame() {
            self.guard.frame(&frame, events);
            if self.pinged.is_some() && is_response_to(&frame, &self.token) {
                if let Some(sent) = self.pinged.take() {
                    let took = self.clock.now().monotonic.saturating_sub(sent);
                    self.inbox.send(Event::Pong(took)).map_err(|_| End::OwnerGone)?;
                }
            }
        }
        Ok(())
    }

    fn pass_on(&mut self, mut events: Vec<SecurityEvent>) -> Result<(), End> {
        if events.is_empty() {
            return Ok(());
        }
        self.hearing = Hearing::Proved;
        // Here, where nobody else waits for it.
        self.atlas.locate(&mut events);
        self.tell(Event::Security(events))
    }

    fn tell(&self, event: Event) -> Result<(), End> {
        self.inbox.send(event).map_err(|_| End::OwnerGone)
    }

    /// Sends a Ping if one is due, and gives the connection up if nothing was heard for as long since the last one. Any
    /// byte is a sign of life: under load the answer to a Ping stands behind all the events.
    fn keep_alive(&mut self, heard: Heard) -> Result<(), End> {
        let now = self.clock.now().monotonic;
        let interval = Duration::from_secs(self.ami.ping);
        if heard == Heard::Bytes {
            self.heard = now;
        }
        if self.pinged.is_some_and(|sent| now > sent.max(self.heard) + interval) {
            return Err(End::Lost(format!("no answer to a Ping within {} s", self.ami.ping)));
        }
        let wanted = self.ping_wanted.swap(false, Ordering::Relaxed);
        if (wanted || now >= self.next_ping) && self.pinged.is_none() {
            self.next_ping = now + interval;
            self.pinged = Some(now);
            self.action("Ping", "")?;
        }
        Ok(())
    }

    fn greeting(&mut self, deadline: Duration) -> Result<String, End> {
        loop {
            if let Some(line) = self.framer.next_line() {
                let line = String::from_utf8_lossy(line).into_owned();
                if line.starts_with("Asterisk Call Manager/") && line.len() < MAX_GREETING {
                    return Ok(line);
                }
                return Err(not_asterisk(line.as_bytes()));
            }
            if self.framer.peek().len() > MAX_GREETING {
                return Err(End::Lost("no manager interface: it greets with more than a line".into()));
            }
            self.read_before(deadline, "no greeting")?;
        }
    }

    fn log_in(&mut self, deadline: Duration) -> Result<(), End> {
        let credentials = format!("Username: {}\r\nSecret: {}\r\nEvents: security\r\n", self.ami.user, self.ami.pass.0);
        self.action("Login", &credentials)?;
        let mut events = Vec::new();
        loop {
            while let Some(frame) = self.framer.next_frame() {
                self.guard.frame(&frame, &mut events);
                let Frame::Whole(bytes) = frame else { continue };
                if !is_response_to(&Frame::Whole(bytes), &self.token) {
                    continue;
                }
                if bytes.starts_with(b"Response: Success\r\n") {
                    // What came with the answer is passed on before anything that comes later.
                    self.frames(&mut events)?;
                    return self.pass_on(events);
                }
                let message = FrameLines::of(bytes).find(b"Message").unwrap_or(b"login refused without a reason");
                return Err(End::Refused(String::from_utf8_lossy(message).into_owned()));
            }
            if events.len() > MAX_BEFORE_LOGIN {
                let why = "no manager interface: it sends events and does not answer the login";
                return Err(End::Lost(why.to_owned()));
            }
            self.read_before(deadline, "no answer to the login")?;
        }
    }

    fn action(&mut self, name: &str, fields: &str) -> Result<(), End> {
        let action = format!("Action: {name}\r\nActionID: {}\r\n{fields}\r\n", self.token);
        self.stream.write_all(action.as_bytes()).map_err(|error| End::Lost(format!("cannot send {name}: {error}")))
    }

    fn read_before(&mut self, deadline: Duration, what: &str) -> Result<(), End> {
        let left = deadline.saturating_sub(self.clock.now().monotonic);
        if left.is_zero() {
            return Err(End::Lost(format!("{what} within {} s", PATIENCE.as_secs())));
        }
        match self.read(left)? {
            Heard::End => Err(closed()),
            Heard::Bytes | Heard::Silence => Ok(()),
        }
    }

    /// Reads once.
    fn read(&mut self, timeout: Duration) -> Result<Heard, End> {
        let lost = |error: std::io::Error| End::Lost(format!("cannot read: {error}"));
        self.stream.set_read_timeout(Some(timeout)).map_err(lost)?;
        match self.stream.read(self.framer.space()) {
            Ok(0) => Ok(Heard::End),
            Ok(count) => {
                self.framer.filled(count);
                Ok(Heard::Bytes)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(Heard::Silence),
                _ => Err(lost(error)),
            },
        }
    }
}

fn connect(ami: &Ami) -> Result<TcpStream, End> {
    let target = format!("{}:{}", ami.host, ami.port);
    let lost = |error: std::io::Error| End::Lost(format!("cannot connect to {target}: {error}"));
    let mut last = End::Lost(format!("{} has no address", ami.host));
    for address in (ami.host.as_str(), ami.port).to_socket_addrs().map_err(lost)? {
        let connected = TcpStream::connect_timeout(&address, PATIENCE).and_then(|stream| {
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => last = lost(error),
        }
    }
    Err(last)
}

fn is_local(stream: &TcpStream) -> bool {
    stream.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
}

fn token() -> Result<String, End> {
    let random = getrandom::u64().map_err(|error| End::Lost(format!("no random numbers: {error}")))?;
    Ok(format!("sipban-{random:016x}"))
}

fn closed() -> End {
    End::Lost("Asterisk closed the connection".to_owned())
}

fn not_asterisk(line: &[u8]) -> End {
    // It is escaped where it is shown.
    let start = String::from_utf8_lossy(line.get(..40).unwrap_or(line));
    End::Lost(format!("no manager interface: it greets with \"{start}\""))
}

fn is_response_to(frame: &Frame<'_>, token: &str) -> bool {
    let Frame::Whole(bytes) = frame else { return false };
    bytes.starts_with(b"Response: ") && FrameLines::of(bytes).find(b"ActionID") == Some(token.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clock::Recorded;
    use crossbeam_channel::unbounded;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    /// Takes one connection and its login, answers that and stays silent until the client goes.
    fn mute(listener: &TcpListener) {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"Asterisk Call Manager/11.0.0\r\n").unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        let id = lines.find(|line| line.starts_with("ActionID: ")).unwrap();
        stream.write_all(format!("Response: Success\r\n{id}\r\n\r\n").as_bytes()).unwrap();
        lines.for_each(drop);
    }

    #[test]
    fn a_session_without_the_event_of_its_own_login_says_so_and_ends_to_try_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ami = Ami { port: listener.local_addr().unwrap().port(), ..crate::config::Config::default().ami };
        let clock = Recorded::default();
        clock.set(0);
        let (inbox, heard) = unbounded();
        std::thread::scope(|scope| {
            scope.spawn(|| mute(&listener));
            let (time, ping, atlas) = (Clock::recorded(&clock), AtomicBool::new(false), Atlas::default());
            let mut session = ManagerSession::open(&ami, &inbox, &time, &ping, &atlas).unwrap();
            assert!(matches!(heard.try_recv(), Ok(Event::Ami(AmiState::Up { .. }))));
            clock.set(4_000);
            session.turn().unwrap();
            assert!(heard.is_empty());
            clock.set(5_000);
            session.turn().unwrap();
            assert!(matches!(heard.try_recv(), Ok(Event::Ami(AmiState::Deaf))));
            clock.set(59_000);
            session.turn().unwrap();
            assert!(heard.is_empty());
            clock.set(60_000);
            assert!(matches!(session.turn(), Err(End::Deaf)));
        });
    }
}
