//! The console: a listener and a thread for each session, for people with telnet and for `sipban ctl`.
//!
//! Sessions know the owner by its inbox only. INVARIANT: nothing that a client does or leaves undone delays the
//! owner, the listener or another session. What clients can make us keep is bounded: [`MAX_SESSIONS`] sessions, and
//! as many connections that are still being judged.

pub mod access;
pub mod command;
pub mod request;
pub mod session;
pub mod telnet;
pub mod text;
pub mod whois;

use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::config::Control;
use crate::console::access::{Refusals, Verdict};
use crate::console::request::Ask;
use crate::console::session::Session;
use crate::console::text::LocalTime;
use crate::console::whois::Whois;
use crate::failure::Failure;
use crate::model::clock::Clock;

/// Most sessions at a time.
pub const MAX_SESSIONS: usize = 16;

/// Most connections from elsewhere that are being asked for the password. They have places of their own, so that
/// strangers who keep silent cannot keep out who comes over loopback.
const MAX_STRANGERS: usize = 4;

/// What sessions need of the rest of the program.
#[derive(Clone)]
pub struct Context {
    /// Name of the chain, for `help`.
    pub chain: String,
    /// How a session puts its requests to the owner.
    pub ask: Ask,
    /// For deadlines.
    pub clock: Clock,
    /// How times are shown.
    pub local_time: LocalTime,
    /// How long to wait for what.
    pub patience: Patience,
    /// Whom to ask for the holders of addresses.
    pub whois: Whois,
}

/// How long a session waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For room in the owner's inbox.
    pub enqueue: Duration,
    /// For the owner's reply.
    pub reply: Duration,
    /// For Asterisk's Pong.
    pub pong: Duration,
    /// For the user to do something.
    pub idle: Duration,
    /// For the client to read what it was sent.
    pub write: Duration,
    /// For the right password, in all.
    pub login: Duration,
    /// After the first wrong password; doubles with each.
    pub wrong_password: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            enqueue: Duration::from_secs(2),
            reply: Duration::from_secs(15),
            pong: Duration::from_secs(3),
            idle: Duration::from_secs(600),
            write: Duration::from_secs(10),
            login: Duration::from_secs(60),
            wrong_password: Duration::from_secs(1),
        }
    }
}

/// Why there is no console.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Others could reach it and nothing would stop them.
    #[error("console not opened on {0}, which is not loopback: set control.password, or control.address to 127.0.0.1")]
    NoPassword(IpAddr),
    /// Address and port are not to be had.
    #[error("cannot listen on {address} for the console: {source}; {}", remedy(.source))]
    Listen {
        /// Address and port.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// No thread.
    #[error("cannot start the thread of the console: {0}")]
    Thread(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(Failure::UNAVAILABLE, error)
    }
}

