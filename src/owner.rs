//! The owner: the one thread that holds the ban state and runs the firewall's commands.
//!
//! Its loop is gather, judge, enforce, commit, tell. The first two are here, the others in `enforce`.
//!
//! INVARIANT: the book, the journal, the log and the console claim only what the kernel took. The journal keeps beside it
//! what the kernel refused, so that it is tried again after a restart too.

mod answer;
mod enforce;
mod explain;
pub mod fleet;
mod gate;
mod hearing;
mod lists;
mod pending;
mod rhythm;
mod shield;
pub mod startup;
mod stats;
mod upkeep;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use ipnet::IpNet;
use log::{Level, info, log, warn};

use crate::ami::Connection;
use crate::config::Config;
use crate::console::Console;
use crate::console::request::Reply;
use crate::console::request::WeatherKind;
use crate::crowdsec::Reporter;
use crate::event::Event;
use crate::feed::Lists;
use crate::firewall::scope::Scope;
use crate::firewall::{Firewall, run};
use crate::geo::Atlas;
use crate::hook::{Fact, Hook};
use crate::judge::{Evidence, Policy, Standing, Verdict, judge, standing};
use crate::logging::{Budget, LogHandle, Repeats};
use crate::model::block::{Block, MANY, Proof, Reason};
use crate::model::book::Book;
use crate::model::clock::{Clock, Now};
use crate::model::net::Plain;
use crate::model::security::{Kind, SecurityEvent};
use crate::protection::Protection;
use crate::protection::resolver::Resolver;
use crate::state::journal::Journal;
use fleet::Others;
use gate::{Asked, Denied, Plan};
use hearing::Hearing;
use pending::Pending;
use rhythm::Rhythm;
use shield::Strangers;
use stats::Stats;

/// Most events taken from the inbox in one turn of the loop: some 14,000 attackers at once. More would hardly be quicker,
/// and what such a batch needs for a moment the allocator keeps.
const GATHER: usize = 128;

/// At most this many changes of blocks are named in the log at once, in about 6 MB, and as many again in an hour. The
/// others are counted.
const LINES: u64 = 100_000;

/// The same for what reloads have to tell: whoever sends SIGHUP all the time does not fill the disk.
const NEWS: u64 = 1_000;

/// At most this long may the firewall's programs take in one turn, all together: well below the time after which systemd
/// thinks the daemon dead (`WatchdogSec`), and which starts anew with every tick.
const TURN: Duration = Duration::from_secs(45);

/// The owner of all state.
pub struct Owner {
    config: Config,
    config_file: PathBuf,
    clock: Clock,
    log: LogHandle,
    firewall: Box<dyn Firewall>,
    journal: Option<Journal>,
    connection: Option<Connection>,
    console: Option<Console>,
    resolver: Option<Resolver>,
    hook: Option<Hook>,
    atlas: Atlas,
    /// The lists of others, if there are any.
    lists: Option<Lists>,
    /// Reports blocks to CrowdSec, if it is there.
    reporter: Option<Reporter>,
    /// When these were last told of all homes.
    homes_told: Now,
    /// Sessions that wait for Asterisk's answer to a Ping.
    awaiting_pong: VecDeque<Sender<Reply>>,
    book: Book,
    /// The other PBXs, if there is a fleet.
    others: Option<Others>,
    /// What the kernel did not take.
    pending: Pending,
    evidence: Evidence,
    strangers: Strangers,
    policy: Policy,
    protection: Protection,
    covered: Scope,
    stats: Stats,
    hearing: Hearing,
    repeats: Repeats,
    /// The weather that the log has told of, and since when it lasts (monotonic).
    weather: Vec<(WeatherKind, Duration)>,
    /// What protected addresses were told of: a forged flood of them drowns no error.
    spared: Repeats,
    /// How many blocks may be named one by one in the log.
    lines: Budget,
    /// How many lines about reloads.
    news: Budget,
    /// A moment from which on the wall clock went as time passes. It is kept until the clock is set: several small steps
    /// add up to one.
    in_step: Now,
    /// Packets that the kernel dropped, by whose the blocks are, and when to ask it again (monotonic).
    dropped: BTreeMap<&'static str, u64>,
    dropped_due: Duration,
    /// When the owner last tidied.
    tidied: Now,
    /// When it looks at the rules next.
    rhythm: Rhythm,
    started: Now,
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owner").field("book", &self.book).finish_non_exhaustive()
    }
}

