//! PURE: what one line of the log says.

use std::fmt;

use ipnet::IpNet;
use serde::{Serialize, Serializer};
use time::{Date, Duration, Month};

use crate::model::block::Reason;
use crate::model::member::is_name;
use crate::model::net::Plain;

/// Years that a log of ours can be of. The last one is the last whole one that a [`Moment`] can hold.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=2105;

const DAY: u32 = 86_400;

/// A local time, as seconds since 1970-01-01 00:00 on a clock that is never put forward or back. For telling which
/// hour and day it was, not for telling how long something took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub u32);

/// A line that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// When it was written.
    pub at: Moment,
    /// What happened.
    pub what: What<'a>,
}

/// What a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What<'a> {
    /// An address or a network was blocked.
    Block(IpNet, Cause),
    /// The same because these other PBXs said so: their names, with commas between.
    Theirs(&'a str),
    /// Whether events of Asterisk come from now on.
    Sensor(Sensor),
    /// The PBX, which was at fault itself, is well again.
    Weather(Weather),
    /// The shield took packets from a stranger, or would have.
    Shed(Shed),
    /// Something that is only counted.
    Other(Kind),
}

/// Kinds of lines that are only counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unblock,
    Repair,
    Error,
    /// An attacker was not blocked, because he is on the white list.
    Protected,
    Rest,
}

/// What a line says of the connection to Asterisk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sensor {
    Connected,
    Lost,
    Refused,
    /// It is connected and sends no events, or sends them again.
    Silent,
    Heard,
    /// The daemon started or stopped, and so has none.
    Start,
    Stop,
}

/// What a line says when the PBX no longer refuses all of its phones, or is no longer unanswered by them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weather {
    /// Seconds it lasted.
    pub lasted: u64,
    /// Failures that would else have counted against somebody.
    pub spared: u64,
}

/// What a line says of a stranger who came over the limit of the shield.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shed {
    /// Packets, or connections, that were too many in his first seconds.
    pub packets: u64,
    /// Whether they were only counted.
    pub spared: bool,
}

/// Why a line says that an address was blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Known(Reason),
    /// The first releases wrote none.
    None,
    /// Words that we do not write.
    Other,
}

impl Weather {
    /// Both of them.
    pub(super) fn and(self, other: Weather) -> Weather {
        Weather { lasted: self.lasted.saturating_add(other.lasted), spared: self.spared.saturating_add(other.spared) }
    }
}

/// Reads line after line. A log has many lines of a day, so the day is worked out once.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The day of the line before, as written, and when it began.
    day: Option<([u8; 10], Moment)>,
}

impl Reader {
    /// What a line says, without its end; `None` if it is damaged or not of our log.
    pub(super) fn read<'a>(&mut self, line: &'a [u8]) -> Option<Line<'a>> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (stamp, text) = line.split_at_checked(22)?;
        let [b'[', date @ .., b']', b' '] = stamp else { return None };
        let at = self.moment(date)?;
        let block = text.strip_prefix(b"BLOCK => ").or_else(|| text.strip_prefix(b"BLOCKED => "));
        let what = match block {
            Some(block) => self::block(block)?,
            None => other(text),
        };
        Some(Line { at, what })
    }

    /// `2019-06-12 12:01:55`
    fn moment(&mut self, text: &[u8]) -> Option<Moment> {
        let (day, time) = text.split_first_chunk::<10>()?;
        let &[b' ', h1, h2, b':', m1, m2, b':', s1, s2] = time else { return None };
        let (hour, minute, second) = (number(&[h1, h2])?, number(&[m1, m2])?, number(&[s1, s2])?);
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let midnight = match self.day {
            Some((known, midnight)) if known == *day => midnight,
            _ => {
                let midnight = midnight(day)?;
                self.day = Some((*day, midnight));
                midnight
            }
        };
        Some(Moment(midnight.0 + 3600 * hour + 60 * minute + second))
    }
}

impl Moment {
    /// Days since 1970-01-01.
    pub(super) fn day(self) -> u32 {
        self.0 / DAY
    }

    /// Hour of the day, from 0.
    pub(super) fn hour(self) -> u32 {
        self.0 % DAY / 3600
    }

