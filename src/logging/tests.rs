//! The log as it is written.

use super::*;
use log::{Level, Log, Record};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A log of the test's own; the one of the process can be started only once.
fn log_to(path: &Path) -> (LogHandle, Box<dyn Log>) {
    log_into(Output::open(Target::named(path)).unwrap())
}

fn log_into(output: Output) -> (LogHandle, Box<dyn Log>) {
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
fn lines_lost_to_a_full_disk_are_counted_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sipban.log");
    let (handle, logger) = log_into(Output::File(fs::File::options().append(true).open("/dev/full").unwrap()));
    for _ in 0..7 {
        say(&*logger, Level::Info, "lost");
    }
    handle.reopen(&path, LevelFilter::Info);
    say(&*logger, Level::Info, "back");
    say(&*logger, Level::Info, "again");
    assert_eq!(texts(&path), ["ERROR => 7 lines could not be written", "back", "again"]);
}
