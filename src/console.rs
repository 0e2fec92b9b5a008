//! The console: a thread for each session, for people with telnet and for `sipban ctl`.
//!
//! A session reaches the owner only through its inbox. INVARIANT: nothing that a client does or fails to do delays the
//! owner, the listener or another session.

pub mod access;
pub mod command;
pub mod request;
pub mod session;
pub mod telnet;
pub mod text;
pub mod whois;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::unistd::Uid;

use crate::config::Control;
use crate::console::request::Ask;
use crate::console::session::Session;
use crate::console::text::LocalTime;
use crate::console::whois::Whois;
use crate::failure::Failure;
use crate::geo::Atlas;
use crate::listener::{self, Pass, Server, TOO_MANY};
use crate::model::clock::Clock;
use crate::model::target::Holder;

/// At most this many sessions of root are open at a time, and as many of all others together.
pub const MAX_SESSIONS: usize = 16;

/// What sessions need from the rest of the program.
#[derive(Clone)]
pub struct Context {
    /// What holds the blocks, for `help`.
    pub holder: Holder,
    /// How a session puts its requests to the owner.
    pub ask: Ask,
    /// The time, for deadlines.
    pub clock: Clock,
    /// How to write a time.
    pub local_time: LocalTime,
    /// How long to wait for each thing.
    pub patience: Patience,
    /// Whom to ask for the holders of addresses.
    pub whois: Whois,
    /// Where addresses are.
    pub atlas: Atlas,
}

/// How long a session waits for each thing.
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
    /// For the right password, all attempts together.
    pub login: Duration,
    /// After the first wrong password. It doubles with each further one.
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
    /// Others could reach it, and it has no password.
    #[error("console not opened on {0}, which is not loopback: set control.password, or control.address to 127.0.0.1")]
    NoPassword(IpAddr),
    /// Address and port cannot be listened on.
    #[error("cannot listen on {address} for the console: {source}; {}", remedy(.source))]
    Listen {
        /// Address and port.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The system cannot start a thread.
    #[error("cannot start the thread of the console: {0}")]
    Thread(io::Error),
}

impl From<listener::Error> for Error {
    fn from(error: listener::Error) -> Error {
        match error {
            listener::Error::Bind { address, source } => Error::Listen { address, source },
            listener::Error::Thread(source) => Error::Thread(source),
        }
    }
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
    desk: Arc<Desk>,
}

/// Opens the console on its address, and on loopback if that is another one. When this returns, clients can connect.
/// Each session runs in a thread of its own.
///
/// # Errors
/// If the address cannot be listened on, or others could reach it and there is no password.
pub fn listen(control: &Control, context: Context) -> Result<Console, Error> {
    if !control.address.to_canonical().is_loopback() && access::password(control).is_none() {
        return Err(Error::NoPassword(control.address));
    }
    let clock = context.clock.clone();
    let desk = Arc::new(Desk { context, control: Mutex::new(control.clone()) });
    let address = listener::listen(SocketAddr::new(control.address, control.port), clock, Arc::clone(&desk))?;
    Ok(Console { address, desk })
}

impl Console {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets in, from now on, the users and the password of this configuration. Address and port stay as they are.
    pub fn admit(&self, control: &Control) {
        *self.desk.control() = control.clone();
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What all sessions share.
struct Desk {
    context: Context,
    control: Mutex<Control>,
}

impl Desk {
    fn control(&self) -> MutexGuard<'_, Control> {
        // A panic ends the program, so no lock is ever found poisoned.
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session<'a>(&'a self, stream: &'a TcpStream) -> io::Result<Session<'a>> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(self.context.patience.write))?;
        Ok(Session::new(stream, &self.context))
    }
}

impl Server for Desk {
    const NAME: &'static str = "console";
    const SEATS: usize = MAX_SESSIONS;

    fn admits(&self, user: Uid) -> Result<(), String> {
        let control = self.control().clone();
        let why = "only root and the users named in control.users may use this console";
        if access::is_named(&control, user) { Ok(()) } else { Err(why.to_owned()) }
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        self.session(stream)?.converse()
    }

    fn receive(&self, stream: &TcpStream, pass: &mut Pass<'_>) -> io::Result<()> {
        let password = access::password(&self.control()).cloned();
        let mut session = self.session(stream)?;
        match password {
            None => session.say("connections that are not loopback need control.password\r\n"),
            Some(password) if !session.login(&password)? => Ok(()),
            Some(_) if !pass.prove() => session.say(&format!("{TOO_MANY}\r\n")),
            Some(_) => session.converse(),
        }
    }
}

/// What the administrator can do about an address that cannot be listened on.
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