    /// Day of the week, from 0, which is Monday.
    pub(super) fn weekday(self) -> u32 {
        // 1970-01-01 was a Thursday.
        (self.day() + 3) % 7
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (minute, second) = (self.0 / 60 % 60, self.0 % 60);
        write!(f, "{} {:02}:{minute:02}:{second:02}", date(self.day()), self.hour())
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The date that is `day` days after 1970-01-01.
pub(super) fn date(day: u32) -> Date {
    epoch() + Duration::days(day.into())
}

impl Cause {
    /// Number of causes.
    pub(super) const COUNT: usize = Reason::ALL.len() + 2;

    /// All causes, each at its [`index`](Cause::index).
    pub(super) fn all() -> impl Iterator<Item = Cause> {
        Reason::ALL.into_iter().map(Cause::Known).chain([Cause::None, Cause::Other])
    }

    /// From 0.
    pub(super) fn index(self) -> usize {
        match self {
            Cause::Known(reason) => reason as usize,
            Cause::None => Reason::ALL.len(),
            Cause::Other => Reason::ALL.len() + 1,
        }
    }

    /// As shown.
    pub(super) fn text(self) -> &'static str {
        match self {
            Cause::Known(reason) => reason.text(),
            Cause::None => "(none given)",
            Cause::Other => "(another)",
        }
    }
}

/// `221.121.138.167 (Invalid Account)`, or without a reason.
fn block(text: &[u8]) -> Option<What<'_>> {
    let end = memchr::memchr(b' ', text).unwrap_or(text.len());
    let (address, rest) = text.split_at(end);
    let Plain(net) = std::str::from_utf8(address).ok()?.parse().ok()?;
    let cause = match rest.trim_ascii() {
        [] => Cause::None,
        [b'(', reason @ ..] => {
            // A line that was cut off has no closing bracket.
            let reason = &reason[..memchr::memchr(b')', reason)?];
            let known = std::str::from_utf8(reason).ok().and_then(|reason| reason.parse().ok());
            known.map_or(Cause::Other, Cause::Known)
        }
        _ => Cause::Other,
    };
    Some(What::Block(net, cause))
}

fn other(text: &[u8]) -> What<'_> {
    const STARTS: [(&[u8], What<'static>); 10] = [
        (b"UNBLOCK => ", What::Other(Kind::Unblock)),
        (b"REPAIR => ", What::Other(Kind::Repair)),
        (b"ERROR => ", What::Other(Kind::Error)),
        (b"AMI => connected", What::Sensor(Sensor::Connected)),
        (b"AMI => lost", What::Sensor(Sensor::Lost)),
        (b"AMI => login refused", What::Sensor(Sensor::Refused)),
        (b"AMI => silent", What::Sensor(Sensor::Silent)),
        (b"AMI => heard again", What::Sensor(Sensor::Heard)),
        (b"SipBan Start", What::Sensor(Sensor::Start)),
        (b"SipBan Stop", What::Sensor(Sensor::Stop)),
    ];
    let known = STARTS.iter().find(|(start, _)| text.starts_with(start)).map(|(_, what)| *what);
    known.or_else(|| weather(text)).or_else(|| theirs(text)).or_else(|| shed(text)).unwrap_or(What::Other(
        match text.strip_prefix(b"WHITE LIST => ") {
            Some(entry) if memchr::memmem::find(entry, b" not blocked (").is_some() => Kind::Protected,
            _ => Kind::Rest,
        },
    ))
}

/// `PBX => accepts its phones again, after 300 s; 42 failures meanwhile count for nothing`
fn weather(text: &[u8]) -> Option<What<'_>> {
    let (_, gone) = std::str::from_utf8(text).ok()?.strip_prefix("PBX => ")?.split_once(" again, after ")?;
    let (lasted, rest) = gone.split_once(" s")?;
    let spared = rest.strip_prefix("; ").and_then(|rest| rest.split(' ').next());
    Some(What::Weather(Weather {
        lasted: lasted.parse().ok()?,
        spared: spared.and_then(|spared| spared.parse().ok()).unwrap_or(0),
    }))
}

