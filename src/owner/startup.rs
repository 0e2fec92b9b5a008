//! Start-up, which brings journal and kernel together, and reload.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use log::{Level, error, info, warn};

use super::fleet::FleetParts;
use super::gate::{Asked, Denied, Plan};
use super::hearing::Hearing;
use super::pending::{Attempt, Pending};
use super::rhythm::Rhythm;
use super::shield::Strangers;
use super::stats::Stats;
use super::{LINES, NEWS, Owner};
use crate::config::{Config, FirewallConfig};
use crate::crowdsec::Reporter;
use crate::failure::Failure;
use crate::feed::Lists;
use crate::firewall::dry_run::DryRun;
use crate::firewall::scope::Scope;
use crate::firewall::{self, Firewall, FoundBlock, Traffic};
use crate::geo::Atlas;
use crate::hook::Hook;
use crate::judge::{Evidence, Policy};
use crate::logging::{Budget, LogHandle, Repeats};
use crate::model::block::{Block, Reason};
use crate::model::book::Book;
use crate::model::clock::{Clock, Now, UnixTime};
use crate::model::memory::{Home, Memory, Offence};
use crate::model::net::{NetOrHost, Plain};
use crate::protection::Protection;
use crate::protection::resolver::Resolver;
use crate::protection::whitelist::{self, WhiteList};
use crate::state::journal::{Journal, Record, Recovered};
use crate::system::daemon;

/// Why nothing is guarded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The firewall cannot be set up.
    #[error(transparent)]
    Firewall(#[from] firewall::Error),
    /// It is not known who must never be blocked.
    #[error(transparent)]
    WhiteList(#[from] whitelist::Error),
    /// A part cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Firewall(error) => error.into(),
            Error::WhiteList(error) => Failure::new(Failure::INPUT, error),
            Error::Thread(_) => Failure::new(Failure::SYSTEM, error),
        }
    }
}

/// Chooses and makes the firewall: the journal is read before it is known which traffic goes through it.
pub type MakeFirewall = Box<dyn FnOnce(&Config, Traffic) -> Result<Box<dyn Firewall>, firewall::Error>>;

/// Starts the lists of others and CrowdSec's, if there are any.
pub type StartLists = Box<dyn FnOnce(&Config, Traffic) -> io::Result<(Option<Lists>, Option<Reporter>)>>;

/// What the owner is made of.
pub struct Parts {
    /// The configuration.
    pub config: Config,
    /// Its file, to read again on SIGHUP.
    pub config_file: PathBuf,
    /// The time.
    pub clock: Clock,
    /// The log, to open again on SIGHUP.
    pub log: LogHandle,
    /// Makes the firewall, given the traffic to lead through it.
    pub firewall: MakeFirewall,
    /// The journal and what it held; `None` in a dry run.
    pub journal: Option<(Journal, Recovered)>,
    /// The other PBXs, if there is a fleet.
    pub fleet: Option<FleetParts>,
    /// Resolves host names; `None` for a recorded stream.
    pub resolver: Option<Resolver>,
    /// Starts the lists of others.
    pub lists: StartLists,
    /// Tells the administrator's program, if there is one.
    pub hook: Option<Hook>,
    /// Where addresses are, to read again on SIGHUP.
    pub atlas: Atlas,
}

impl Parts {
    /// The parts for judging a recording: nothing of this machine is touched or looked at but the white list.
    pub fn recorded(config: Config, clock: Clock, log: LogHandle) -> Parts {
        let firewall = Box::new(|_: &Config, _| Ok(Box::new(DryRun::default()) as Box<dyn Firewall>));
        Parts {
            config,
            config_file: PathBuf::new(),
            clock,
            log,
            firewall,
            journal: None,
            fleet: None,
            resolver: None,
            lists: Box::new(|_, _| Ok((None, None))),
            hook: None,
            atlas: Atlas::default(),
        }
    }
}

