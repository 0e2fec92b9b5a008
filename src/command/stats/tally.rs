//! PURE: what the lines of logs add up to.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::census::{Census, Record};
use super::line::{Cause, Kind, Line, Moment, Sensor, Shed, Weather, What};
use super::outages::Outages;
use crate::fleet::members::MOST_MEMBERS;

/// At most this many addresses are counted exactly. They take up to 35 megabytes in each thread that reads.
const ROOM: usize = 900_000;

/// At most this many other PBXs are counted by their names: as many as a fleet has.
const MEMBERS: usize = MOST_MEMBERS;

/// Blocks of each [`Cause`], at its index.
pub(super) type ByCause = [u64; Cause::COUNT];

/// Counts of one or more logs.
#[derive(Debug)]
pub(super) struct Tally {
    /// Files that were read, at least in part.
    pub files: usize,
    /// Lines that are whole, and lines that are not.
    pub lines: u64,
    pub malformed: u64,
    /// The earliest and the latest time of a line.
    pub span: Option<(Moment, Moment)>,
    pub blocks: u64,
    /// Blocks of each hour of each weekday, from Monday on.
    pub by_week: [[u64; 24]; 7],
    /// Blocks of each day, counted from 1970-01-01, for each [`Cause`].
    pub by_day: Vec<ByCause>,
    pub unblocks: u64,
    pub repairs: u64,
    pub errors: u64,
    pub protected: u64,
    pub ami_lost: u64,
    pub starts: u64,
    pub outages: Outages,
    /// How often the PBX itself was at fault, and what that makes together.
    pub bad_weather: u64,
    pub weather: Weather,
    /// Blocks that came into force because other PBXs said so, by their names.
    pub members: BTreeMap<String, u64>,
    /// How often a stranger lost packets to the shield, how many in his first seconds, and how often one would have.
    pub shed: u64,
    pub shed_packets: u64,
    pub shed_spared: u64,
    /// What was blocked, as written.
    pub addresses: Census,
    /// What had to be taken off the counts of single addresses, by [`group`].
    pub groups: Census,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally::with_room(ROOM)
    }
}

impl Tally {
    /// Counts at most `room` addresses exactly.
    pub(super) fn with_room(room: usize) -> Tally {
        Tally {
            files: 0,
            lines: 0,
            malformed: 0,
            span: None,
            blocks: 0,
            by_week: [[0; 24]; 7],
            by_day: Vec::new(),
            unblocks: 0,
            repairs: 0,
            errors: 0,
            protected: 0,
            ami_lost: 0,
            starts: 0,
            outages: Outages::default(),
            bad_weather: 0,
            weather: Weather::default(),
            members: BTreeMap::new(),
            shed: 0,
            shed_packets: 0,
            shed_spared: 0,
            addresses: Census::new(room),
            groups: Census::new(room),
        }
    }

    /// The lines that follow are those of another file.
    pub(super) fn begin(&mut self) {
        self.files += 1;
        self.outages.begin();
    }

