//! Other PBXs: what one blocks, the others block too, through a Redis or Valkey server that they share.
//!
//! Each member writes a stream of what it has to tell, a sorted set of its live blocks and a sign of life, and reads
//! those of all others. One thread reads, one writes (`reader`, `writer`); both wait for the network, the owner
//! never does.
//!
//! # What always holds
//! - Whoever said something is told by the key it stood in, which the server lets nobody else write ([`keys`]).
//! - What was heard is never told again: only blocks made here are published.
//! - A block of another member is a vote ([`votes`]). The owner decides whether it comes into force.
//! - No clock but the server's counts: an entry says how many seconds are left at the time of its ID.
//! - Nobody is freed because the server is gone, empty, full or slow ([`place`]).
//! - What a member that went mad may cost is bounded: [`budget`], [`members::MOST_MEMBERS`], [`server::MOST_ANSWER`].

pub mod answer;
pub mod budget;
pub mod entry;
pub mod keys;
pub mod members;
pub mod memory;
pub mod pardons;
pub mod place;
mod reader;
pub mod saying;
pub mod server;
pub mod sign;
pub mod votes;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

#[cfg(test)]
use crossbeam_channel::Receiver;
use crossbeam_channel::{Sender, bounded};

use crate::config::Fleet as Config;
use crate::model::clock::Clock;
use entry::{Entry, Live};
use place::Id;
use sign::Sign;
use votes::{Lacks, Memory};

/// At most this many orders wait for the writer. Each is what one turn of the owner brought.
const MOST_ORDERS: usize = 256;

/// Shortest and longest time between two tries to connect.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What the owner hears of the others.
#[derive(Debug)]
pub enum Heard {
    /// One of the two connections changed its state.
    Link(Side, Link),
    /// Who is there.
    Members(Vec<Sign>),
    /// The oldest entry that waits to be read is so old; nothing waits if it is zero.
    Behind(Duration),
    /// Entries of one origin, in order; their seconds count from now.
    Entries {
        /// Whose.
        origin: String,
        /// What it says.
        entries: Vec<Entry>,
        /// Its stream was read so far.
        read: Id,
    },
    /// All live blocks of one origin, each with the seconds it has left.
    Set {
        /// Whose.
        origin: String,
        /// The blocks.
        set: Vec<(Live, u64)>,
        /// What is to be thought of those that are not in it.
        lacks: Lacks,
        /// Its stream was read so far.
        read: Id,
    },
    /// Part of what an origin says counts for nothing, because of this.
    Unfit {
        /// Whose.
        origin: String,
        /// Why.
        why: String,
    },
    /// The writer needs all blocks made here: an [`Order::All`].
    WantAll,
}

/// Tells the owner, and waits for room in its inbox; false when it has stopped.
pub type Tell = Arc<dyn Fn(Heard) -> bool + Send + Sync>;

/// One of the two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that reads.
    Reading,
    /// The one that writes.
    Writing,
}

/// Its state, told once for each change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// It works.
    Up,
    /// It does not, or the server takes part of it only.
    Down {
        /// Why.
        why: String,
    },
}

/// What the writer is to do.
#[derive(Debug)]
pub enum Order {
    /// Tell the others; seconds count from now.
    Tell(Vec<Entry>),
    /// This is all that is blocked here, with the seconds left.
    All(Vec<(Live, u64)>),
    /// The addresses of this machine, which nobody else is to block.
    Own(Vec<IpAddr>),
    /// Write the file of what is remembered anew. Given by [`Fleet::remember`].
    Remember(Vec<u8>),
    /// Add this to the file of what is remembered.
    Note(Memory),
}

/// The fleet as the owner sees it.
#[derive(Clone, Debug)]
pub struct Fleet {
    orders: Sender<Order>,
    gauge: Arc<Gauge>,
}

/// What became of the owner's orders.
#[derive(Debug, Default)]
struct Gauge {
    /// Entries that wait for the server to come back.
    waiting: AtomicU64,
    /// Orders that found no room since the writer last asked for everything.
    missed: AtomicU64,
    /// The same since the start.
    missed_ever: AtomicU64,
    /// Whether an [`Order::Remember`] waits.
    remembering: AtomicBool,
}

impl Fleet {
    /// Hands an order to the writer, without ever waiting. What finds no room is counted, and made up for: the writer
    /// asks for everything.
    pub fn order(&self, order: Order) {
        if self.orders.try_send(order).is_err() {
            self.gauge.missed.fetch_add(1, Ordering::Relaxed);
            self.gauge.missed_ever.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has the file of what is remembered written anew. It can be long, so that only one at a time waits: false if this
    /// one is not taken.
    pub fn remember(&self, text: impl FnOnce() -> Vec<u8>) -> bool {
        if self.gauge.remembering.swap(true, Ordering::AcqRel) {
            return false;
        }
        let taken = self.orders.try_send(Order::Remember(text())).is_ok();
        self.gauge.remembering.store(taken, Ordering::Release);
        taken
    }

    /// One without threads, and what the owner orders.
    #[cfg(test)]
    pub fn apart() -> (Fleet, Receiver<Order>) {
        let (orders, ordered) = bounded(MOST_ORDERS);
        (Fleet { orders, gauge: Arc::default() }, ordered)
    }

    /// How many entries wait for the server to come back.
    pub fn waiting(&self) -> u64 {
        self.gauge.waiting.load(Ordering::Relaxed)
    }

    /// How many orders found no room since the start.
    pub fn missed(&self) -> u64 {
        self.gauge.missed_ever.load(Ordering::Relaxed)
    }
}

/// Starts both threads. `read` is how far the streams were read by an earlier process, `memory` the file for
/// [`Order::Remember`] and [`Order::Note`].
///
/// # Errors
/// If the system has no thread to give.
pub fn start(
    config: &Config,
    read: BTreeMap<String, Id>,
    memory: PathBuf,
    tell: Tell,
    clock: &Clock,
) -> io::Result<Fleet> {
    let (orders, waiting) = bounded(MOST_ORDERS);
    let gauge = Arc::new(Gauge::default());
    let mut reader = reader::Reader::new(config.clone(), read, Arc::clone(&tell), clock.clone());
    let mut writer = writer::Writer::new(config.clone(), memory, waiting, tell, clock.clone(), Arc::clone(&gauge));
    thread::Builder::new().name("fleet-reader".into()).spawn(move || reader.run())?;
    thread::Builder::new().name("fleet-writer".into()).spawn(move || writer.run())?;
    Ok(Fleet { orders, gauge })
}

/// The time to the next try after one that failed: doubled, up to a bound.
fn later(pause: Duration) -> Duration {
    pause.saturating_mul(2).min(RETRY.1)
}
