//! Who loses packets, as the kernel's own tables have it.
//!
//! For each source that loses packets the kernel keeps a bucket, of which each lost packet takes its cost, and which is
//! refilled by one such cost a second. So what was lost between two looks is what was taken and what was refilled.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::strangers::losers;
use crate::file::of_network;
use crate::firewall::Error;
use crate::firewall::family::Family;
use crate::firewall::shield::{Excess, Shed};
use crate::model::clock::Clock;

/// At most this part of a packet may the time between two looks be wrong by: our clock is read a moment after the
/// kernel's.
const NOISE: f64 = 0.05;

/// All who lose packets, and what was seen of them at the last look: at most as many as the kernel's tables hold.
#[derive(Debug)]
pub(in crate::firewall) struct Losers {
    clock: Clock,
    looked: Duration,
    known: HashMap<(IpNet, Excess), Loser>,
}

/// What a source has lost, and how many packets' cost its bucket lacks.
#[derive(Clone, Copy, Debug)]
struct Loser {
    lacking: f64,
    packets: u64,
}

impl Losers {
    pub(in crate::firewall) fn new() -> Losers {
        Losers { clock: Clock::start(), looked: Duration::ZERO, known: HashMap::new() }
    }

    /// Looks at the tables in this network namespace.
    pub(in crate::firewall) fn look(&mut self) -> Result<Vec<Shed>, Error> {
        let mut seen = Vec::new();
        for family in Family::BOTH {
            for excess in [Excess::Datagrams, Excess::Connections] {
                let kind = if family == Family::V4 { "ipt" } else { "ip6t" };
                let path = of_network(&format!("{kind}_hashlimit/{}", losers(excess)));
                let text = match fs::read_to_string(&path) {
                    Ok(text) => text,
                    // No rule has asked for it yet.
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(error) => return Err(Error(format!("cannot read {path}: {error}"))),
                };
                seen.extend(text.lines().filter_map(parse).map(|(source, lacking)| ((source, excess), lacking)));
            }
        }
        let now = self.clock.now().monotonic;
        let refilled = (now - self.looked).as_secs_f64();
        self.looked = now;
        Ok(self.take_in(seen, refilled))
    }

    /// `refilled` is how many packets' cost each bucket got since the last look, unless it was full before.
    fn take_in(&mut self, seen: Vec<((IpNet, Excess), f64)>, refilled: f64) -> Vec<Shed> {
        let before = std::mem::take(&mut self.known);
        for (key, lacking) in seen {
            let known = before.get(&key);
            let left = known.map_or(0.0, |known| (known.lacking - refilled).max(0.0));
            let lost = (lacking - left - NOISE).ceil().max(0.0) as u64;
            // Who is listed for the first time has lost one at least, even if that is refilled.
            let packets = known.map_or(lost.max(1), |known| known.packets + lost);
            self.known.insert(key, Loser { lacking, packets });
        }
        let shed =
            |(&(source, excess), loser): (&(IpNet, Excess), &Loser)| Shed { source, excess, packets: loser.packets };
        self.known.iter().map(shed).collect()
    }
}

/// A line of a table, as `xt_hashlimit.c` of Linux writes it: seconds until it ends, the source and a port, `->`, the
/// destination and a port, then what its bucket holds, what it holds at most, and what a packet costs.
fn parse(line: &str) -> Option<(IpNet, f64)> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (source, _) = words.next()?.split_once("->")?;
    let (source, _) = source.rsplit_once(':')?;
    let source: IpAddr = source.parse().ok()?;
    let source = IpNet::new(source, if source.is_ipv4() { 32 } else { 64 }).ok()?.trunc();
    let mut number = || words.next()?.parse::<u64>().ok();
    let (held, most, cost) = (number()?, number()?, number()?);
    (cost > 0).then(|| (source, most.saturating_sub(held) as f64 / cost as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_families_are_read() {
        let line = "9 198.18.0.66:0->0.0.0.0:0 11809169357642255552 11819749958000000000 137438953000000";
        let (source, lacking) = parse(line).unwrap();
        assert_eq!(source, "198.18.0.66/32".parse().unwrap());
        assert!((76.9..77.0).contains(&lacking), "{lacking}");
        let line = "3 2001:0db8:0005:0000:0000:0000:0000:0000:0->0000:0000:0000:0000:0000:0000:0000:0000:0 90 100 10";
        assert_eq!(parse(line), Some(("2001:db8:5::/64".parse().unwrap(), 1.0)));
        for line in ["", "9", "9 198.18.0.66:0->0.0.0.0:0 1 2", "9 198.18.0.66:0->0.0.0.0:0 1 2 0", "9 x:0->y:0 1 2 3"]
        {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn what_is_refilled_between_two_looks_is_counted_too() {
        let key = ("198.18.0.66/32".parse().unwrap(), Excess::Datagrams);
        let mut losers = Losers::new();
        let mut look = |lacking: Option<f64>, refilled| {
            losers
                .take_in(lacking.into_iter().map(|lacking| (key, lacking)).collect(), refilled)
                .first()
                .map(|it| it.packets)
        };
        assert_eq!(look(Some(99.2), 5.0), Some(100));
        assert_eq!(look(Some(108.21), 1.0), Some(110));
        // Full again in between, and one more lost.
        assert_eq!(look(Some(0.3), 200.0), Some(111));
        assert_eq!(look(Some(0.0), 1.0), Some(111));
        assert_eq!(look(None, 10.0), None);
        assert_eq!(look(Some(0.0), 1.0), Some(1));
    }
}
