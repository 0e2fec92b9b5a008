//! The shield, as the owner looks after it: who is admitted, who loses packets, and who is blocked for it.
//!
//! Forged: whoever forges the address of a stranger has that stranger lose packets, and at worst blocked, for
//! `timer.home` at first. He can do nothing to those who are protected or live here, and at most [`MOST_BLOCKS`] strangers
//! are blocked so at a time.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use ipnet::IpNet;
use log::{Level, info, log};

use super::Owner;
use super::gate::Plan;
use crate::config::ShieldMode;
use crate::firewall::shield::{MOST_ADMITTED, PERIOD, Shed};
use crate::judge::drowned;
use crate::logging::Budget;
use crate::model::block::Reason;
use crate::model::clock::Now;
use crate::model::net::Plain;

/// At most 256 blocks for floods are in force at a time: their sources may be forged.
const MOST_BLOCKS: usize = 256;

/// At most this many lines about strangers are logged at once, and as many again in an hour. The others are counted.
const LINES: u64 = 1_000;

/// At most this many strangers are named in `top`.
const TOP: usize = 20;

/// Strangers who lose packets now, at most as many as the kernel lists.
#[derive(Debug)]
pub(super) struct Strangers {
    losing: HashMap<IpNet, Losing>,
    /// Packets over the limit since the daemon's start.
    packets: u64,
    lines: Budget,
}

/// What a stranger has lost since he came over the limit.
#[derive(Clone, Copy, Debug)]
struct Losing {
    /// Monotonic.
    since: Duration,
    packets: u64,
    is_told: bool,
    /// Whether it was told that he would be blocked.
    is_warned: bool,
}

/// Something to tell of a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// He lost this many packets in the first [`PERIOD`], or before that if he has stopped.
    Loses(IpNet, u64),
    /// He was told of, lost this many packets, and has stopped.
    Stopped(IpNet, u64),
}

impl Default for Strangers {
    fn default() -> Strangers {
        Strangers { losing: HashMap::new(), packets: 0, lines: Budget::new(LINES) }
    }
}

impl Strangers {
    /// Takes in whom the kernel lists, and says what is to be told.
    fn look(&mut self, listed: &[Shed], now: Duration) -> Vec<News> {
        let mut news = Vec::new();
        let before = std::mem::take(&mut self.losing);
        for Shed { source, packets } in listed.iter().copied() {
            // He may have stopped and come back between two looks: then the kernel counts from 0.
            let known = before.get(&source).copied().filter(|known| known.packets <= packets);
            let mut losing = known.unwrap_or(Losing { since: now, packets: 0, is_told: false, is_warned: false });
            self.packets += packets - losing.packets;
            losing.packets = packets;
            if !losing.is_told && now.saturating_sub(losing.since).as_secs() >= PERIOD {
                losing.is_told = true;
                news.push(News::Loses(source, packets));
            }
            self.losing.insert(source, losing);
        }
        let stopped = before.into_iter().filter(|(source, _)| !self.losing.contains_key(source));
        news.extend(stopped.map(|(source, Losing { packets, is_told, .. })| match is_told {
            true => News::Stopped(source, packets),
            false => News::Loses(source, packets),
        }));
        news
    }

    /// Who has lost packets without a pause for so many seconds, those who lost most first.
    fn patient(&self, seconds: u64, now: Duration) -> Vec<IpNet> {
        let is_patient = |losing: &&Losing| now.saturating_sub(losing.since).as_secs() >= seconds;
        let patient = self.losing.iter().filter(|(_, losing)| is_patient(losing));
        let mut patient: Vec<(u64, IpNet)> = patient.map(|(source, losing)| (losing.packets, *source)).collect();
        patient.sort_unstable_by(|one, other| other.cmp(one));
        patient.into_iter().map(|(_, source)| source).collect()
    }

    /// Packets that this stranger has lost since he came over the limit.
    pub(super) fn lost(&self, source: &IpNet) -> Option<u64> {
        self.losing.get(source).map(|losing| losing.packets)
    }

