//! The connection to Asterisk's manager interface: a thread that connects, logs in, reads, pings, and when the
//! connection is lost tries again for ever.
//!
//! The protocol is described in Asterisk's documentation, "AMI Action Response", and was measured on 16.28 and 22.10.

pub mod frame;
mod lines;
pub mod security;
mod session;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};

use crate::config::Ami;
use crate::event::{AmiState, Event};
use crate::geo::Atlas;
use crate::model::clock::Clock;
use session::{End, ManagerSession};

/// The shortest and the longest time to wait before connecting again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The connection as the owner sees it.
#[derive(Clone, Debug)]
pub struct Connection {
    ping: Arc<AtomicBool>,
}

impl Connection {
    /// Asks for a Ping to be sent within a fraction of a second. An [`Event::Pong`] follows if Asterisk answers.
    pub fn ping(&self) {
        self.ping.store(true, Ordering::Relaxed);
    }
}

/// Starts the thread that keeps the connection, and that looks up where those are who are refused.
///
/// # Errors
/// If the system cannot start a thread.
pub fn start(ami: Ami, inbox: Sender<Event>, clock: Clock, atlas: Atlas) -> io::Result<Connection> {
    let ping = Arc::new(AtomicBool::new(false));
    let connection = Connection { ping: ping.clone() };
    thread::Builder::new().name("ami".into()).spawn(move || keep_connected(&ami, &inbox, &clock, &ping, &atlas))?;
    Ok(connection)
}

/// What was seen during one login, for `sipban check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Asterisk's greeting, such as `Asterisk Call Manager/11.0.0`.
    pub greeting: String,
    /// Whether a security event came. Asterisk sends one for the login itself, to all who may read security events.
    pub event: bool,
    /// How long the answer to a Ping took, if it came.
    pub pong: Option<Duration>,
}

/// Why there was no login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoLogin {
    /// There was no connection, or what answered was no manager interface.
    Lost(String),
    /// Asterisk refused the login, with this message.
    Refused(String),
}

/// Logs in as the daemon does, waits at most `patience` for a security event and the answer to a Ping, and hangs up.
///
/// # Errors
/// If the login fails, or the connection is lost meanwhile.
pub fn probe(ami: &Ami, patience: Duration, clock: &Clock) -> Result<Probe, NoLogin> {
    let (inbox, heard) = unbounded();
    let (ping, atlas) = (AtomicBool::new(true), Atlas::default());
    let mut probe = Probe { greeting: String::new(), event: false, pong: None };
    let mut listen = || {
        let mut session = ManagerSession::open(ami, &inbox, clock, &ping, &atlas)?;
        let deadline = clock.now().monotonic + patience;
        loop {
            for event in heard.try_iter() {
                match event {
                    Event::Ami(AmiState::Up { greeting }) => probe.greeting = greeting,
                    Event::Security(_) => probe.event = true,
                    Event::Pong(took) => probe.pong = Some(took),
                    _ => {}
                }
            }
            if (probe.event && probe.pong.is_some()) || clock.now().monotonic >= deadline {
                return Ok(());
            }
            session.turn()?;
        }
    };
    match listen() {
        Ok(()) => Ok(probe),
        Err(End::Refused(why)) => Err(NoLogin::Refused(why)),
        Err(End::Lost(why)) => Err(NoLogin::Lost(why)),
        // Cannot be: this function holds the other end of the inbox, and has less patience than a session.
        Err(End::OwnerGone | End::Deaf) => Err(NoLogin::Lost("nobody listened".to_owned())),
    }
}

fn keep_connected(ami: &Ami, inbox: &Sender<Event>, clock: &Clock, ping: &AtomicBool, atlas: &Atlas) {
    let mut retry = RETRY.0;
    loop {
        let end = match ManagerSession::open(ami, inbox, clock, ping, atlas) {
            Ok(mut session) => {
                retry = RETRY.0;
                session.run()
            }
            Err(end) => end,
        };
        let state = match end {
            End::OwnerGone => return,
            // Nothing is missed meanwhile.
            End::Deaf => continue,
            End::Lost(why) => AmiState::Down { why, retry },
            End::Refused(why) => AmiState::Refused { why, retry },
        };
        if inbox.send(Event::Ami(state)).is_err() {
            return;
        }
        thread::sleep(retry);
        retry = (retry * 2).min(RETRY.1);
    }
}
