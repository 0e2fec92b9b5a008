//! Who loses packets to the shield, and for how long.
//!
//! PURE: no clock, no I/O.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use ipnet::IpNet;

use crate::firewall::shield::{Excess, PERIOD, Shed};
use crate::logging::Budget;
use crate::model::clock::Now;

/// At most this many lines about strangers are logged at once, and as many again in an hour. The others are counted.
const LINES: u64 = 1_000;

/// At most this many strangers are named in `top`.
const TOP: usize = 20;

/// Strangers who lose packets now, at most as many as the kernel lists.
#[derive(Debug)]
pub(in crate::owner) struct Strangers {
    losing: HashMap<(IpNet, Excess), Losing>,
    /// Packets over the limit since the daemon's start.
    pub(super) packets: u64,
    pub(super) lines: Budget,
}

/// What a stranger has lost since he came over the limit.
#[derive(Clone, Copy, Debug)]
struct Losing {
    /// Monotonic.
    since: Duration,
    packets: u64,
    /// Whether a connection of his stood meanwhile.
    is_connected: bool,
    is_told: bool,
    /// Whether it was told that he would be blocked.
    is_warned: bool,
}

/// Something to tell of a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// He lost this many packets in the first [`PERIOD`], or before that if he has stopped.
    Loses(IpNet, Excess, u64),
    /// He was told of, lost this many packets, and has stopped.
    Stopped(IpNet, Excess, u64),
}

impl Default for Strangers {
    fn default() -> Strangers {
        Strangers { losing: HashMap::new(), packets: 0, lines: Budget::new(LINES) }
    }
}

impl Strangers {
    /// Takes in whom the kernel lists, and says what is to be told.
    pub(super) fn look(&mut self, listed: &[Shed], now: Duration) -> Vec<News> {
        let mut news = Vec::new();
        let before = std::mem::take(&mut self.losing);
        for Shed { source, excess, packets } in listed.iter().copied() {
            // He may have stopped and come back between two looks: then the kernel counts from 0.
            let known = before.get(&(source, excess)).copied().filter(|known| known.packets <= packets);
            let new = Losing { since: now, packets: 0, is_connected: false, is_told: false, is_warned: false };
            let mut losing = known.unwrap_or(new);
            self.packets += packets - losing.packets;
            losing.packets = packets;
            if !losing.is_told && now.saturating_sub(losing.since).as_secs() >= PERIOD {
                losing.is_told = true;
                news.push(News::Loses(source, excess, packets));
            }
            self.losing.insert((source, excess), losing);
        }
        let stopped = before.into_iter().filter(|(key, _)| !self.losing.contains_key(key));
        news.extend(stopped.map(|((source, excess), Losing { packets, is_told, .. })| match is_told {
            true => News::Stopped(source, excess, packets),
            false => News::Loses(source, excess, packets),
        }));
        news
    }

    /// Who loses connections and was not yet seen to have one.
    pub(super) fn unproved(&self) -> HashSet<IpNet> {
        let unproved =
            self.losing.iter().filter(|((_, excess), it)| *excess == Excess::Connections && !it.is_connected);
        unproved.map(|((source, _), _)| *source).collect()
    }

    /// These were seen to have a connection that stands.
    pub(super) fn prove(&mut self, connected: &HashSet<IpNet>) {
        for source in connected {
            if let Some(losing) = self.losing.get_mut(&(*source, Excess::Connections)) {
                losing.is_connected = true;
            }
        }
    }

    /// Who has lost packets without a pause for so many seconds, those who lost most first. Not who lost connections alone
    /// and never had one: he may not exist.
    pub(super) fn patient(&self, seconds: u64, now: Duration) -> Vec<IpNet> {
        let is_patient = |excess: Excess, losing: &Losing| {
            now.saturating_sub(losing.since).as_secs() >= seconds
                && (excess == Excess::Datagrams || losing.is_connected)
        };
        let patient = self.losing.iter().filter(|((_, excess), losing)| is_patient(*excess, losing));
        let patient: HashSet<IpNet> = patient.map(|((source, _), _)| *source).collect();
        let mut patient: Vec<(u64, IpNet)> =
            patient.into_iter().map(|source| (self.lost(&source).unwrap_or_default(), source)).collect();
        patient.sort_unstable_by(|one, other| other.cmp(one));
        patient.into_iter().map(|(_, source)| source).collect()
    }