    /// Counts a line; `None` is one that could not be read.
    pub(super) fn line(&mut self, line: Option<Line<'_>>) {
        let Some(Line { at, what }) = line else {
            self.malformed += 1;
            return;
        };
        self.lines += 1;
        self.span = Some(self.span.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
        match what {
            What::Block(net, cause) => self.block(at, net, cause),
            What::Theirs(origins) => origins.split(", ").for_each(|name| self.member(name, 1)),
            What::Other(Kind::Unblock) => self.unblocks += 1,
            What::Other(Kind::Repair) => self.repairs += 1,
            What::Other(Kind::Error) => self.errors += 1,
            What::Other(Kind::Protected) => self.protected += 1,
            What::Other(Kind::Rest) => {}
            What::Sensor(sensor) => {
                self.ami_lost += u64::from(sensor == Sensor::Lost);
                self.starts += u64::from(sensor == Sensor::Start);
                self.outages.note(at, sensor);
            }
            What::Shed(Shed { spared: true, .. }) => self.shed_spared += 1,
            What::Shed(Shed { packets, spared: false }) => {
                self.shed += 1;
                self.shed_packets = self.shed_packets.saturating_add(packets);
            }
            What::Weather(weather) => {
                self.bad_weather += 1;
                self.weather = self.weather.and(weather);
            }
        }
    }

    /// Takes over what another thread counted.
    pub(super) fn absorb(&mut self, other: Tally) {
        self.files += other.files;
        self.lines += other.lines;
        self.malformed += other.malformed;
        let spans = [self.span, other.span].into_iter().flatten();
        self.span = spans.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
        self.blocks += other.blocks;
        self.by_week.iter_mut().zip(&other.by_week).for_each(|(day, more)| sum(day, more));
        self.by_day.resize(self.by_day.len().max(other.by_day.len()), [0; Cause::COUNT]);
        self.by_day.iter_mut().zip(&other.by_day).for_each(|(day, more)| sum(day, more));
        self.unblocks += other.unblocks;
        self.repairs += other.repairs;
        self.errors += other.errors;
        self.protected += other.protected;
        self.ami_lost += other.ami_lost;
        self.starts += other.starts;
        self.outages.absorb(other.outages);
        self.bad_weather += other.bad_weather;
        self.weather = self.weather.and(other.weather);
        other.members.iter().for_each(|(name, blocks)| self.member(name, *blocks));
        self.shed += other.shed;
        self.shed_packets = self.shed_packets.saturating_add(other.shed_packets);
        self.shed_spared += other.shed_spared;
        self.groups.absorb(other.groups, |_, _| {});
        self.addresses.absorb(other.addresses, |net, taken| self.groups.add(group(net), taken, |_, _| {}));
    }

    fn member(&mut self, name: &str, blocks: u64) {
        if let Some(known) = self.members.get_mut(name) {
            *known += blocks;
        } else if self.members.len() < MEMBERS {
            self.members.insert(name.to_owned(), blocks);
        }
    }

    fn block(&mut self, at: Moment, net: IpNet, cause: Cause) {
        self.blocks += 1;
        // All indices are in range: a week has 7 days of 24 hours, and every cause has a place.
        self.by_week[at.weekday() as usize][at.hour() as usize] += 1;
        let day = at.day() as usize;
        if self.by_day.len() <= day {
            self.by_day.resize(day + 1, [0; Cause::COUNT]);
        }
        self.by_day[day][cause.index()] += 1;
        let groups = &mut self.groups;
        self.addresses.add(net, Record::once(at), |net, taken| groups.add(group(net), taken, |_, _| {}));
    }
}

/// The network that is looked at with all its addresses together: the /24, for IPv6 the /64.
pub(super) fn group(net: IpNet) -> IpNet {
    let wider = match net.addr() {
        IpAddr::V4(address) => Ipv4Net::new(address, net.prefix_len().min(24)).map(IpNet::V4),
        IpAddr::V6(address) => Ipv6Net::new(address, net.prefix_len().min(64)).map(IpNet::V6),
    };
    // Shorter than a valid prefix is valid.
    wider.unwrap_or(net).trunc()
}

/// Adds each of the counts to the one at its place.
pub(super) fn sum(counts: &mut [u64], more: &[u64]) {
    counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::stats::line::Reader;

    fn tally(room: usize, lines: &[String]) -> Tally {
        let (mut tally, mut reader) = (Tally::with_room(room), Reader::default());
        lines.iter().for_each(|line| tally.line(reader.read(line.as_bytes())));
        tally
    }

    fn blocks(addresses: impl IntoIterator<Item = u32>) -> Vec<String> {
        let line = |n: u32| format!("[2026-01-01 00:00:00] BLOCK => 10.0.{}.{} (Failed ACL)", n / 256, n % 256);
        addresses.into_iter().map(line).collect()
    }

    #[test]
    fn groups_are_networks_of_256_addresses_and_of_64_bits() {
        for (net, wide) in [
            ("192.0.2.77/32", "192.0.2.0/24"),
            ("192.0.2.128/25", "192.0.2.0/24"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("2001:db8::77/128", "2001:db8::/64"),
            ("2001:db8::/64", "2001:db8::/64"),
            ("2001:db8::/48", "2001:db8::/48"),
        ] {
            assert_eq!(group(net.parse().unwrap()), wide.parse::<IpNet>().unwrap());
        }
    }

    #[test]
    fn addresses_beyond_the_room_still_count_for_their_network() {
        let lines = blocks((0..256).chain((0..5).flat_map(|_| 0..4)).chain(256..512));
        let tally = tally(100, &lines);
        assert_eq!(tally.blocks, 532);
        assert!(tally.addresses.lacking() > 0 && tally.groups.lacking() == 0);
        let mut counts = std::collections::BTreeMap::<IpNet, u32>::new();
        for (net, record) in tally.addresses.records().chain(tally.groups.records()) {
            *counts.entry(group(net)).or_default() += record.blocks;
        }
        let expected = [("10.0.0.0/24", 276), ("10.0.1.0/24", 256)].map(|(net, count)| (net.parse().unwrap(), count));
        assert!(counts.into_iter().eq(expected));
    }

    #[test]
    fn no_more_members_are_counted_than_a_fleet_has() {
        let line = |n| format!("[2026-01-01 00:00:00] FLEET => 192.0.2.1 blocked (Failed ACL, says pbx{n}, admin)");
        let mut one = tally(1, &(0..1_000).map(line).collect::<Vec<_>>());
        assert_eq!((one.members.len(), one.members["admin"], one.members["pbx0"]), (MEMBERS, 1_000, 1));
        one.absorb(tally(1, &(0..2_000).rev().map(line).collect::<Vec<_>>()));
        assert_eq!((one.members.len(), one.members["admin"], one.blocks), (MEMBERS, 3_000, 0));
    }

    #[test]
    fn two_tallies_together_are_the_tally_of_both() {
        let lines = blocks((0..300).chain(0..7));
        let (one, other) = lines.split_at(100);
        let mut both = tally(1000, one);
        both.absorb(tally(1000, other));
        let whole = tally(1000, &lines);
        assert_eq!((both.blocks, both.by_week, &both.by_day), (whole.blocks, whole.by_week, &whole.by_day));
        assert_eq!(both.span, whole.span);
        let sorted = |tally: &Tally| {
            let mut records: Vec<_> = tally.addresses.records().map(|(net, record)| (net, record.blocks)).collect();
            records.sort_unstable();
            records
        };
        assert_eq!(sorted(&both), sorted(&whole));
    }
}