    /// Who loses most now.
    pub(super) fn top(&self) -> Vec<(IpNet, u64)> {
        let mut top: Vec<(IpNet, u64)> = self.losing.iter().map(|(source, losing)| (*source, losing.packets)).collect();
        top.sort_unstable_by_key(|(source, packets)| (std::cmp::Reverse(*packets), *source));
        top.truncate(TOP);
        top
    }

    /// Once a minute, how many lines were left out since, if any were.
    pub(super) fn unnamed(&mut self, now: Now) -> Option<u64> {
        self.lines.unnamed(now)
    }
}

impl Owner {
    /// Says whether there is a shield, and admits those who are no strangers.
    pub(super) fn raise_shield(&mut self, now: Now) {
        let shield = self.config.firewall.shield;
        if shield.mode == ShieldMode::Off {
            return;
        }
        if self.firewall.shield().is_none() {
            let level = if shield.mode == ShieldMode::On { Level::Warn } else { Level::Info };
            log!(level, "SHIELD => there is none but with iptables.backend = nft");
            return;
        }
        self.admit_all(now);
        let loses = if shield.mode == ShieldMode::On { "loses" } else { "would lose" };
        info!("SHIELD => a stranger {loses} what is over {} packets in {PERIOD} s", shield.shed);
    }

    /// Admits whoever is protected or lives here, and nobody else.
    pub(super) fn admit_all(&mut self, now: Now) {
        let Some(shield) = self.firewall.shield() else { return };
        let homes = self.evidence.places();
        // The protected ones first, should there be too many.
        let mut admitted: BTreeSet<IpNet> = self.protection.nets().take(MOST_ADMITTED).collect();
        let room = MOST_ADMITTED - admitted.len();
        admitted.extend(homes.take(room));
        let outcome = shield.admit_only(admitted);
        self.tell_admitting(outcome.err(), now);
    }

    /// Somebody logged in at these addresses.
    pub(super) fn admit(&mut self, homes: &[IpNet], now: Now) {
        if homes.is_empty() {
            return;
        }
        let Some(shield) = self.firewall.shield() else { return };
        let outcome = shield.admit(homes);
        self.tell_admitting(outcome.err(), now);
    }

    fn tell_admitting(&mut self, error: Option<crate::firewall::Error>, now: Now) {
        if let Some(why) = error {
            self.say_once(Level::Error, &format!("ERROR => the shield does not know whom to let pass: {why}"), now);
        }
    }

    /// Sees who loses packets, every second.
    pub(super) fn look_at_strangers(&mut self, now: Now, plan: &mut Plan) {
        let Some(shield) = self.firewall.shield() else { return };
        let listed = match shield.shed() {
            Ok(listed) => listed,
            Err(why) => return self.say_once(Level::Error, &format!("ERROR => {why}"), now),
        };
        let news = self.strangers.look(&listed, now.monotonic);
        let named = self.strangers.lines.take(news.len(), now);
        let loses = if self.config.firewall.shield.mode == ShieldMode::On { "" } else { ", and would lose them" };
        for news in news.into_iter().take(named) {
            match news {
                News::Loses(source, packets) => {
                    info!("SHED => {} ({packets} packets too many in {PERIOD} s{loses})", Plain(source));
                }
                News::Stopped(source, packets) => {
                    info!("SHED => {} has stopped ({packets} packets too many in all)", Plain(source));
                }
            }
        }
        self.block_patient(now, plan);
    }

    /// Blocks who loses packets for too long, as long as not too many are blocked so.
    fn block_patient(&mut self, now: Now, plan: &mut Plan) {
        let shield = self.config.firewall.shield;
        if shield.patience == 0 {
            return;
        }
        let mut patient = self.strangers.patient(shield.patience, now.monotonic);
        // The kernel still lists who was blocked just now.
        patient.retain(|source| self.book.covering(source).is_none() && !plan.covers(source));
        if patient.is_empty() {
            return;
        }
        if shield.mode != ShieldMode::On {
            for source in patient {
                if let Some(losing) = self.strangers.losing.get_mut(&source).filter(|losing| !losing.is_warned) {
                    losing.is_warned = true;
                    if self.strangers.lines.take(1, now) == 1 {
                        info!("SHED => {} would be blocked ({})", Plain(source), Reason::Flood);
                    }
                }
            }
            return;
        }
        let floods = self.book.by_end().filter(|(_, block)| block.reason == Reason::Flood).count();
        patient.retain(|source| self.gate().forbids(source).is_none());
        if patient.len() > MOST_BLOCKS.saturating_sub(floods) {
            let text = format!(
                "SHED => more than {MOST_BLOCKS} strangers flood: the others lose packets, but are not blocked"
            );
            self.say_once(Level::Warn, &text, now);
        }
        for source in patient.into_iter().take(MOST_BLOCKS.saturating_sub(floods)) {
            let verdict = drowned(&mut self.evidence, &self.policy, now, source);
            self.consider(verdict, now, plan);
        }
    }

