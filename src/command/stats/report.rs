//! PURE: what is shown of a tally, as data, as JSON and as CSV.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::census::Record;
use super::line::{Cause, Moment, date};
use super::origins::{Origin, Origins};
use super::outages::Silence;
use super::tally::{ByCause, Tally, group, sum};
use crate::geo::Atlas;
use crate::model::net::Plain;

/// What the logs say. What is counted is blocks, if nothing else is said; times are local.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Files read, at least in part, their whole lines, and lines that are damaged or of no log of ours.
    pub files: usize,
    pub lines: u64,
    pub malformed: u64,
    /// Times of the first and the last line.
    pub first: Option<Moment>,
    pub last: Option<Moment>,
    pub blocks: u64,
    /// Different addresses or networks that were blocked, and what is known of those blocked more than once.
    pub addresses: usize,
    pub repeat_offenders: Repeats,
    pub unblocks: u64,
    pub repairs: u64,
    pub errors: u64,
    /// How often an attacker was not blocked, because he is on the white list.
    pub protected: u64,
    pub ami_lost: u64,
    pub starts: u64,
    pub silence: Silence,
    pub bad_weather: BadWeather,
    pub shield: Shield,
    /// How much the counts of single addresses may lack. If not 0, there were more than fit in memory, and `addresses`,
    /// `repeat_offenders` and the number of addresses of a network are at least what is shown.
    pub lacking: u32,
    /// The same for the counts of networks, which are exact far longer.
    pub networks_lacking: u32,
    pub by_hour: [u64; 24],
    /// The same for each weekday, from Monday on.
    pub by_week: [[u64; 24]; 7],
    /// Days that have any, in their order.
    pub by_day: Vec<Day>,
    /// Reasons that there were, most frequent first.
    pub by_reason: Vec<Reason>,
    /// Other PBXs that said whom to block, with the blocks that came into force because of it, most first. They are
    /// counted nowhere else.
    pub by_member: Vec<Member>,
    /// Where they were, where that is known.
    pub by_country: Vec<Origin>,
    pub by_operator: Vec<Origin>,
    /// Those that were blocked most often.
    pub top_addresses: Vec<Address>,
    /// The same for a /24 or /64 of which more than one was blocked.
    pub top_networks: Vec<Network>,
}

/// Addresses that were blocked more than once, and how often all of them together.
#[derive(Debug, Default, Serialize)]
pub(super) struct Repeats {
    pub addresses: usize,
    pub blocks: u64,
}

/// How often the PBX itself was at fault: it refused its phones, or was not answered by them.
#[derive(Debug, Default, Serialize)]
pub(super) struct BadWeather {
    pub times: u64,
    pub seconds: u64,
    /// Failures that were held against nobody.
    pub spared: u64,
}

/// What the shield took from strangers.
#[derive(Debug, Default, Serialize)]
pub(super) struct Shield {
    /// How often a stranger came over the limit, and what he lost in the first 10 s of it.
    pub times: u64,
    pub packets: u64,
    /// How often one came over it and lost nothing, because it only counted.
    pub counted: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Day {
    #[serde(serialize_with = "day_text")]
    pub day: u32,
    pub blocks: u64,
    #[serde(skip)]
    pub by_cause: ByCause,
}

#[derive(Debug, Serialize)]
pub(super) struct Reason {
    pub reason: &'static str,
    pub blocks: u64,
    #[serde(skip)]
    pub cause: Cause,
}

#[derive(Debug, Serialize)]
pub(super) struct Member {
    pub name: String,
    pub blocks: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Address {
    #[serde(serialize_with = "plain")]
    pub address: IpNet,
    pub blocks: u32,
    pub first: Moment,
    pub last: Moment,
}

#[derive(Debug, Serialize)]
pub(super) struct Network {
    pub network: IpNet,
    pub blocks: u32,
    pub addresses: usize,
    pub first: Moment,
    pub last: Moment,
}

impl Report {
    /// Names at most `top` addresses, networks, and places of those that `atlas` knows.
    pub(super) fn new(tally: &Tally, top: usize, atlas: &Atlas) -> Report {
        let origins = Origins::new(tally, top, atlas);
        let repeated = || tally.addresses.records().filter(|(_, record)| record.blocks > 1);
        let day = |(day, by_cause): (u32, &ByCause)| Day { day, blocks: by_cause.iter().sum(), by_cause: *by_cause };
        let by_day: Vec<Day> = (0..).zip(&tally.by_day).map(day).filter(|day| day.blocks > 0).collect();
        let mut by_cause = [0; Cause::COUNT];
        by_day.iter().for_each(|day| sum(&mut by_cause, &day.by_cause));
        let by_reason =
            Cause::all().map(|cause| Reason { reason: cause.text(), blocks: by_cause[cause.index()], cause });
        let mut by_reason: Vec<Reason> = by_reason.filter(|reason| reason.blocks > 0).collect();
        let mut by_hour = [0; 24];
        tally.by_week.iter().for_each(|day| sum(&mut by_hour, day));
        let last = tally.span.map(|(_, last)| last);
        by_reason.sort_by_key(|reason| Reverse(reason.blocks));
        let member = |(name, blocks): (&String, &u64)| Member { name: name.clone(), blocks: *blocks };
        let mut by_member: Vec<Member> = tally.members.iter().map(member).collect();
        by_member.sort_by_key(|member| Reverse(member.blocks));
        Report {
            files: tally.files,
            lines: tally.lines,
            malformed: tally.malformed,
            first: tally.span.map(|(first, _)| first),
            last,
            blocks: tally.blocks,
            addresses: tally.addresses.distinct(),
            repeat_offenders: Repeats {
                addresses: repeated().count(),
                blocks: repeated().map(|(_, record)| u64::from(record.blocks)).sum(),
            },
            unblocks: tally.unblocks,
            repairs: tally.repairs,
            errors: tally.errors,
            protected: tally.protected,
            ami_lost: tally.ami_lost,
            starts: tally.starts,
            silence: tally.outages.silence(last),
            bad_weather: BadWeather {
                times: tally.bad_weather,
                seconds: tally.weather.lasted,
                spared: tally.weather.spared,
            },
            shield: Shield { times: tally.shed, packets: tally.shed_packets, counted: tally.shed_spared },
            lacking: tally.addresses.lacking(),
            networks_lacking: tally.groups.lacking(),
            by_hour,
            by_week: tally.by_week,
            by_day,
            by_reason,
            by_member,
            by_country: origins.countries,
            by_operator: origins.operators,
            top_addresses: top_addresses(tally, top),
            top_networks: top_networks(tally, top),
        }
    }

