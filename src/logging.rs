//! The log: lines `[2019-06-12 12:01:55] TEXT`, in local time. What is logged in one piece is written by one `write`, so
//! `tail -f` and a rotation see whole lines.
//!
//! Everybody logs through the crate `log`; the level decides whether, and is not shown. The journal of systemd has lines
//! without their time, and the level.

mod budget;
mod escape;
mod journal;
mod output;
mod repeats;
mod zone;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::LevelFilter;
use simplelog::{ConfigBuilder, WriteLogger};

pub use budget::Budget;
pub use escape::{Escaped, escape, is_command, printable};
pub use output::Target;
pub use repeats::Repeats;
pub use zone::local_time;

use crate::failure::Failure;
use crate::model::clock::{Clock, UnixTime};
use journal::JournalLogger;
use output::Output;

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error("cannot open the log {}: {source} (log.file)", path.display())]
    Open {
        /// Path of the log.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is one already.
    #[error("the log was started twice")]
    Twice(#[from] log::SetLoggerError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(Failure::CANNOT_CREATE, error)
    }
}

/// The running log.
#[derive(Clone, Debug)]
pub struct LogHandle {
    sink: Arc<Mutex<Sink>>,
}

/// Starts the log of this process.
///
/// # Errors
/// If the file cannot be opened, or the log was started before.
pub fn start(target: Target, level: LevelFilter, clock: Clock) -> Result<LogHandle, Error> {
    let socket = if let Target::Journal { socket, .. } = &target { Some(socket.clone()) } else { None };
    let handle = LogHandle { sink: Arc::new(Mutex::new(Sink::new(Output::open(target)?, clock))) };
    let logger = match socket {
        None => logger(&handle),
        Some(path) => {
            let logger = JournalLogger::new(&path, handle.clone()).map_err(|source| Error::Open { path, source })?;
            Box::new(logger)
        }
    };
    log::set_boxed_logger(logger)?;
    log::set_max_level(level);
    Ok(handle)
}

/// One line of the log, without its end.
pub fn line(time: UnixTime, text: &str) -> String {
    format!("[{}] {text}", local_time(time))
}

impl LogHandle {
    /// Opens the file anew, after a rotation or under another path, and reads the time zone again. If that fails,
    /// the log goes on where it went, and says so. From and to a standard stream it changes with a restart only: that
    /// of a daemon leads nowhere.
    pub fn reopen(&self, path: &Path, level: LevelFilter) {
        zone::reread();
        log::set_max_level(level);
        let target = Target::named(path);
        if target.is_stream() || matches!(self.lock().output, Output::Stdout | Output::Stderr) {
            return;
        }
        let is_spare = matches!(self.lock().output, Output::Later(_));
        let opened = if is_spare { Ok(Output::Later(target)) } else { Output::open(target) };
        match opened {
            Ok(output) => self.lock().output = output,
            Err(error) => log::error!("ERROR => {error}; the log goes on in the old file"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sink> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn logger(handle: &LogHandle) -> Box<dyn log::Log> {
    // simplelog fixes its offset from UTC at start, so we write the time ourselves.
    let bare = ConfigBuilder::new()
        .set_time_level(LevelFilter::Off)
        .set_level_padding(simplelog::LevelPadding::Off)
        .set_max_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_thread_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        // What libraries tell may hold a key of ours.
        .add_filter_allow_str("sipban")
        .build();
    // The level is set in the crate `log`, where it can be changed.
    WriteLogger::new(LevelFilter::Trace, bare, Lines { handle: handle.clone(), pending: Vec::new() })
}

/// Collects what simplelog writes in pieces, and passes on whole lines.
#[derive(Debug)]
struct Lines {
    handle: LogHandle,
    pending: Vec<u8>,
}

impl Write for Lines {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(piece);
        if piece.contains(&b'\n') {
            let whole = self.pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            self.handle.lock().write_lines(&self.pending[..whole]);
            self.pending.drain(..whole);
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where lines end up.
#[derive(Debug)]
struct Sink {
    output: Output,
    clock: Clock,
    /// Lines that could not be written since the last one that could.
    lost: u64,
    /// Whether a part of a line stands at the end of the output.
    torn: bool,
}

impl Sink {
    fn new(output: Output, clock: Clock) -> Sink {
        Sink { output, clock, lost: 0, torn: false }
    }

    /// Writes lines, their ends included, in one go. Those that could not be written are counted, and told with the
    /// next that can.
    fn write_lines(&mut self, lines: &[u8]) {
        let time = format!("[{}] ", local_time(self.clock.now().wall));
        let mut text = Vec::with_capacity(2 * lines.len() + 24);
        if self.torn {
            text.push(b'\n');
        }
        if self.lost > 0 {
            text.extend_from_slice(format!("{time}ERROR => {} lines could not be written\n", self.lost).as_bytes());
        }
        let told = text.len();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            text.extend_from_slice(time.as_bytes());
            text.extend_from_slice(line);
        }
        let written = self.output.write(&text).unwrap_or(0);
        if written >= told {
            self.lost = 0;
        }
        self.lost += text[written.max(told)..].iter().filter(|byte| **byte == b'\n').count() as u64;
        if let Some(last) = written.checked_sub(1) {
            self.torn = text[last] != b'\n';
        }
    }
}

#[cfg(test)]
mod tests;
