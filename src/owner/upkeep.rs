//! What the owner does with the time: the work of every second, the changes of the connection, the end.

use std::time::Duration;

use ipnet::IpNet;
use log::{Level, error, info, log, warn};

use super::gate::{Asked, Denied, Plan};
use super::hearing::Silence;
use super::pending::{Attempt, Pending};
use super::{Owner, passed};
use crate::config::OnStop;
use crate::event::AmiState;
use crate::firewall::scope::Scope;
use crate::firewall::{self, Refused};
use crate::hook::Fact;
use crate::judge::{Evidence, overdue};
use crate::logging::escape;
use crate::model::clock::{Now, UnixTime};
use crate::model::security::{Kind, SecurityEvent, Service};
use crate::state::journal::Record;
use crate::system::daemon;

/// Seconds between two looks at what is too old to keep.
const TIDY: u64 = 30;

/// A wall clock that is this many seconds ahead or behind of where it should be was set. It is read in whole seconds, so
/// that it may seem to be one ahead.
const CLOCK_SET: u64 = 2;

impl Owner {
    /// What is to be done every second.
    pub(super) fn tick(&mut self, now: Now, plan: &mut Plan) {
        daemon::notify_watchdog();
        for net in self.book.due(now.wall).into_iter().filter(|net| !self.pending.is_to_be_freed(net)) {
            plan.free(net, "Timeout Unblock");
        }
        for verdict in overdue(&mut self.evidence, &self.policy, now) {
            self.consider(verdict, now, plan);
        }
        self.look_at_strangers(now, plan);
        self.tell_weather(now);
        self.look_at_hearing(now);
        self.try_again(now, plan);
        if self.rhythm.until_next(now.monotonic).is_zero() {
            self.covered.ask_again();
        }
        if passed(self.tidied, now) >= TIDY {
            self.tidied = now;
            self.evidence.expire(&self.policy, now);
            self.admit_all(now);
        }
        if self.resolver.is_some() && self.protection.follow_machine() {
            self.protect(plan);
        }
        self.tick_fleet(now);
        self.tend_journal(now);
        self.tend_lists(now);
        let repeated = self.repeats.due(now).into_iter().chain(self.spared.due(now));
        tell_rest(repeated, self.lines.unnamed(now), self.news.unnamed(now));
        if let Some(lines) = self.strangers.unnamed(now) {
            warn!("SHED => {lines} lines more than are told one by one");
        }
    }

    /// Tries again what the kernel refused and is still wanted.
    fn try_again(&mut self, now: Now, plan: &mut Plan) {
        let mut vain = Vec::new();
        for (net, attempt) in self.pending.due(now) {
            match attempt {
                Attempt::Free(why) => plan.free(net, why),
                Attempt::Block(block) if block.end <= now.wall => vain.push(net),
                Attempt::Block(block) => match plan.block(&self.gate(), Asked::Again, net, block) {
                    Ok(()) => {}
                    Err(Denied::NoRoom(_)) => self.try_later(net, attempt, now),
                    Err(_) => vain.push(net),
                },
            }
        }
        self.give_up(&vain, now);
    }

    /// Forgets blocks that the kernel did not take, and lets the journal, which may know them, forget them too.
    pub(super) fn give_up(&mut self, nets: &[IpNet], now: Now) {
        let mut records = Vec::new();
        for net in nets {
            if let Some(Attempt::Block(_)) = self.pending.remove(net) {
                let in_force = self.book.get(net).map(|held| Record::Block(*net, *held));
                records.push(in_force.unwrap_or(Record::Unblock(*net)));
            }
        }
        self.write_journal(&records, now);
    }

    /// Sees whether the rules are still there, when it is time to.
    pub(super) fn look_after_rules(&mut self, now: Now) {
        if !self.rhythm.until_next(now.monotonic).is_zero() {
            return;
        }
        let verified = self.firewall.verify(&self.book, now.wall);
        let (began, ended) = (now.monotonic, self.clock.now().monotonic);
        let usual = Duration::from_secs(self.config.firewall.verify);
        if !verified.failed.is_empty() {
            self.rhythm.failed(ended, usual);
        } else if !verified.mended.is_empty() {
            self.rhythm.repaired(began, ended);
        } else {
            self.rhythm.sound(began, ended, usual);
        }
        if verified.is_sound() {
            self.stats.intact(now.wall);
        }
        self.tell_repair(&verified.mended, now);
        self.stats.in_force &= verified.failed.is_empty();
        for why in &verified.failed {
            self.say_once(Level::Error, &format!("ERROR => {why}"), now);
        }
        self.lose(verified.lost, now);
    }

