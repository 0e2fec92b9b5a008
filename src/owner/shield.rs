//! The shield, as the owner looks after it: who is admitted, who loses packets, and who is blocked for it.
//!
//! Forged: whoever forges the address of a stranger has that stranger lose packets, and with UDP at worst blocked, for
//! `timer.home` at first. He can do nothing to those who are protected or live here, and at most [`MOST_BLOCKS`] strangers
//! are blocked so at a time. With TCP he has a stranger blocked only while a connection of that stranger's own stands, for
//! IPv6 one from the same /64: he cannot make one, because the kernel answers the address that was forged.

mod strangers;

use std::collections::HashSet;

use ipnet::IpNet;
use log::{Level, info, log, warn};

use self::strangers::News;
pub(super) use self::strangers::Strangers;
use super::Owner;
use super::gate::Plan;
use crate::config::ShieldMode;
use crate::firewall::shield::{Excess, MOST_ADMITTED, NO_SEARCH, PERIOD};
use crate::judge::drowned;
use crate::model::block::Reason;
use crate::model::clock::Now;
use crate::model::net::Plain;

/// At most 256 blocks for floods are in force at a time: their sources may be forged.
const MOST_BLOCKS: usize = 256;

impl Owner {
    /// Says whether there is a shield, and admits those who are no strangers.
    pub(super) fn raise_shield(&mut self, now: Now) {
        let shield = self.config.firewall.shield;
        if shield.mode == ShieldMode::Off {
            if shield.scanners {
                warn!("SHIELD => scanners are told from others only where shield.mode is count or on");
            }
            return;
        }
        if self.firewall.shield().is_none() {
            let level = if shield.mode == ShieldMode::On { Level::Warn } else { Level::Info };
            log!(level, "SHIELD => there is none: the kernel or its tools do not take it");
            return;
        }
        self.admit_all(now);
        let loses = if shield.mode == ShieldMode::On { "loses" } else { "would lose" };
        if shield.scanners && self.firewall.shield().is_some_and(|shield| !shield.tells_scanners()) {
            warn!("SHIELD => scanners are not told from others: {}", NO_SEARCH);
        }
        info!("SHIELD => a stranger {loses} what is over {} packets in {PERIOD} s", shield.shed);
    }

    /// Admits whoever is protected or lives here, and nobody else.
    pub(super) fn admit_all(&mut self, now: Now) {
        let Some(shield) = self.firewall.shield() else { return };
        // Should there be too many: the protected ones first, then the homes heard of last.
        let mut known = HashSet::new();
        let mut admitted: Vec<IpNet> = self.protection.nets().filter(|net| known.insert(*net)).collect();
        let mut homes: Vec<IpNet> = self.evidence.places().filter(|net| known.insert(*net)).collect();
        let room = shield.room();
        if admitted.len() + homes.len() > room {
            homes.sort_by_cached_key(|home| std::cmp::Reverse(self.evidence.last_login_at(home)));
        }
        admitted.append(&mut homes);
        let outcome = shield.admit_only(&admitted);
        if admitted.len() > room {
            let more = if room < MOST_ADMITTED { "; iptables.backend = ipset has room for more" } else { "" };
            let text = format!(
                "SHIELD => lets pass {room} addresses and networks, the white list and the homes heard of last, and takes \
                 the others for strangers{more}"
            );
            self.say_once(Level::Warn, &text, now);
        }
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
        let unproved = self.strangers.unproved();
        if !unproved.is_empty() {
            let guarded = |port| self.covered.guards_tcp(port);
            match shield.connected(&unproved, &guarded) {
                Ok(connected) => self.strangers.prove(&connected),
                Err(why) => self.say_once(Level::Error, &format!("ERROR => {why}"), now),
            }
        }
        let named = self.strangers.lines.take(news.len(), now);
        let loses = if self.config.firewall.shield.mode == ShieldMode::On { "" } else { ", and would lose them" };
        for news in news.into_iter().take(named) {
            match news {
                News::Loses(source, excess, packets) => {
                    let what = words(excess);
                    info!("SHED => {} ({packets} {what} too many in {PERIOD} s{loses})", Plain(source));
                }
                News::Stopped(source, excess, packets) => {
                    info!("SHED => {} has stopped ({packets} {} too many in all)", Plain(source), words(excess));
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
                if self.strangers.warn(source) && self.strangers.lines.take(1, now) == 1 {
                    info!("SHED => {} would be blocked ({})", Plain(source), Reason::Flood);
                }
            }
            return;
        }
        let floods = self.book.least_sure().filter(|(_, block)| block.reason == Reason::Flood).count();
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
        let Strangers { packets, .. } = &self.strangers;
        let (doing, lost) = match shield.mode {
            ShieldMode::On => ("on", "shed"),
            _ => ("counting", "counted"),
        };
        let (strangers, shed) = (self.strangers.len(), shield.shed);
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

/// What he loses, in words.
fn words(excess: Excess) -> &'static str {
    match excess {
        Excess::Datagrams => "packets",
        Excess::Connections => "connections",
    }
}
