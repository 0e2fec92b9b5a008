//! The log: lines `[2019-06-12 12:01:55] TEXT`, in local time. What is logged in one piece is written by one `write`, so
//! `tail -f` and a rotation see whole lines.
//!
//! Everybody logs through the crate `log`; the level decides whether, and is not shown.

mod budget;
mod escape;
mod repeats;
mod zone;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::LevelFilter;
use simplelog::{ConfigBuilder, WriteLogger};

pub use budget::Budget;
pub use escape::{Escaped, escape};
pub use repeats::Repeats;
pub use zone::local_time;

use crate::failure::Failure;
use crate::model::clock::{Clock, UnixTime};

/// Where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file, appended to; made readable by owner and group if it is missing.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error("cannot open the log {}: {source}; does its folder exist (log.file)?", path.display())]
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
    let handle = LogHandle { sink: Arc::new(Mutex::new(Sink::new(Output::open(target)?, clock))) };
    log::set_boxed_logger(logger(&handle))?;
    log::set_max_level(level);
    Ok(handle)
}

/// One line of the log, without its end.
pub fn line(time: UnixTime, text: &str) -> String {
    format!("[{}] {text}", local_time(time))
}

impl LogHandle {
    /// Opens the file anew, after a rotation or under another path, and reads the time zone again. If that fails,
    /// the log goes on where it went, and says so. A log that does not go to a file goes on there.
    pub fn reopen(&self, path: &Path, level: LevelFilter) {
        zone::reread();
        log::set_max_level(level);
        if !matches!(self.lock().output, Output::File(_)) {
            return;
        }
        match Output::open(Target::File(path.to_owned())) {
            Ok(output) => self.lock().output = output,
            Err(error) => log::error!("ERROR => {error}; the log goes on in the old file"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sink> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn logger(handle: &LogHandle) -> Box<dyn log::Log> {
    // simplelog fixes its offset from UTC at start, so the time is ours.
    let bare = ConfigBuilder::new()
        .set_time_level(LevelFilter::Off)
        .set_level_padding(simplelog::LevelPadding::Off)
        .set_max_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_thread_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .build();
    // The level is that of the crate `log`, which can change.
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
        let time = local_time(self.clock.now().wall);
        let mut text = Vec::with_capacity(2 * lines.len() + 24);
        if self.torn {
            text.push(b'\n');
        }
        if self.lost > 0 {
            text.extend_from_slice(format!("[{time}] ERROR => {} lines could not be written\n", self.lost).as_bytes());
        }
        let told = text.len();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            text.extend_from_slice(format!("[{time}] ").as_bytes());
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

#[derive(Debug)]
enum Output {
    File(File),
    Stdout,
    Stderr,
}

impl Output {
    fn open(target: Target) -> Result<Output, Error> {
        match target {
            Target::Stdout => Ok(Output::Stdout),
            Target::Stderr => Ok(Output::Stderr),
            Target::File(path) => File::options()
                .create(true)
                .append(true)
                .mode(0o640)
                .open(&path)
                .map(Output::File)
                .map_err(|source| Error::Open { path, source }),
        }
    }

    /// One `write`; returns how much of the bytes went.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Output::File(file) => file.write(bytes),
            Output::Stdout => io::stdout().write_all(bytes).map(|()| bytes.len()),
            Output::Stderr => io::stderr().write_all(bytes).map(|()| bytes.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::{Level, Log, Record};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// A log of the test's own; the one of the process can be started only once.
    fn log_to(path: &Path) -> (LogHandle, Box<dyn Log>) {
        let output = Output::open(Target::File(path.to_owned())).unwrap();
        let handle = LogHandle { sink: Arc::new(Mutex::new(Sink::new(output, Clock::start()))) };
        let logger = logger(&handle);
        (handle, logger)
    }

    fn say(logger: &dyn Log, level: Level, text: &str) {
        logger.log(&Record::builder().level(level).target("sipban::owner").args(format_args!("{text}")).build());
    }

    /// The lines of a log without their times, whose form is checked.
    fn texts(path: &Path) -> Vec<String> {
        let is_time = |text: &str| {
            let form: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            form == "[0000-00-00 00:00:00] "
        };
        let log = fs::read_to_string(path).unwrap();
        assert!(log.is_empty() || log.ends_with('\n'));
        log.lines()
            .map(|line| {
                assert!(is_time(&line[..22]), "{line}");
                line[22..].to_owned()
            })
            .collect()
    }

    #[test]
    fn a_line_is_its_time_and_its_text_at_every_level() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sipban.log");
        let (_, logger) = log_to(&path);
        let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
        for level in levels {
            say(&*logger, level, "BLOCK => 221.121.138.167 (Invalid Account)");
        }
        say(&*logger, Level::Info, "two\nlines");
        let mut expected = vec!["BLOCK => 221.121.138.167 (Invalid Account)"; levels.len()];
        expected.extend(["two", "lines"]);
        assert_eq!(texts(&path), expected);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
    }

    #[test]
    fn after_a_rotation_the_log_goes_on_in_the_new_file_and_keeps_the_old_one_if_there_can_be_none() {
        let folder = tempfile::tempdir().unwrap();
        let (path, rotated) = (folder.path().join("sipban.log"), folder.path().join("sipban.log.1"));
        let (handle, logger) = log_to(&path);
        say(&*logger, Level::Info, "one");
        fs::rename(&path, &rotated).unwrap();
        say(&*logger, Level::Info, "two");
        handle.reopen(&path, LevelFilter::Info);
        say(&*logger, Level::Info, "three");
        handle.reopen(&folder.path().join("no/folder.log"), LevelFilter::Info);
        say(&*logger, Level::Info, "four");
        assert_eq!(texts(&rotated), ["one", "two"]);
        assert_eq!(texts(&path), ["three", "four"]);
    }

    #[test]
    fn a_log_that_cannot_be_opened_says_which_and_why() {
        let error = Output::open(Target::File("/no/such/folder/sipban.log".into())).unwrap_err().to_string();
        assert!(error.contains("/no/such/folder/sipban.log: No such file or directory"), "{error}");
    }

    #[test]
    fn lines_lost_to_a_full_disk_are_counted_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sipban.log");
        let (handle, logger) = log_to("/dev/full".as_ref());
        for _ in 0..7 {
            say(&*logger, Level::Info, "lost");
        }
        handle.reopen(&path, LevelFilter::Info);
        say(&*logger, Level::Info, "back");
        say(&*logger, Level::Info, "again");
        assert_eq!(texts(&path), ["ERROR => 7 lines could not be written", "back", "again"]);
    }
}
