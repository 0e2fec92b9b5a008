//! What SIPban costs: `cargo bench`, or one part of it: `cargo bench -- latency`.
//!
//! Beside each figure stands the limit: what the same work costs when nothing but the packet filter's own program
//! does it, measured in the same run. Ratios travel from machine to machine, times do not, so the goals are ratios
//! where they can be.
//!
//! All of it happens in network namespaces without a name, which the kernel removes with the last process in them,
//! and every process started here dies with its parent: nothing is left behind however this ends.
#![expect(clippy::disallowed_methods, reason = "a benchmark asks for the time and starts programs")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod bare;
mod burst;
mod expiry;
mod feed;
mod fleet;
mod lab;
mod latency;
mod memory;
mod packets;
mod pbx;
mod reading;
mod report;
mod shield;
mod start;

use std::error::Error;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use lab::Backend;
use report::Report;

/// What a measurement that cannot be made says.
type Failed = Box<dyn Error + Send + Sync>;

/// Measures SIPban in network namespaces of its own; takes a few minutes and needs root.
#[derive(Parser)]
struct Options {
    /// Parts to run; all if none is named
    parts: Vec<Part>,
    /// Backends to run them with; all that are installed if none is named
    #[arg(long, value_delimiter = ',')]
    backend: Vec<Backend>,
    /// Write the figures to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A tenth of the rounds and of the numbers, to see whether it works
    #[arg(long)]
    quick: bool,
    /// `cargo bench` says so by itself
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// From an event to the first packet lost
    Latency,
    /// 1,000, 10,000 and 60,000 attackers at once
    Burst,
    /// 200,000 harmless events, then an attacker
    Reading,
    /// 10,000 blocks that end at once
    Expiry,
    /// Start with 60,000 blocks in the journal
    Start,
    /// One honest packet, through 0 to 60,000 blocks, or 200,000 in sets
    Packets,
    /// One honest packet, through the shield and without one
    Shield,
    /// An idle daemon
    Memory,
    /// From an event at one PBX to the first packet lost at another; 100 others with 100,000 blocks
    Fleet,
    /// A list of a million entries
    Feed,
}

/// How often and how much.
#[derive(Clone, Copy)]
struct Extent {
    quick: bool,
}

impl Extent {
    /// So many, or a tenth in a quick run.
    fn of(self, full: usize) -> usize {
        if self.quick { full / 10 } else { full }
    }

    /// Repetitions of which the median counts.
    fn times(self) -> usize {
        if self.quick { 1 } else { 3 }
    }
}

fn main() -> Result<(), Failed> {
    let options = Options::parse();
    let extent = Extent { quick: options.quick };
    let chosen = |part| options.parts.is_empty() || options.parts.contains(&part);
    let backends =
        if options.backend.is_empty() { Backend::value_variants().to_vec() } else { options.backend.clone() };
    lab::check_rights()?;
    let mut report = Report::begin();
    for part in Part::value_variants().iter().copied().filter(|part| chosen(*part)) {
        for backend in &backends {
            if let Err(why) = measure(part, *backend, extent, &mut report) {
                report.without(&format!("{part:?}, {}: {why}", backend.name()));
            }
        }
    }
    report.end();
    if let Some(file) = options.json {
        report.write_json(&file)?;
    }
    Ok(())
}

fn measure(part: Part, backend: Backend, extent: Extent, report: &mut Report) -> Result<(), Failed> {
    match part {
        Part::Latency => latency::measure(backend, extent, report),
        Part::Burst => burst::measure(backend, extent, report),
        Part::Reading => reading::measure(backend, extent, report),
        Part::Expiry => expiry::measure(backend, extent, report),
        Part::Start => start::measure(backend, extent, report),
        Part::Packets => packets::measure(backend, extent, report),
        Part::Shield => shield::measure(backend, extent, report),
        Part::Memory => memory::measure(backend, report),
        Part::Fleet => fleet::measure(backend, extent, report),
        Part::Feed => feed::measure(backend, extent, report),
    }
}
