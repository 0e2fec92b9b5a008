//! `sipban stats [LOG...]`: what the log files say, rotated and gzipped ones too.
//!
//! Each file is read by one thread, several files at a time. Memory is bounded, however many addresses there are and
//! whatever the files hold.

mod census;
mod files;
mod line;
mod origins;
mod outages;
mod page;
mod report;
mod tally;
mod text;

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::known::{Known, known};
use crate::cli;
use crate::failure::{Failure, print};
use crate::geo::{self, Atlas};
use crate::state::durable;
use line::Reader;
use report::Report;
use tally::Tally;
use text::Canvas;

/// At most this many threads read. Each may need some 100 megabytes, and a fifth would not make the disk faster.
const MOST_THREADS: usize = 4;

/// From this many bytes on it takes long enough to show how far it has come.
const LONG: u64 = 100 << 20;

/// Reads the logs and writes the report to `out`; how far it has come, if that takes a while, to `err`.
///
/// # Errors
/// If a log cannot be read: what the others say was written nevertheless. A reader of `out` that has seen enough is
/// no error.
pub fn run(config_file: &Path, options: &cli::Stats, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Failure> {
    let logs = if options.logs.is_empty() { logs_of(config_file)? } else { options.logs.clone() };
    let (tally, mut problems) = read(&logs, err).map_err(|error| Failure::new(Failure::SYSTEM, error))?;
    if tally.files > 0 {
        let atlas = atlas(config_file).unwrap_or_else(|why| {
            problems.push(format!("no countries and operators are told: {why}"));
            Atlas::default()
        });
        let report = Report::new(&tally, options.top, &atlas);
        match &options.html {
            Some(file) => write(file, &page::page(&report))?,
            None => print(out, &shown(&report, options), "the report")?,
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::new(Failure::INPUT, problems.join("\n"))) }
}

/// The log of the configuration, or of the defaults where that is not to be read, and its rotations.
fn logs_of(config_file: &Path) -> Result<Vec<PathBuf>, Failure> {
    let Known { config, unread } = known(config_file)?;
    let log = &config.log_file;
    let failed = |why: String| {
        let unread = unread.as_ref().map_or(String::new(), |unread| format!(" ({unread}; this is the default)"));
        Failure::new(Failure::INPUT, why + &unread).about(log)
    };
    let mut found = files::rotations(log).map_err(|error| failed(error.to_string()))?;
    // A FIFO or a device would be read for ever.
    found.retain(|log| log.is_file());
    if found.is_empty() { Err(failed("there is no such log; name one".to_owned())) } else { Ok(found) }
}

/// Where addresses are, as the files of the configuration say. Logs can be of another machine, so what is wrong with the
/// rest of it does not matter here.
fn atlas(config_file: &Path) -> Result<Atlas, geo::Error> {
    known(config_file).map_or_else(|_| Ok(Atlas::default()), |known| Atlas::open(&known.config.geo))
}

fn write(file: &Path, page: &str) -> Result<(), Failure> {
    let written = durable::replace(file, 0o644, |beside| beside.write_all(page.as_bytes()));
    written.map_err(|error| Failure::new(Failure::CANNOT_CREATE, format!("cannot write the page: {error}")).about(file))
}

fn shown(report: &Report, options: &cli::Stats) -> String {
    if options.json {
        // Only a map whose keys are no texts could fail, and there is none.
        serde_json::to_string_pretty(report).unwrap_or_default() + "\n"
    } else if options.csv {
        report.csv()
    } else {
        let canvas = Canvas { width: width(), unicode: takes_unicode() };
        canvas.draw(report, options.days)
    }
}

/// Columns of the terminal, as `COLUMNS` or the terminal itself says; 80 where there is none.
fn width() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let seen = || terminal_size::terminal_size().map(|(width, _)| width.0.into());
    told.or_else(seen).unwrap_or(80).clamp(40, 200)
}

fn takes_unicode() -> bool {
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    locale.is_some_and(|locale| ["UTF-8", "utf8"].iter().any(|name| locale.ends_with(name)))
}

/// Reads the logs; the texts say which of them could not be read, or not to their end.
fn read(logs: &[PathBuf], err: &mut dyn Write) -> io::Result<(Tally, Vec<String>)> {
    let size = |log: &PathBuf| fs::metadata(log).map_or(0, |log| log.len());
    let total: u64 = logs.iter().map(size).sum();
    // The largest one is taken first, so that nobody waits for it in the end.
    let mut waiting = logs.to_vec();
    waiting.sort_by_cached_key(size);
    let waiting = Mutex::new(waiting);
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS).min(logs.len());
    let progress = AtomicU64::new(0);
    let (done, tallies) = bounded(threads);
    thread::scope(|scope| {
        for number in 0..threads {
            let (waiting, progress, done) = (&waiting, &progress, done.clone());
            let work = move || {
                // The receiver is there as long as this thread is.
                let _ = done.send(read_in_turn(waiting, progress));
            };
            thread::Builder::new().name(format!("stats-{number}")).spawn_scoped(scope, work)?;
        }
        drop(done);
        let shows = total > LONG && io::stderr().is_terminal();
        let mut sum: Option<(Tally, Vec<String>)> = None;
        loop {
            match tallies.recv_timeout(Duration::from_millis(200)) {
                Ok((tally, problems)) => match &mut sum {
                    None => sum = Some((tally, problems)),
                    Some((all, all_problems)) => {
                        all.absorb(tally);
                        all_problems.extend(problems);
                    }
                },
                Err(RecvTimeoutError::Timeout) if shows => show(err, progress.load(Ordering::Relaxed), total),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if shows {
            // Where it cannot be shown, nobody looks.
            let _ = write!(err, "\r\x1b[K");
        }
        Ok(sum.unwrap_or_default())
    })
}

/// Reads the logs that no other thread has taken yet.
fn read_in_turn(waiting: &Mutex<Vec<PathBuf>>, progress: &AtomicU64) -> (Tally, Vec<String>) {
    let (mut tally, mut problems) = (Tally::default(), Vec::new());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
    while let Some(log) = next() {
        let mut reader = Reader::default();
        let read = files::open(&log, progress).and_then(|file| {
            tally.begin();
            files::lines(file, |line| tally.line(reader.read(line)))
        });
        if let Err(error) = read {
            problems.push(format!("{}: {error}", log.display()));
        }
    }
    (tally, problems)
}

fn show(err: &mut dyn Write, read: u64, total: u64) {
    const BAR: u64 = 40;
    let done = (read * BAR / total.max(1)).min(BAR) as usize;
    let left = BAR as usize - done;
    // Where it cannot be shown, nobody looks.
    let _ = write!(err, "\r[{}{}] {} of {} MB", "#".repeat(done), " ".repeat(left), read >> 20, total >> 20);
    let _ = err.flush();
}
