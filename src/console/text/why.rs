//! What is known of an address or of an account, in lines.

use ipnet::IpNet;

use super::{LocalTime, Sheet, counted, duration, stamp};
use crate::console::request::{FleetBlock, Pressure, Why, WhyAccount};
use crate::geo::Place;
use crate::model::block::BlockLine;
use crate::model::country::is_elsewhere;
use crate::model::net::Plain;

/// At most this many accounts or addresses are named.
const NAMED: usize = 10;

/// All that is known of an address.
pub(super) fn address(why: &Why, local_time: LocalTime, place: &Place) -> Vec<String> {
    let alone = IpNet::from(why.address) == why.source;
    let mut sheet = Sheet::titled(if alone {
        why.address.to_string()
    } else {
        format!("{}, counted together with all of {}", why.address, why.source)
    });
    if !place.is_empty() {
        let is_foreign = why.homes.is_empty() && is_elsewhere(place.country, &why.countries);
        let patience = if is_foreign { ", none of limits.countries: no patience" } else { "" };
        sheet.row("Where", format!("{place}{patience}"));
    }
    sheet.row("Protected", why.protected.as_deref().unwrap_or("no"));
    let homes = why.homes.iter().map(|home| {
        let account = if home.account.is_empty() { "an account" } else { &home.account };
        format!("{account} (last login {})", stamp(home.last_login, local_time))
    });
    sheet.row("Lives here", named(homes, "nobody"));
    if why.evidence.is_empty() {
        sheet.row("Evidence", "none");
    }
    for (nth, kind) in why.evidence.iter().enumerate() {
        let limit = if kind.limit == 0 { "does not block here".to_owned() } else { format!("of {}", kind.limit) };
        let account = if kind.account.is_empty() { String::new() } else { format!(", last for {}", kind.account) };
        sheet.row(if nth == 0 { "Evidence" } else { "" }, format!("{} {} {limit}{account}", kind.what, kind.count));
    }
    if let Some(account) = &why.account {
        sheet.row("Account", pressure(account));
    }
    let neighbours = &why.neighbours;
    sheet.row(
        "Neighbours",
        format!("{} of {} failed in a day, of {}", neighbours.addresses, neighbours.net, neighbours.limit),
    );
    for weather in &why.weather {
        let spares = if weather.spares { ", so patience is long" } else { "" };
        sheet.row("PBX", format!("{weather}, since {}{spares}", stamp(weather.since, local_time)));
    }
    if let Some(shield) = &why.shield {
        sheet.row("Shield", shield);
    }
    for list in &why.lists {
        let spared = if why.protected.is_some() || !why.homes.is_empty() { ", and is spared" } else { "" };
        sheet.row("List", format!("held by {list}{spared}"));
    }
    sheet.row("Blocked", why.block.as_ref().map_or("no".to_owned(), |block| blocked(why, block, local_time)));
    if let Some(fleet) = &why.fleet {
        sheet.row("Fleet", said(fleet, local_time));
    }
    sheet.row("Next block", format!("lasts {}", duration(why.next_block)));
    if let Some(packets) = why.packets {
        sheet.row("Dropped", counted(packets, "packet"));
    }
    sheet.row("History", format!("blocked {}", counted(why.times_blocked, "time")));
    sheet.lines
}

/// All that is known of an account.
pub(super) fn account(why: &WhyAccount, local_time: LocalTime) -> Vec<String> {
    let mut sheet = Sheet::titled(format!("Account {}", why.account));
    let homes =
        why.homes.iter().map(|(net, last)| format!("{} (last login {})", Plain(*net), stamp(*last, local_time)));
    sheet.row("Lives at", named(homes, "no address"));
    sheet.row("Pressure", pressure(&why.pressure));
    sheet.row("Failed", named(why.failed.iter().rev().map(|net| Plain(*net).to_string()), "nobody"));
    sheet.lines
}

fn said(fleet: &FleetBlock, local_time: LocalTime) -> String {
    let who = match &fleet.origins[..] {
        [] => "nobody says so any more".to_owned(),
        [one] => format!("{one} says so"),
        several => format!("{} say so", several.join(", ")),
    };
    let packets = fleet.packets.map_or(String::new(), |packets| format!(", {} dropped", counted(packets, "packet")));
    match (fleet.until, &fleet.spared) {
        (Some(until), _) => format!("{who}: blocked until {}{packets}", stamp(until, local_time)),
        (None, Some(why)) => format!("{who}: not blocked, {why}"),
        (None, None) => format!("{who}: not blocked, too few say so"),
    }
}

fn pressure(pressure: &Pressure) -> String {
    let Pressure { account, addresses, limit, under_attack } = pressure;
    let attack = if *under_attack { ": under attack, the first failure blocks where nobody lives" } else { "" };
    format!("{account}: {addresses} addresses where it does not live failed for it in a day, of {limit}{attack}")
}

fn named(mut all: impl ExactSizeIterator<Item = String>, none: &str) -> String {
    let count = all.len();
    let mut names: Vec<String> = all.by_ref().take(NAMED).collect();
    if count > NAMED {
        names.push(format!("and {} more", count - NAMED));
    }
    if names.is_empty() { none.to_owned() } else { names.join(", ") }
}

fn blocked(why: &Why, block: &BlockLine, local_time: LocalTime) -> String {
    let by = if block.net == IpNet::from(why.address) { String::new() } else { format!("by {} ", Plain(block.net)) };
    let since = why.blocked_since.map_or(String::new(), |time| format!("since {} ", stamp(time, local_time)));
    format!("{by}{since}until {} ({})", stamp(block.end, local_time), block.reason)
}
