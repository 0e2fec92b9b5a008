//! Resolves the host names of the white list in a thread of its own: the owner never waits for a network.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::event::Event;

/// Time between two look-ups of the same names: dynamic addresses change a few times a day.
const EVERY: Duration = Duration::from_secs(300);

/// Time to the next look-up after one that failed. It doubles each time: at boot the network comes after us, and until
/// then nobody knows whom to protect.
const SOON: Duration = Duration::from_secs(5);

/// The resolver's thread.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// One order waits at most: a newer one takes its place.
    orders: Sender<Vec<String>>,
    waiting: Receiver<Vec<String>>,
}

/// Starts the thread; it answers with [`Event::Resolved`].
///
/// # Errors
/// If the system has no thread to give.
pub fn start(inbox: Sender<Event>) -> io::Result<Resolver> {
    let (orders, waiting) = bounded(1);
    let resolver = Resolver { orders, waiting: waiting.clone() };
    thread::Builder::new().name("resolver".into()).spawn(move || keep_resolving(&waiting, &inbox))?;
    Ok(resolver)
}

impl Resolver {
    /// From now on these names are resolved, at once and every few minutes.
    pub fn resolve(&self, names: Vec<String>) {
        // Whatever waited is out of date. The thread ends only with the process.
        let _ = self.waiting.try_recv();
        let _ = self.orders.try_send(names);
    }
}

fn keep_resolving(orders: &Receiver<Vec<String>>, inbox: &Sender<Event>) {
    let mut names = Vec::new();
    let mut failures: u32 = 0;
    loop {
        match orders.recv_timeout(pause(failures)) {
            Ok(new) => (names, failures) = (new, 0),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if names.is_empty() {
            continue;
        }
        let resolved: Vec<_> = names.iter().map(|name| (name.clone(), addresses(name))).collect();
        let all_found = resolved.iter().all(|(_, addresses)| !addresses.is_empty());
        failures = if all_found { 0 } else { failures.saturating_add(1) };
        if inbox.send(Event::Resolved(resolved)).is_err() {
            return;
        }
    }
}

/// Time to the next look-up, after this many in a row that did not find everything.
fn pause(failures: u32) -> Duration {
    match failures {
        0 => EVERY,
        _ => SOON.saturating_mul(2_u32.saturating_pow(failures - 1)).min(EVERY),
    }
}

/// What this name stands for now; nothing if it cannot be resolved.
pub(crate) fn addresses(name: &str) -> Vec<IpAddr> {
    let found = (name, 0).to_socket_addrs();
    found.map_or_else(|_| Vec::new(), |found| found.map(|address| address.ip().to_canonical()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_orders_only_the_last_waits() {
        let (orders, waiting) = bounded(1);
        let resolver = Resolver { orders, waiting };
        (0..1000).for_each(|n| resolver.resolve(vec![n.to_string()]));
        assert_eq!(resolver.waiting.try_iter().collect::<Vec<_>>(), [["999"]]);
    }

    #[test]
    fn a_name_that_is_not_found_is_looked_up_again_soon_and_then_less_and_less_often() {
        let pauses: Vec<u64> = (0..10).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(pauses, [300, 5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(pause(u32::MAX), EVERY);
    }
}
