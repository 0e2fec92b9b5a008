//! PURE: a report as people read it: numbers, bars and tables that fit a terminal.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};

use super::line::{Moment, date};
use super::report::Report;
use crate::model::net::Plain;

/// At most this many months are shown.
const MONTHS: usize = 24;

/// What a report is drawn on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Canvas {
    /// Columns.
    pub width: usize,
    /// Whether it takes more than ASCII.
    pub unicode: bool,
}

impl Canvas {
    /// The report, with bars for the last `days` days.
    pub(super) fn draw(self, report: &Report, days: u32) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.report(&mut text, report, days);
        text
    }

    fn report(self, text: &mut String, report: &Report, days: u32) -> fmt::Result {
        summary(text, report)?;
        if report.blocks > 0 {
            self.blocks(text, report, days)?;
        }
        if report.by_member.is_empty() {
            return Ok(());
        }
        let members = report.by_member.iter().map(|row| (&row.name, row.blocks));
        self.bars(text, "Blocks because other PBXs said so", members)
    }

    fn blocks(self, text: &mut String, report: &Report, days: u32) -> fmt::Result {
        let reasons = report.by_reason.iter().map(|row| (row.reason, row.blocks));
        self.bars(text, "Blocks by reason", reasons)?;
        let hours = (0..).zip(report.by_hour).map(|(hour, blocks): (u32, u64)| (format!("{hour:02}"), blocks));
        self.bars(text, "Blocks by hour of the day", hours)?;
        self.days(text, report, days)?;
        for (title, origins) in [("Blocks by country", &report.by_country), ("Blocks by operator", &report.by_operator)]
        {
            if !origins.is_empty() {
                self.bars(text, title, origins.iter().map(|origin| (&origin.name, origin.blocks)))?;
            }
        }
        addresses(text, report)?;
        networks(text, report)
    }

    fn days(self, text: &mut String, report: &Report, days: u32) -> fmt::Result {
        let (Some(first), Some(last)) = (report.first.map(Moment::day), report.last.map(Moment::day)) else {
            return Ok(());
        };
        let blocks: BTreeMap<u32, u64> = report.by_day.iter().map(|day| (day.day, day.blocks)).collect();
        let shown = first.max((last + 1).saturating_sub(days));
        if shown > first {
            let mut months: BTreeMap<(i32, u8), u64> = BTreeMap::new();
            for (day, blocks) in &blocks {
                *months.entry((date(*day).year(), date(*day).month().into())).or_default() += blocks;
            }
            let rows = months.iter().skip(months.len().saturating_sub(MONTHS));
            self.bars(text, "Blocks by month", rows.map(|((y, m), blocks)| (format!("{y}-{m:02}"), *blocks)))?;
        }
        let title = if shown > first { format!("Blocks of the last {days} days") } else { "Blocks by day".to_owned() };
        let label = |day| format!("{} {:.3}", date(day), date(day).weekday().to_string());
        self.bars(text, &title, (shown..=last).map(|day| (label(day), blocks.get(&day).copied().unwrap_or(0))))
    }

    /// A row for each count: what it is of, the number, and a bar as long as the room allows for the largest.
    fn bars<L: Display>(self, text: &mut String, title: &str, rows: impl Iterator<Item = (L, u64)>) -> fmt::Result {
        let rows: Vec<(String, u64)> = rows.map(|(label, count)| (label.to_string(), count)).collect();
        let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(0);
        let labels = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
        let digits = most.to_string().len();
        let room = self.width.saturating_sub(labels + digits + 5).max(5);
        writeln!(text, "\n{title}")?;
        for (label, count) in &rows {
            let row = format!("  {label:labels$}  {count:digits$} {}", self.bar(*count, most, room));
            writeln!(text, "{}", row.trim_end())?;
        }
        Ok(())
    }

    /// Whatever is above 0 has a bar that can be seen.
    fn bar(self, count: u64, most: u64, room: usize) -> String {
        let parts = if self.unicode { 8 } else { 1 };
        let share = count as f64 / most.max(1) as f64;
        let length = ((share * (room * parts) as f64).round() as usize).max(usize::from(count > 0));
        match self.unicode {
            false => "#".repeat(length),
            true => {
                let rest = [None, Some('▏'), Some('▎'), Some('▍'), Some('▌'), Some('▋'), Some('▊'), Some('▉')];
                std::iter::repeat_n('█', length / 8).chain(rest[length % 8]).collect()
            }
        }
    }
}

