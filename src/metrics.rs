//! Threads: numbers for Prometheus, at an endpoint on loopback and in a file for node_exporter.
//!
//! INVARIANT: the owner is asked for numbers as a console session asks, and never waits; who asks may have to.

mod measures;
mod text;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use log::warn;
use nix::unistd::Uid;

pub use measures::{Blocks, Fleet, Histogram, Listed, Measures};

use crate::config::MetricsConfig;
use crate::failure::Failure;
use crate::listener::{self, Pass, Server};
use crate::model::clock::Clock;
use crate::state::durable;

/// Asks the owner for its numbers; `None` if it does not answer in time.
pub type Measure = Arc<dyn Fn() -> Option<Measures> + Send + Sync>;

/// At most this many bytes has a request.
const MOST_REQUEST: u64 = 8 << 10;

/// At most this long may a client take to ask, and to take in the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Seconds between two writings of the file: Prometheus looks at it every 15 to 60.
const EVERY: Duration = Duration::from_secs(15);

/// For this long the numbers serve whoever asks again: a client that asks all the time costs the owner no more than one
/// that asks once a second.
const FRESH: Duration = Duration::from_secs(1);

/// Serves and writes what is configured, and starts no thread for what is not.
///
/// # Errors
/// If the port cannot be listened on, or there is no thread.
pub fn start(config: &MetricsConfig, clock: &Clock, measure: Measure) -> Result<(), Failure> {
    if config.port != 0 {
        let address = SocketAddr::new(config.address, config.port);
        let endpoint = Arc::new(Endpoint::new(Arc::clone(&measure), clock));
        listener::listen(address, clock.clone(), endpoint).map_err(|error| {
            Failure::new(Failure::UNAVAILABLE, format!("no metrics: {error}; change metrics.address or metrics.port"))
        })?;
    }
    if let Some(path) = config.file.clone() {
        let write = move || keep_writing(&path, &measure);
        let thread = thread::Builder::new().name("metrics-file".into()).spawn(write);
        thread.map_err(|why| Failure::new(Failure::SYSTEM, format!("cannot start a thread: {why}")))?;
    }
    Ok(())
}

/// Writes the file for ever. What goes wrong is said once, until it goes well again.
fn keep_writing(path: &Path, measure: &Measure) {
    let mut worked = true;
    loop {
        let written = measure().map(text::text).map_or(Ok(()), |text| {
            // Whoever reads it has not our rights.
            durable::replace(path, 0o644, |beside| beside.write_all(text.as_bytes()))
        });
        if let (Err(error), true) = (&written, worked) {
            warn!("METRICS => {} cannot be written: {error}", path.display());
        }
        worked = written.is_ok();
        thread::sleep(EVERY);
    }
}

struct Endpoint {
    measure: Measure,
    clock: Clock,
    last: Mutex<Option<Taken>>,
}

/// The numbers in words, or that the owner gave none.
struct Taken {
    /// Monotonic.
    at: Duration,
    text: Option<Arc<str>>,
}

impl Endpoint {
    fn new(measure: Measure, clock: &Clock) -> Endpoint {
        Endpoint { measure, clock: clock.clone(), last: Mutex::default() }
    }

    /// The numbers, not older than [`FRESH`]. Whoever comes while they are being taken waits for them.
    fn numbers(&self) -> Option<Arc<str>> {
        // A thread that panicked has ended the process.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now().monotonic;
        match &*last {
            Some(Taken { at, text }) if now.saturating_sub(*at) < FRESH => text.clone(),
            _ => {
                let text = (self.measure)().map(|measures| Arc::from(text::text(measures)));
                *last = Some(Taken { at: self.clock.now().monotonic, text: text.clone() });
                text
            }
        }
    }
}

impl Server for Endpoint {
    const NAME: &'static str = "metrics";
    const SEATS: usize = 4;

    /// Anybody: they are numbers.
    fn admits(&self, _: Uid) -> Result<(), String> {
        Ok(())
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_write_timeout(Some(PATIENCE))?;
        let answer = match asked(InTime::new(stream, &self.clock))? {
            Asked::Metrics => match self.numbers() {
                Some(text) => answer("200 OK", text::CONTENT_TYPE, &text),
                None => answer("503 Service Unavailable", PLAIN, "the daemon is busy; try again\n"),
            },
            Asked::Else => answer("404 Not Found", PLAIN, "there is only /metrics\n"),
            Asked::Otherwise => answer("405 Method Not Allowed", PLAIN, "only GET\n"),
            Asked::Nonsense => answer("400 Bad Request", PLAIN, "this is no request of HTTP\n"),
        };
        let mut stream = stream;
        stream.write_all(answer.as_bytes())
    }

