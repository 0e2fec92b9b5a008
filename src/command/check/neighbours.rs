//! Other firewalls on this machine: which there are, which backend suits them, and whether one lets attackers in before
//! ours is asked.

use super::{Finding, Machine};
use crate::config::{Backend, FirewallConfig};
use crate::firewall::choice;
use crate::firewall::neighbours::{Neighbour, chain_that_accepts_first};

const WHAT: &str = "neighbours";

pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    let config = &machine.config.firewall;
    let backend = choice::choose(config).backend;
    let neighbours = Neighbour::find(config).into_iter().map(|neighbour| beside(neighbour, backend));
    neighbours.chain(accepting(config, backend)).collect()
}

fn beside(neighbour: Neighbour, backend: Backend) -> Finding {
    let table = "the table of nftables is none of its business";
    match (neighbour, backend) {
        (Neighbour::FreePbx | Neighbour::Issabel, Backend::Nft) => {
            Finding::ok(WHAT, format!("{neighbour} is here: {table}"))
        }
        (Neighbour::FreePbx | Neighbour::Issabel, _) => Finding::warn(
            WHAT,
            format!("{neighbour} is here, which now and then empties INPUT and every chain with it"),
            "set iptables.backend = auto: nft is not touched by that",
        ),
        (Neighbour::Docker, Backend::Iptables | Backend::Ipset) => {
            Finding::ok(WHAT, "Docker is here: what it leads to a container does not pass INPUT, nor our chain")
        }
        _ => Finding::ok(WHAT, format!("{neighbour} is here: it leaves the rules of others alone")),
    }
}

fn accepting(config: &FirewallConfig, backend: Backend) -> Option<Finding> {
    if backend == Backend::Nft {
        return None;
    }
    let chain = chain_that_accepts_first(config)?;
    let text = format!("the chain {chain} of another program comes before ours in INPUT, and accepts packets there");
    Some(Finding::warn(WHAT, text, "set iptables.backend = nft, or move its jump behind ours"))
}