impl Owner {
    /// Starts with what the journal and the kernel hold. No address that either knows is unprotected for a moment.
    ///
    /// # Errors
    /// If the firewall cannot be set up, or there is a white list that cannot be read: to start without it would block
    /// whom it protects.
    pub fn new(parts: Parts) -> Result<Owner, Error> {
        let Parts { config, config_file, clock, log, firewall, journal, fleet, resolver, lists, hook, atlas } = parts;
        let now = clock.now();
        info!("SipBan Start");
        let (journal, recovered) = journal.map_or((None, Recovered::default()), |(j, r)| (Some(j), r));
        recovered.problems.iter().for_each(|problem| warn!("JOURNAL => {problem}"));
        let covered = Scope::new(config.firewall.scope.clone(), recovered.ports);
        let mut owner = Owner {
            firewall: firewall(&config, covered.traffic())?,
            book: Book::default(),
            others: None,
            pending: Pending::default(),
            evidence: Evidence::default(),
            strangers: Strangers::default(),
            policy: Policy {
                limits: config.limits.clone(),
                lengths: config.lengths,
                protected: Default::default(),
                knows_own_ipv6: false,
            },
            protection: Protection::default(),
            connection: None,
            console: None,
            awaiting_pong: VecDeque::new(),
            covered,
            stats: Stats::new(now.wall),
            repeats: Repeats::default(),
            weather: Vec::new(),
            hearing: Hearing::default(),
            spared: Repeats::default(),
            lines: Budget::new(LINES),
            news: Budget::new(NEWS),
            in_step: now,
            rhythm: Rhythm::new(now.monotonic),
            dropped: BTreeMap::new(),
            dropped_due: Duration::ZERO,
            tidied: now,
            started: now,
            config,
            config_file,
            clock,
            log,
            journal,
            resolver,
            hook,
            atlas,
            lists: None,
            reporter: None,
            homes_told: now,
        };
        let mut news = Vec::new();
        let memories = recovered.memories.into_iter().map(|memory| {
            let held = not_later(memory.clone(), now.wall);
            news.extend((held != memory).then(|| Record::Remember(held.clone())));
            held
        });
        owner.evidence.restore(memories);
        owner.read_white_list(now)?;
        owner.protection.white_list().entries().for_each(|entry| info!("WHITE LIST => {entry}"));
        let in_force = owner.firewall.set_up(now.wall)?;
        info!("FIREWALL => {}; through it goes {}", owner.firewall.describe(), owner.covered);
        owner.raise_shield(now);
        owner.reconcile(&in_force, recovered.blocks, news, now);
        if let Some(fleet) = fleet {
            owner.join_fleet(fleet, now)?;
        }
        (owner.lists, owner.reporter) = lists(&owner.config, owner.covered.traffic()).map_err(Error::Thread)?;
        owner.spare_in_lists(now);
        Ok(owner)
    }

    /// Adopts what the kernel holds, adds what only the journal has, drops what is over or does not pass the gate.
    /// `news` is what the journal does not know yet.
    fn reconcile(&mut self, in_force: &[FoundBlock], recovered: Vec<(IpNet, Block)>, mut news: Vec<Record>, now: Now) {
        let held = recovered.into_iter().map(|(net, block)| {
            let held = within_reason(block, now);
            news.extend((held != block).then_some(Record::Block(net, held)));
            (net, held)
        });
        let mut wanted: BTreeMap<IpNet, Block> = held.collect();
        let adopted = in_force.iter().map(|entry| {
            // A rule has no end of its own: one that the journal does not know lasts as long as a new one.
            let end = now.wall + entry.remaining.unwrap_or(self.config.lengths.ban);
            let unknown = Block::new(now.wall, end, Reason::Adopted);
            let known = wanted.remove(&entry.net);
            news.extend(known.is_none().then_some(Record::Block(entry.net, unknown)));
            (entry.net, known.unwrap_or(unknown))
        });
        self.book = adopted.collect();
        let mut plan = Plan::default();
        for (net, block) in self.book.iter() {
            if let Some(why) = self.why_over(&net, &block, now) {
                plan.free(net, why);
            }
        }
        // Where there is not room for all, the surest and those that last longest stay.
        let mut missing: Vec<(IpNet, Block)> = wanted.into_iter().collect();
        missing.sort_unstable_by_key(|(net, block)| Reverse((block.proof, block.end, *net)));
        let mut without_room = 0;
        for (net, block) in missing {
            let is_over = block.end <= now.wall;
            let denied = if is_over { None } else { plan.block(&self.gate(), Asked::Again, net, block).err() };
            without_room += usize::from(matches!(denied, Some(Denied::NoRoom(_))));
            if is_over || denied.is_some() {
                news.push(Record::Unblock(net));
            }
        }
        if without_room > 0 {
            let most = self.firewall.capacity();
            error!("ERROR => {without_room} blocks of the journal are left out: there is room for {most}");
        }
        self.adopt(plan, news, now);
    }

