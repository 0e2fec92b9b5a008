//! Thread: asks the sources for their lists, each when it is time, and puts what may be believed on the desk of the
//! keeper.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use log::{info, warn};

use super::board::Board;
use super::copy::Copy;
use super::desk::Desk;
use super::parse::Parsed;
use super::schedule::{self, Outcome};
use super::source::{Answer, Failed, Source};
use super::{check, copy};
use crate::config::{FeedConfig, FeedFormat};
use crate::logging::escape;
use crate::model::clock::{Clock, UnixTime};
use crate::model::nets::Nets;
use crate::protection::machine::Machine;

/// Addresses of APIBAN leave after seven days.
const APIBAN_DAYS: u64 = 7 * 86_400;

/// At most 200,000 entries that end by themselves has a list. Of more, those that end last.
const MOST_TIMED: usize = 200_000;

/// A list, and how its source is doing.
pub(super) struct Feed {
    name: String,
    config: FeedConfig,
    source: Source,
    file: PathBuf,
    copy: Copy,
    due: Duration,
    failures: u32,
    board: Arc<Board>,
}

/// Takes over what an earlier process kept of these lists, and puts it on the desk.
pub(super) fn feeds(
    configs: &BTreeMap<String, FeedConfig>,
    journal: &Path,
    board: &Arc<Board>,
    desk: &Desk,
    clock: &Clock,
) -> Vec<Feed> {
    let now = clock.now();
    let feed = |(name, config): (&String, &FeedConfig)| {
        let file = copy::path(journal, "feed", name);
        let source = Source::new(config);
        let copy = Copy::read(&file, &source.origin(), now.wall).unwrap_or_else(|why| {
            warn!("FEED => {name}: {} is not used: {why}", file.display());
            None
        });
        let (name, config, board) = (name.clone(), config.clone(), Arc::clone(board));
        let mut feed =
            Feed { name, config, source, file, copy: Copy::default(), due: now.monotonic, failures: 0, board };
        if let Some(copy) = copy.filter(|copy| now.wall.since(copy.fetched) <= feed.config.keep) {
            let age = Duration::from_secs(now.wall.since(copy.fetched));
            feed.copy = copy;
            feed.due = now.monotonic + schedule::usual(&feed.config).saturating_sub(age);
            feed.show(desk, now.wall);
        } else {
            // What an earlier process left in force has ended.
            desk.list(&feed.name, None);
        }
        feed
    };
    configs.iter().map(feed).collect()
}

/// Asks them for ever.
pub(super) fn run(mut feeds: Vec<Feed>, desk: &Desk, clock: &Clock) {
    loop {
        for feed in &mut feeds {
            if clock.now().monotonic >= feed.due {
                feed.ask(desk, clock);
            }
            feed.age(desk, clock.now().wall);
        }
        let next = feeds.iter().map(|feed| feed.due).min().unwrap_or(Duration::MAX);
        // Lists age in seconds, and entries of theirs in days.
        let left = next.saturating_sub(clock.now().monotonic);
        thread::sleep(left.clamp(Duration::from_millis(10), Duration::from_secs(1)));
    }
}

impl Feed {
    fn ask(&mut self, desk: &Desk, clock: &Clock) {
        let answer = self.source.ask(&self.copy);
        let now = clock.now().wall;
        let taken = answer.and_then(|answer| self.take(answer, now).map_err(Failed::from));
        let outcome = match taken {
            Ok(outcome) => {
                if self.failures > 0 {
                    info!("FEED => {}: well again", self.name);
                }
                self.failures = 0;
                self.board.write(&self.name, |entry| entry.failure = None);
                if let Err(why) = self.copy.write(&self.file, &self.source.origin()) {
                    warn!("FEED => {}: {} cannot be written: {why}", self.name, self.file.display());
                }
                self.show(desk, now);
                outcome
            }
            Err(failed) => self.fail(failed),
        };
        let chance = getrandom::u64().unwrap_or_default();
        self.due = clock.now().monotonic + schedule::pause(&self.config, outcome, chance);
    }

