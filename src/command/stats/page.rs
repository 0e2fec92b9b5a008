//! PURE: a report as one page of HTML with pictures. It needs nothing but itself, and can be read on a telephone, in the
//! dark, on paper and aloud; every number is in a table beneath.

mod chart;
mod periods;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::line::{Moment, date};
use super::origins::Origin;
use super::outages::Lasting;
use super::report::Report;
use super::text::plural;
use crate::model::net::Plain;
use periods::{Period, Step, periods};

const STYLE: &str = include_str!("page/style.css");

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A picture and the table of what it shows.
struct Part {
    /// Of its table, to be linked to.
    id: &'static str,
    title: String,
    /// For those who do not see it.
    summary: String,
    svg: String,
    heads: Vec<&'static str>,
    /// None where the table of another one has it all.
    rows: Vec<Vec<String>>,
}

/// The page.
pub(super) fn page(report: &Report) -> String {
    let (step, periods) = periods(report);
    let mut parts = Vec::new();
    if report.blocks > 0 {
        parts.extend([by_period(report, step, &periods), week(report), reasons(report, step, &periods)]);
        parts.extend(origins("countries", "Countries", "country", &report.by_country));
        parts.extend(origins("operators", "Operators of their networks", "operator", &report.by_operator));
        parts.extend(offenders(report).into_iter().chain(networks(report)));
    }
    parts.extend(members(report));
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Whatever a name in it may be, nothing is run and nothing is fetched.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { "SIPban: " (span(report)) }
                style {
                    (PreEscaped(STYLE))
                    "@media screen and (prefers-color-scheme: dark){" (PreEscaped(chart::dark())) "}"
                }
            }
            body {
                header {
                    h1 { "SIPban" }
                    p { (span(report)) ", from " (plural(report.lines, "line", "lines")) " of "
                        (plural(report.files as u64, "log file", "log files")) ". Times are local." }
                }
                main {
                    (summary(report))
                    @if report.blocks == 0 { p { "Nobody was blocked." } }
                    div.pictures { @for part in &parts { (picture(part)) } }
                    @if !parts.is_empty() {
                        h2 { "Numbers" }
                        @for part in parts.iter().filter(|part| !part.rows.is_empty()) { (table(part)) }
                    }
                }
            }
        }
    };
    markup.into_string()
}

fn span(report: &Report) -> String {
    match (report.first, report.last) {
        (Some(first), Some(last)) => format!("{} to {}", date(first.day()), date(last.day())),
        _ => "no lines".to_owned(),
    }
}

/// The numbers that matter most.
fn summary(report: &Report) -> Markup {
    let least = if report.lacking > 0 { "at least " } else { "" };
    let mut facts = vec![
        (
            "Blocks",
            report.blocks.to_string(),
            format!("of {least}{}", plural(report.addresses as u64, "address", "addresses")),
        ),
        (
            "Repeat offenders",
            report.repeat_offenders.addresses.to_string(),
            format!("with {}", plural(report.repeat_offenders.blocks, "block", "blocks")),
        ),
        (
            "Longest outage of the sensor",
            report.silence.longest.map_or_else(|| "none".to_owned(), |outage| Lasting(outage.seconds()).to_string()),
            match report.silence.longest {
                Some(outage) => {
                    format!("from {}; {} in all", outage.from, plural(report.silence.times, "outage", "outages"))
                }
                None => "Asterisk was heard all the time".to_owned(),
            },
        ),
        (
            "Spared by bad weather",
            report.bad_weather.spared.to_string(),
            format!(
                "{} that the PBX itself was at fault, {} in all",
                plural(report.bad_weather.times, "time", "times"),
                Lasting(report.bad_weather.seconds)
            ),
        ),
        ("Spared by the white list", report.protected.to_string(), "who would have been blocked".to_owned()),
        ("Repairs", report.repairs.to_string(), "of rules that others removed or overtook".to_owned()),
    ];
    let shield = &report.shield;
    if shield.times + shield.counted > 0 {
        let counted =
            if shield.counted > 0 { format!("; {} more only counted", shield.counted) } else { String::new() };
        let more =
            format!("packets of strangers in the first 10 s of {}{counted}", plural(shield.times, "flood", "floods"));
        facts.push(("Shed", shield.packets.to_string(), more));
    }
    if report.errors > 0 {
        facts.push(("Errors", report.errors.to_string(), "lines of the log that begin with ERROR".to_owned()));
    }
    html! {
        dl {
            @for (name, number, more) in facts {
                div { dt { (name) } dd { strong { (number) } " " (more) } }
            }
        }
    }
}

fn picture(part: &Part) -> Markup {
    html! {
        figure {
            figcaption { h2 { (part.title) } p { (part.summary) " " a href={ "#" (part.id) } { "Numbers" } } }
            // To one who listens it is one thing, and told above.
            div aria-hidden="true" { (PreEscaped(&part.svg)) }
        }
    }
}