/// The open console. It stays open until the program ends.
#[derive(Clone)]
pub struct Console {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// Opens the console. When this returns, clients can connect; sessions run in threads of their own.
///
/// # Errors
/// If the address cannot be listened on, or must not be without a password.
pub fn listen(control: &Control, context: Context) -> Result<Console, Error> {
    let has_password = control.password.as_ref().is_some_and(|password| !password.0.is_empty());
    if !control.address.to_canonical().is_loopback() && !has_password {
        return Err(Error::NoPassword(control.address));
    }
    let wanted = SocketAddr::new(control.address, control.port);
    let fault = |source| Error::Listen { address: wanted, source };
    let listener = TcpListener::bind(wanted).map_err(fault)?;
    let address = listener.local_addr().map_err(fault)?;
    let shared = Arc::new(Shared {
        context,
        control: Mutex::new(control.clone()),
        refusals: Mutex::default(),
        sessions: Places::of(MAX_SESSIONS),
        door: Places::of(MAX_SESSIONS),
        strangers: Places::of(MAX_STRANGERS),
    });
    let console = Console { address, shared: Arc::clone(&shared) };
    thread::Builder::new()
        .name("console".to_owned())
        .spawn(move || accept(&listener, &shared))
        .map_err(Error::Thread)?;
    Ok(console)
}

impl Console {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets in, from now on, the users and the password of this configuration. Address and port stay as they are.
    pub fn admit(&self, control: &Control) {
        *lock(&self.shared.control) = control.clone();
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What listener and sessions have in common.
struct Shared {
    context: Context,
    control: Mutex<Control>,
    refusals: Mutex<Refusals>,
    sessions: Places,
    door: Places,
    strangers: Places,
}

impl Shared {
    fn log_refusal(&self, who: &str, why: &str) {
        let now = self.context.clock.now().monotonic;
        match lock(&self.refusals).tell(who, now) {
            Some(0) => log::warn!("CONSOLE => {who} refused: {why}"),
            Some(before) => log::warn!("CONSOLE => {who} refused: {why} ({before} times more since last told)"),
            None => {}
        }
    }
}

/// Takes connections for ever, each to a thread.
fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    /// So that a process out of descriptors waits for one instead of spinning.
    const PAUSE: Duration = Duration::from_secs(1);
    let mut working = true;
    for number in 1_u64.. {
        match listener.accept() {
            Ok((stream, peer)) => {
                working = true;
                open_door(stream, peer, number, shared);
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if std::mem::take(&mut working) {
                    log::warn!("CONSOLE => cannot accept connections for now: {error}");
                }
                thread::sleep(PAUSE);
            }
        }
    }
}

/// Starts the thread of a connection, if there is a place for it.
fn open_door(stream: TcpStream, peer: SocketAddr, number: u64, shared: &Arc<Shared>) {
    let places = if peer.ip().to_canonical().is_loopback() { &shared.door } else { &shared.strangers };
    let Some(place) = places.take() else {
        // Into the empty buffer of a new connection, and if it should not fit, it need not.
        let _ = stream.set_nonblocking(true).and_then(|()| (&stream).write_all(TOO_MANY.as_bytes()));
        return;
    };
    let here = Arc::clone(shared);
    let thread = thread::Builder::new().name(format!("console-{number}"));
    if let Err(error) = thread.spawn(move || serve(&stream, peer, place, &here)) {
        log::warn!("CONSOLE => cannot start a session: {error}");
    }
}

const TOO_MANY: &str = "too many sessions\r\n";

/// One connection from its door to its end. A connection that fails is over, and that is all there is to it.
fn serve(stream: &TcpStream, peer: SocketAddr, place: Place, shared: &Shared) {
    if let Err(error) = attend(stream, peer, place, shared) {
        log::debug!("CONSOLE => connection from {peer} lost: {error}");
    }
}

fn attend(stream: &TcpStream, peer: SocketAddr, at_the_door: Place, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(shared.context.patience.write))?;
    let mut session = Session::new(stream, &shared.context);
    let control = lock(&shared.control).clone();
    match access::judge(&control, peer, stream.local_addr()?) {
        Verdict::Admitted => {}
        Verdict::Refused { who, why } => {
            shared.log_refusal(&who, &why);
            return session.say(&format!("{why}\r\n"));
        }
        Verdict::Password(password) => {
            if !session.login(&password)? {
                shared.log_refusal(&peer.ip().to_canonical().to_string(), "no or a wrong password");
                return Ok(());
            }
        }
    }
    drop(at_the_door);
    match shared.sessions.take() {
        Some(_place) => session.converse(),
        None => session.say(TOO_MANY),
    }
}

/// What a user can do about an address that is not to be had.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another sipban may be running ('ss -ltnp' names the program), or choose another control.port"
        }
        io::ErrorKind::AddrNotAvailable => "control.address must be an address of this machine",
        io::ErrorKind::PermissionDenied => "ports below 1024 are root's: choose another control.port",
        _ => "see control.address and control.port",
    }
}

/// A panic ends the program, so nobody is left who could see a poisoned lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number of places, each given back when its [`Place`] is dropped.
struct Places {
    taken: Arc<AtomicUsize>,
    all: usize,
}

struct Place(Arc<AtomicUsize>);

impl Places {
    fn of(all: usize) -> Places {
        Places { taken: Arc::default(), all }
    }

    fn take(&self) -> Option<Place> {
        let one_more = |taken| (taken < self.all).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(Place(Arc::clone(&self.taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