    /// Takes an answer in, if it may be believed.
    fn take(&mut self, answer: Answer, now: UnixTime) -> Result<Outcome, String> {
        match answer {
            Answer::Same if self.copy.is_empty() => {
                return Err("it says that nothing has changed, of nothing".to_owned());
            }
            Answer::Same | Answer::End => {}
            Answer::List { parsed: Parsed { nets, notice }, etag, modified } => {
                check::entries(&nets, &own())?;
                let new: Nets = nets.into_iter().collect();
                let old = Some(&*self.copy.nets).filter(|old| !old.is_empty());
                check::whole(&new, old, self.config.change)?;
                let notice = notice.map(|notice| escape(&notice).to_string());
                if notice != self.copy.notice {
                    notice.iter().for_each(|notice| info!("FEED => {}: {notice}", self.name));
                }
                let nets = if new == *self.copy.nets { Arc::clone(&self.copy.nets) } else { Arc::new(new) };
                self.copy = Copy { nets, etag, modified, notice, ..Copy::default() };
            }
            Answer::Batch { nets, id } => {
                self.copy.fetched = now;
                // What is wrong with it will not be right later: the next batch follows.
                self.copy.id = Some(id);
                self.copy.timed.retain(|_, end| *end > now);
                match check::entries(&nets, &own()) {
                    Err(why) => warn!("FEED => {}: a batch of {} is left out: {why}", self.name, nets.len()),
                    Ok(()) => {
                        let gone = self.copy.add_timed(nets, now + APIBAN_DAYS, MOST_TIMED);
                        if gone > 0 {
                            let name = &self.name;
                            warn!("FEED => {name}: the oldest {gone} are left out: there is room for {MOST_TIMED}");
                        }
                    }
                }
                return Ok(Outcome::More);
            }
        }
        self.copy.fetched = now;
        Ok(Outcome::Done)
    }

    fn fail(&mut self, Failed { what, wait }: Failed) -> Outcome {
        let what = escape(&what).to_string();
        let stays = match self.copy.is_empty() {
            true => "there is no list yet".to_owned(),
            false => format!("the one of {} stays in force", crate::logging::local_time(self.copy.fetched)),
        };
        let mut is_new = false;
        self.board.write(&self.name, |entry| {
            is_new = entry.failure.as_ref() != Some(&what);
            entry.failure = Some(what.clone());
        });
        if is_new {
            warn!("FEED => {}: not taken: {what}; {stays}", self.name);
        }
        self.failures = self.failures.saturating_add(1);
        Outcome::Failed { times: self.failures, wait }
    }

    /// Ends what has been silent for too long, and the entries that end by themselves.
    fn age(&mut self, desk: &Desk, now: UnixTime) {
        if !self.copy.is_empty() && now.since(self.copy.fetched) > self.config.keep {
            warn!("FEED => {}: silent for {} s: its entries end", self.name, self.config.keep);
            self.copy = Copy::default();
            // So that the next answer is a whole list.
            self.source.forget();
            desk.list(&self.name, None);
            self.board.write(&self.name, |entry| entry.fetched = None);
        } else if self.config.format == FeedFormat::Apiban && self.copy.timed.values().any(|end| *end <= now) {
            self.copy.timed.retain(|_, end| *end > now);
            self.show(desk, now);
        }
    }

    /// Puts the list on the desk, and what is known of it on the board.
    fn show(&mut self, desk: &Desk, now: UnixTime) {
        let entries = self.copy.entries(now);
        if self.source.is_news(&entries) {
            desk.list(&self.name, (!entries.is_empty()).then_some(entries));
        }
        self.board.write(&self.name, |entry| {
            entry.fetched = Some(self.copy.fetched);
            entry.notice.clone_from(&self.copy.notice);
        });
    }
}

/// The addresses of this machine that others may reach.
fn own() -> Nets {
    Machine::look().map_or_else(Nets::default, |machine| machine.addresses.into_iter().map(Into::into).collect())
}
