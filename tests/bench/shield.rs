//! What the shield costs an honest packet.

use std::net::{Ipv4Addr, UdpSocket};
use std::thread;

use crate::lab::{Backend, Lab, PBX, attacker};
use crate::packets::cost;
use crate::pbx::Pbx;
use crate::report::{Goal, Report, Row, Unit, median};
use crate::{Extent, Failed};

/// So many send in turn, so that none of them comes over the limit.
const SENDERS: usize = 64;

/// So many others are admitted too: where each is a rule, an honest packet is compared with all of them.
const OTHERS: usize = 200;

/// The packets come over a cable: whoever sends over loopback is no stranger.
pub fn measure(backend: Backend, extent: Extent, report: &mut Report) -> Result<(), Failed> {
    let on = "[shield]\nmode = \"on\"\nshed = 10000\n";
    let admitted: String = (0..OTHERS).map(|n| format!("10.0.0.{n}\n")).collect::<String>() + "198.19.0.0/16\n";
    let mut none = None;
    for (what, sections, white_list) in [
        ("one honest packet without a shield", "", ""),
        ("one packet of a stranger within the limit", on, ""),
        ("one packet of who is admitted, beside 200 others", on, &admitted[..]),
    ] {
        let each = packet(backend, extent, sections, white_list)?;
        let row = Row::new("shield", backend, what, Unit::Seconds).measured(each);
        let each_is_a_rule = !backend.has_sets() && !white_list.is_empty();
        report.add(match none {
            Some(none) => row.against(none).goal(Goal::RatioAtMost(if each_is_a_rule { 4.0 } else { 1.5 })),
            None => row,
        });
        none = none.or(Some(each));
    }
    Ok(())
}

/// Seconds that one takes.
fn packet(backend: Backend, extent: Extent, sections: &str, white_list: &str) -> Result<f64, Failed> {
    let lab = Lab::new(backend)?;
    let folder = tempfile::tempdir()?;
    let _pbx = Pbx::start_with(&lab, backend, folder.path(), sections, white_list)?;
    let _target = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 5060))?;
    let send = || {
        let senders: Vec<UdpSocket> = (0..SENDERS)
            .map(|n| {
                let sender = UdpSocket::bind((attacker(n), 0))?;
                sender.connect((PBX, 5060))?;
                Ok(sender)
            })
            .collect::<Result<_, Failed>>()?;
        let mut each = Vec::new();
        for _ in 0..extent.times() + 2 {
            each.push(cost(&senders)?);
        }
        Ok(median(&mut each))
    };
    thread::scope(|scope| lab.as_attacker(scope, send)?.join().map_err(|_| "a thread panicked")?)
}
