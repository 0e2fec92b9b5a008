//! Many blocks that end at the same moment.

use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::lab::{Backend, Lab, attacker};
use crate::pbx::Pbx;
use crate::report::{Goal, Report, Row, Unit, median};
use crate::{Extent, Failed, bare};

/// All of them, and then as many that leave as many others behind.
pub fn measure(backend: Backend, extent: Extent, report: &mut Report) -> Result<(), Failed> {
    let size = extent.of(10_000);
    let gone = |stay: usize, report: &mut Report| -> Result<(), Failed> {
        let (mut ours, mut limit, mut left) = (vec![], vec![], 0);
        for _ in 0..extent.times() {
            let lab = Lab::new(backend)?;
            bare::set_up(&lab, backend)?;
            bare::block(&lab, backend, (0..size).map(attacker))?;
            let flush = bare::free_all(&lab, backend)?;
            let again =
                if stay > 0 { bare::block(&lab, backend, (size..size + stay).map(attacker))? } else { Duration::ZERO };
            limit.push((flush + again).as_secs_f64());

            let lab = Lab::new(backend)?;
            let folder = tempfile::tempdir()?;
            let mut pbx = Pbx::start(&lab, backend, folder.path())?;
            let end = now() + 5;
            let line =
                |n: usize, address: Ipv4Addr| format!("{address},{}\n", if n < size { end } else { end + 86400 });
            let dump: String = (0..size + stay).map(|n| line(n, attacker(n))).collect();
            fs::write(folder.path().join("dump"), dump)?;
            pbx.ctl("restore")?;
            if pbx.in_force(&lab)? < size + stay {
                return Err("not all blocks could be restored in time".into());
            }
            let end = Instant::now() + (UNIX_EPOCH + Duration::from_secs(end)).duration_since(SystemTime::now())?;
            ours.push(pbx.wait_for_ends(size)?.saturating_duration_since(end).as_secs_f64());
            left += pbx.in_force(&lab)?.abs_diff(stay);
        }
        let what =
            if stay > 0 { format!("{size} of {} blocks end, ", size + stay) } else { format!("{size} blocks end, ") };
        let row = |more: &str, unit| Row::new("expiry", backend, &(what.clone() + more), unit);
        let until = row("until they are gone", Unit::Seconds).measured(median(&mut ours)).against(median(&mut limit));
        report.add(until.goal(Goal::AtMost(2.0)));
        report.add(row("wrongly in force or gone", Unit::Count).measured(left as f64).goal(Goal::AtMost(0.0)));
        Ok(())
    };
    gone(0, report)?;
    gone(size, report)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs())
}
