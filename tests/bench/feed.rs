//! A list of others with a million entries.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use crate::lab::{Backend, Lab};
use crate::packets::cost;
use crate::pbx::Pbx;
use crate::report::{Goal, Report, Row, Unit, median};
use crate::{Extent, Failed, bare};

/// The bare program is given so many entries at once: with all of them it would take a gigabyte.
const PIECE: usize = 50_000;

/// Its memory, what it takes to load it, and what a packet pays for it.
pub fn measure(backend: Backend, extent: Extent, report: &mut Report) -> Result<(), Failed> {
    if !backend.has_sets() {
        return Ok(());
    }
    let entries = extent.of(1_000_000);
    let lab = Lab::new(backend)?;
    let (before, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let target = UdpSocket::bind((Ipv4Addr::LOCALHOST, 5060))?;
    let honest = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    honest.connect(target.local_addr()?)?;
    let packet = || -> Result<f64, Failed> {
        let mut each = (0..5).map(|_| cost(std::slice::from_ref(&honest))).collect::<Result<Vec<f64>, Failed>>()?;
        Ok(median(&mut each))
    };

    bare::set_up(&lab, backend)?;
    let mut limit = Duration::ZERO;
    for first in (0..entries).step_by(PIECE) {
        limit += bare::block(&lab, backend, (first..entries.min(first + PIECE)).map(address))?;
    }
    bare::free_all(&lab, backend)?;
    let without = {
        let _idle = Pbx::start(&lab, backend, before.path())?;
        packet()?
    };

    let list = folder.path().join("list");
    let text = (0..entries).map(address).fold(String::new(), |mut text, address| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{address}");
        text
    });
    fs::write(&list, text)?;
    let more = format!("[feed large]\nurl = {}\n", list.display());
    let mut pbx = Pbx::start_with(&lab, backend, folder.path(), &more, "")?;
    let took = pbx.wait_for(1, &format!("FEED => large: {entries} entries in force"))? - pbx.began;
    let usage = pbx.usage()?;
    let row = |what: &str, unit| Row::new("feed", backend, &format!("a list of {entries} entries, {what}"), unit);
    let seconds = took.as_secs_f64();
    let load = row("from the start until it is in force", Unit::Seconds).measured(seconds);
    report.add(load.against(limit.as_secs_f64()).goal(Goal::RatioAtMost(2.0)));
    let memory = row("resident memory", Unit::Bytes).measured(usage.resident);
    report.add(memory.goal(Goal::AtMost(6.0 * 1048576.0 + 16.0 * entries as f64)));
    report.add(row("resident memory, peak", Unit::Bytes).measured(usage.peak));
    let packet = row("one honest packet through it", Unit::Seconds).measured(packet()?);
    report.add(packet.against(without).goal(Goal::RatioAtMost(1.2)));
    Ok(())
}

/// Each seventh address from 23.0.0.0 on.
fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x1700_0000 + 7 * n as u32)
}