    /// Says what was found missing and was mended.
    pub(super) fn tell_repair(&mut self, mended: &[String], now: Now) {
        if !mended.is_empty() {
            let what = mended.join(", ");
            let gap = self.stats.repaired(now.wall, &what);
            let text = format!("{what}, missing for {gap} s at most");
            warn!("REPAIR => {text}");
            self.tell_hook(|| Fact::Repair { what: text });
        }
    }

    /// Blocks that were in force and are not: the book claims only what is. They are tried again.
    fn lose(&mut self, lost: Vec<Refused>, now: Now) {
        let Some(first) = lost.first() else { return };
        let text = format!("ERROR => {} blocks are not in force, to be tried again: {}", lost.len(), first.why);
        self.say_once(Level::Error, &text, now);
        for net in lost.iter().map(|lost| lost.net) {
            if let Some(block) = self.book.remove(&net) {
                self.try_later(net, Attempt::Block(block), now);
            }
        }
    }

    fn tend_journal(&mut self, now: Now) {
        let others = others(&self.evidence, &self.covered, &self.pending);
        let Some(journal) = &mut self.journal else { return };
        match journal.tend(&self.book, others) {
            Ok(true) => info!("JOURNAL => {} is complete again", self.config.journal.display()),
            Ok(false) => {}
            Err(why) => self.say_once(Level::Error, &format!("ERROR => {why}"), now),
        }
    }

    /// A block lasts as long as was said, whatever is done to the wall clock meanwhile.
    pub(super) fn follow_clock(&mut self, now: Now) {
        let shown = now.wall.0 as i64 - self.in_step.wall.0 as i64;
        let jump = shown - passed(self.in_step, now) as i64;
        if jump.unsigned_abs() < CLOCK_SET {
            return;
        }
        self.in_step = now;
        warn!("CLOCK => set by {jump} s; the blocks move with it");
        let shift = |at: UnixTime| UnixTime(at.0.saturating_add_signed(jump));
        self.book.shift(shift);
        self.shift_others(shift);
        self.pending.shift(shift);
        self.evidence.shift(jump);
        self.rewrite_journal(now);
    }

    /// Writes down all that is held.
    pub(super) fn rewrite_journal(&mut self, now: Now) {
        let Some(journal) = &mut self.journal else { return };
        let blocks = self.book.iter().map(|(net, block)| Record::Block(net, block));
        let written = journal.append(blocks.chain(others(&self.evidence, &self.covered, &self.pending)));
        self.tell_journal(written, now);
    }

    pub(super) fn note_ami(&mut self, state: AmiState, now: Now) {
        if state != AmiState::Deaf {
            self.awaiting_pong.clear();
        }
        if self.stats.ami_is_new() {
            daemon::notify_ready();
        }
        match &state {
            AmiState::Up { .. } => self.hearing.connected(now.monotonic),
            AmiState::Deaf => {
                let news = self.hearing.withheld(now.monotonic);
                self.tell_silence(news);
            }
            AmiState::Down { .. } | AmiState::Refused { .. } => self.hearing.lost(),
        }
        self.stats.ami.silent = self.hearing.silence().map(|silence| silence.to_string());
        let Some(state) = self.stats.ami_changed(&state, now.wall) else { return };
        match state {
            AmiState::Deaf => {}
            AmiState::Up { greeting } => info!("AMI => connected ({})", escape(greeting)),
            AmiState::Down { why, retry } => warn!("AMI => lost ({}), retry in {} s", escape(why), retry.as_secs()),
            AmiState::Refused { why, retry } => error!(
                "AMI => login refused ({}): look at ami.user and ami.pass here and at manager.conf there, retry in {} s",
                escape(why),
                retry.as_secs()
            ),
        }
        match state {
            AmiState::Up { greeting } => self.tell_hook(|| Fact::Ami { up: true, text: greeting.clone() }),
            AmiState::Down { why, .. } | AmiState::Refused { why, .. } => {
                self.tell_hook(|| Fact::Ami { up: false, text: why.clone() });
            }
            AmiState::Deaf => {}
        }
    }

