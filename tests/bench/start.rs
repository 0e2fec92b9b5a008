//! Start with a full journal, with the rules a crash left and without.

use std::time::Duration;

use crate::burst::attackers;
use crate::lab::{Backend, Lab, attacker};
use crate::pbx::{Pbx, Usage};
use crate::report::{Goal, Report, Row, Unit, median};
use crate::{Extent, Failed, bare};

/// The journal is that of a daemon that was killed with all these blocks in force.
pub fn measure(backend: Backend, extent: Extent, report: &mut Report) -> Result<(), Failed> {
    let size = extent.of(60_000);
    let folder = tempfile::tempdir()?;
    let lab = Lab::new(backend)?;
    Pbx::start(&lab, backend, folder.path())?.strike(&attackers(0..size), size)?;
    let (mut found, mut made, mut list, mut restore) = (vec![], vec![], vec![], vec![]);
    for _ in 0..extent.times() {
        let pbx = Pbx::start(&lab, backend, folder.path())?;
        check(&pbx, &lab, size)?;
        found.push((pbx.took, pbx.usage()?));
        drop(pbx);
        list.push(bare::list(&lab, backend)?.as_secs_f64());
    }
    drop(lab);
    for _ in 0..extent.times() {
        let lab = Lab::new(backend)?;
        bare::set_up(&lab, backend)?;
        restore.push(bare::block(&lab, backend, (0..size).map(attacker))?.as_secs_f64());
        let lab = Lab::new(backend)?;
        let pbx = Pbx::start(&lab, backend, folder.path())?;
        check(&pbx, &lab, size)?;
        made.push((pbx.took, pbx.usage()?));
    }
    // What is read from the kernel itself takes less than any program needs to list it.
    let list = if backend == Backend::Nft { restore.clone() } else { list };
    for (what, runs, mut limit) in [("rules there", found, list), ("rules gone", made, restore)] {
        let row = |more: &str, unit| Row::new("start", backend, &format!("journal of {size}, {what}{more}"), unit);
        let of = |get: fn(&(Duration, Usage)) -> f64| median(&mut runs.iter().map(get).collect::<Vec<_>>());
        let until = row("", Unit::Seconds).measured(of(|run| run.0.as_secs_f64())).against(median(&mut limit));
        report.add(until.goal(if backend == Backend::Nft { Goal::RatioAtMost(1.5) } else { Goal::AtMost(1.0) }));
        report.add(row(", CPU of the daemon", Unit::Seconds).measured(of(|run| run.1.own.as_secs_f64())));
        report.add(row(", CPU of its programs", Unit::Seconds).measured(of(|run| run.1.programs.as_secs_f64())));
        let resident = row(", resident memory", Unit::Bytes).measured(of(|run| run.1.resident));
        report.add(if size == 60_000 { resident.goal(Goal::AtMost(20.0 * 1048576.0)) } else { resident });
        report.add(row(", resident memory, peak", Unit::Bytes).measured(of(|run| run.1.peak)));
    }
    Ok(())
}

fn check(pbx: &Pbx, lab: &Lab, size: usize) -> Result<(), Failed> {
    match pbx.in_force(lab)? {
        there if there == size => Ok(()),
        there => Err(format!("{there} of {size} blocks are in force after the start").into()),
    }
}
