//! From the event to the first packet of the attacker that is lost.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::lab::{Backend, Lab, PBX, attacker, wake_exactly};
use crate::pbx::{Pbx, attack};
use crate::report::{Goal, Report, Row, Unit, median, quantile};
use crate::{Extent, Failed, bare};

/// Time between two packets of the attacker: how exactly the cut is known.
const PACE: Duration = Duration::from_micros(30);

/// Packets that must get lost behind the last that arrived.
const CUT: usize = 20;

/// Alternates between a round of the daemon and one of the bare program, so that noise meets both.
pub fn measure(backend: Backend, extent: Extent, report: &mut Report) -> Result<(), Failed> {
    let lab = Lab::new(backend)?;
    let folder = tempfile::tempdir()?;
    bare::set_up(&lab, backend)?;
    let mut pbx = Pbx::start(&lab, backend, folder.path())?;
    let socket = UdpSocket::bind((PBX, 5060))?;
    let (mut ours, mut limit) = (Vec::new(), Vec::new());
    for n in 0..extent.of(200) {
        let from = attacker(2 * n);
        let events = attack(from, n);
        ours.extend(round(&lab, &socket, from, || pbx.send(events.as_bytes()))?);
        let from = attacker(2 * n + 1);
        limit.extend(round(&lab, &socket, from, || bare::block(&lab, backend, [from].into_iter()).map(drop))?);
    }
    let spoiled = 2 * extent.of(200) - ours.len() - limit.len();
    if spoiled > 0 {
        report.note(&format!("latency, {}: {spoiled} rounds spoiled by packets lost before the cut", backend.name()));
    }
    let row = |what: &str| Row::new("latency", backend, &format!("event to first lost packet, {what}"), Unit::Seconds);
    let goal = Goal::RatioAtMost(if backend == Backend::Nft { 0.5 } else { 0.8 });
    report.add(row("median").measured(median(&mut ours)).against(median(&mut limit)).goal(goal));
    report.add(row("p99").measured(quantile(&mut ours, 0.99)).against(quantile(&mut limit, 0.99)));
    Ok(())
}

/// Has `from` send numbered packets, strikes, and sees which is the first that does not arrive. `None` if packets were
/// lost before that, because nobody took them in time.
pub fn round(
    lab: &Lab,
    socket: &UdpSocket,
    from: Ipv4Addr,
    strike: impl FnOnce() -> Result<(), Failed>,
) -> Result<Option<f64>, Failed> {
    let stop = AtomicBool::new(false);
    let flood = || {
        wake_exactly()?;
        let socket = UdpSocket::bind((from, 0))?;
        socket.connect((PBX, 5060))?;
        let mut sent = Vec::with_capacity(4096);
        while !stop.load(Ordering::Relaxed) {
            sent.push(Instant::now());
            socket.send(&(sent.len() as u32).to_be_bytes())?;
            thread::sleep(PACE);
        }
        Ok(sent)
    };
    thread::scope(|scope| {
        let flood = lab.as_attacker(scope, flood)?;
        let mut arrived = Vec::new();
        let struck = arrive(socket, Duration::from_secs(5), &mut arrived).and_then(|()| {
            let struck = Instant::now();
            strike()?;
            // Looking now and then, not at each packet, leaves the CPU to what is measured.
            loop {
                let before = arrived.len();
                thread::sleep(Duration::from_millis(3));
                arrive(socket, Duration::ZERO, &mut arrived)?;
                if arrived.len() == before {
                    return Ok(struck);
                }
                if struck.elapsed() > Duration::from_secs(5) {
                    return Err("an attacker was not blocked".into());
                }
            }
        });
        stop.store(true, Ordering::Relaxed);
        let sent = flood.join().map_err(|_| "a thread panicked")??;
        let struck = struck?;
        let last = arrived.last().copied().unwrap_or_default() as usize;
        let whole = arrived.len() == last && sent.len() > last + CUT;
        Ok(whole.then(|| (sent[last].saturating_duration_since(struck)).as_secs_f64()))
    })
}

/// Takes what is there; waits so long for the first.
fn arrive(socket: &UdpSocket, patience: Duration, arrived: &mut Vec<u32>) -> Result<(), Failed> {
    let mut number = [0; 4];
    if !patience.is_zero() {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(patience))?;
        socket.recv(&mut number)?;
        arrived.push(u32::from_be_bytes(number));
    }
    socket.set_nonblocking(true)?;
    while socket.recv(&mut number).is_ok() {
        arrived.push(u32::from_be_bytes(number));
    }
    Ok(())
}