    /// An event came, so Asterisk is heard.
    pub(super) fn note_hearing(&mut self, event: &SecurityEvent, now: Now) {
        let is_login = event.kind == (Kind::SuccessfulAuth { using_password: true }) && event.service != Service::Ami;
        if let Some(lasted) = self.hearing.event(is_login, now.monotonic) {
            self.stats.ami.silent = None;
            let text = format!("after {} s", lasted.as_secs());
            info!("AMI => heard again ({text})");
            self.tell_hook(|| Fact::Silence { is_silent: false, text });
        }
    }

    /// Looks whether Asterisk has fallen silent.
    fn look_at_hearing(&mut self, now: Now) {
        let news = self.hearing.look(now.monotonic);
        self.tell_silence(news);
    }

    fn tell_silence(&mut self, news: Option<Silence>) {
        let Some(text) = news.map(|silence| silence.to_string()) else { return };
        error!("AMI => silent ({text})");
        self.stats.ami.silent = Some(text.clone());
        self.tell_hook(|| Fact::Silence { is_silent: true, text });
    }

    pub(super) fn note_unread(&mut self, strange: u64, overlong: u64, now: Now) {
        self.stats.unread += strange + overlong;
        if strange > 0 {
            let text = "EVENTS => of a shape that SIPban does not know are passed over: is this a newer Asterisk?";
            self.say_once(Level::Warn, text, now);
        }
        if overlong > 0 {
            self.say_once(Level::Warn, "EVENTS => one too long to read was passed over", now);
        }
    }

    pub(super) fn stop(mut self) {
        daemon::notify_stopping();
        self.leave_fleet(self.clock.now().wall);
        self.leave_lists();
        let repeated = self.repeats.finish().into_iter().chain(self.spared.finish());
        tell_rest(repeated, self.lines.finish(), self.news.finish());
        let holder = self.firewall.holder();
        match self.config.on_stop {
            // A dry run, or a recorded stream: there is nothing to leave or to remove.
            _ if self.journal.is_none() => {}
            OnStop::Keep => info!("{} => {} left in force", holder.heading(), holder.name()),
            OnStop::Clear => match self.tear_down() {
                Ok(()) => info!("{} => {} removed", holder.heading(), holder.name()),
                Err(why) => error!("ERROR => {why}"),
            },
        }
        let others = others(&self.evidence, &self.covered, &self.pending);
        if let Some(Err(why)) = self.journal.take().map(|journal| journal.close(&self.book, others)) {
            error!("ERROR => {why}");
        }
        info!("SipBan Stop");
    }
}

/// Tells what was counted instead of logged.
fn tell_rest(repeated: impl Iterator<Item = (Level, String)>, changes: Option<u64>, news: Option<u64>) {
    repeated.for_each(|(level, text)| log!(level, "{text}"));
    if let Some(changes) = changes {
        warn!("BLOCK => {changes} changes more than are named one by one");
    }
    if let Some(news) = news {
        warn!("RELOAD => {news} lines more than are told one by one");
    }
}

impl Owner {
    fn tear_down(&mut self) -> Result<(), firewall::Error> {
        let others = self.firewall_of_others().map_or(Ok(()), |(firewall, _)| firewall.tear_down());
        self.firewall.tear_down().and(others)
    }
}

/// What the journal keeps beside the blocks in force: those that wait for the kernel to take them are not to be lost
/// when it is written anew.
fn others<'a>(evidence: &'a Evidence, covered: &'a Scope, pending: &'a Pending) -> impl Iterator<Item = Record> + 'a {
    let memories = evidence.memories().map(Record::Remember);
    let refused = pending.blocks().map(|(net, block)| Record::Block(net, block));
    memories.chain(covered.learned().map(Record::Port)).chain(refused)
}
