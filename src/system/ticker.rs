//! The thread that wakes the owner once a second.

use std::io;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, tick};

use crate::event::Event;

/// Sends [`Event::Tick`] once a second until the inbox is gone.
///
/// At most one tick is ever on its way: while the inbox is full this thread waits with it, and the seconds that
/// pass meanwhile are one tick. It waits instead of trying, because under a flood the inbox is full whenever one
/// looks, and then blocks would not end and the service manager would take the daemon for dead.
///
/// # Errors
/// If the thread cannot be started.
pub fn start(inbox: Sender<Event>) -> io::Result<()> {
    start_with(inbox, Duration::from_secs(1))
}

fn start_with(inbox: Sender<Event>, period: Duration) -> io::Result<()> {
    thread::Builder::new().name("ticker".into()).spawn(move || {
        // Counts from its start, not from our last look, so it does not drift.
        let seconds = tick(period);
        while seconds.recv().is_ok() && inbox.send(Event::Tick).is_ok() {}
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn ticks_arrive_and_only_one_waits_when_nobody_looks() {
        let (inbox, events) = bounded(1);
        start_with(inbox, Duration::from_millis(1)).unwrap();
        for _ in 0..20 {
            assert!(matches!(events.recv_timeout(LONG), Ok(Event::Tick)));
        }
        assert!(events.len() <= 1);
    }

    #[test]
    fn a_tick_gets_through_an_inbox_that_a_flood_keeps_full() {
        let (inbox, events) = bounded(1);
        let flood = inbox.clone();
        thread::Builder::new()
            .name("flood".into())
            .spawn(move || while flood.send(Event::Security(Vec::new())).is_ok() {})
            .unwrap();
        start_with(inbox, Duration::from_millis(1)).unwrap();
        let ticked = std::iter::from_fn(|| events.recv_timeout(LONG).ok())
            .take(10_000_000)
            .any(|event| matches!(event, Event::Tick));
        assert!(ticked);
    }
}
