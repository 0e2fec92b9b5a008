//! The only caller of the operating system's clocks.
//!
//! Everything that decides takes a [`Now`] as an argument, so that a test can let a week pass in a line.

use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Wall time in whole seconds since 1970-01-01 00:00 UTC. The ends of blocks are kept in it, because they
/// are saved and must mean the same after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// Seconds from `earlier` to `self`, 0 if `earlier` is in fact later.
    pub fn since(self, earlier: UnixTime) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for UnixTime {
    type Output = UnixTime;
    fn add(self, seconds: u64) -> UnixTime {
        UnixTime(self.0.saturating_add(seconds))
    }
}

impl Sub<u64> for UnixTime {
    type Output = UnixTime;
    fn sub(self, seconds: u64) -> UnixTime {
        UnixTime(self.0.saturating_sub(seconds))
    }
}

/// One moment on both clocks: wall time for the ends of blocks, monotonic time (since an arbitrary start)
/// for windows, graces and back-off, which a jump of the wall clock must not touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall time.
    pub wall: UnixTime,
    /// Time since an arbitrary moment before the first event; never goes back.
    pub monotonic: Duration,
}

/// Where the time comes from.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    /// The clocks of this machine; monotonic time counts from here.
    Machine(Instant),
    Recorded(Recorded),
}

impl Clock {
    /// The clocks of this machine; monotonic time counts from now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks for the time")]
    pub fn start() -> Clock {
        Clock(Source::Machine(Instant::now()))
    }

    /// A clock that shows what a recording says.
    pub fn recorded(recorded: &Recorded) -> Clock {
        Clock(Source::Recorded(recorded.clone()))
    }

    /// What time it is.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks for the time")]
    pub fn now(&self) -> Now {
        match &self.0 {
            Source::Machine(start) => {
                let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
                Now { wall: UnixTime(wall), monotonic: start.elapsed() }
            }
            Source::Recorded(recorded) => {
                let passed = Duration::from_millis(recorded.now().max(0).unsigned_abs());
                let wall = UnixTime(passed.as_secs().saturating_add_signed(recorded.1.load(Ordering::Relaxed)));
                Now { wall, monotonic: passed }
            }
        }
    }
}

/// The time of a recording, in milliseconds since 1970, and seconds by which the wall clock shows more; set by whoever
/// plays it.
#[derive(Clone, Debug, Default)]
pub struct Recorded(Arc<AtomicI64>, Arc<AtomicI64>);

impl Recorded {
    /// Sets the time.
    pub fn set(&self, milliseconds: i64) {
        self.0.store(milliseconds, Ordering::Relaxed);
    }

    /// Sets the wall clock so many seconds ahead of the time that passes.
    pub fn set_wall(&self, seconds: i64) {
        self.1.store(seconds, Ordering::Relaxed);
    }

    /// The time.
    pub fn now(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}
