//! How something is said: what to write into the stream and the set of the one who says it.
//!
//! PURE: no clock, no I/O.

use ipnet::IpNet;
use redis::{Cmd, cmd};

use super::budget::MOST_LIVE;
use super::entry::{Entry, Live};
use super::keys::Keys;
use crate::model::block::Reason;

/// About this many entries does a stream keep.
const MOST_ENTRIES: usize = 10_000;

/// The commands by which a member says this, `now` in seconds of the server's time.
pub fn saying(keys: &Keys, name: &str, entry: &Entry, now: u64) -> Vec<Cmd> {
    let blocks = keys.blocks(name);
    let add = |live: Live, seconds: u64| {
        cmd("ZADD").arg(&blocks).arg(now.saturating_add(seconds)).arg(live.member()).to_owned()
    };
    let remove = |net: IpNet, reasons: &mut dyn Iterator<Item = Option<Reason>>| {
        let mut remove = cmd("ZREM");
        remove.arg(&blocks);
        for reason in reasons {
            remove.arg(Live { net, reason }.member());
        }
        remove
    };
    let all = || Reason::ALL.into_iter().map(Some);
    let mut commands = match *entry {
        Entry::Block { net, reason, seconds } => {
            let others = &mut all().filter(|other| *other != Some(reason));
            vec![remove(net, others), add(Live { net, reason: Some(reason) }, seconds)]
        }
        Entry::Unblock(net) => vec![remove(net, &mut all())],
        Entry::Pardon { net, seconds } => vec![add(Live { net, reason: None }, seconds)],
        Entry::Unpardon(net) => vec![remove(net, &mut [None].into_iter())],
        Entry::Whole => Vec::new(),
    };
    let mut entry_of_stream = cmd("XADD");
    entry_of_stream.arg(keys.stream(name)).arg("MAXLEN").arg("~").arg(MOST_ENTRIES).arg("*");
    for (field, value) in entry.fields() {
        entry_of_stream.arg(field).arg(value);
    }
    // Whoever reads the entry finds the set as it says.
    commands.push(entry_of_stream);
    commands
}

/// The question for the live blocks of one set that have not ended `now`, in seconds of the server's time: at most
/// [`MOST_LIVE`] of them, after so many others.
pub fn set_from(blocks: &str, now: u64, after: usize) -> Cmd {
    let mut range = cmd("ZRANGEBYSCORE");
    range.arg(blocks).arg(now).arg("+inf").arg("WITHSCORES").arg("LIMIT").arg(after).arg(MOST_LIVE);
    range
}
