//! What the blocks of others cost an honest packet.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use crate::burst::attackers;
use crate::lab::{Backend, Lab};
use crate::pbx::Pbx;
use crate::report::{Goal, Report, Row, Unit, median};
use crate::{Extent, Failed};

/// The packets come over loopback, where sending one means having it filtered before the call returns.
pub fn measure(backend: Backend, extent: Extent, report: &mut Report) -> Result<(), Failed> {
    let lab = Lab::new(backend)?;
    let folder = tempfile::tempdir()?;
    let mut pbx = Pbx::start(&lab, backend, folder.path())?;
    let target = UdpSocket::bind((Ipv4Addr::LOCALHOST, 5060))?;
    let honest = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    honest.connect(target.local_addr()?)?;
    let mut limit = None;
    let mut blocks = 0;
    let sizes: &[usize] = if backend.has_sets() { &[0, 10_000, 60_000, 200_000] } else { &[0, 1_000, 10_000, 60_000] };
    for size in sizes.iter().map(|size| extent.of(*size)) {
        pbx.strike(&attackers(blocks..size), size - blocks)?;
        blocks = size;
        let mut each = Vec::new();
        for _ in 0..5 {
            each.push(cost(std::slice::from_ref(&honest))?);
        }
        let each = median(&mut each);
        let row = Row::new("packets", backend, &format!("one honest packet through {size} blocks"), Unit::Seconds);
        let row = row.measured(each).against(*limit.get_or_insert(each));
        report.add(if backend.has_sets() { row.goal(Goal::RatioAtMost(1.2)) } else { row });
    }
    Ok(())
}

/// Seconds a packet, over a tenth of a second in which these send in turn.
pub fn cost(senders: &[UdpSocket]) -> Result<f64, Failed> {
    let began = Instant::now();
    let mut packets = 0_u32;
    while began.elapsed() < Duration::from_millis(100) {
        for sender in senders.iter().cycle().take(senders.len().max(32)) {
            sender.send(b"OPTIONS")?;
            packets += 1;
        }
    }
    Ok(began.elapsed().as_secs_f64() / f64::from(packets))
}
