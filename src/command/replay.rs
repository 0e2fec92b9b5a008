//! `sipban replay FILE`: judges a recorded AMI stream by its own timestamps, through the very loop of the daemon.

use std::io::{self, Read};
use std::path::Path;

use log::info;

use crate::ami::frame::Framer;
use crate::ami::security::Guard;
use crate::config::Config;
use crate::event::Event;
use crate::failure::Failure;
use crate::geo::Atlas;
use crate::logging::{self, Target};
use crate::model::clock::{Clock, Recorded};
use crate::model::security::SecurityEvent;
use crate::owner::Owner;
use crate::owner::startup::Parts;

/// How a stream recorded from its beginning starts: with a line that is not a frame.
const GREETING: &[u8] = b"Asterisk Call Manager/";

/// After the last event, so many milliseconds pass: challenges that nobody answers are noticed only then.
const AFTERMATH: i64 = 30_000;

/// Of a longer pause in a recording only the last part is ticked through second by second, milliseconds.
const LONG_PAUSE: i64 = 3_600_000;

/// Bytes of one read.
const PIECE: usize = 64 * 1024;

/// Plays the stream that `open` opens to the owner that `make` makes, whose clock shows the time of the recording,
/// and returns that owner. `atlas` says where those are who were refused.
///
/// # Errors
/// If the stream cannot be read, or the owner not be made.
pub fn replay<R: Read, E: From<io::Error>>(
    open: impl Fn() -> io::Result<R>,
    atlas: &Atlas,
    make: impl FnOnce(Clock) -> Result<Owner, E>,
) -> Result<Owner, E> {
    let clock = Recorded::default();
    if let Some(start) = first_time(open()?)? {
        clock.set(start);
    }
    let start = clock.now();
    let mut player = Player { owner: make(Clock::recorded(&clock))?, clock, next_tick: start + 1000 };
    read(open()?, |mut event| {
        atlas.locate(std::slice::from_mut(&mut event));
        player.happens(event);
    })?;
    player.pass_until(player.clock.now() + AFTERMATH);
    Ok(player.owner)
}

struct Player {
    owner: Owner,
    clock: Recorded,
    /// When the next second is over, milliseconds since 1970.
    next_tick: i64,
}

impl Player {
    fn happens(&mut self, event: SecurityEvent) {
        if let Some(time) = event.time {
            self.pass_until(time);
        }
        self.owner.turn(vec![Event::Security(vec![event])]);
    }

    /// Lets time pass; a timestamp older than the one before it changes nothing.
    fn pass_until(&mut self, time: i64) {
        self.next_tick = self.next_tick.max(time - LONG_PAUSE);
        while self.next_tick <= time {
            self.clock.set(self.next_tick);
            self.owner.turn(vec![Event::Tick]);
            self.next_tick += 1000;
        }
        self.clock.set(time.max(self.clock.now()));
    }
}

/// `sipban replay`: as [`replay`], with the configuration's limits and white list and the log on standard output.
///
/// # Errors
/// If the configuration is wrong or the stream cannot be read.
pub fn print<R: Read>(config_file: &Path, open: impl Fn() -> io::Result<R>) -> Result<(), Failure> {
    // Without a configuration of its own, a recording is judged by the defaults: it may be another machine's.
    let config = Config::load_if_there(config_file)?;
    let atlas = Atlas::open(&config.geo)?;
    let make = |clock: Clock| -> Result<Owner, Failure> {
        let log = logging::start(Target::Stdout, config.log_level, clock.clone())?;
        Ok(Owner::new(Parts::recorded(config, clock, log))?)
    };
    let owner = replay(open, &atlas, make)?;
    owner.spared().iter().for_each(|line| info!("SPARED => {line}"));
    Ok(())
}

fn first_time(stream: impl Read) -> io::Result<Option<i64>> {
    let mut first = None;
    read_while(stream, |event| {
        first = event.time;
        first.is_none()
    })?;
    Ok(first)
}

fn read(stream: impl Read, mut each: impl FnMut(SecurityEvent)) -> io::Result<()> {
    read_while(stream, |event| {
        each(event);
        true
    })
}

/// Reads a stream of AMI and hands over its security events, until it ends or `each` says that it is enough.
fn read_while(mut stream: impl Read, mut each: impl FnMut(SecurityEvent) -> bool) -> io::Result<()> {
    let (mut framer, mut guard) = (Framer::default(), Guard::default());
    let mut piece = vec![0; PIECE];
    let mut events = Vec::new();
    let mut greeted = false;
    loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            break;
        }
        framer.push(&piece[..count]);
        if !greeted {
            let start = framer.peek();
            if start.len() < GREETING.len() && GREETING.starts_with(start) {
                continue;
            }
            if start.starts_with(GREETING) && framer.next_line().is_none() {
                continue;
            }
            greeted = true;
        }
        while let Some(frame) = framer.next_frame() {
            guard.frame(&frame, &mut events);
        }
        for event in events.drain(..) {
            if !each(event) {
                return Ok(());
            }
        }
    }
    // A stream cut off in the middle of a frame may lack what would expose the last event as forged.
    if framer.is_between_frames() {
        guard.silence(&mut events);
    }
    events.into_iter().all(each);
    Ok(())
}
