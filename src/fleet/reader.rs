//! The thread that reads what the others say, and tells the owner.

mod roll;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use redis::{Cmd, Value, cmd};

use super::answer::{self, Brought};
use super::entry::Entry;
use super::keys::Keys;
use super::place::{Id, Onward};
use super::saying::set_from;
use super::server::{End, Error, Server, refusal};
use super::sign::{Content, MOST_SIGN, Sign};
use super::votes::Lacks;
use super::{Heard, Link, RETRY, Side, Tell, later};
use crate::config::Fleet as Config;
use crate::model::clock::Clock;
use roll::Roll;
use stream::{Stream, Streams};

/// Time between two looks at who is there, and whether the streams are still those that were read.
const LOOK: Duration = Duration::from_secs(10);

/// The same while nobody else is there.
const LOOK_ALONE: Duration = Duration::from_secs(1);

/// At most this long one read of streams waits for something new: less than the time an answer may take.
const WAIT: Duration = Duration::from_secs(2);

/// The same while more could be read of some origin, but for its budget.
const WAIT_SHORT: Duration = Duration::from_millis(250);

/// At most this many entries of one stream are read in one go.
const PIECE: usize = 50;

/// At most this many steps does a search for the streams of the others take. Each looks at a thousand keys.
const MOST_STEPS: usize = 1_000;

/// An origin whose answers are too long, or whose stream is none, is not read for this time.
const MUTED: Duration = Duration::from_secs(600);

const NO_STREAM: &str = "its key holds something else than a stream";

/// Reads the streams of the others.
pub(super) struct Reader {
    config: Config,
    keys: Keys,
    streams: Streams,
    tell: Tell,
    clock: Clock,
}

/// The server's clock: its time at one moment of ours.
#[derive(Clone, Copy)]
struct ServerTime {
    milliseconds: u64,
    at: Duration,
}

impl Reader {
    pub(super) fn new(config: Config, read: BTreeMap<String, Id>, tell: Tell, clock: Clock) -> Reader {
        let now = clock.now().monotonic;
        let stream = |id| Stream { read: Some(id), ..Stream::new(now) };
        let here = read.into_iter().map(|(name, id)| (name, stream(id))).collect();
        Reader { keys: Keys::new(&config.group), config, streams: Streams::new(here), tell, clock }
    }

    /// Reads for ever.
    pub(super) fn run(&mut self) {
        let mut pause = RETRY.0;
        loop {
            let began = self.now();
            let why = match self.session() {
                Ok(()) | Err(End::OwnerGone) => return,
                Err(End::Again) => continue,
                Err(End::Failed(why)) => why.to_string(),
            };
            if self.tell(Heard::Link(Side::Reading, Link::Down { why })).is_err() {
                return;
            }
            if self.now().saturating_sub(began) > RETRY.1 {
                pause = RETRY.0;
            }
            thread::sleep(pause);
            pause = later(pause);
        }
    }

    fn session(&mut self) -> Result<(), End> {
        let Some(url) = self.config.url.clone() else { return Ok(()) };
        let mut server = Server::connect(&self.config, &url)?;
        let mut time = self.look(&mut server)?;
        self.tell(Heard::Link(Side::Reading, Link::Up))?;
        loop {
            let since = self.now().saturating_sub(time.at);
            if since >= LOOK || since >= LOOK_ALONE && self.streams.here.is_empty() {
                time = self.look(&mut server)?;
            }
            self.read_sets(&mut server, time)?;
            self.read_alone(&mut server, time)?;
            self.read(&mut server, time)?;
        }
    }

