//! Every recorded stream of a real Asterisk comes out right, however it is cut into reads.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ipnet::IpNet;
use serde::Deserialize;
use sipban::command::replay::replay;
use sipban::config::Config;
use sipban::geo::Atlas;
use sipban::logging::{self, LogHandle, Target};
use sipban::model::block::Reason;
use sipban::model::clock::Clock;
use sipban::owner::Owner;
use sipban::owner::startup::{self, Parts};

/// What `expect.json` says of a stream.
#[derive(Deserialize)]
struct Expected {
    block: Vec<IpAddr>,
    not: Vec<IpAddr>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Start(#[from] startup::Error),
}

#[test]
fn every_stream_is_judged_as_expected() {
    let expected: BTreeMap<String, Expected> =
        serde_json::from_str(&fs::read_to_string(folder().join("expect.json")).unwrap()).unwrap();
    let mut judged = 0;
    for file in streams() {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let Some(expected) = expected.get(name) else { continue };
        let blocked = judge(&fs::read(&file).unwrap(), &[]);
        let is_blocked = |address: &IpAddr| blocked.iter().any(|(net, _)| net.contains(address));
        for address in &expected.block {
            assert!(is_blocked(address), "{name}: {address} is not blocked, but {blocked:?}");
        }
        for address in &expected.not {
            assert!(!is_blocked(address), "{name}: {address} is blocked: {blocked:?}");
        }
        judged += 1;
    }
    assert_eq!(judged, expected.len(), "a stream is missing");
}

#[test]
fn every_stream_comes_to_the_same_a_byte_at_a_time() {
    for file in streams() {
        let stream = fs::read(&file).unwrap();
        let every_byte: Vec<usize> = (1..stream.len()).collect();
        assert_eq!(judge(&stream, &every_byte), judge(&stream, &[]), "{}", file.display());
    }
}

/// Every position of every stream is one of the cuts: the first run cuts at 0, 97, 194..., the next at 1, 98, 195...
#[test]
fn every_stream_comes_to_the_same_wherever_it_is_cut() {
    const STEP: usize = 97;
    for file in streams() {
        let stream = fs::read(&file).unwrap();
        let whole = judge(&stream, &[]);
        for start in 0..STEP {
            let cuts: Vec<usize> = (start..stream.len()).step_by(STEP).collect();
            assert_eq!(judge(&stream, &cuts), whole, "{} cut at {start}", file.display());
        }
    }
}

/// Whom the daemon's own loop blocks when the stream comes in pieces that end at these positions.
fn judge(stream: &[u8], cuts: &[usize]) -> Vec<(IpNet, Reason)> {
    let make = |clock: Clock| -> Result<Owner, Error> {
        let config = Config { white_list: PathBuf::from("/nonexistent"), ..Config::default() };
        Ok(Owner::new(Parts::recorded(config, clock, log().clone()))?)
    };
    let owner = replay(|| Ok(Pieces { stream, cuts, at: Cell::new(0) }), &Atlas::default(), make).unwrap();
    let mut blocked: Vec<_> = owner.blocks().map(|(net, block)| (net, block.reason)).collect();
    blocked.sort_unstable();
    blocked
}

/// One log for all owners of this process; what they say is not looked at here.
fn log() -> &'static LogHandle {
    static LOG: OnceLock<LogHandle> = OnceLock::new();
    LOG.get_or_init(|| logging::start(Target::Stderr, log::LevelFilter::Off, Clock::start()).unwrap())
}

/// A stream of which one read never gives more than up to the next cut.
struct Pieces<'a> {
    stream: &'a [u8],
    cuts: &'a [usize],
    at: Cell<usize>,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let at = self.at.get();
        let next = self.cuts.partition_point(|cut| *cut <= at);
        let end = self.cuts.get(next).copied().unwrap_or(self.stream.len());
        let count = (end - at).min(buffer.len());
        buffer[..count].copy_from_slice(&self.stream[at..at + count]);
        self.at.set(at + count);
        Ok(count)
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures")
}

fn streams() -> Vec<PathBuf> {
    let files = |folder: &str| fs::read_dir(self::folder().join(folder)).unwrap().map(|file| file.unwrap().path());
    let mut streams: Vec<PathBuf> = files("ast16").chain(files("ast22")).collect();
    streams.retain(|file| file.extension().is_some_and(|extension| extension == "ami"));
    streams.sort();
    assert!(streams.len() > 30);
    streams
}