fn summary(text: &mut String, report: &Report) -> fmt::Result {
    let files = plural(report.files as u64, "file", "files");
    let lines = plural(report.lines, "line", "lines");
    match (report.first, report.last) {
        (Some(first), Some(last)) => writeln!(text, "{lines} of {files}, from {first} to {last}\n")?,
        _ => writeln!(text, "{lines} of {files}\n")?,
    }
    let least = if report.lacking > 0 { "at least " } else { "" };
    let addresses = plural(report.addresses as u64, "address", "addresses");
    let repeats = &report.repeat_offenders;
    let blocks = format!("{} of {least}{addresses}", if report.blocks == 1 { "block" } else { "blocks" });
    let digits = report.blocks.max(report.unblocks).to_string().len();
    writeln!(text, "  {:digits$} {blocks}", report.blocks)?;
    if repeats.addresses > 0 {
        let who = plural(repeats.addresses as u64, "address", "addresses");
        writeln!(text, "  {:digits$} of these were of {least}{who} blocked more than once", repeats.blocks)?;
    }
    for (count, one, many) in [
        (report.unblocks, "unblock", "unblocks"),
        (report.repairs, "repair of the firewall's rules", "repairs of the firewall's rules"),
        (report.errors, "error", "errors"),
        (report.protected, "attacker spared by the white list", "attackers spared by the white list"),
        (report.bad_weather.times, "time that the PBX itself was at fault", "times that the PBX itself was at fault"),
        (report.bad_weather.spared, "failure meanwhile held against nobody", "failures meanwhile held against nobody"),
        (report.shield.times, "time that a stranger lost packets", "times that strangers lost packets"),
        (report.shield.packets, "packet shed in the first 10 s of it", "packets shed in the first 10 s of these"),
        (
            report.shield.counted,
            "time that a stranger would have lost some",
            "times that strangers would have lost some",
        ),
        (report.ami_lost, "loss of the connection to Asterisk", "losses of the connection to Asterisk"),
        (report.starts, "start of the daemon", "starts of the daemon"),
        (report.malformed, "line that is damaged or not of this log", "lines that are damaged or not of this log"),
    ] {
        if count > 0 {
            writeln!(text, "  {count:digits$} {}", if count == 1 { one } else { many })?;
        }
    }
    if let Some(longest) = &report.silence.longest {
        writeln!(text, "\nLongest without Asterisk's events: {longest}")?;
    }
    Ok(())
}

fn addresses(text: &mut String, report: &Report) -> fmt::Result {
    writeln!(text, "\nAddresses blocked most often{}", lacking(report.lacking))?;
    let width = report.top_addresses.iter().map(|row| Plain(row.address).to_string().len()).max().unwrap_or(0).max(7);
    writeln!(text, "  {:>7}  {:width$}  {:10}  last", "blocks", "address", "first")?;
    for row in &report.top_addresses {
        let address = Plain(row.address).to_string();
        let (first, last) = (date(row.first.day()), date(row.last.day()));
        writeln!(text, "  {:7}  {address:width$}  {first}  {last}", row.blocks)?;
    }
    Ok(())
}

fn networks(text: &mut String, report: &Report) -> fmt::Result {
    if report.top_networks.is_empty() {
        return Ok(());
    }
    writeln!(text, "\nNetworks with several of them{}", lacking(report.networks_lacking))?;
    let width = report.top_networks.iter().map(|row| row.network.to_string().len()).max().unwrap_or(0).max(7);
    writeln!(text, "  {:>7}  {:width$}  {:>9}  {:10}  last", "blocks", "network", "addresses", "first")?;
    for row in &report.top_networks {
        let network = row.network.to_string();
        let addresses = if row.addresses == 0 { "?".to_owned() } else { row.addresses.to_string() };
        let (first, last) = (date(row.first.day()), date(row.last.day()));
        writeln!(text, "  {:7}  {network:width$}  {addresses:>9}  {first}  {last}", row.blocks)?;
    }
    Ok(())
}

fn lacking(lacking: u32) -> String {
    match lacking {
        0 => String::new(),
        lacking => format!(" (too many to count all: may lack up to {lacking})"),
    }
}

pub(super) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
