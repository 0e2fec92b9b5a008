//! The connection to Asterisk's manager interface: a thread that connects, logs in, reads, pings, and when the
//! connection is lost tries again for ever.
//!
//! The protocol is described in Asterisk's documentation, "AMI Action Response", and was measured on 16.28 and 22.10.

pub mod frame;
pub mod security;
mod session;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::clock::Clock;
use crate::config::Ami;
use crate::event::{AmiState, Event};
use session::{End, Session};

/// Shortest and longest time between two tries to connect.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The connection as the owner sees it.
#[derive(Clone, Debug)]
pub struct Connection {
    ping: Arc<AtomicBool>,
}

impl Connection {
    /// Asks for a Ping now; an [`Event::Pong`] follows if Asterisk answers.
    pub fn ping(&self) {
        self.ping.store(true, Ordering::Relaxed);
    }
}

/// Starts the thread that keeps the connection.
///
/// # Errors
/// If the system has no thread to give.
pub fn start(ami: Ami, inbox: Sender<Event>, clock: Clock) -> io::Result<Connection> {
    let ping = Arc::new(AtomicBool::new(false));
    let connection = Connection { ping: ping.clone() };
    thread::Builder::new().name("ami".into()).spawn(move || keep_connected(&ami, &inbox, &clock, &ping))?;
    Ok(connection)
}

fn keep_connected(ami: &Ami, inbox: &Sender<Event>, clock: &Clock, ping: &AtomicBool) {
    let mut retry = RETRY.0;
    loop {
        let end = match Session::open(ami, inbox, clock, ping) {
            Ok(mut session) => {
                retry = RETRY.0;
                session.run()
            }
            Err(end) => end,
        };
        let state = match end {
            End::OwnerGone => return,
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