    /// Who is there, which streams there are, and whether they are those that were read.
    fn look(&mut self, server: &mut Server) -> Result<ServerTime, End> {
        let at = self.now();
        let milliseconds = expect(answer::time(server.ask(&cmd("TIME"))?), "TIME")?;
        let names = self.names(server)?;
        self.streams.keep(&names, at);
        let read: Vec<&String> = names.iter().filter(|name| !self.streams.here[*name].is_muted(at)).collect();
        let sign = |name: &String| cmd("GETRANGE").arg(self.keys.beat(name)).arg(0).arg(MOST_SIGN).to_owned();
        let info = |name: &&String| cmd("XINFO").arg("STREAM").arg(self.keys.stream(name)).to_owned();
        let commands: Vec<Cmd> = names.iter().map(sign).chain(read.iter().map(info)).collect();
        let asked: Vec<&String> = names.iter().chain(read.iter().copied()).collect();
        let mut answers = self.ask_each(server, &commands, |number| asked.get(number).map(|name| (*name).clone()))?;
        let infos = answers.split_off(names.len());
        let content = |sign| Content::read(answer::text(&refusal(sign).ok()?)?.as_bytes());
        let signs = names.iter().zip(answers);
        let signs: Vec<Sign> = signs.map(|(name, sign)| Sign { name: name.clone(), content: content(sign) }).collect();
        for sign in signs.iter().filter(|sign| sign.content.is_some()) {
            self.streams.here.entry(sign.name.clone()).and_modify(|stream| stream.signed = Some(at));
        }
        let mut behind = 0;
        for (name, info) in read.into_iter().zip(infos) {
            let shown = match refusal(info) {
                Err(why) if is_no_stream(&why) => {
                    self.mute(name.clone(), NO_STREAM)?;
                    continue;
                }
                info => info.ok().and_then(answer::shown),
            };
            // It may have ended in the meantime.
            let Some(shown) = shown else { continue };
            let Some(stream) = self.streams.here.get_mut(name) else { continue };
            match shown.onward(stream.read) {
                Onward::Read => {}
                Onward::CatchUp => stream.start_over(shown.last, Lacks::Ended),
                Onward::Anew => stream.start_over(shown.last, Lacks::Unknown),
            }
            if let Some(read) = stream.read.filter(|read| *read < shown.last) {
                behind = behind.max(milliseconds.saturating_sub(read.milliseconds));
            }
        }
        self.tell(Heard::Members(signs))?;
        self.tell(Heard::Behind(Duration::from_millis(behind)))?;
        Ok(ServerTime { milliseconds, at })
    }

    /// The names of the others that are to be read.
    fn names(&self, server: &mut Server) -> Result<BTreeSet<String>, End> {
        let mut roll = Roll::default();
        let mut cursor = 0;
        for _ in 0..MOST_STEPS {
            let scan = cmd("SCAN").arg(cursor).arg("MATCH").arg(self.keys.any()).arg("COUNT").arg(1_000).to_owned();
            let (next, keys) = expect(answer::scanned(server.ask(&scan)?), "SCAN")?;
            for key in &keys {
                let (beats, name) = match (self.keys.member(key), self.keys.living(key)) {
                    (Some(name), _) => (false, name),
                    (_, Some(name)) => (true, name),
                    _ => continue,
                };
                if name != self.config.name {
                    roll.found(name, beats, self.streams.here.contains_key(name));
                }
            }
            if next == 0 {
                break;
            }
            cursor = next;
        }
        Ok(roll.chosen(|name| self.streams.here.get(name)?.signed))
    }

    /// Reads the sets of live blocks that are to be read.
    fn read_sets(&mut self, server: &mut Server, time: ServerTime) -> Result<(), End> {
        let now = self.now();
        let is_wanted = |stream: &mut Stream| stream.set.is_some() && stream.may_be_read(now);
        let wanted = self.streams.here.iter_mut().filter_map(|(name, stream)| is_wanted(stream).then(|| name.clone()));
        let wanted: Vec<String> = wanted.collect();
        for name in wanted {
            let seconds = time.now(self.now()) / 1_000;
            let range = set_from(&self.keys.blocks(&name), seconds, 0);
            let answers = self.ask_each(server, std::slice::from_ref(&range), |_| Some(name.clone()))?;
            let Some(stream) = self.streams.here.get_mut(&name) else { continue };
            let (Some(lacks), Some(read)) = (stream.set.take(), stream.read) else { continue };
            let set = answers.into_iter().next().and_then(|set| answer::set(&name, refusal(set).ok()?));
            let Some(mut set) = set else { continue };
            stream.budget.spend_set(set.len(), now);
            set.iter_mut().for_each(|(_, end)| *end = end.saturating_sub(seconds));
            self.tell(Heard::Set { origin: name, set, lacks, read })?;
        }
        Ok(())
    }

    /// Reads the streams of which one may give too long an answer or none, each with a question of its own.
    fn read_alone(&mut self, server: &mut Server, time: ServerTime) -> Result<(), End> {
        let names = self.readable(true);
        if names.is_empty() {
            return Ok(());
        }
        let questions: Vec<Cmd> = names.iter().map(|name| self.question(std::slice::from_ref(name), None)).collect();
        let answers = self.ask_each(server, &questions, |number| names.get(number).cloned())?;
        for (name, answer) in names.iter().zip(answers) {
            if let Some(stream) = self.streams.here.get_mut(name) {
                stream.alone = false;
            }
            match refusal(answer) {
                Err(why) if is_no_stream(&why) => self.mute(name.clone(), NO_STREAM)?,
                answer => self.take(expect(answer::brought(answer?), "XREAD")?, time)?,
            }
        }
        Ok(())
    }