/// `FLEET => 221.121.138.167 blocked (Invalid Account, says pbx1, pbx2)`
fn theirs(text: &[u8]) -> Option<What<'_>> {
    let (_, why) = std::str::from_utf8(text).ok()?.strip_prefix("FLEET => ")?.split_once(" blocked (")?;
    let (_, origins) = why.strip_suffix(')')?.split_once(", says ")?;
    origins.split(", ").all(is_name).then_some(What::Theirs(origins))
}

/// `SHED => 192.0.2.1 (70 packets too many in 10 s)`, or with `, and would lose them` in it.
fn shed(text: &[u8]) -> Option<What<'_>> {
    let (address, told) = std::str::from_utf8(text).ok()?.strip_prefix("SHED => ")?.split_once(" (")?;
    address.parse::<Plain>().ok()?;
    let (packets, rest) = told.split_once(' ')?;
    Some(What::Shed(Shed { packets: packets.parse().ok()?, spared: rest.contains("would lose") }))
}

/// When a day, written `2019-06-12`, began.
fn midnight(day: &[u8; 10]) -> Option<Moment> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = day else { return None };
    let year = i32::try_from(number(&[y1, y2, y3, y4])?).ok().filter(|year| YEARS.contains(year))?;
    let month = Month::try_from(u8::try_from(number(&[m1, m2])?).ok()?).ok()?;
    let day = u8::try_from(number(&[d1, d2])?).ok()?;
    let days = Date::from_calendar_date(year, month, day).ok()?.to_julian_day() - epoch().to_julian_day();
    Some(Moment(u32::try_from(days).ok()? * DAY))
}

