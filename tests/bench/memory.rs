//! A daemon that has nothing to do.

use std::thread;
use std::time::Duration;

use crate::Failed;
use crate::lab::{Backend, Lab};
use crate::pbx::Pbx;
use crate::report::{Goal, Report, Row, Unit};

/// How long it is watched.
const WATCH: Duration = Duration::from_secs(12);

/// Long enough for it to have looked after its rules.
pub fn measure(backend: Backend, report: &mut Report) -> Result<(), Failed> {
    let lab = Lab::new(backend)?;
    let folder = tempfile::tempdir()?;
    let pbx = Pbx::start(&lab, backend, folder.path())?;
    let before = pbx.usage()?;
    thread::sleep(WATCH);
    let usage = pbx.usage()?;
    let (own, programs) = usage.cpu_since(before);
    let row = |what: &str, unit| Row::new("memory", backend, &format!("idle, {what}"), unit);
    report.add(row("resident memory", Unit::Bytes).measured(usage.resident).goal(Goal::AtMost(6.0 * 1048576.0)));
    report.add(row("resident memory, peak", Unit::Bytes).measured(usage.peak));
    let share = (own + programs).as_secs_f64() / WATCH.as_secs_f64();
    report.add(row("CPU a second, programs included", Unit::Seconds).measured(share));
    Ok(())
}