    /// One table of all tables, for a spreadsheet: which one a row is of, its key, the count, and what more is known.
    pub(super) fn csv(&self) -> String {
        let mut csv = "table,key,count,addresses,first,last\n".to_owned();
        let span = [self.first, self.last].map(|time| time.map_or(String::new(), |time| time.to_string()));
        // Writing to a String cannot fail. No value holds the end of a line, and but
        // for names of operators none holds a comma or a quote.
        let _ = writeln!(csv, "total,blocks,{},{},{},{}", self.blocks, self.addresses, span[0], span[1]);
        let repeats = &self.repeat_offenders;
        let _ = writeln!(csv, "total,repeat offenders,{},{},,", repeats.blocks, repeats.addresses);
        for (key, count) in [
            ("unblocks", self.unblocks),
            ("repairs", self.repairs),
            ("errors", self.errors),
            ("spared by the white list", self.protected),
            ("spared by the weather", self.bad_weather.spared),
            ("strangers shed", self.shield.times),
            ("packets shed", self.shield.packets),
            ("strangers only counted", self.shield.counted),
            ("AMI connections lost", self.ami_lost),
            ("seconds without AMI", self.silence.seconds),
            ("starts", self.starts),
            ("lines", self.lines),
            ("malformed lines", self.malformed),
        ] {
            let _ = writeln!(csv, "total,{key},{count},,,");
        }
        for (hour, count) in self.by_hour.iter().enumerate() {
            let _ = writeln!(csv, "hour,{hour:02},{count},,,");
        }
        for Day { day, blocks, .. } in &self.by_day {
            let _ = writeln!(csv, "day,{},{blocks},,,", date(*day));
        }
        for Reason { reason, blocks, .. } in &self.by_reason {
            let _ = writeln!(csv, "reason,{reason},{blocks},,,");
        }
        for Member { name, blocks } in &self.by_member {
            let _ = writeln!(csv, "member,{name},{blocks},,,");
        }
        for Origin { name, blocks, addresses } in &self.by_country {
            let _ = writeln!(csv, "country,{name},{blocks},{addresses},,");
        }
        for Origin { name, blocks, addresses } in &self.by_operator {
            let _ = writeln!(csv, "operator,\"{}\",{blocks},{addresses},,", name.replace('"', "\"\""));
        }
        for Address { address, blocks, first, last } in &self.top_addresses {
            let _ = writeln!(csv, "address,{},{blocks},,{first},{last}", Plain(*address));
        }
        for Network { network, blocks, addresses, first, last } in &self.top_networks {
            let _ = writeln!(csv, "network,{network},{blocks},{addresses},{first},{last}");
        }
        csv
    }
}

fn top_addresses(tally: &Tally, top: usize) -> Vec<Address> {
    let records = tally.addresses.records();
    let addresses = records.map(|(address, Record { blocks, first, last })| Address { address, blocks, first, last });
    most(addresses.collect(), top, |row| (Reverse(row.blocks), row.address))
}

fn top_networks(tally: &Tally, top: usize) -> Vec<Network> {
    let mut networks: HashMap<IpNet, (Record, usize)> = HashMap::with_capacity(tally.addresses.distinct());
    let mut add = |net, record: Record, addresses| {
        let sum = networks.entry(net);
        let sum = sum.and_modify(|(sum, members)| (*sum, *members) = (sum.and(record), *members + addresses));
        sum.or_insert((record, addresses));
    };
    tally.addresses.records().for_each(|(net, record)| add(group(net), record, 1));
    tally.groups.records().for_each(|(net, record)| add(net, record, 0));
    let rows = networks.into_iter().map(|(network, (record, addresses))| {
        let Record { blocks, first, last } = record;
        Network { network, blocks, addresses, first, last }
    });
    // Of addresses that did not fit in memory it is not known how many they were, so 0 may be many.
    let several = rows.filter(|row| row.blocks > 1 && row.addresses != 1);
    most(several.collect(), top, |row| (Reverse(row.blocks), row.network))
}

/// The first rows in the order of `key`.
pub(super) fn most<T, K: Ord>(mut rows: Vec<T>, top: usize, key: impl Fn(&T) -> K) -> Vec<T> {
    if top < rows.len() {
        rows.select_nth_unstable_by_key(top, &key);
        rows.truncate(top);
    }
    rows.sort_unstable_by_key(key);
    rows
}

fn plain<S: Serializer>(net: &IpNet, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Plain(*net))
}

fn day_text<S: Serializer>(day: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&date(*day))
}