fn epoch() -> Date {
    time::macros::date!(1970 - 01 - 01)
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| 10 * sum + u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &str) -> Option<Line<'_>> {
        Reader::default().read(line.as_bytes())
    }

    fn what(text: &str) -> What<'static> {
        read(format!("[2019-06-12 12:01:55] {text}").leak()).unwrap().what
    }

    fn block(net: &str, cause: Cause) -> What<'static> {
        What::Block(net.parse().unwrap(), cause)
    }

    #[test]
    fn blocks_are_read_as_every_release_wrote_them() {
        let invalid_account = Cause::Known(Reason::InvalidAccount);
        assert_eq!(what("BLOCK => 221.121.138.167 (Invalid Account)"), block("221.121.138.167/32", invalid_account));
        assert_eq!(what("BLOCK => 221.121.138.167"), block("221.121.138.167/32", Cause::None));
        assert_eq!(what("BLOCKED => 221.121.138.167\r"), block("221.121.138.167/32", Cause::None));
        let challenge_sent = Cause::Known(Reason::ChallengeSent);
        assert_eq!(what("BLOCK => 2001:db8::/64 (Challenge Sent)"), block("2001:db8::/64", challenge_sent));
        assert_eq!(what("BLOCK => 10.1.2.3/8 (Manual block)"), block("10.0.0.0/8", Cause::Known(Reason::Manual)));
        assert_eq!(what("BLOCK => 192.0.2.1 (Knocking)"), block("192.0.2.1/32", Cause::Other));
        assert_eq!(what("BLOCK => 192.0.2.1 (Invalid Account) MX"), block("192.0.2.1/32", invalid_account));
    }

    #[test]
    fn other_lines_are_told_apart() {
        for (text, what) in [
            ("UNBLOCK => 192.0.2.1 (Timeout Unblock)", What::Other(Kind::Unblock)),
            ("REPAIR => jump to sipban-udp in INPUT (IPv4), missing for 10 s at most", What::Other(Kind::Repair)),
            ("ERROR => BLOCK => 192.0.2.1", What::Other(Kind::Error)),
            ("AMI => lost (Asterisk closed the connection), retry in 1 s", What::Sensor(Sensor::Lost)),
            ("AMI => login refused (Authentication failed): look", What::Sensor(Sensor::Refused)),
            ("AMI => connected (Asterisk Call Manager/11.0.0)", What::Sensor(Sensor::Connected)),
            ("AMI => silent (no event for 1500 s, where", What::Sensor(Sensor::Silent)),
            ("AMI => heard again (after 900 s)", What::Sensor(Sensor::Heard)),
            ("SipBan Start", What::Sensor(Sensor::Start)),
            ("SipBan Stop", What::Sensor(Sensor::Stop)),
            ("WHITE LIST => 127.0.0.1", What::Other(Kind::Rest)),
            ("FLEET => 192.0.2.7 blocked (Failed ACL, says pbx1, pbx2)", What::Theirs("pbx1, pbx2")),
            ("FLEET => 192.0.2.7 not blocked (Failed ACL, says pbx1): accounts live here", What::Other(Kind::Rest)),
            ("FLEET => 192.0.2.7 blocked (Failed ACL, says a\u{1b}[2J)", What::Other(Kind::Rest)),
            ("FLEET => 192.0.2.7 freed (Withdrawn)", What::Other(Kind::Rest)),
            ("WHITE LIST => 192.0.2.7 not blocked (Wrong Password): 192.0.2.0/24", What::Other(Kind::Protected)),
            ("PBX => refuses its phones: 14 of 60 addresses where accounts live", What::Other(Kind::Rest)),
            (
                "PBX => accepts its phones again, after 300 s; 42 failures meanwhile count for nothing",
                What::Weather(Weather { lasted: 300, spared: 42 }),
            ),
            ("PBX => is answered by its phones again, after 60 s", What::Weather(Weather { lasted: 60, spared: 0 })),
            ("PBX => is answered by its phones again, after a while", What::Other(Kind::Rest)),
            ("SHED => 192.0.2.1 (70 packets too many in 10 s)", What::Shed(Shed { packets: 70, spared: false })),
            (
                "SHED => 2001:db8::/64 (9 connections too many in 10 s, and would lose them)",
                What::Shed(Shed { packets: 9, spared: true }),
            ),
            ("SHED => 192.0.2.1 has stopped (90 packets too many in all)", What::Other(Kind::Rest)),
            ("SHED => 192.0.2.1 would be blocked (Flood)", What::Other(Kind::Rest)),
        ] {
            assert_eq!(self::what(text), what, "{text}");
        }
    }

    #[test]
    fn a_damaged_line_is_none() {
        for line in [
            "",
            "[2019-06-12 12:01:55]",
            "[2019-06-12 12:01:55] BLOCK => ",
            "[2019-06-12 12:01:55] BLOCK =>  (Invalid Account)",
            "[2019-06-12 12:01:55] BLOCK => 221.121.138.300",
            "[2019-06-12 12:01:55] BLOCK => 221.121.138.167 (Inv",
            "[2019-13-12 12:01:55] SipBan Start",
            "[2019-02-29 12:01:55] SipBan Start",
            "[2019-06-12 24:01:55] SipBan Start",
            "[2019-06-12 12:60:55] SipBan Start",
            "[1969-12-31 12:01:55] SipBan Start",
            "[2106-01-01 12:01:55] SipBan Start",
            "[+019-06-12 12:01:55] SipBan Start",
            "2019-06-12 12:01:55 BLOCK => 221.121.138.167",
            "[2019-06-12T12:01:55] BLOCK => 221.121.138.167",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn times_show_as_they_were_written() {
        for time in ["1970-01-01 00:00:00", "2019-06-12 12:01:55", "2024-02-29 23:59:59", "2105-12-31 23:59:59"] {
            assert_eq!(read(&format!("[{time}] SipBan Start")).unwrap().at.to_string(), time);
        }
    }

    #[test]
    fn weekdays_count_from_monday() {
        for (day, weekday) in [("1970-01-01", 3), ("2024-02-29", 3), ("2026-11-22", 6), ("2026-11-23", 0)] {
            let at = read(&format!("[{day} 23:59:59] SipBan Start")).unwrap().at;
            assert_eq!(
                (at.weekday(), u32::from(date(at.day()).weekday().number_days_from_monday())),
                (weekday, weekday)
            );
        }
    }

    #[test]
    fn every_cause_stands_at_its_index() {
        assert!(Cause::all().map(Cause::index).eq(0..Cause::COUNT));
    }

    proptest! {
        #[test]
        fn no_line_panics(line in proptest::collection::vec(any::<u8>(), 0..80), text in ".{0,40}") {
            let _ = Reader::default().read(&line);
            let _ = read(&format!("[2019-06-12 12:01:55] BLOCK => {text}"));
        }
    }
}
