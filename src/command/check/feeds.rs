//! Whether the lists of others can be had and held.

use std::time::Duration;

use super::{Finding, Machine};
use crate::config::FeedConfig;
use crate::crowdsec;
use crate::feed::copy::{self, Copy};
use crate::feed::parse::Parsed;
use crate::feed::source::{Answer, Source};
use crate::feed::{check as belief, schedule};
use crate::firewall::choice;
use crate::logging::escape;
use crate::model::nets::Nets;
use crate::web::Limits;

const WHAT: &str = "feed";

/// Less than the daemon waits: somebody sits before it.
const LIMITS: Limits = Limits { time: Duration::from_secs(20), bytes: 64 << 20 };

/// Whether the local API of CrowdSec is there and lets us in.
pub(super) fn crowdsec(machine: &Machine) -> Vec<Finding> {
    const WHAT: &str = "CrowdSec";
    let config = &machine.config.crowdsec;
    if !config.is_there() {
        return Vec::new();
    }
    vec![match crowdsec::try_out(config) {
        Ok(what) => Finding::ok(WHAT, format!("the local API {what}")),
        Err(why) => Finding::warn(WHAT, escape(&why).to_string(), "see whether it runs, and look at [crowdsec]"),
    }]
}

/// Asks each source, but for those that were asked by the daemon not long ago: they say how often they may be.
pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    let feeds = &machine.config.feeds;
    if feeds.is_empty() {
        return Vec::new();
    }
    if let Err(why) = choice::can_hold_lists(&machine.config.firewall) {
        return vec![Finding::fail(WHAT, why.to_string(), "install nftables or ipset")];
    }
    feeds.iter().map(|(name, config)| one(machine, name, config)).collect()
}

fn one(machine: &Machine, name: &str, config: &FeedConfig) -> Finding {
    let now = machine.clock.now().wall;
    let source = Source::with_limits(config, LIMITS);
    let file = copy::path(&machine.config.journal, "feed", name);
    let held = Copy::read(&file, &source.origin(), now).ok().flatten();
    if let Some(copy) = held.filter(|copy| Duration::from_secs(now.since(copy.fetched)) < schedule::usual(config)) {
        let (entries, age) = (copy.entries(now).len(), now.since(copy.fetched));
        return Finding::ok(WHAT, format!("{name}: {entries} entries, asked for {age} s ago"));
    }
    let answer = source.ask(&Copy::default()).map_err(|failed| failed.what);
    match answer.and_then(|answer| believed(&answer, config.change)) {
        Ok(what) => Finding::ok(WHAT, format!("{name}: {}", escape(&what))),
        Err(why) => {
            Finding::warn(WHAT, format!("{name}: {}", escape(&why)), format!("look at url and format of [feed {name}]"))
        }
    }
}

/// What the answer holds, if the daemon would believe it.
fn believed(answer: &Answer, change: u64) -> Result<String, String> {
    let (nets, notice) = match answer {
        Answer::List { parsed: Parsed { nets, notice }, .. } => (nets, notice.as_deref()),
        Answer::Batch { nets, .. } => (nets, Some("the first batch")),
        Answer::Same | Answer::End => return Ok("nothing yet".to_owned()),
    };
    belief::entries(nets, &Nets::default())?;
    let list: Nets = nets.iter().copied().collect();
    belief::whole(&list, None, change)?;
    let notice = notice.map_or(String::new(), |notice| format!(", {notice}"));
    Ok(format!("{} entries{notice}", list.len()))
}
