//! PURE: numbers in the text format of Prometheus.

use std::borrow::Cow;
use std::fmt::{self, Debug};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelValue, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Measures;
use super::measures::{Blocks, Fleet, Histogram};
use crate::model::block::Reason;

/// What [`text`] is.
pub(super) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// All numbers, each with what it means.
pub(super) fn text(measures: Measures) -> String {
    let mut registry = Registry::with_prefix("sipban");
    registry.register_collector(Box::new(Snapshot(measures)));
    let mut text = String::new();
    // Writing to a String cannot fail, and no histogram is without buckets.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Snapshot(Measures);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Snapshot(measures) = self;
        let to = &mut encoder;
        let events = measures.events.iter().map(|(event, count)| ([("event", *event)], ConstCounter::new(*count)));
        family(to, "events", "Security events of Asterisk", events)?;
        one(to, "unread_frames", "Frames of Asterisk that could not be read", ConstCounter::new(measures.unread))?;
        one(to, "ami_up", "Whether Asterisk is connected", gauge(measures.ami_up.into()))?;
        let help = "Whether Asterisk is connected and sends no security events although it should";
        one(to, "ami_silent", help, gauge(measures.ami_silent.into()))?;
        if let Some(at) = measures.last_event {
            let help = "When the last security event came, in seconds since 1970";
            one(to, "ami_last_event_timestamp_seconds", help, gauge(at.0))?;
        }
        let blocks = measures.blocks.iter().map(|(blocks, count)| {
            let family = if blocks.is_ipv6 { "ipv6" } else { "ipv4" };
            let labels =
                [("origin", origin(blocks)), ("reason", blocks.reason.text().into()), ("family", family.into())];
            (labels, gauge(*count))
        });
        family(to, "blocks", "Blocks in force", blocks)?;
        one(to, "blocks_capacity", "Blocks that can be in force", gauge(measures.capacity))?;
        let blocked = measures.blocked.iter().map(|(why, count)| ([("reason", why.text())], ConstCounter::new(*count)));
        family(to, "blocks", "Blocks made", blocked)?;
        one(to, "refused", "Changes that the kernel refused and that are tried again", gauge(measures.refused))?;
        one(to, "repairs", "Repairs of rules that others removed or overtook", ConstCounter::new(measures.repairs))?;
        let help = "Seconds for which rules may have been missing";
        one(to, "unprotected_seconds", help, ConstCounter::new(measures.unprotected))?;
        let dropped = measures.dropped.iter().map(|(whose, count)| ([("origin", *whose)], ConstCounter::new(*count)));
        family(to, "dropped_packets", "Packets that the kernel dropped for blocks, not for lists of others", dropped)?;
        one(to, "homes", "Addresses where accounts live", gauge(measures.homes))?;
        one(to, "sources", "Sources of which evidence is held", gauge(measures.sources))?;
        let weather = [("refusing", measures.refusing), ("silent", measures.silent)];
        let weather = weather.map(|(kind, is)| ([("kind", kind)], gauge(is.into())));
        family(to, "weather", "Whether the PBX itself is at fault", weather.into_iter())?;
        if let Some(fleet) = &measures.fleet {
            self::fleet(to, fleet)?;
        }
        let entries = measures.lists.iter().map(|list| ([("feed", list.name.as_str())], gauge(list.entries)));
        family(to, "feed_entries", "Entries in force of lists of others", entries)?;
        let ages = measures.lists.iter().filter_map(|list| Some(([("feed", list.name.as_str())], gauge(list.age?))));
        family(to, "feed_age_seconds", "Seconds since a list was last had", ages)?;
        one(to, "enforcing_seconds", "Time from judging to the kernel having taken it", Shown(&measures.enforcing))?;
        one(to, "batch_changes", "Blocks and ends of blocks in one batch", Shown(&measures.batches))
    }
}

fn fleet(to: &mut DescriptorEncoder<'_>, fleet: &Fleet) -> fmt::Result {
    let sides = [("reading", fleet.reading), ("writing", fleet.writing)];
    let sides = sides.map(|(side, up)| ([("side", side)], gauge(up.into())));
    family(to, "fleet_up", "Whether the server of the fleet can be read and written", sides.into_iter())?;
    one(to, "fleet_members", "Other PBXs that give signs of life", gauge(fleet.members))?;
    let help = "Age of the oldest word of other PBXs that was not read yet, or how long nothing could be read";
    one(to, "fleet_lag_seconds", help, gauge(fleet.lag))?;
    one(to, "fleet_waiting", "Changes that wait for the server of the fleet", gauge(fleet.waiting))?;
    let help = "Changes that found no room and were made up for";
    one(to, "fleet_missed", help, ConstCounter::new(fleet.missed))?;
    one(to, "fleet_unfit", "How often what another PBX said counted for nothing", ConstCounter::new(fleet.unfit))
}

/// Where a block comes from.
fn origin(blocks: &Blocks) -> Cow<'static, str> {
    match (&blocks.member, blocks.reason) {
        (Some(member), _) => format!("fleet:{member}").into(),
        (None, Reason::Manual) => "console".into(),
        (None, Reason::Adopted) => "adopted".into(),
        (None, _) => "local".into(),
    }
}

fn gauge(value: u64) -> ConstGauge<f64> {
    // Exact up to 2^53.
    ConstGauge::new(value as f64)
}