    /// Nobody comes from elsewhere: the address is one of loopback.
    fn receive(&self, _: &TcpStream, _: &mut Pass<'_>) -> io::Result<()> {
        Ok(())
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Metrics,
    Else,
    Otherwise,
    Nonsense,
}

/// A connection of which all is read in time, or nothing.
struct InTime<'a> {
    stream: &'a TcpStream,
    clock: &'a Clock,
    until: Duration,
}

impl<'a> InTime<'a> {
    fn new(stream: &'a TcpStream, clock: &'a Clock) -> InTime<'a> {
        InTime { stream, clock, until: clock.now().monotonic + PATIENCE }
    }
}

impl Read for InTime<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // A time of zero would be none.
        let left = self.until.checked_sub(self.clock.now().monotonic).filter(|left| !left.is_zero());
        self.stream.set_read_timeout(Some(left.ok_or(io::ErrorKind::TimedOut)?))?;
        self.stream.read(into)
    }
}

/// Reads a request to the end of its head, of which only the first line matters.
fn asked(stream: impl Read) -> io::Result<Asked> {
    let mut lines = BufReader::new(stream.take(MOST_REQUEST));
    let (mut first, mut line) = (Vec::new(), Vec::new());
    lines.read_until(b'\n', &mut first)?;
    while line != b"\r\n" && line != b"\n" {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(Asked::Nonsense);
        }
    }
    let mut words = first.split(|byte| byte.is_ascii_whitespace());
    Ok(match (words.next(), words.next(), words.next()) {
        (Some(b"GET"), Some(path), Some(b"HTTP/1.0" | b"HTTP/1.1")) => {
            if path.split(|byte| *byte == b'?').next() == Some(b"/metrics") { Asked::Metrics } else { Asked::Else }
        }
        (Some(_), Some(_), Some(b"HTTP/1.0" | b"HTTP/1.1")) => Asked::Otherwise,
        _ => Asked::Nonsense,
    })
}

fn answer(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clock::Recorded;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn the_owner_is_asked_at_most_once_a_second() {
        let (time, times) = (Recorded::default(), Arc::new(AtomicU64::new(0)));
        let asked = Arc::clone(&times);
        let measure = move || {
            let events = [("x", asked.fetch_add(1, Ordering::Relaxed))].into();
            Some(Measures { events, ..Measures::default() })
        };
        let endpoint = Endpoint::new(Arc::new(measure), &Clock::recorded(&time));
        time.set(5_000);
        let first = endpoint.numbers().unwrap();
        time.set(5_999);
        assert_eq!(endpoint.numbers().unwrap(), first);
        assert_eq!(times.load(Ordering::Relaxed), 1);
        time.set(6_000);
        assert_ne!(endpoint.numbers().unwrap(), first);
        assert_eq!(times.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn an_owner_that_is_busy_is_left_alone_for_a_second_too() {
        let (time, times) = (Recorded::default(), Arc::new(AtomicU64::new(0)));
        let asked = Arc::clone(&times);
        let measure = move || {
            asked.fetch_add(1, Ordering::Relaxed);
            None
        };
        let endpoint = Endpoint::new(Arc::new(measure), &Clock::recorded(&time));
        assert!((0..9).all(|_| endpoint.numbers().is_none()));
        assert_eq!(times.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_request_is_what_its_first_line_says_and_ends() {
        for (request, is) in [
            ("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", Asked::Metrics),
            ("GET /metrics?x=1 HTTP/1.0\n\n", Asked::Metrics),
            ("GET / HTTP/1.1\r\n\r\n", Asked::Else),
            ("GET /metrics/more HTTP/1.1\r\n\r\n", Asked::Else),
            ("POST /metrics HTTP/1.1\r\n\r\n", Asked::Otherwise),
            ("GET /metrics HTTP/1.1\r\nHost: localhost\r\n", Asked::Nonsense),
            ("GET /metrics\r\n\r\n", Asked::Nonsense),
            ("", Asked::Nonsense),
        ] {
            assert_eq!(asked(request.as_bytes()).unwrap(), is, "{request:?}");
        }
        let endless = io::repeat(b'x');
        assert_eq!(asked(endless).unwrap(), Asked::Nonsense);
    }
}