    /// How the shield is doing, in words.
    pub(super) fn shield_status(&mut self) -> String {
        let shield = self.config.firewall.shield;
        if self.firewall.shield().is_none() {
            return "off".to_owned();
        }
        let Strangers { losing, packets, .. } = &self.strangers;
        let (doing, lost) = match shield.mode {
            ShieldMode::On => ("on", "shed"),
            _ => ("counting", "counted"),
        };
        let (strangers, shed) = (losing.len(), shield.shed);
        format!(
            "{doing}: {strangers} strangers over {shed} packets in {PERIOD} s, {packets} packets {lost} since start"
        )
    }

    /// What the shield does with the packets of this source, in words; `None` where there is none.
    pub(super) fn shield_for(&mut self, source: &IpNet) -> Option<String> {
        self.firewall.shield()?;
        let shed = self.config.firewall.shield.shed;
        if self.protection.allowlist().meets(source) || self.evidence.lives_in(source) {
            return Some("no stranger: all pass".to_owned());
        }
        Some(match self.strangers.lost(source) {
            Some(lost) => format!("{lost} packets over {shed} in {PERIOD} s"),
            None => format!("a stranger within {shed} packets in {PERIOD} s"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(n: u8) -> IpNet {
        IpNet::from(std::net::IpAddr::from([203, 0, 113, n]))
    }

    fn shed(n: u8, packets: u64) -> Shed {
        Shed { source: net(n), packets }
    }

    fn look(strangers: &mut Strangers, listed: &[Shed], second: u64) -> Vec<News> {
        strangers.look(listed, Duration::from_secs(second))
    }

    #[test]
    fn a_stranger_is_told_of_once_and_once_more_when_he_has_stopped() {
        let mut strangers = Strangers::default();
        assert_eq!(look(&mut strangers, &[shed(1, 5)], 100), []);
        assert_eq!(look(&mut strangers, &[shed(1, 50)], 109), []);
        assert_eq!(look(&mut strangers, &[shed(1, 70)], 110), [News::Loses(net(1), 70)]);
        assert_eq!(look(&mut strangers, &[shed(1, 90)], 120), []);
        assert_eq!(look(&mut strangers, &[], 130), [News::Stopped(net(1), 90)]);
        assert_eq!(strangers.packets, 90);
    }

    #[test]
    fn one_who_stops_soon_is_told_of_too() {
        let mut strangers = Strangers::default();
        assert_eq!(look(&mut strangers, &[shed(1, 5)], 100), []);
        assert_eq!(look(&mut strangers, &[], 105), [News::Loses(net(1), 5)]);
    }

    #[test]
    fn patience_begins_anew_with_each_pause_and_the_worst_come_first() {
        let mut strangers = Strangers::default();
        look(&mut strangers, &[shed(1, 50), shed(2, 60), shed(3, 70)], 100);
        look(&mut strangers, &[shed(1, 90), shed(2, 80)], 130);
        // He stopped and came back between two looks.
        look(&mut strangers, &[shed(1, 99), shed(2, 120), shed(3, 9)], 150);
        assert_eq!(strangers.patient(61, Duration::from_secs(160)), []);
        assert_eq!(strangers.patient(60, Duration::from_secs(160)), [net(2), net(1)]);
        look(&mut strangers, &[shed(1, 3), shed(2, 130)], 155);
        assert_eq!(strangers.patient(60, Duration::from_secs(160)), [net(2)]);
        assert_eq!(strangers.packets, 50 + 60 + 70 + 40 + 20 + 9 + 40 + 9 + 3 + 10);
    }
}