impl Owner {
    /// Runs until told to stop, then leaves the firewall as `state.on_stop` says.
    pub fn run(mut self, inbox: &Receiver<Event>) {
        self.prepare();
        loop {
            let first = match inbox.recv_timeout(self.rhythm.until_next(self.clock.now().monotonic)) {
                Ok(first) => Some(first),
                // The rules are to be looked at.
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let events = first.into_iter().chain(inbox.try_iter().take(GATHER - 1));
            if !run::within(TURN, || self.turn(events)) {
                break;
            }
            self.prepare();
        }
        run::within(TURN, || self.stop());
    }

    fn prepare(&mut self) {
        self.firewall.prepare();
        if let Some((firewall, _)) = self.firewall_of_others() {
            firewall.prepare();
        }
    }

    /// Lets the owner ask for a Ping, and tell the console whom to let in after a reload.
    pub fn attach(&mut self, connection: Connection, console: Option<Console>) {
        self.connection = Some(connection);
        self.console = console;
    }

    /// One turn of the loop; false when it was the last. Each event is judged as it is taken, so a flood of them is
    /// never held as a whole.
    pub fn turn(&mut self, events: impl IntoIterator<Item = Event>) -> bool {
        let now = self.clock.now();
        // Before anything is timed by a clock that was set.
        self.follow_clock(now);
        let mut plan = Plan::default();
        for event in events {
            match event {
                Event::Security(events) => events.iter().for_each(|event| self.hear(event, now, &mut plan)),
                Event::Ami(state) => self.note_ami(state, now),
                Event::Unread { strange, overlong } => self.note_unread(strange, overlong, now),
                Event::Pong(took) => {
                    let pong = Reply::Pong(took.as_secs_f64() * 1000.0);
                    self.awaiting_pong.drain(..).for_each(|session| send(&session, pong.clone()));
                }
                Event::Resolved(names) => {
                    self.protection.resolved(names).iter().for_each(|news| warn!("WHITE LIST => {news}"));
                    self.protect(&mut plan);
                }
                Event::Fleet(heard) => self.hear_fleet(heard, now),
                Event::Tick => self.tick(now, &mut plan),
                Event::Request(request, reply) => {
                    // What came before is in force before the answer says so.
                    self.carry_out(std::mem::take(&mut plan), now);
                    self.answer(request, &reply, now);
                }
                Event::Measure(reply) => {
                    // Who asked may have given up.
                    let _ = reply.try_send(self.measures(now));
                }
                Event::Reload => {
                    self.carry_out(std::mem::take(&mut plan), now);
                    self.reload(now, &mut plan);
                }
                Event::Shutdown => {
                    self.carry_out(plan, now);
                    return false;
                }
            }
        }
        self.carry_out(plan, now);
        self.look_after_rules(self.clock.now());
        true
    }

    /// Judges one event.
    fn hear(&mut self, event: &SecurityEvent, now: Now, plan: &mut Plan) {
        self.stats.heard(event, now.wall);
        self.note_hearing(event, now);
        let source = IpNet::from(event.source());
        // Whoever can log in is not what others take him for.
        let is_login = matches!(event.kind, Kind::SuccessfulAuth { .. });
        // What a blocked address sends to a port that does not lead through the chain still arrives.
        let is_blocked = self.book.covering(&source).is_some()
            || plan.covers(&source)
            || !is_login && self.is_blocked_by_others(&source);
        if is_blocked && !self.covered.would_grow(event.local) {
            return;
        }
        let verdict = judge(&mut self.evidence, &self.policy, now, event);
        self.consider(verdict, now, plan);
    }

    fn consider(&mut self, verdict: Verdict, now: Now, plan: &mut Plan) {
        match verdict {
            Verdict::Pass => {}
            Verdict::Block { source, reason, seconds, local, failures } => {
                if let Some(local) = local {
                    self.covered.learn(local);
                }
                let proof = match local {
                    Some(local) if local.transport.has_handshake() => Proof::Shaken,
                    _ if failures >= MANY => Proof::Repeated,
                    _ => Proof::Claimed,
                };
                let block = Block { since: now.wall, end: now.wall + seconds, reason, proof };
                match plan.block(&self.gate(), Asked::New, source, block) {
                    Ok(()) | Err(Denied::Covered(_)) => {}
                    Err(Denied::Protected(label)) => self.tell_spared(source, reason, &label, now),
                    Err(denied @ (Denied::TooWide | Denied::NoRoom(_))) => {
                        let text = format!("ERROR => an attacker is not blocked: {denied}");
                        self.say_once(Level::Error, &text, now);
                    }
                }
            }
            Verdict::Protected { address, reason } => {
                let net = IpNet::from(address);
                let label = self.protection.label(&net).unwrap_or_else(|| "own address".into());
                self.tell_spared(net, reason, &label, now);
            }
        }
    }

    fn tell_spared(&mut self, net: IpNet, reason: Reason, label: &str, now: Now) {
        let text = format!("WHITE LIST => {} not blocked ({reason}): {label}", Plain(net));
        if self.spared.allow(Level::Info, &text, now) {
            info!("{text}");
        }
    }

    /// Makes the white list as it now is hold: nobody on it stays blocked.
    fn protect(&mut self, plan: &mut Plan) {
        self.renew_policy();
        self.admit_all(self.clock.now());
        self.protect_in_lists();
        for (net, _) in self.book.iter().filter(|(net, _)| self.policy.protected.meets(net)) {
            plan.free(net, "White List");
        }
        plan.spare(&self.protection);
        self.spare_others(self.clock.now());
    }

    /// Has the host names that are now to be protected looked up, at once and from then on.
    fn resolve_names(&self) {
        if let Some(resolver) = &self.resolver {
            resolver.resolve(self.protection.names());
        }
    }

    fn renew_policy(&mut self) {
        self.policy = Policy {
            limits: self.config.limits.clone(),
            lengths: self.config.lengths,
            protected: self.protection.allowlist().clone(),
            knows_own_ipv6: self.protection.knows_own_ipv6(),
        };
    }

    /// Logs a text that may come again and again, with its repeats summed up.
    fn say_once(&mut self, level: Level, text: &str, now: Now) {
        if self.repeats.allow(level, text, now) {
            log!(level, "{text}");
        }
    }

    /// Has the administrator's program told, if there is one.
    fn tell_hook(&self, fact: impl FnOnce() -> Fact) {
        if let Some(hook) = &self.hook {
            hook.tell(fact());
        }
    }

    /// All blocks in force, soonest end first.
    pub fn blocks(&self) -> impl Iterator<Item = (IpNet, Block)> + '_ {
        self.book.by_end()
    }

    /// Sources that came near a block and were spared, each with what counted and why it did not block; for `replay`.
    pub fn spared(&self) -> Vec<String> {
        let now = self.clock.now();
        let free = self.evidence.sources().filter(|source| self.book.covering(source).is_none());
        let mut lines: Vec<String> = free
            .flat_map(|source| {
                let near = standing(&self.evidence, &self.policy, now, source).into_iter();
                near.filter(Standing::is_near).map(move |Standing { what, count, limit, strict_limit }| {
                    let cause = if limit == strict_limit { "" } else { ", because accounts live there" };
                    format!("{} ({what} {count} of {strict_limit}{cause})", Plain(*source))
                })
            })
            .collect();
        lines.sort_unstable();
        lines
    }
}

/// Whole seconds from one moment to a later one, whatever the wall clock did.
fn passed(from: Now, to: Now) -> u64 {
    to.monotonic.saturating_sub(from.monotonic).as_secs()
}

/// Answers never hold up the owner: a session that has gone, or does not read, goes without.
fn send(reply: &Sender<Reply>, answer: Reply) {
    match reply.try_send(answer) {
        Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
    }
}

#[cfg(test)]
mod tests;
