//! Thread: a local API of CrowdSec. Its decisions are a list like those of [`feed`](crate::feed), and what SIPban blocks is
//! reported to it.
//!
//! INVARIANT: the owner never waits for it: what does not fit into the queue is counted and left out. A decision is never
//! reported, so what we report does not come back to the server.

mod alert;
mod api;
mod decisions;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use ipnet::IpNet;
use log::{info, warn};

use alert::Report;
use api::Api;
use decisions::Decisions;

use crate::config::CrowdsecConfig;
use crate::feed::copy::{self, Copy};
use crate::feed::{CROWDSEC, Lists};
use crate::logging::escape;
use crate::model::block::Block;
use crate::model::clock::{Clock, UnixTime};

/// At most 1,000 reports wait, and are sent at once.
const MOST_REPORTS: usize = 1_000;

/// Seconds between two whole lists: what a failure of the server kept from us comes with the next.
const WHOLE_EVERY: Duration = Duration::from_secs(3600);

/// At most so long is waited after failures. The time doubles with each.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Where blocks are put to be reported.
#[derive(Clone, Debug)]
pub struct Reporter {
    queue: Sender<Report>,
    left_out: Arc<AtomicU64>,
}

impl Reporter {
    /// Has a block reported, some time later, if others can use it.
    pub fn tell(&self, net: IpNet, block: &Block) {
        if alert::is_evidence(block.reason) {
            let report = Report { net, reason: block.reason, at: block.since, end: block.end };
            if self.queue.try_send(report).is_err() {
                self.left_out.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Starts the thread, if a key or a machine is configured. `lists` are those that decisions become one of.
///
/// # Errors
/// If the system has no thread to give.
pub fn start(
    config: &CrowdsecConfig,
    journal: &Path,
    lists: Option<&Lists>,
    clock: &Clock,
) -> io::Result<Option<Reporter>> {
    if !config.is_there() {
        return Ok(None);
    }
    let api = match Api::new(config) {
        Ok(api) => api,
        Err(why) => {
            warn!("CROWDSEC => {why}");
            return Ok(None);
        }
    };
    let (queue, waiting) = bounded(MOST_REPORTS);
    let reporter = Reporter { queue, left_out: Arc::default() };
    let link = Link::new(api, config, lists.cloned(), copy::path(journal, "list", CROWDSEC), clock.clone());
    let left_out = Arc::clone(&reporter.left_out);
    thread::Builder::new().name("crowdsec".into()).spawn(move || link.run(&waiting, &left_out))?;
    Ok(Some(reporter))
}

/// Whether the server lets us in, as each of what we are to be there; in words.
///
/// # Errors
/// Says what it refuses.
pub fn try_out(config: &CrowdsecConfig) -> Result<String, String> {
    let mut api = Api::new(config)?;
    let mut found = Vec::new();
    if api.is_bouncer() {
        // The server remembers for each key what it has told, and this must not be lost for the daemon.
        api.knock()?;
        found.push("takes the key");
    }
    if api.is_machine() {
        api.login()?;
        found.push("lets the machine in");
    }
    Ok(found.join(" and "))
}

/// The thread's work.
struct Link {
    api: Api,
    every: Duration,
    lists: Option<Lists>,
    file: PathBuf,
    clock: Clock,
    decisions: Decisions,
    /// Monotonic.
    next: Duration,
    next_whole: Duration,
    failures: u32,
    unsent: VecDeque<Report>,
    retry: Duration,
    /// What went wrong last with reports, told once.
    told: Option<String>,
}

impl Link {
    fn new(api: Api, config: &CrowdsecConfig, lists: Option<Lists>, file: PathBuf, clock: Clock) -> Link {
        let now = clock.now();
        let held = Copy::read(&file, api.base(), now.wall).unwrap_or_else(|why| {
            warn!("CROWDSEC => {} is not used: {why}", file.display());
            None
        });
        let held = held.filter(|_| api.is_bouncer()).unwrap_or_default();
        let mut link = Link {
            api,
            every: Duration::from_secs(config.every),
            lists,
            file,
            clock,
            decisions: Decisions::restored(held.timed),
            next: now.monotonic,
            next_whole: now.monotonic,
            failures: 0,
            unsent: VecDeque::new(),
            retry: now.monotonic,
            told: None,
        };
        link.decisions.expire(now.wall);
        if held.fetched > UnixTime(0) {
            link.show(held.fetched);
        } else {
            // What an earlier process left in force has ended.
            link.show_entries();
        }
        link
    }

    /// Polls and reports until the owner has gone.
    fn run(mut self, waiting: &Receiver<Report>, left_out: &AtomicU64) {
        loop {
            let now = self.clock.now().monotonic;
            if self.api.is_bouncer() && now >= self.next {
                self.poll();
            }
            let until = if self.api.is_bouncer() { self.next } else { now + self.every };
            match waiting.recv_timeout(until.saturating_sub(now)) {
                Ok(first) => self.collect([first].into_iter().chain(waiting.try_iter()), left_out),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.report();
        }
    }

    fn poll(&mut self) {
        let now = self.clock.now();
        let all = now.monotonic >= self.next_whole;
        let asked = self.api.decisions(all);
        let taken = asked.and_then(|stream| {
            if all { self.decisions.whole(stream, now.wall) } else { self.decisions.change(stream, now.wall) }
        });
        let has_ended = self.decisions.expire(now.wall);
        self.failures = if taken.is_ok() { 0 } else { self.failures.saturating_add(1) };
        match taken {
            // Whether a whole list is believed, or whether anything has changed.
            Ok(is_so) => {
                if all && is_so {
                    self.next_whole = now.monotonic + WHOLE_EVERY;
                } else if all {
                    warn!(
                        "CROWDSEC => the list lacks decisions that are held: nobody is freed until the next says so too"
                    );
                }
                self.note(None);
                if all || is_so || has_ended {
                    self.show(now.wall);
                    self.keep(now.wall);
                } else {
                    self.note_fetched(now.wall);
                }
            }
            Err(why) => {
                self.note(Some(why));
                // What the server has told meanwhile may be lost.
                self.next_whole = now.monotonic;
                if has_ended {
                    self.show_entries();
                }
            }
        }
        let pause = self.every.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST_PAUSE.max(self.every));
        self.next = self.clock.now().monotonic + pause;
    }

    /// Takes in what is to be reported.
    fn collect(&mut self, reports: impl Iterator<Item = Report>, left_out: &AtomicU64) {
        if !self.api.is_machine() {
            return;
        }
        self.unsent.extend(reports);
        let surplus = self.unsent.len().saturating_sub(MOST_REPORTS);
        self.unsent.drain(..surplus);
        let left_out = left_out.swap(0, Ordering::Relaxed) + surplus as u64;
        if left_out > 0 {
            warn!("CROWDSEC => {left_out} blocks are not reported: too many wait");
        }
    }

    fn report(&mut self) {
        let now = self.clock.now();
        if self.unsent.is_empty() || now.monotonic < self.retry {
            return;
        }
        let alerts: Vec<_> = self.unsent.iter().map(Report::alert).collect();
        // Before it is sent: the server may tell of it before it has answered.
        for Report { net, end, .. } in &self.unsent {
            self.decisions.reported(*net, *end, now.wall);
        }
        match self.api.report(&alerts) {
            Ok(()) => {
                self.unsent.clear();
                if self.told.take().is_some() {
                    info!("CROWDSEC => takes reports again");
                }
            }
            Err(why) => {
                self.retry = now.monotonic + self.every;
                if self.told.as_ref() != Some(&why) {
                    warn!("CROWDSEC => {} blocks wait to be reported: {}", alerts.len(), escape(&why));
                    self.told = Some(why);
                }
            }
        }
    }

    fn show(&self, fetched: UnixTime) {
        self.note_fetched(fetched);
        self.show_entries();
    }

    fn show_entries(&self) {
        if let Some(lists) = &self.lists {
            let entries = self.decisions.entries(self.clock.now().wall);
            lists.put(CROWDSEC, Arc::new(entries.into_keys().collect()));
        }
    }

    fn note_fetched(&self, fetched: UnixTime) {
        if let Some(lists) = &self.lists {
            lists.note_fetched(CROWDSEC, fetched);
        }
    }

    fn note(&self, failure: Option<String>) {
        let failure = failure.map(|why| escape(&why).to_string());
        let Some(lists) = &self.lists else { return };
        if lists.note_failure(CROWDSEC, failure.clone()) {
            match failure {
                Some(why) => warn!("CROWDSEC => no decisions: {why}; those that are held go on"),
                None => info!("CROWDSEC => well again"),
            }
        }
    }

    /// Writes down what is held, for the next process.
    fn keep(&self, now: UnixTime) {
        let copy = Copy { fetched: now, timed: self.decisions.entries(now), ..Copy::default() };
        if let Err(why) = copy.write(&self.file, self.api.base()) {
            warn!("CROWDSEC => {} cannot be written: {why}", self.file.display());
        }
    }
}
