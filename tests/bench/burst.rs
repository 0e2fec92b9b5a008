//! Many attackers at once, until the last of them is blocked.

use crate::lab::{Backend, Lab, attacker};
use crate::pbx::{Pbx, attack};
use crate::report::{Goal, Report, Row, Unit, median};
use crate::{Extent, Failed, bare};

/// Each size anew, on fresh machines.
pub fn measure(backend: Backend, extent: Extent, report: &mut Report) -> Result<(), Failed> {
    for size in [1_000, 10_000, 60_000].map(|size| extent.of(size)) {
        let times = if size > 10_000 { 1 } else { extent.times() };
        let (mut ours, mut limit, mut own, mut programs, mut lost) = (vec![], vec![], vec![], vec![], 0);
        let mut memory = (0.0, 0.0);
        for _ in 0..times {
            let lab = Lab::new(backend)?;
            bare::set_up(&lab, backend)?;
            limit.push(bare::block(&lab, backend, (0..size).map(attacker))?.as_secs_f64());

            let lab = Lab::new(backend)?;
            let folder = tempfile::tempdir()?;
            let mut pbx = Pbx::start(&lab, backend, folder.path())?;
            let before = pbx.usage()?;
            let (took, _) = pbx.strike(&attackers(0..size), size)?;
            let after = pbx.usage()?;
            let cpu = after.cpu_since(before);
            ours.push(took.as_secs_f64());
            own.push(cpu.0.as_secs_f64());
            programs.push(cpu.1.as_secs_f64());
            lost += size - pbx.in_force(&lab)?.min(size);
            memory = (after.resident, after.peak);
        }
        let row = |what: &str, unit| Row::new("burst", backend, &format!("{size} attackers, {what}"), unit);
        let most = if backend == Backend::Nft { 1.3 } else { 3.0 };
        let goal = |row: Row| if size == extent.of(10_000) { row.goal(Goal::RatioAtMost(most)) } else { row };
        let limit = median(&mut limit);
        report.add(goal(row("until the last is blocked", Unit::Seconds).measured(median(&mut ours)).against(limit)));
        report.add(row("lost", Unit::Count).measured(lost as f64).goal(Goal::AtMost(0.0)));
        report.add(row("CPU of the daemon", Unit::Seconds).measured(median(&mut own)).against(limit));
        report.add(row("CPU of its programs", Unit::Seconds).measured(median(&mut programs)).against(limit));
        let fits = |row: Row| if size == 60_000 { row.goal(Goal::AtMost(20.0 * 1048576.0)) } else { row };
        report.add(fits(row("resident memory", Unit::Bytes).measured(memory.0)));
        report.add(row("resident memory, peak", Unit::Bytes).measured(memory.1));
    }
    Ok(())
}

/// The events of these attackers, one request each.
pub fn attackers(numbers: std::ops::Range<usize>) -> Vec<u8> {
    numbers.flat_map(|n| attack(attacker(n), n).into_bytes()).collect()
}
