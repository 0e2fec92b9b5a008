//! The table, and the same as JSON.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::Failed;
use crate::lab::Backend;

/// All figures so far.
pub struct Report {
    rows: Vec<Row>,
}

/// One figure.
#[derive(Serialize)]
pub struct Row {
    part: &'static str,
    backend: &'static str,
    what: String,
    unit: Unit,
    value: f64,
    limit: Option<f64>,
    ratio: Option<f64>,
    goal: Option<Goal>,
    met: Option<bool>,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    Seconds,
    Bytes,
    PerSecond,
    Count,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum Goal {
    /// So many times the limit.
    RatioAtMost(f64),
    AtMost(f64),
    AtLeast(f64),
}

impl Report {
    /// Says what it is measured on.
    pub fn begin() -> Report {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let load = read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned();
        println!(
            "{cores} cores shared with whatever else runs (load {load}), Linux {}",
            read("/proc/sys/kernel/osrelease")
        );
        println!(
            "{:8} {:13} {:72} {:>10} {:>10} {:>8}  goal",
            "part", "backend", "figure", "measured", "limit", "ratio"
        );
        Report { rows: Vec::new() }
    }

    /// Prints and keeps a figure.
    pub fn add(&mut self, row: Row) {
        let limit = row.limit.map_or(String::new(), |limit| row.unit.show(limit));
        let ratio = row.ratio.map_or(String::new(), |ratio| format!("{ratio:.2} x"));
        let goal = match (row.goal, row.met) {
            (Some(goal), Some(met)) => format!("{} {}", goal.show(row.unit), if met { "PASS" } else { "MISS" }),
            _ => String::new(),
        };
        let line = format!(
            "{:8} {:13} {:72} {:>10} {limit:>10} {ratio:>8}  {goal}",
            row.part,
            row.backend,
            row.what,
            row.unit.show(row.value)
        );
        println!("{}", line.trim_end());
        self.rows.push(row);
    }

    /// Says something about the figures.
    pub fn note(&mut self, text: &str) {
        println!("         {text}");
    }

    /// Says that something could not be measured.
    pub fn without(&mut self, text: &str) {
        println!("NOT MEASURED: {text}");
    }

    /// Sums up.
    pub fn end(&self) {
        let goals = self.rows.iter().filter(|row| row.met.is_some()).count();
        let met = self.rows.iter().filter(|row| row.met == Some(true)).count();
        println!("{met} of {goals} goals met. limit: the bare program or reader, or 0 blocks, in the same run.");
    }

    /// Writes all figures, in seconds, bytes and events a second.
    pub fn write_json(&self, file: &Path) -> Result<(), Failed> {
        Ok(fs::write(file, serde_json::to_string_pretty(&self.rows)? + "\n")?)
    }
}

impl Row {
    /// A figure still to be measured.
    pub fn new(part: &'static str, backend: Backend, what: &str, unit: Unit) -> Row {
        let (what, backend) = (what.to_owned(), backend.name());
        Row { part, backend, what, unit, value: 0.0, limit: None, ratio: None, goal: None, met: None }
    }

    /// What was measured.
    pub fn measured(self, value: f64) -> Row {
        Row { value, ..self }
    }

    /// What the same takes at least.
    pub fn against(self, limit: f64) -> Row {
        Row { limit: Some(limit), ratio: Some(self.value / limit), ..self }
    }

    /// What it should be.
    pub fn goal(self, goal: Goal) -> Row {
        let met = match goal {
            Goal::RatioAtMost(most) => self.ratio.is_some_and(|ratio| ratio <= most),
            Goal::AtMost(most) => self.value <= most,
            Goal::AtLeast(least) => self.value >= least,
        };
        Row { goal: Some(goal), met: Some(met), ..self }
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Unit::Seconds if value >= 1.0 => format!("{value:.2} s"),
            Unit::Seconds if value >= 1e-3 => format!("{:.2} ms", value * 1e3),
            Unit::Seconds => format!("{:.2} us", value * 1e6),
            Unit::Bytes => format!("{:.1} MiB", value / 1048576.0),
            Unit::PerSecond => format!("{:.2} M/s", value / 1e6),
            Unit::Count => format!("{value}"),
        }
    }
}

impl Goal {
    fn show(self, unit: Unit) -> String {
        match self {
            Goal::RatioAtMost(most) => format!("<= {most} x"),
            Goal::AtMost(most) => format!("<= {}", unit.show(most)),
            Goal::AtLeast(least) => format!(">= {}", unit.show(least)),
        }
    }
}

/// The middle one.
pub fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value that this share of all lies below.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let at = (share * values.len().saturating_sub(1) as f64).round() as usize;
    values.get(at).copied().unwrap_or(f64::NAN)
}