fn table(part: &Part) -> Markup {
    html! {
        // What does not fit a telephone is moved, with the keyboard too.
        section id=(part.id) tabindex="0" aria-label=(part.title) {
            table {
                caption { (part.title) }
                thead { tr { @for head in &part.heads { th scope="col" { (head) } } } }
                tbody {
                    @for row in &part.rows {
                        tr {
                            @for (column, cell) in row.iter().enumerate() {
                                @if column == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Its table has the reasons too.
fn by_period(report: &Report, step: Step, periods: &[Period]) -> Part {
    let counts: Vec<u64> = periods.iter().map(Period::blocks).collect();
    let most = periods.iter().max_by_key(|period| period.blocks());
    let most = most.map(|period| format!("; most in {}, {}", period.label, period.blocks())).unwrap_or_default();
    let row = |period: &Period| {
        let reasons = report.by_reason.iter().map(|reason| period.by_cause[reason.cause.index()]);
        let counts = [period.blocks()].into_iter().chain(reasons).map(|count| count.to_string());
        [period.label.clone()].into_iter().chain(counts).collect()
    };
    Part {
        id: "periods",
        title: format!("Blocks by {}", step.text()),
        summary: format!("{} in {}{most}.", plural(report.blocks, "block", "blocks"), of(step, periods.len())),
        svg: chart::columns(&counts, |at| periods.get(at).map_or_else(String::new, |period| period.label.clone())),
        heads: [step.text(), "blocks"].into_iter().chain(report.by_reason.iter().map(|row| row.reason)).collect(),
        rows: periods.iter().map(row).collect(),
    }
}

fn of(step: Step, count: usize) -> String {
    plural(count as u64, step.text(), &format!("{}s", step.text()))
}

fn week(report: &Report) -> Part {
    let hours = report
        .by_week
        .iter()
        .zip(WEEKDAYS)
        .flat_map(|(hours, day)| hours.iter().enumerate().map(move |hour| (day, hour)));
    let most = hours.max_by_key(|(_, (_, count))| **count);
    let most =
        most.map(|(day, (hour, count))| format!("Most on {day} from {hour:02}:00, {count}.")).unwrap_or_default();
    let row = |hour: usize| {
        let counts = report.by_week.iter().map(|day| day[hour].to_string());
        [format!("{hour:02}:00")].into_iter().chain(counts).collect()
    };
    Part {
        id: "week",
        title: "Blocks by hour of the week".to_owned(),
        summary: most,
        svg: chart::heat(&report.by_week, WEEKDAYS),
        heads: ["hour"].into_iter().chain(WEEKDAYS).collect(),
        rows: (0..24).map(row).collect(),
    }
}

fn reasons(report: &Report, step: Step, periods: &[Period]) -> Part {
    let over_time = |index: usize| periods.iter().map(|period| period.by_cause[index]).collect();
    let rows: Vec<(&str, Vec<u64>)> =
        report.by_reason.iter().map(|reason| (reason.reason, over_time(reason.cause.index()))).collect();
    let told = report.by_reason.iter().map(|reason| format!("{} {}", reason.reason, reason.blocks));
    Part {
        id: "periods",
        title: format!("Reasons by {}", step.text()),
        summary: format!("{}.", told.collect::<Vec<_>>().join(", ")),
        svg: chart::rows(&rows),
        heads: Vec::new(),
        rows: Vec::new(),
    }
}

fn offenders(report: &Report) -> Option<Part> {
    let repeated: Vec<_> = report.top_addresses.iter().filter(|row| row.blocks > 1).collect();
    let most = repeated.first()?;
    let name = |address| Plain(address).to_string();
    Some(Part {
        id: "offenders",
        title: "Repeat offenders".to_owned(),
        summary: format!("Most often {}, {} times.", name(most.address), most.blocks),
        svg: chart::bars(&repeated.iter().map(|row| (name(row.address), row.blocks.into())).collect::<Vec<_>>()),
        heads: vec!["address", "blocks", "first", "last"],
        rows: repeated
            .iter()
            .map(|row| cells(name(row.address), [row.blocks.to_string()], row.first, row.last))
            .collect(),
    })
}

fn origins(id: &'static str, title: &str, of: &'static str, origins: &[Origin]) -> Option<Part> {
    let most = origins.first()?;
    let row = |origin: &Origin| vec![origin.name.clone(), origin.blocks.to_string(), origin.addresses.to_string()];
    Some(Part {
        id,
        title: title.to_owned(),
        summary: format!("Most from {}, {}.", most.name, plural(most.blocks, "block", "blocks")),
        svg: chart::bars(&origins.iter().map(|origin| (origin.name.clone(), origin.blocks)).collect::<Vec<_>>()),
        heads: vec![of, "blocks", "addresses"],
        rows: origins.iter().map(row).collect(),
    })
}

fn networks(report: &Report) -> Option<Part> {
    let most = report.top_networks.first()?;
    let named = report.top_networks.iter().map(|row| (row.network.to_string(), row.blocks.into()));
    let addresses = |count| if count == 0 { "?".to_owned() } else { format!("{count}") };
    Some(Part {
        id: "networks",
        title: "Networks with several of them".to_owned(),
        summary: format!(
            "Most from {}, {} blocks of {} addresses.",
            most.network,
            most.blocks,
            addresses(most.addresses)
        ),
        svg: chart::bars(&named.collect::<Vec<_>>()),
        heads: vec!["network", "blocks", "addresses", "first", "last"],
        rows: report
            .top_networks
            .iter()
            .map(|row| {
                cells(row.network.to_string(), [row.blocks.to_string(), addresses(row.addresses)], row.first, row.last)
            })
            .collect(),
    })
}

fn members(report: &Report) -> Option<Part> {
    let most = report.by_member.first()?;
    let rows: Vec<(String, u64)> = report.by_member.iter().map(|row| (row.name.clone(), row.blocks)).collect();
    Some(Part {
        id: "members",
        title: "Blocks because other PBXs said so".to_owned(),
        summary: format!("Most because of {}, {}.", most.name, plural(most.blocks, "block", "blocks")),
        svg: chart::bars(&rows),
        heads: vec!["PBX", "blocks"],
        rows: rows.into_iter().map(|(name, blocks)| vec![name, blocks.to_string()]).collect(),
    })
}

fn cells<const N: usize>(name: String, counts: [String; N], first: Moment, last: Moment) -> Vec<String> {
    let dates = [first, last].map(|at| date(at.day()).to_string());
    [name].into_iter().chain(counts).chain(dates).collect()
}
