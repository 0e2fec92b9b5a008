//! Any bytes as a dump: what is read of it is written and read back the same.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use sipban::model::clock::UnixTime;
use sipban::state::dump::{self, MOST_PROBLEMS};

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder for files");
    let path = folder.path().join("dump");
    fs::write(&path, bytes).expect("a file to read");
    let first = dump::read(&path, UnixTime(7)).expect("any bytes can be read");
    assert!(first.problems.len() <= MOST_PROBLEMS + 1);
    dump::write(&path, &first.blocks, UnixTime(0)).expect("a dump can be written");
    let again = dump::read(&path, UnixTime(8)).expect("our own dump can be read");
    assert_eq!((again.blocks, again.problems), (first.blocks, vec![]));
});
