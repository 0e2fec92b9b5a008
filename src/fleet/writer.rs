//! The thread that tells the others what is blocked here.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use ipnet::IpNet;
use redis::{Cmd, Value, cmd};

use super::answer;
use super::budget::MOST_LIVE;
use super::entry::{Entry, Live};
use super::keys::Keys;
use super::saying::{saying, set_from};
use super::server::{End, Error, Server, refusal};
use super::sign::{Content, MOST_ADDRESSES};
use super::{Gauge, Heard, Link, Order, RETRY, Side, Tell, later, memory};
use crate::config::Fleet as Config;
use crate::model::clock::Clock;

/// Time between two signs of life, and for how long one lasts, in seconds.
const BEAT: Duration = Duration::from_secs(20);
const BEAT_LASTS: u64 = 60;

/// A member that is gone for good leaves nothing behind after this time, in seconds: longer than any block lasts.
const KEYS_LAST: u64 = 400 * 86_400;

/// At most this many entries go to the server in one go, in two or three commands each.
const PIECE: usize = 200;

/// At most this many pieces of the set that the server keeps of us are read. More than we could have blocked is not ours.
const MOST_PIECES: usize = 64;

/// An end that differs by this many seconds from what was told is told again.
const SAME_END: u64 = 5;

/// After a refusal everything is told again after this time.
const AGAIN: Duration = Duration::from_secs(30);

/// Writes our own stream, set and sign of life.
pub(super) struct Writer {
    config: Config,
    keys: Keys,
    memory: PathBuf,
    orders: Receiver<Order>,
    tell: Tell,
    clock: Clock,
    gauge: Arc<Gauge>,
    own: Content,
    /// What was last said of the connection.
    link: Option<Link>,
}

/// A connection, and what is to be done through it when.
struct Session {
    server: Server,
    /// The server's time, in seconds, at one moment of ours.
    time: (u64, Duration),
    beat: Duration,
    /// When everything is to be told again.
    again: Option<Duration>,
    was_beating: bool,
}

impl Writer {
    pub(super) fn new(
        config: Config,
        memory: PathBuf,
        orders: Receiver<Order>,
        tell: Tell,
        clock: Clock,
        gauge: Arc<Gauge>,
    ) -> Writer {
        let own = Content { version: env!("CARGO_PKG_VERSION").to_owned(), addresses: Vec::new() };
        Writer { keys: Keys::new(&config.group), config, memory, orders, tell, clock, gauge, own, link: None }
    }

    /// Writes for ever.
    pub(super) fn run(&mut self) {
        let mut pause = RETRY.0;
        loop {
            let began = self.now();
            let why = match self.session() {
                Ok(()) | Err(End::OwnerGone) => return,
                Err(End::Again) => continue,
                Err(End::Failed(why)) => why.to_string(),
            };
            if self.say(Link::Down { why }).is_err() {
                return;
            }
            if self.now().saturating_sub(began) > RETRY.1 {
                pause = RETRY.0;
            }
            if self.wait(pause).is_err() {
                return;
            }
            pause = later(pause);
        }
    }

    /// Lets pass what everything will be told after; only counts it.
    fn wait(&mut self, pause: Duration) -> Result<(), End> {
        let until = self.now() + pause;
        loop {
            let left = until.saturating_sub(self.now());
            match self.orders.recv_timeout(left) {
                Ok(Order::Tell(entries)) => drop(self.gauge.waiting.fetch_add(entries.len() as u64, Ordering::Relaxed)),
                Ok(Order::All(_)) => {}
                Ok(order) => self.at_home(order),
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Err(End::OwnerGone),
            }
        }
    }