    /// Brings the kernel to what was found out; tells of whom it frees, the rest was told before.
    fn adopt(&mut self, plan: Plan, mut news: Vec<Record>, now: Now) {
        let refusals = self.apply(&plan.change(), now);
        let refused: HashSet<IpNet> = refusals.iter().map(|refusal| refusal.net).collect();
        self.tell_refused(&refusals, now);
        for (net, why) in plan.frees() {
            if refused.contains(&net) {
                self.try_later(net, Attempt::Free(why), now);
                continue;
            }
            self.freed(&net);
            news.push(Record::Unblock(net));
            info!("UNBLOCK => {} ({why})", Plain(net));
        }
        let adopted = self.book.len();
        let mut blocks = plan.into_blocks();
        for net in refused {
            if let Some(block) = blocks.remove(&net) {
                self.try_later(net, Attempt::Block(block), now);
            }
        }
        self.book.append(blocks);
        self.write_journal(&news, now);
        if !self.book.is_empty() {
            info!("FIREWALL => {} blocks in force, {adopted} of them found there", self.book.len());
        }
    }

    /// Why a block found in force does not go on, if it does not.
    fn why_over(&self, net: &IpNet, block: &Block, now: Now) -> Option<&'static str> {
        if block.end <= now.wall {
            return Some("Timeout Unblock");
        }
        match self.gate().forbids(net)? {
            Denied::TooWide => Some("Too Wide"),
            _ => Some("White List"),
        }
    }

    /// SIGHUP: everything that can change without a restart does; no block is lost.
    pub(super) fn reload(&mut self, now: Now, plan: &mut Plan) {
        daemon::notify_reloading();
        match Config::load(&self.config_file) {
            Ok((new, warnings)) => {
                for warning in warnings {
                    self.say_once(Level::Warn, &format!("CONFIG => {warning}"), now);
                }
                let restart = self.config.changes_needing_restart(&new);
                if !restart.is_empty() {
                    let text = format!("CONFIG => needs a restart to hold: {}", restart.join(", "));
                    self.say_once(Level::Warn, &text, now);
                }
                self.reconfigure(self.config.reloaded(new), now);
            }
            Err(errors) => {
                self.log.reopen(&self.config.log_file, self.config.log_level);
                for problem in &errors.0 {
                    self.say_once(Level::Error, &format!("ERROR => {problem}"), now);
                }
                let file = self.config_file.display();
                let text = format!("ERROR => {file} has errors: the old configuration stays in force");
                self.say_once(Level::Error, &text, now);
            }
        }
        self.reread_white_list(now);
        self.protect(plan);
        daemon::notify_ready();
    }

    fn reconfigure(&mut self, new: Config, now: Now) {
        self.log.reopen(&new.log_file, new.log_level);
        self.tell_news([format!("RELOAD => {}", self.config_file.display())], now);
        if let Some(console) = &self.console {
            console.admit(&new.control);
        }
        if let Err(why) = self.atlas.reread(&new.geo) {
            self.say_once(Level::Error, &format!("ERROR => geo: cannot start a thread: {why}"), now);
        }
        self.covered.reconfigure(new.firewall.scope.clone());
        let old = std::mem::replace(&mut self.config, new);
        let target =
            |config: &Config| (config.firewall.target, config.firewall.interface.clone(), config.firewall.shield);
        // Its file may have changed.
        let searches = self.config.firewall.shield.scanners;
        let same_target =
            target(&old) == target(&self.config) && old.firewall.scanners_file == self.config.firewall.scanners_file;
        if !same_target || searches || old.firewall.scope != self.config.firewall.scope {
            if let Err(why) = self.reconfigure_firewalls(&old.firewall, now) {
                self.say_once(Level::Error, &format!("ERROR => {why}"), now);
                // So that the next reload finds what is still to be done.
                self.covered.reconfigure(old.firewall.scope.clone());
                self.config.firewall = old.firewall;
            } else {
                self.lead_to_lists();
                if old.firewall.shield != self.config.firewall.shield {
                    self.raise_shield(now);
                }
            }
        }
    }

    /// Our own rules and those of the fleet follow the configuration, both or neither.
    fn reconfigure_firewalls(&mut self, old: &FirewallConfig, now: Now) -> Result<(), String> {
        let scope = self.covered.traffic();
        let apart = self.config.firewall.of_the_fleet();
        let stay = |why: firewall::Error| format!("{why}; the old rules stay in force");
        self.firewall.reconfigure(&self.config.firewall, scope.clone(), &self.book, now.wall).map_err(stay)?;
        let others =
            self.firewall_of_others().map(|(firewall, book)| firewall.reconfigure(&apart, scope, book, now.wall));
        let Some(Err(why)) = others else { return Ok(()) };
        self.covered.reconfigure(old.scope.clone());
        match self.firewall.reconfigure(old, self.covered.traffic(), &self.book, now.wall) {
            Ok(()) => Err(stay(why)),
            Err(again) => Err(format!("{why}; our own rules have changed, and cannot be changed back: {again}")),
        }
    }

    /// Reads the white list again, and tells what has changed.
    fn reread_white_list(&mut self, now: Now) {
        let entries = |owner: &Owner| owner.protection.white_list().entries().cloned().collect::<Vec<NetOrHost>>();
        let before = entries(self);
        if let Err(why) = self.read_white_list(now) {
            return self.say_once(Level::Error, &format!("ERROR => {why}; the old white list holds"), now);
        }
        let after = entries(self);
        let (old, new): (HashSet<_>, HashSet<_>) = (before.iter().collect(), after.iter().collect());
        let added = after.iter().filter(|entry| !old.contains(entry)).map(|entry| format!("WHITE LIST => {entry}"));
        let removed = before.iter().filter(|entry| !new.contains(entry));
        let removed = removed.map(|entry| format!("WHITE LIST => {entry} removed"));
        self.tell_news(added.chain(removed), now);
    }

    /// Logs what a reload has brought, as long as that is not too much.
    fn tell_news(&mut self, lines: impl IntoIterator<Item = String>, now: Now) {
        for line in lines {
            if self.news.take(1, now) == 1 {
                info!("{line}");
            }
        }
    }

    fn read_white_list(&mut self, now: Now) -> Result<(), whitelist::Error> {
        let (white_list, problems) = WhiteList::load(&self.config.white_list)?;
        for problem in problems {
            self.say_once(Level::Warn, &format!("WHITE LIST => {problem}"), now);
        }
        self.protection.renew(white_list, self.config.needed_hosts());
        if self.resolver.is_some() {
            self.protection.follow_machine();
        }
        self.resolve_names();
        self.renew_policy();
        Ok(())
    }
}

/// A login in the future was before the clock was set back: it must not count until then.
fn not_later(memory: Memory, now: UnixTime) -> Memory {
    match memory {
        Memory::Home(home) => Memory::Home(Home { last: home.last.min(now), ..home }),
        Memory::Offence(net, offence) => {
            Memory::Offence(net, Offence { end: offence.end.min(now + offence.seconds), ..offence })
        }
    }
}

/// A block that began in the future was made before the clock was set back: it keeps its length.
fn within_reason(block: Block, now: Now) -> Block {
    if block.since <= now.wall {
        return block;
    }
    Block { since: now.wall, end: now.wall + block.end.since(block.since), ..block }
}
