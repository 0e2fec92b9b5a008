//! What a backend that is not in use any more has left in the chain.

use super::{Chain, Place, all_done};
use crate::config::FirewallConfig;
use crate::firewall::body::Origin;
use crate::firewall::family::Family;
use crate::firewall::run::Program;
use crate::firewall::{Error, FoundBlock, Traffic, succession};
use crate::model::target::ChainName;

/// The chain and its jumps, left by a backend that is not in use any more.
pub(in crate::firewall) struct Left {
    chains: Vec<Chain>,
    name: ChainName,
}

impl Left {
    /// Of both families; `None` if there is no such chain.
    pub(in crate::firewall) fn find(config: &FirewallConfig) -> Option<Left> {
        let chain = |(family, place)| {
            let chain = Chain::new(family, place, config, &Traffic::All, None).ok()?;
            (may_list(config, family, place) && chain.body().ok()?.is_some()).then_some(chain)
        };
        let places = Family::BOTH.into_iter().flat_map(|family| [(family, Place::Input), (family, Place::Raw)]);
        let chains: Vec<Chain> = places.filter_map(chain).collect();
        (!chains.is_empty()).then(|| Left { chains, name: config.chain.clone() })
    }
}

impl succession::Left for Left {
    fn blocks(&self) -> Result<Vec<FoundBlock>, Error> {
        let mut blocks = Vec::new();
        for chain in &self.chains {
            let body = chain.body()?.unwrap_or_default();
            blocks.extend(body.blocks.iter().filter_map(Origin::net).map(|net| FoundBlock { net, remaining: None }));
        }
        Ok(blocks)
    }

    fn remove(&mut self) -> Result<(), Error> {
        all_done(self.chains.iter_mut().map(Chain::tear_down))
    }

    fn describe(&self) -> String {
        format!("chain {}", self.name)
    }
}

/// Whether iptables-save can be asked without anything being made by it: the old kind makes the table that it is to
/// list.
pub(in crate::firewall) fn may_list(config: &FirewallConfig, family: Family, place: Place) -> bool {
    let iptables = Program::find("iptables", config.iptables_path.as_deref());
    let is_nft =
        || iptables.is_ok_and(|it| it.run(&["-V"], "").is_ok_and(|output| output.stdout.contains("nf_tables")));
    place.has_legacy_table(family) || is_nft()
}