    fn session(&mut self) -> Result<(), End> {
        let Some(url) = self.config.url.clone() else { return Ok(()) };
        let server = Server::connect(&self.config, &url)?;
        let now = self.now();
        let mut session = Session { server, time: (0, now), beat: now, again: None, was_beating: false };
        self.ask_for_all()?;
        loop {
            let now = self.now();
            if now >= session.beat {
                self.beat(&mut session)?;
            }
            if session.again.is_some_and(|again| now >= again) || self.gauge.missed.load(Ordering::Relaxed) > 0 {
                session.again = None;
                self.ask_for_all()?;
            }
            let next = session.beat.min(session.again.unwrap_or(session.beat)).saturating_sub(self.now());
            match self.orders.recv_timeout(next) {
                Ok(Order::Tell(entries)) => self.publish(&mut session, entries)?,
                Ok(Order::All(set)) => self.publish_all(&mut session, set)?,
                Ok(order) => {
                    let is_new = matches!(order, Order::Own(_));
                    self.at_home(order);
                    if is_new {
                        session.beat = self.now();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(End::OwnerGone),
            }
        }
    }

    /// What needs no server.
    fn at_home(&mut self, order: Order) {
        match order {
            Order::Own(addresses) => {
                self.own.addresses = addresses;
                self.own.addresses.truncate(MOST_ADDRESSES);
            }
            Order::Remember(text) => {
                self.gauge.remembering.store(false, Ordering::Release);
                self.remember(|file| memory::save(file, &text));
            }
            Order::Note(memory) => self.remember(|file| memory::add(file, memory)),
            Order::Tell(_) | Order::All(_) => {}
        }
    }

    fn remember(&self, write: impl FnOnce(&Path) -> io::Result<()>) {
        if let Err(why) = write(&self.memory) {
            log::error!("ERROR => cannot write {}: {why}", self.memory.display());
        }
    }

    fn ask_for_all(&self) -> Result<(), End> {
        self.gauge.missed.store(0, Ordering::Relaxed);
        self.tell(Heard::WantAll)
    }

    /// Shows that we are here, and sees that the server still knows us.
    fn beat(&mut self, session: &mut Session) -> Result<(), End> {
        let name = &self.config.name;
        let (stream, blocks, beat) = (self.keys.stream(name), self.keys.blocks(name), self.keys.beat(name));
        let now = session.seconds(self.now());
        let commands = [
            cmd("TIME"),
            cmd("SET").arg(&beat).arg(self.own.text()).arg("EX").arg(BEAT_LASTS).arg("GET").to_owned(),
            cmd("EXPIRE").arg(&stream).arg(KEYS_LAST).to_owned(),
            cmd("EXPIRE").arg(&blocks).arg(KEYS_LAST).to_owned(),
            cmd("ZREMRANGEBYSCORE").arg(&blocks).arg("-inf").arg(now).to_owned(),
        ];
        let at = self.now();
        let mut answers = self.write(session, &commands)?.into_iter();
        session.beat = at + BEAT;
        if let Some(time) = answers.next().and_then(answer::time) {
            session.time = (time / 1_000, at);
        }
        // It was emptied behind our back.
        if session.was_beating && answers.next() == Some(Value::Nil) {
            self.ask_for_all()?;
        }
        session.was_beating = true;
        Ok(())
    }

    /// Tells the others what is new, as many orders as wait in one go.
    fn publish(&mut self, session: &mut Session, entries: Vec<Entry>) -> Result<(), End> {
        let now = session.seconds(self.now());
        for piece in entries.chunks(PIECE) {
            let commands: Vec<Cmd> =
                piece.iter().flat_map(|entry| saying(&self.keys, &self.config.name, entry, now)).collect();
            self.write(session, &commands)?;
        }
        Ok(())
    }

    /// Makes the server's set hold exactly what is blocked here, and tells the others what changed.
    fn publish_all(&mut self, session: &mut Session, mut set: Vec<(Live, u64)>) -> Result<(), End> {
        set.truncate(MOST_LIVE);
        let now = session.seconds(self.now());
        let there = self.set_there(session, now)?;
        let wanted: BTreeMap<_, u64> = set.iter().map(|(live, left)| (live.net, *left)).collect();
        let gone = there.keys().filter(|net| !wanted.contains_key(*net)).map(|net| Entry::Unblock(*net));
        let is_new =
            |live: &Live, left: u64| there.get(&live.net).is_none_or(|end| end.abs_diff(now + left) > SAME_END);
        let new = set.iter().filter(|(live, left)| is_new(live, *left));
        let new = new
            .filter_map(|&(Live { net, reason }, seconds)| reason.map(|reason| Entry::Block { net, reason, seconds }));
        let changes: Vec<Entry> = gone.chain(new).collect();
        let changed = !changes.is_empty() || there.is_empty();
        self.publish(session, changes)?;
        if changed {
            self.publish(session, vec![Entry::Whole])?;
        }
        self.gauge.waiting.store(0, Ordering::Relaxed);
        if session.again.is_none() {
            self.say(Link::Up)?;
        }
        Ok(())
    }

    /// What the server's set holds, each with its end: all of it may be more than one answer can be.
    fn set_there(&self, session: &mut Session, now: u64) -> Result<BTreeMap<IpNet, u64>, End> {
        let blocks = self.keys.blocks(&self.config.name);
        let mut there = BTreeMap::new();
        for piece in 0..MOST_PIECES {
            let range = set_from(&blocks, now, piece * MOST_LIVE);
            let answer = session.server.ask(&range)?;
            let is_last = answer::length(&answer) < 2 * MOST_LIVE;
            let held = answer::set(&self.config.name, answer).unwrap_or_default();
            there.extend(held.into_iter().map(|(live, end)| (live.net, end)));
            if is_last {
                break;
            }
        }
        Ok(there)
    }

    /// Writes, and says what the server refuses.
    fn write(&mut self, session: &mut Session, commands: &[Cmd]) -> Result<Vec<Value>, End> {
        let answers = session.server.ask_all(commands)?;
        let refused = answers.iter().find_map(|answer| refusal(answer.clone()).err());
        if let Some(why) = refused {
            let why = why.to_string();
            // A server that became a replica stays one: perhaps its name leads to another by now.
            if why.starts_with("READONLY") {
                return Err(End::Failed(Error::Refused(why)));
            }
            session.again = Some(self.now() + AGAIN);
            self.say(Link::Down { why })?;
        }
        Ok(answers)
    }

    fn say(&mut self, link: Link) -> Result<(), End> {
        if self.link.as_ref() != Some(&link) {
            self.tell(Heard::Link(Side::Writing, link.clone()))?;
            self.link = Some(link);
        }
        Ok(())
    }

    fn tell(&self, heard: Heard) -> Result<(), End> {
        if (self.tell)(heard) { Ok(()) } else { Err(End::OwnerGone) }
    }

    fn now(&self) -> Duration {
        self.clock.now().monotonic
    }
}

impl Session {
    /// The server's time.
    fn seconds(&self, now: Duration) -> u64 {
        self.time.0 + now.saturating_sub(self.time.1).as_secs()
    }
}
