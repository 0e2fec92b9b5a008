//! The daemon, as far as it judges, and the model beside it: of one mind at every step.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use sipban::config::{Lengths, Limits};
use sipban::judge::weather::Front;
use sipban::judge::{Evidence, Policy, Verdict, judge, overdue};
use sipban::model::clock::{Now, UnixTime};
use sipban::model::memory::Memory;
use sipban::model::security::SecurityEvent;

use super::model::{Block, Model};
use super::sky::Sky;

/// Milliseconds since the beginning of a test.
pub type Time = u64;

pub const SECOND: Time = 1000;
pub const MINUTE: Time = 60 * SECOND;
pub const HOUR: Time = 60 * MINUTE;
pub const DAY: Time = 24 * HOUR;

/// Where the PBX of these tests listens.
pub const OWN: [&str; 2] = ["198.18.0.1", "2001:db8:18::1"];

/// Judge and model side by side.
pub struct Court {
    pub evidence: Evidence,
    policy: Policy,
    model: Model,
    second: u64,
    /// The last second in which anything was heard.
    heard: u64,
    /// Who is blocked, and until when.
    blocked: Vec<(IpNet, UnixTime)>,
    /// All blocks so far, and when.
    pub sentences: Vec<(Time, Block)>,
    /// What is too old goes at once, and not with the next tidying up.
    pub is_tidy: bool,
}

impl Court {
    pub fn new(limits: Limits, lengths: Lengths) -> Court {
        let protected: Vec<IpNet> =
            ["192.0.2.0/29", "2001:db8:bb::7/128"].iter().map(|net| net.parse().unwrap()).collect();
        let policy = Policy { limits, lengths, protected: protected.iter().copied().collect(), knows_own_ipv6: true };
        let own = OWN.iter().map(|own| IpNet::from(own.parse::<IpAddr>().unwrap()));
        let model = Model::new(&policy, &protected.into_iter().chain(own).collect::<Vec<_>>());
        Court {
            evidence: Evidence::default(),
            policy,
            model,
            second: 0,
            heard: 0,
            blocked: vec![],
            sentences: vec![],
            is_tidy: false,
        }
    }

    /// Judges an event, unless its sender is blocked.
    pub fn hear(&mut self, time: Time, event: &SecurityEvent) {
        self.pass_until(time);
        if self.is_blocked(event.source(), now(time)) {
            return;
        }
        self.heard = self.second;
        if self.is_tidy {
            self.evidence.expire(&self.policy, now(time));
        }
        let verdict = judge(&mut self.evidence, &self.policy, now(time), event);
        let block = block_of(&verdict);
        assert_eq!(block, self.model.hear(now(time), event), "at {time} ms: {event:?}");
        self.sentence(time, block);
    }

    /// Lets seconds tick away. A while after the last event nothing more can happen in one.
    pub fn pass_until(&mut self, time: Time) {
        let last = time / SECOND;
        while self.second < last {
            let quiet = self.second.saturating_sub(self.heard);
            self.second = match quiet {
                0..45 => self.second + 1,
                45..150 => (self.second + 5).min(last),
                _ => last,
            };
            let time = self.second * SECOND;
            let late = overdue(&mut self.evidence, &self.policy, now(time));
            let mut late: Vec<Block> = late.iter().filter_map(block_of).collect();
            late.sort_unstable();
            assert_eq!(late, self.model.tick(now(time)), "at {} s", self.second);
            let seen = [self.evidence.refusing(), self.evidence.silent()];
            let told = [self.model.refusing(), self.model.silent()];
            assert_eq!(seen.map(|front| front.map(sky)), told, "at {} s", self.second);
            late.into_iter().for_each(|block| self.sentence(time, Some(block)));
            if self.second % 30 == 0 || self.second == last {
                self.evidence.expire(&self.policy, now(time));
            }
        }
    }

    /// The daemon is killed; the next one takes over what is remembered.
    pub fn restart(&mut self) {
        let memories: Vec<Memory> = self.evidence.memories().collect();
        self.evidence = Evidence::default();
        self.evidence.restore(memories);
        self.model.restart();
    }

    pub fn is_blocked(&self, address: IpAddr, now: Now) -> bool {
        self.blocked.iter().any(|(net, end)| net.contains(&address) && now.wall < *end)
    }

    fn sentence(&mut self, time: Time, block: Option<Block>) {
        if let Some((source, reason, seconds)) = block {
            self.blocked.push((source, now(time).wall + seconds));
            self.sentences.push((time, (source, reason, seconds)));
        }
    }
}

fn block_of(verdict: &Verdict) -> Option<Block> {
    match verdict {
        Verdict::Block { source, reason, seconds, .. } => Some((*source, *reason, *seconds)),
        _ => None,
    }
}

fn sky(front: Front) -> Sky {
    Sky { since: front.since, affected: front.affected, heard: front.heard, spares: front.spares }
}

/// All blocks that these events lead to, and when.
pub fn sentences(limits: Limits, lengths: Lengths, events: &[(Time, SecurityEvent)]) -> Vec<(Time, Block)> {
    let mut court = Court::new(limits, lengths);
    events.iter().for_each(|(time, event)| court.hear(*time, event));
    court.pass_until(events.last().map_or(0, |(time, _)| *time) + 2 * MINUTE);
    court.sentences
}

pub fn now(time: Time) -> Now {
    Now {
        wall: UnixTime(1_700_000_000 + time / SECOND),
        monotonic: Duration::from_secs(1000) + Duration::from_millis(time),
    }
}
