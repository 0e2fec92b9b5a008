//! A busy PBX: harmless events, and behind them one attacker.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use crate::lab::{Backend, Lab, attacker};
use crate::pbx::{Pbx, attack, login};
use crate::report::{Goal, Report, Row, Unit, median};
use crate::{Extent, Failed};

const PHONES: usize = 1000;

/// What is read does not depend on the backend, so it is measured with one.
pub fn measure(backend: Backend, extent: Extent, report: &mut Report) -> Result<(), Failed> {
    if backend != Backend::ChainNft {
        return Ok(());
    }
    let logins = extent.of(200_000) / 2;
    let phone = |n: usize| Ipv4Addr::from(0x0a01_0000 + (n % PHONES) as u32);
    let mut events: Vec<u8> = (0..logins).flat_map(|n| login(phone(n), n).into_bytes()).collect();
    let lab = Lab::new(backend)?;
    let folder = tempfile::tempdir()?;
    let mut pbx = Pbx::start(&lab, backend, folder.path())?;
    let harmless = events.len();
    let (mut wall, mut cpu, mut limit) = (vec![], vec![], vec![]);
    for n in 0..2 * extent.times() - 1 {
        events.truncate(harmless);
        events.extend(attack(attacker(n), n).into_bytes());
        let before = pbx.usage()?;
        let (took, _) = pbx.strike(&events, 1)?;
        let (own, _) = pbx.usage()?.cpu_since(before);
        wall.push(2.0 * logins as f64 / took.as_secs_f64());
        cpu.push(2.0 * logins as f64 / own.as_secs_f64());
        limit.push(2.0 * logins as f64 / read_only(&events)?);
    }
    let limit = median(&mut limit);
    let row = |what: &str, unit| Row::new("reading", backend, &format!("{} harmless events, {what}", 2 * logins), unit);
    let cpu = row("a CPU second", Unit::PerSecond).measured(median(&mut cpu)).against(limit);
    report.add(cpu.goal(Goal::AtLeast(1_000_000.0)));
    report.add(
        row("a second, until the attacker behind is blocked", Unit::PerSecond)
            .measured(median(&mut wall))
            .against(limit),
    );
    let usage = pbx.usage()?;
    report.add(row("resident memory", Unit::Bytes).measured(usage.resident));
    report.add(row("resident memory, peak", Unit::Bytes).measured(usage.peak));
    Ok(())
}

/// Seconds to pass the same bytes to a reader that looks at none of them.
fn read_only(bytes: &[u8]) -> Result<f64, Failed> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut writer = TcpStream::connect(listener.local_addr()?)?;
    let (mut reader, _) = listener.accept()?;
    let began = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || writer.write_all(bytes));
        let mut piece = vec![0; 64 * 1024];
        while reader.read(&mut piece)? > 0 {}
        Ok(began.elapsed().as_secs_f64())
    })
}
