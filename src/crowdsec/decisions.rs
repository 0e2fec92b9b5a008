//! PURE: decisions of CrowdSec's local API, as its stream tells them: all at first, then what has changed.
//!
//! When its database fails, the server ends the answer as valid JSON, so a part of the list looks like the whole. Nobody
//! is freed because a whole list lacks him, until the next one lacks him too.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::Deserialize;

use crate::model::clock::UnixTime;
use crate::model::net::{Plain, is_too_wide};

/// At most 200,000 decisions are held.
pub(super) const MOST: usize = 200_000;

/// What the names of our own scenarios begin with.
pub(super) const OURS: &str = "sipban/";

/// An answer of the stream. Either part may be missing.
#[derive(Debug, Deserialize)]
pub(super) struct Stream {
    new: Option<Vec<Decision>>,
    deleted: Option<Vec<Decision>>,
}

#[derive(Debug, Deserialize)]
struct Decision {
    id: i64,
    scope: String,
    value: String,
    #[serde(rename = "type")]
    kind: String,
    /// As Go writes it: `3h59m58.1s`.
    duration: String,
    #[serde(default)]
    scenario: String,
}

/// The decisions that are held.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    by_id: BTreeMap<i64, (IpNet, UnixTime)>,
    /// Those without a number: of an earlier process, or lacking in the last whole list.
    doubted: BTreeMap<IpNet, UnixTime>,
    /// Whether the last whole list lacked those.
    were_lacking: bool,
    /// What we have reported ourselves.
    own: BTreeMap<IpNet, UnixTime>,
}

impl Decisions {
    /// Those that an earlier process held.
    pub(super) fn restored(doubted: BTreeMap<IpNet, UnixTime>) -> Decisions {
        Decisions { doubted, ..Decisions::default() }
    }

    /// Takes in a whole list; false if it lacks something that is held, and is to be asked for again.
    ///
    /// # Errors
    /// If it is too long. What is held stays.
    pub(super) fn whole(&mut self, stream: Stream, now: UnixTime) -> Result<bool, String> {
        let fresh: BTreeMap<i64, (IpNet, UnixTime)> =
            stream.new.unwrap_or_default().into_iter().filter_map(|one| self.read(one, now)).collect();
        check_room(fresh.len())?;
        let there: BTreeSet<IpNet> = fresh.values().map(|(net, _)| *net).collect();
        let mut lacking = self.entries(now);
        lacking.retain(|net, _| !there.contains(net));
        // What lacks for the second time is gone.
        if self.were_lacking {
            lacking.retain(|net, _| !self.doubted.contains_key(net));
        }
        self.by_id = fresh;
        self.doubted = lacking;
        self.were_lacking = !self.doubted.is_empty();
        Ok(!self.were_lacking)
    }

    /// Takes in what has changed; true if anything has.
    ///
    /// # Errors
    /// If there are too many. What is held stays.
    pub(super) fn change(&mut self, stream: Stream, now: UnixTime) -> Result<bool, String> {
        let (new, deleted) = (stream.new.unwrap_or_default(), stream.deleted.unwrap_or_default());
        check_room(self.by_id.len() + new.len())?;
        let changed = !new.is_empty() || !deleted.is_empty();
        for gone in deleted {
            self.by_id.remove(&gone.id);
            if let Ok(Plain(net)) = gone.value.parse() {
                self.doubted.remove(&net);
            }
        }
        let new: Vec<_> = new.into_iter().filter_map(|one| self.read(one, now)).collect();
        self.by_id.extend(new);
        Ok(changed)
    }

    /// We have reported this one: what the server decides on it says nothing new.
    pub(super) fn reported(&mut self, net: IpNet, end: UnixTime, now: UnixTime) {
        if self.own.len() >= MOST {
            self.own.retain(|_, end| *end > now);
        }
        if self.own.len() < MOST {
            self.own.insert(net, end);
        }
    }

