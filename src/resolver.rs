//! Resolves the host names of the white list in a thread of its own: the owner never waits for a network.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::event::Event;

/// Time between two look-ups of the same names: dynamic addresses change a few times a day.
const EVERY: Duration = Duration::from_secs(300);

/// The resolver's thread.
#[derive(Clone, Debug)]
pub struct Resolver {
    names: Sender<Vec<String>>,
}

/// Starts the thread; it answers with [`Event::Resolved`].
///
/// # Errors
/// If the system has no thread to give.
pub fn start(inbox: Sender<Event>) -> io::Result<Resolver> {
    let (names, orders) = unbounded();
    thread::Builder::new().name("resolver".into()).spawn(move || keep_resolving(&orders, &inbox))?;
    Ok(Resolver { names })
}

impl Resolver {
    /// From now on these names are resolved, at once and every few minutes.
    pub fn resolve(&self, names: Vec<String>) {
        // The thread ends only with the process.
        let _ = self.names.send(names);
    }
}

fn keep_resolving(orders: &Receiver<Vec<String>>, inbox: &Sender<Event>) {
    let mut names = Vec::new();
    loop {
        match orders.recv_timeout(EVERY) {
            Ok(new) => names = new,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if names.is_empty() {
            continue;
        }
        let resolved = names.iter().map(|name| (name.clone(), addresses(name))).collect();
        if inbox.send(Event::Resolved(resolved)).is_err() {
            return;
        }
    }
}

/// What this name stands for now; nothing if it cannot be resolved.
pub(crate) fn addresses(name: &str) -> Vec<IpAddr> {
    let found = (name, 0).to_socket_addrs();
    found.map_or_else(|_| Vec::new(), |found| found.map(|address| address.ip().to_canonical()).collect())
}