fn one(to: &mut DescriptorEncoder<'_>, name: &str, help: &str, metric: impl EncodeMetric) -> fmt::Result {
    metric.encode(to.encode_descriptor(name, help, None, metric.metric_type())?)
}

/// Nothing where there are no values: a family without them is no fault, but the format has no word for it.
fn family<const N: usize, V: EncodeLabelValue, M: EncodeMetric>(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metrics: impl Iterator<Item = ([(&'static str, V); N], M)>,
) -> fmt::Result {
    let mut metrics = metrics.peekable();
    let Some((_, first)) = metrics.peek() else { return Ok(()) };
    let mut encoder = to.encode_descriptor(name, help, None, first.metric_type())?;
    metrics.try_for_each(|(labels, metric)| metric.encode(encoder.encode_family(&labels)?))
}

struct Shown<'a, const N: usize>(&'a Histogram<N>);

impl<const N: usize> EncodeMetric for Shown<'_, N> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let (sum, buckets) = self.0.buckets();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::measures::Listed;
    use crate::model::clock::UnixTime;

    fn measures() -> Measures {
        let mut measures = Measures {
            events: [("InvalidAccountID", 7), ("ChallengeSent", 9)].into(),
            last_event: Some(UnixTime(1_764_021_415)),
            ami_up: true,
            blocks: [
                (Blocks { member: None, reason: Reason::Manual, is_ipv6: true }, 2),
                (Blocks { member: Some("pbx1".to_owned()), reason: Reason::Manual, is_ipv6: false }, 3),
            ]
            .into(),
            fleet: Some(Fleet { reading: true, lag: 7, missed: 5, ..Fleet::default() }),
            capacity: 60_000,
            blocked: [(Reason::InvalidAccount, 3)].into(),
            silent: true,
            unprotected: 11,
            dropped: [("local", 123)].into(),
            lists: vec![
                Listed { name: "voipbl".to_owned(), entries: 81_000, age: Some(60) },
                Listed { name: "new".to_owned(), entries: 0, age: None },
            ],
            ..Measures::default()
        };
        measures.enforcing.observe(0.0004);
        measures.enforcing.observe(99.0);
        measures
    }

    #[test]
    fn every_number_is_there_by_its_name() {
        let text = text(measures());
        for line in [
            "sipban_events_total{event=\"InvalidAccountID\"} 7",
            "sipban_blocks{origin=\"console\",reason=\"Manual block\",family=\"ipv6\"} 2.0",
            "sipban_blocks{origin=\"fleet:pbx1\",reason=\"Manual block\",family=\"ipv4\"} 3.0",
            "sipban_fleet_up{side=\"reading\"} 1.0",
            "sipban_fleet_up{side=\"writing\"} 0.0",
            "sipban_fleet_lag_seconds 7.0",
            "sipban_fleet_missed_total 5",
            "sipban_blocks_total{reason=\"Invalid Account\"} 3",
            "sipban_ami_up 1.0",
            "sipban_ami_silent 0.0",
            "sipban_ami_last_event_timestamp_seconds 1764021415.0",
            "sipban_repairs_total 0",
            "sipban_unprotected_seconds_total 11",
            "sipban_dropped_packets_total{origin=\"local\"} 123",
            "sipban_weather{kind=\"silent\"} 1.0",
            "sipban_feed_entries{feed=\"voipbl\"} 81000.0",
            "sipban_feed_entries{feed=\"new\"} 0.0",
            "sipban_feed_age_seconds{feed=\"voipbl\"} 60.0",
            "sipban_enforcing_seconds_bucket{le=\"0.0005\"} 1",
            "sipban_enforcing_seconds_bucket{le=\"+Inf\"} 2",
            "sipban_enforcing_seconds_count 2",
        ] {
            assert!(text.lines().any(|there| there == line), "{line}\n{text}");
        }
    }
    /// The names of ours in an expression.
    fn names(text: &str) -> impl Iterator<Item = &str> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.filter(|word| word.starts_with("sipban_"))
    }

    #[test]
    fn dashboard_and_alerts_know_no_number_that_is_not_there() {
        fn expressions(value: &serde_json::Value, found: &mut Vec<String>) {
            match value {
                serde_json::Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
                serde_json::Value::Object(values) => values.iter().for_each(|(key, value)| match value.as_str() {
                    Some(text) if key == "expr" || key == "query" => found.push(text.to_owned()),
                    _ => expressions(value, found),
                }),
                _ => {}
            }
        }
        let dashboard = serde_json::from_str(include_str!("../../packaging/metrics/dashboard.json")).unwrap();
        let mut found = Vec::new();
        expressions(&dashboard, &mut found);
        let alerts = include_str!("../../packaging/metrics/alerts.yml").lines();
        found.extend(alerts.filter_map(|line| line.trim().strip_prefix("expr: ")).map(str::to_owned));

        let text = text(measures());
        let there: std::collections::BTreeSet<&str> = text.lines().flat_map(|line| names(line).take(1)).collect();
        let wanted: Vec<&str> = found.iter().flat_map(|text| names(text)).collect();
        assert!(wanted.len() > 15, "{wanted:?}");
        for name in wanted {
            assert!(there.contains(name), "{name}");
        }
    }
}
