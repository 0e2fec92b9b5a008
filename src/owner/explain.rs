//! What the owner knows of an address, of an account, and of the PBX itself.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use log::{info, warn};

use super::Owner;
use crate::console::request::{
    EvidenceCount, ListStatus, Neighbours, Pressure, Tenant, Weather, WeatherKind, Why, WhyAccount,
};
use crate::hook::Fact;
use crate::judge::{Dossier, Standing};
use crate::logging::escape;
use crate::metrics::{Blocks, Listed, Measures};
use crate::model::block::BlockLine;
use crate::model::clock::Now;

/// The kernel is asked at most this often how many packets it dropped: anybody on this machine may ask for the numbers.
const DROPPED_EVERY: Duration = Duration::from_secs(10);

impl Owner {
    pub(super) fn why(&mut self, address: IpAddr, now: Now) -> Why {
        let Dossier {
            source,
            homes,
            standing,
            account,
            pressure,
            siege,
            neighbourhood,
            neighbours,
            offence,
            next_block,
        } = self.evidence.dossier(&self.policy, now, address);
        let account = shown(&account);
        let counted = |Standing { what, count, limit, .. }: Standing| EvidenceCount {
            what: what.to_owned(),
            count,
            limit,
            account: account.clone(),
        };
        let shield = self.shield_for(&source);
        let fleet = self.fleet_on(address, now.wall);
        let covering = self.book.covering(&IpNet::from(address));
        let limits = &self.policy.limits;
        Why {
            address,
            source,
            protected: self.protection.label(&IpNet::from(address)),
            homes: homes.iter().map(|home| Tenant { account: shown(&home.account), last_login: home.last }).collect(),
            countries: limits.countries.clone(),
            evidence: standing.into_iter().map(counted).collect(),
            neighbours: Neighbours { net: neighbourhood, addresses: neighbours, limit: limits.neighbours },
            weather: self.weather(now),
            shield,
            lists: self.lists.as_ref().map_or_else(Vec::new, |lists| lists.holding(address)),
            block: covering.map(|(net, block)| BlockLine { net, end: block.end, reason: block.reason, origin: None }),
            blocked_since: covering.map(|(_, block)| block.since),
            packets: covering.and_then(|(net, _)| self.firewall.packets(&net)),
            times_blocked: offence
                .map_or(0, |offence| offence.blocks.into())
                .max(covering.map_or(self.stats.times_blocked(&source), |(net, _)| self.stats.times_blocked(&net))),
            next_block,
            fleet,
            account: (!account.is_empty()).then_some(Pressure {
                account,
                addresses: pressure,
                limit: limits.pressure,
                under_attack: siege,
            }),
        }
    }

    pub(super) fn why_account(&self, name: &str, now: Now) -> WhyAccount {
        let known = self.evidence.account(name.as_bytes(), now);
        let account = escape(name).to_string();
        WhyAccount {
            homes: known.homes,
            pressure: Pressure {
                account: account.clone(),
                addresses: known.failed.len() as u32,
                limit: self.policy.limits.pressure,
                under_attack: known.siege,
            },
            failed: known.failed,
            account,
        }
    }

    /// All numbers that there are.
    pub(super) fn measures(&mut self, now: Now) -> Measures {
        if now.monotonic >= self.dropped_due {
            let own = self.firewall.dropped().map(|packets| ("local", packets));
            let others = self.dropped_for_others().map(|packets| ("fleet", packets));
            self.dropped = own.into_iter().chain(others).collect();
            self.dropped_due = now.monotonic + DROPPED_EVERY;
        }
        let mut blocks = BTreeMap::<Blocks, u64>::new();
        for (net, block) in self.book.least_sure() {
            let is_ipv6 = net.addr().is_ipv6();
            *blocks.entry(Blocks { member: None, reason: block.reason, is_ipv6 }).or_default() += 1;
        }
        let now = self.clock.now();
        for (member, net, block) in self.blocks_of_others(now.wall) {
            let is_ipv6 = net.addr().is_ipv6();
            *blocks.entry(Blocks { member: Some(member), reason: block.reason, is_ipv6 }).or_default() += 1;
        }
        Measures {
            blocks,
            dropped: self.dropped.clone(),
            capacity: self.firewall.capacity() as u64,
            refused: (self.pending.blocks().count() + self.pending.frees().count()) as u64,
            homes: self.evidence.homes().0 as u64,
            sources: self.evidence.len() as u64,
            refusing: self.evidence.refusing().is_some(),
            silent: self.evidence.silent().is_some(),
            fleet: self.fleet_measures(now.wall),
            lists: self.measured_lists(),
            ..self.stats.measures()
        }
    }

    fn measured_lists(&self) -> Vec<Listed> {
        let now = self.clock.now().wall;
        let lists = self.lists.as_ref().map_or_else(Vec::new, |lists| lists.status()).into_iter();
        let listed = |list: ListStatus| Listed {
            entries: list.entries as u64,
            age: list.fetched.map(|at| now.since(at)),
            name: list.name,
        };
        lists.map(listed).collect()
    }

    /// What is wrong with the PBX itself, as its phones show.
    pub(super) fn weather(&self, now: Now) -> Vec<Weather> {
        let refusing = self.evidence.refusing().map(|front| (WeatherKind::Refusing, front));
        let silent = self.evidence.silent().map(|front| (WeatherKind::Silent, front));
        let fronts = refusing.into_iter().chain(silent);
        let fronts = fronts.map(|(kind, front)| Weather {
            kind,
            since: now.wall - now.monotonic.saturating_sub(front.since).as_secs(),
            affected: front.affected,
            heard: front.heard,
            spares: front.spares,
        });
        fronts.collect()
    }

    /// Says once when bad weather comes, and once when it has gone.
    pub(super) fn tell_weather(&mut self, now: Now) {
        let weather = self.weather(now);
        let is_new = |front: &&Weather| !self.weather.iter().any(|(told, _)| *told == front.kind);
        for front in weather.iter().filter(is_new) {
            let text = format!("{front}, since {}", crate::logging::local_time(front.since));
            warn!("PBX => {text}");
            self.tell_hook(|| Fact::Weather { text });
        }
        let gone = self.weather.iter().filter(|(told, _)| !weather.iter().any(|front| front.kind == *told));
        for (kind, since) in gone {
            let lasted = now.monotonic.saturating_sub(*since).as_secs();
            let text = match kind {
                WeatherKind::Refusing => {
                    let spared = self.evidence.take_spared();
                    format!("accepts its phones again, after {lasted} s; {spared} failures meanwhile count for nothing")
                }
                WeatherKind::Silent => format!("is answered by its phones again, after {lasted} s"),
            };
            info!("PBX => {text}");
            self.tell_hook(|| Fact::Weather { text });
        }
        let since = |front: &Weather| now.monotonic.saturating_sub(Duration::from_secs(now.wall.since(front.since)));
        self.weather = weather.iter().map(|front| (front.kind, since(front))).collect();
    }
}

/// A name as an attacker may have written it, fit to be shown.
fn shown(name: &[u8]) -> String {
    escape(&String::from_utf8_lossy(name)).to_string()
}
