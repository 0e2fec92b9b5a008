//! The thread that turns signals into events. SIGPIPE needs nothing: Rust programs ignore it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use crossbeam_channel::Sender;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::event::Event;

/// Sends [`Event::Reload`] for SIGHUP and [`Event::Shutdown`] for SIGTERM and SIGINT from now on.
///
/// To be called first of all. Until then such a signal ends the process wherever it stands, with rules half made;
/// after it, it waits in the inbox until there is an owner.
///
/// A second SIGTERM or SIGINT ends the process at once with status 128 + the signal's number: someone does not
/// want to wait. That happens in the signal handler itself, so it works even if every thread hangs.
///
/// # Errors
/// If a handler cannot be registered or the thread cannot be started.
pub fn start(inbox: Sender<Event>) -> io::Result<()> {
    let stopping = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // In this order: the handler asks before it notes, so the first signal does not end the process.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stopping))?;
        flag::register(signal, Arc::clone(&stopping))?;
    }
    let mut signals = Signals::new([SIGHUP, SIGTERM, SIGINT])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let event = if signal == SIGHUP { Event::Reload } else { Event::Shutdown };
            if inbox.send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;
    use signal_hook::low_level::raise;
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(10);

    const ACT: &str = "SIPBAN_TEST_SIGNALS";

    // Signals belong to the process: one test here, and the second SIGTERM, which ends it, in another process.
    #[test]
    fn hup_reloads_and_term_shuts_down() {
        let (inbox, events) = bounded(4);
        start(inbox).unwrap();
        raise(SIGHUP).unwrap();
        assert!(matches!(events.recv_timeout(LONG), Ok(Event::Reload)));
        raise(SIGHUP).unwrap();
        assert!(matches!(events.recv_timeout(LONG), Ok(Event::Reload)));
        raise(SIGTERM).unwrap();
        assert!(matches!(events.recv_timeout(LONG), Ok(Event::Shutdown)));
    }

    /// Not a test by itself: what the process of the test below does.
    #[test]
    fn the_impatient_process() {
        if std::env::var_os(ACT).is_some() {
            let (inbox, events) = bounded(1);
            start(inbox).unwrap();
            raise(SIGTERM).unwrap();
            assert!(matches!(events.recv_timeout(LONG), Ok(Event::Shutdown)));
            raise(SIGINT).unwrap();
            panic!("a second signal did not end the process");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the signal ends the process")]
    fn a_second_signal_ends_the_process_at_once() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "system::signals::tests::the_impatient_process"])
            .env(ACT, "")
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(128 + SIGINT));
    }
}