    /// Waits for something new in the streams.
    fn read(&mut self, server: &mut Server, time: ServerTime) -> Result<(), End> {
        let names = self.readable(false);
        let wait = if names.len() < self.streams.here.len() { WAIT_SHORT } else { WAIT };
        if names.is_empty() {
            thread::sleep(wait.min(LOOK_ALONE));
            return Ok(());
        }
        match server.ask(&self.question(&names, Some(wait))) {
            Ok(answer) => self.take(expect(answer::brought(answer), "XREAD")?, time),
            // One of them is to blame.
            Err(why) if is_no_stream(&why) => {
                self.read_each_alone();
                Ok(())
            }
            Err(Error::Overlong(_)) => {
                self.read_each_alone();
                Err(End::Again)
            }
            Err(why) => Err(why.into()),
        }
    }

    /// The streams that may be read now.
    fn readable(&mut self, alone: bool) -> Vec<String> {
        let now = self.now();
        let is_ready = |stream: &mut Stream| stream.set.is_none() && stream.alone == alone && stream.may_be_read(now);
        let ready = self.streams.here.iter_mut().filter_map(|(name, stream)| is_ready(stream).then(|| name.clone()));
        ready.collect()
    }

    fn question(&self, names: &[String], wait: Option<Duration>) -> Cmd {
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(PIECE);
        if let Some(wait) = wait {
            read.arg("BLOCK").arg(wait.as_millis() as u64);
        }
        read.arg("STREAMS");
        for name in names {
            read.arg(self.keys.stream(name));
        }
        for name in names {
            let place = self.streams.here.get(name).and_then(|stream| stream.read);
            read.arg(place.unwrap_or_default().to_string());
        }
        read
    }

    fn take(&mut self, streams: Vec<Brought>, time: ServerTime) -> Result<(), End> {
        for Brought { key, entries } in streams {
            let Some(name) = self.keys.member(&key).map(str::to_owned) else { continue };
            let now = time.now(self.now());
            let Some(stream) = self.streams.here.get_mut(&name) else { continue };
            let Some(read) = entries.last().map(|(id, _)| *id) else { continue };
            stream.read = Some(read);
            stream.budget.spend(entries.len());
            let (mut said, mut unfit) = (Vec::new(), None);
            for (id, fields) in entries {
                match answer::entry(&name, &fields) {
                    Ok(Entry::Whole) => stream.set = Some(Lacks::Ended),
                    Ok(entry) => said.extend(entry.since(id.milliseconds, now)),
                    Err(why) => unfit = Some(why),
                }
            }
            self.tell(Heard::Entries { origin: name.clone(), entries: said, read })?;
            if let Some(why) = unfit {
                self.tell(Heard::Unfit { origin: name, why: why.to_string() })?;
            }
        }
        Ok(())
    }

    /// Asks several things. Whoever causes an answer that is too long is not read for a while.
    fn ask_each(
        &mut self,
        server: &mut Server,
        commands: &[Cmd],
        whose: impl Fn(usize) -> Option<String>,
    ) -> Result<Vec<Value>, End> {
        match server.ask_all(commands) {
            Err(Error::Overlong(number)) => {
                if let Some(name) = whose(number) {
                    self.mute(name, "answers too long to read")?;
                }
                Err(End::Again)
            }
            answers => Ok(answers?),
        }
    }

    /// This origin is not read for a while.
    fn mute(&mut self, name: String, why: &str) -> Result<(), End> {
        let until = self.now() + MUTED;
        self.streams.here.entry(name.clone()).and_modify(|stream| stream.muted = Some(until));
        let why = format!("{why}; it is not read for {} s", MUTED.as_secs());
        self.tell(Heard::Unfit { origin: name, why })
    }

    fn read_each_alone(&mut self) {
        self.streams.here.values_mut().for_each(|stream| stream.alone = true);
    }

    fn tell(&self, heard: Heard) -> Result<(), End> {
        if (self.tell)(heard) { Ok(()) } else { Err(End::OwnerGone) }
    }

    fn now(&self) -> Duration {
        self.clock.now().monotonic
    }
}

impl ServerTime {
    /// In milliseconds.
    fn now(self, now: Duration) -> u64 {
        let passed = now.saturating_sub(self.at).as_millis();
        self.milliseconds.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

/// A member may write anything in its own key.
fn is_no_stream(why: &Error) -> bool {
    matches!(why, Error::Refused(why) if why.starts_with("WRONGTYPE"))
}

fn expect<T>(read: Option<T>, what: &str) -> Result<T, End> {
    read.ok_or_else(|| End::Failed(Error::Lost(format!("the answer to {what} is of no form that SIPban knows"))))
}