    /// Whom they block now, each with the latest end.
    pub(super) fn entries(&self, now: UnixTime) -> BTreeMap<IpNet, UnixTime> {
        let mut entries: BTreeMap<IpNet, UnixTime> = BTreeMap::new();
        let doubted = self.doubted.iter().map(|(net, end)| (*net, *end));
        for (net, end) in self.by_id.values().copied().chain(doubted).filter(|(_, end)| *end > now) {
            let held = entries.entry(net).or_insert(end);
            *held = end.max(*held);
        }
        entries
    }

    /// Lets go of what has ended; true if anything has.
    pub(super) fn expire(&mut self, now: UnixTime) -> bool {
        let before = self.by_id.len() + self.doubted.len();
        self.by_id.retain(|_, (_, end)| *end > now);
        self.doubted.retain(|_, end| *end > now);
        before != self.by_id.len() + self.doubted.len()
    }

    /// A decision that blocks an address or a network, and is not our own come back.
    fn read(&self, one: Decision, now: UnixTime) -> Option<(i64, (IpNet, UnixTime))> {
        let is_net = one.scope.eq_ignore_ascii_case("ip") || one.scope.eq_ignore_ascii_case("range");
        let Plain(net) = one.value.parse().ok().filter(|_| is_net && one.kind.eq_ignore_ascii_case("ban"))?;
        let is_own = one.scenario.starts_with(OURS) && self.own.get(&net).is_some_and(|end| *end > now);
        let seconds = seconds(&one.duration)?;
        (!is_own && !is_too_wide(&net)).then_some((one.id, (net, now + seconds)))
    }
}

fn check_room(count: usize) -> Result<(), String> {
    if count > MOST { Err(format!("it has more than {MOST} decisions")) } else { Ok(()) }
}

