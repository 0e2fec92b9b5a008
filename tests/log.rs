//! The log of a whole process, which can have only one.

use std::fs;

use log::LevelFilter;
use sipban::logging::{self, Target};
use sipban::model::clock::Clock;

#[test]
fn a_log_that_cannot_be_reopened_goes_on_and_says_so_and_the_level_follows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sipban.log");
    let log = logging::start(Target::File(path.clone()), LevelFilter::Info, Clock::start()).unwrap();
    log::debug!(target: "sipban::owner", "not shown");
    log.reopen(&folder.path().join("no/sipban.log"), LevelFilter::Debug);
    log::debug!(target: "ureq::run", "of a library");
    log::debug!(target: "sipban::owner", "shown");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().map(|line| &line[22..]).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("ERROR => cannot open the log "), "{text}");
    assert!(lines[0].ends_with("; the log goes on in the old file"), "{text}");
    assert_eq!(lines[1], "shown");
    assert!(logging::start(Target::Stderr, LevelFilter::Info, Clock::start()).is_err());
}