    /// Whether it was not yet told that he would be blocked.
    pub(super) fn warn(&mut self, source: IpNet) -> bool {
        let mut is_new = true;
        for excess in [Excess::Datagrams, Excess::Connections] {
            if let Some(losing) = self.losing.get_mut(&(source, excess)) {
                is_new &= !std::mem::replace(&mut losing.is_warned, true);
            }
        }
        is_new
    }

    /// Packets that this stranger has lost since he came over the limit.
    pub(in crate::owner) fn lost(&self, source: &IpNet) -> Option<u64> {
        let losing = [Excess::Datagrams, Excess::Connections].map(|excess| self.losing.get(&(*source, excess)));
        losing.into_iter().flatten().map(|losing| losing.packets).reduce(|one, other| one + other)
    }

    /// How many strangers lose packets now.
    pub(super) fn len(&self) -> usize {
        self.losing.keys().map(|(source, _)| source).collect::<HashSet<_>>().len()
    }

    /// Who loses most now.
    pub(in crate::owner) fn top(&self) -> Vec<(IpNet, u64)> {
        let sources: HashSet<IpNet> = self.losing.keys().map(|(source, _)| *source).collect();
        let mut top: Vec<(IpNet, u64)> =
            sources.into_iter().map(|source| (source, self.lost(&source).unwrap_or_default())).collect();
        top.sort_unstable_by_key(|(source, packets)| (std::cmp::Reverse(*packets), *source));
        top.truncate(TOP);
        top
    }

    /// Once a minute, how many lines were left out since, if any were.
    pub(in crate::owner) fn unnamed(&mut self, now: Now) -> Option<u64> {
        self.lines.unnamed(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(n: u8) -> IpNet {
        IpNet::from(std::net::IpAddr::from([203, 0, 113, n]))
    }

    fn shed(n: u8, packets: u64) -> Shed {
        Shed { source: net(n), excess: Excess::Datagrams, packets }
    }

    fn look(strangers: &mut Strangers, listed: &[Shed], second: u64) -> Vec<News> {
        strangers.look(listed, Duration::from_secs(second))
    }

    #[test]
    fn a_stranger_is_told_of_once_and_once_more_when_he_has_stopped() {
        let mut strangers = Strangers::default();
        assert_eq!(look(&mut strangers, &[shed(1, 5)], 100), []);
        assert_eq!(look(&mut strangers, &[shed(1, 50)], 109), []);
        assert_eq!(look(&mut strangers, &[shed(1, 70)], 110), [News::Loses(net(1), Excess::Datagrams, 70)]);
        assert_eq!(look(&mut strangers, &[shed(1, 90)], 120), []);
        assert_eq!(look(&mut strangers, &[], 130), [News::Stopped(net(1), Excess::Datagrams, 90)]);
        assert_eq!(strangers.packets, 90);
    }

    #[test]
    fn one_who_stops_soon_is_told_of_too() {
        let mut strangers = Strangers::default();
        assert_eq!(look(&mut strangers, &[shed(1, 5)], 100), []);
        assert_eq!(look(&mut strangers, &[], 105), [News::Loses(net(1), Excess::Datagrams, 5)]);
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

    #[test]
    fn who_never_had_a_connection_is_not_patient_whatever_comes_from_his_address() {
        let mut strangers = Strangers::default();
        let syn = |packets| [Shed { excess: Excess::Connections, ..shed(1, packets) }];
        look(&mut strangers, &syn(5), 100);
        look(&mut strangers, &syn(500), 200);
        assert_eq!(strangers.unproved(), HashSet::from([net(1)]));
        assert_eq!(strangers.patient(60, Duration::from_secs(200)), []);
        strangers.prove(&HashSet::from([net(1), net(2)]));
        assert!(strangers.unproved().is_empty());
        assert_eq!(strangers.patient(60, Duration::from_secs(200)), [net(1)]);
        assert_eq!((strangers.lost(&net(1)), strangers.len()), (Some(500), 1));
    }
}