/// The whole seconds of a duration of Go, such as `59m59.24s`; `None` if it is over, or none.
fn seconds(text: &str) -> Option<u64> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit) = rest.split_at(end);
        let length = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let (unit, others) = unit.split_at(length);
        let scale = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
        rest = others;
    }
    // Ten years are more than anybody means.
    (seconds > 0.0).then_some(seconds.ceil().min(315_360_000.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(new: &[(i64, &str)], deleted: &[(i64, &str)]) -> Stream {
        let all = |all: &[(i64, &str)], duration: &str| -> Vec<Decision> {
            let one = |(id, value): &(i64, &str)| Decision {
                id: *id,
                scope: if value.contains('/') { "Range" } else { "Ip" }.to_owned(),
                value: (*value).to_owned(),
                kind: "ban".to_owned(),
                duration: duration.to_owned(),
                scenario: "x/y".to_owned(),
            };
            all.iter().map(one).collect()
        };
        Stream { new: Some(all(new, "1h0m0.5s")), deleted: Some(all(deleted, "-1s")) }
    }

    fn held(decisions: &Decisions) -> Vec<String> {
        decisions.entries(UnixTime(100)).keys().map(|net| Plain(*net).to_string()).collect()
    }

    const NOW: UnixTime = UnixTime(100);

    #[test]
    fn the_stream_of_the_real_server_is_read() {
        let text = r#"{"deleted":null,"new":[
            {"duration":"59m59.2s","id":2,"origin":"cscli","scenario":"test","scope":"Ip","type":"ban","value":"45.10.1.9"},
            {"duration":"59m59.2s","id":3,"origin":"cscli","scenario":"test","scope":"Range","type":"ban","value":"45.10.2.0/24"},
            {"duration":"1h","id":4,"origin":"cscli","scenario":"test","scope":"Ip","type":"captcha","value":"45.10.3.3"},
            {"duration":"1h","id":5,"origin":"cscli","scenario":"test","scope":"Country","type":"ban","value":"XX"},
            {"duration":"1h","id":6,"origin":"cscli","scenario":"test","scope":"Range","type":"ban","value":"0.0.0.0/0"}]}"#;
        let mut decisions = Decisions::default();
        assert_eq!(decisions.whole(serde_json::from_str(text).unwrap(), NOW), Ok(true));
        assert_eq!(held(&decisions), ["45.10.1.9", "45.10.2.0/24"]);
        assert_eq!(decisions.entries(NOW).values().next(), Some(&UnixTime(3700)));
        let nothing: Stream = serde_json::from_str(r#"{"deleted":null,"new":null}"#).unwrap();
        assert_eq!(decisions.change(nothing, NOW), Ok(false));
    }

    #[test]
    fn a_decision_ends_when_told_or_by_itself() {
        let mut decisions = Decisions::default();
        decisions.whole(stream(&[(1, "45.10.1.1"), (2, "45.10.1.1"), (3, "45.10.1.2")], &[]), NOW).unwrap();
        assert_eq!(decisions.change(stream(&[], &[(1, "45.10.1.1")]), NOW), Ok(true));
        assert_eq!(held(&decisions), ["45.10.1.1", "45.10.1.2"], "another one holds it still");
        decisions.change(stream(&[(4, "45.10.1.3")], &[(2, "45.10.1.1")]), NOW).unwrap();
        assert_eq!(held(&decisions), ["45.10.1.2", "45.10.1.3"]);
        assert!(!decisions.expire(NOW + 3600) && decisions.expire(NOW + 3601));
        assert!(held(&decisions).is_empty());
    }

    #[test]
    fn a_list_that_is_cut_short_frees_nobody_until_the_next_says_the_same() {
        let restored =
            [("45.10.1.1", 900), ("45.10.1.2", 900)].map(|(net, end)| (net.parse::<Plain>().unwrap().0, UnixTime(end)));
        let mut decisions = Decisions::restored(restored.into());
        assert_eq!(decisions.whole(stream(&[(1, "45.10.1.1"), (2, "45.10.1.3")], &[]), NOW), Ok(false));
        assert_eq!(held(&decisions), ["45.10.1.1", "45.10.1.2", "45.10.1.3"]);
        assert_eq!(decisions.whole(stream(&[(1, "45.10.1.1")], &[]), NOW), Ok(false), "now another one lacks");
        assert_eq!(held(&decisions), ["45.10.1.1", "45.10.1.3"]);
        assert_eq!(decisions.whole(stream(&[(1, "45.10.1.1"), (2, "45.10.1.3")], &[]), NOW), Ok(true));
        assert_eq!(held(&decisions), ["45.10.1.1", "45.10.1.3"]);
    }

    #[test]
    fn what_we_reported_does_not_come_back() {
        let mut decisions = Decisions::default();
        decisions.reported("45.10.1.1".parse::<Plain>().unwrap().0, UnixTime(900), NOW);
        let answer = || {
            let mut answer = stream(&[(1, "45.10.1.1"), (2, "45.10.1.2")], &[]);
            for one in answer.new.iter_mut().flatten() {
                one.scenario = format!("{OURS}invalid-account");
            }
            answer
        };
        decisions.whole(answer(), NOW).unwrap();
        assert_eq!(held(&decisions), ["45.10.1.2"], "that of another PBX does");
        let later = UnixTime(901);
        decisions.whole(answer(), later).unwrap();
        assert_eq!(decisions.entries(later).len(), 2, "ours has ended, so it is another's");
    }

    #[test]
    fn more_than_there_is_room_for_changes_nothing() {
        let mut decisions = Decisions::default();
        decisions.whole(stream(&[(1, "45.10.1.1")], &[]), NOW).unwrap();
        let many: Vec<(i64, &str)> = (0..=MOST as i64).map(|id| (id, "45.10.1.2")).collect();
        assert!(decisions.whole(stream(&many, &[]), NOW).is_err());
        assert!(decisions.change(stream(&many, &[]), NOW).is_err());
        assert_eq!(held(&decisions), ["45.10.1.1"]);
    }

    #[test]
    fn durations_are_those_of_go() {
        for (text, expected) in [
            ("3h59m58.123456789s", Some(14_399)),
            ("1h", Some(3600)),
            ("28.5ms", Some(1)),
            ("-28.5ms", None),
            ("0s", None),
            ("", None),
            ("5", None),
            ("5d", None),
            ("99999999999h", Some(315_360_000)),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
