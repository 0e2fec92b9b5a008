//! Which backend blocks: the one place that chooses and makes it.

use super::filter::{self, Rehearsal};
use super::ipset::{self, Ipset};
use super::iptables::Iptables;
use super::lists::Lists;
use super::neighbours::Neighbour;
use super::nft::{self, Nft};
use super::run::Program;
use super::shield::scanners;
use super::succession::{self, Succession};
use super::{Error, Firewall, Traffic};
use crate::config::{Backend, FirewallConfig};
use crate::model::target::Holder;

/// A backend, and why it was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// How addresses are blocked; never [`Backend::Auto`].
    pub backend: Backend,
    /// What of the machine speaks for it; `None` if the configuration names it.
    pub why: Option<String>,
}

/// The backend that suits the configuration and the machine.
pub fn choose(config: &FirewallConfig) -> Choice {
    let named = |backend| Choice { backend, why: None };
    let suits = |backend, why: String| Choice { backend, why: Some(why) };
    if config.backend != Backend::Auto {
        return named(config.backend);
    }
    let iptables = Program::find("iptables-restore", config.iptables_path.as_deref());
    let neighbours = Neighbour::find(config);
    let in_the_way = neighbours.iter().find(|neighbour| neighbour.flushes_input());
    let usable = Program::find("nft", config.iptables_path.as_deref()).is_ok() && nft::is_there();
    match (&iptables, in_the_way) {
        (Err(_), _) => suits(Backend::Nft, "iptables is not installed".to_owned()),
        (Ok(_), Some(neighbour)) if usable => suits(Backend::Nft, format!("{neighbour} is here")),
        (Ok(_), Some(neighbour)) => {
            suits(Backend::Iptables, format!("{neighbour} is here, but nftables is not installed"))
        }
        (Ok(_), None) => suits(Backend::Iptables, "no other firewall is in the way".to_owned()),
    }
}

/// What holds the blocks of the backend that is chosen.
pub fn holder(config: &FirewallConfig) -> Holder {
    match choose(config).backend {
        Backend::Nft => Holder::Table(config.nft_table.clone()),
        _ => Holder::Chain(config.chain.clone()),
    }
}

/// Has iptables read the rules that the configuration asks for, in a test that makes none of them.
///
/// # Errors
/// If iptables is not installed, or the traffic cannot be told to it.
pub fn rehearse_chain(config: &FirewallConfig, traffic: Traffic) -> Result<Rehearsal, Error> {
    filter::rehearse(config, traffic)
}

/// The same for nft. Its name and version, such as `nftables v1.0.6`.
///
/// # Errors
/// If nft is not installed, the kernel's nf_tables cannot be read, or the table is refused.
pub fn rehearse_table(config: &FirewallConfig, traffic: &Traffic) -> Result<String, Error> {
    nft::rehearse(config, traffic)
}

/// How many scanners the file lists.
///
/// # Errors
/// If it cannot be read, or all that is wrong in it.
pub fn count_scanners(config: &FirewallConfig) -> Result<usize, Error> {
    Ok(scanners::load(&config.scanners_file)?.len())
}

/// Makes the firewall that the configuration asks for, and that takes over what another backend left.
///
/// # Errors
/// If a program that it needs is not installed, or the traffic cannot be told to it.
pub fn make(config: &FirewallConfig, traffic: Traffic) -> Result<Box<dyn Firewall>, Error> {
    let Choice { backend, why } = choose(config);
    let new: Box<dyn Firewall> = match backend {
        Backend::Ipset => Box::new(Ipset::new(config, traffic)?),
        Backend::Nft => Box::new(Nft::new(config, &traffic)?),
        Backend::Iptables | Backend::Auto => Box::new(Iptables::new(config, traffic)?),
    };
    if let Some(why) = why {
        log::info!("BACKEND => {backend}, because {why}");
    }
    Ok(Box::new(Succession::new(new, backend, config)))
}

/// Removes the chain, the sets and the table of this configuration, whichever there are: what each was, or why it stays.
pub fn remove(config: &FirewallConfig) -> Vec<Result<String, Error>> {
    let left = succession::everything_left(config).into_iter();
    left.map(|mut left| left.remove().map(|()| left.describe())).collect()
}

/// What holds the lists of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListsIn {
    /// A table of nft.
    Table,
    /// Sets of ipset.
    Sets,
}

/// A table beside that of the blocks, else sets; a rule for each address is no way to hold a list.
fn choose_for_lists(config: &FirewallConfig) -> Result<ListsIn, Error> {
    let nft = || Program::find("nft", config.iptables_path.as_deref()).is_ok() && nft::is_there();
    match (choose(config).backend, Program::find("ipset", config.ipset_path.as_deref())) {
        (Backend::Nft, _) => Ok(ListsIn::Table),
        (_, Ok(_)) => Ok(ListsIn::Sets),
        (Backend::Iptables, Err(_)) if nft() => Ok(ListsIn::Table),
        (_, Err(why)) => Err(Error(format!("lists of others need nft or ipset: {why}"))),
    }
}

/// Whether lists of others can be held.
///
/// # Errors
/// If neither nft nor ipset is there.
pub fn can_hold_lists(config: &FirewallConfig) -> Result<(), Error> {
    choose_for_lists(config).map(drop)
}

/// Makes what holds the lists of others.
///
/// # Errors
/// If neither nft nor ipset is there, or the traffic cannot be told to it.
pub fn make_lists(config: &FirewallConfig, traffic: Traffic) -> Result<Box<dyn Lists>, Error> {
    let lists = config.of_lists();
    Ok(match choose_for_lists(config)? {
        ListsIn::Table => Box::new(nft::lists::Table::new(&lists, &traffic)?),
        ListsIn::Sets => Box::new(ipset::lists::Sets::new(&lists, traffic)?),
    })
}

/// Removes what lists of others have left in the kernel: all of it unless there are lists now, else what another backend
/// held. Says what is gone.
///
/// # Errors
/// Says what could not be removed.
pub fn remove_left_lists(config: &FirewallConfig, are_there: bool) -> Result<Vec<String>, Error> {
    let lists = config.of_lists();
    let in_use = if are_there { choose_for_lists(config).ok() } else { None };
    let mut gone = Vec::new();
    if in_use != Some(ListsIn::Table) && nft::table_exists(&lists.nft_table) {
        nft::lists::Table::new(&lists, &Traffic::All)?.tear_down()?;
        gone.push(format!("table inet {}", lists.nft_table));
    }
    if in_use != Some(ListsIn::Sets) && ipset::lists::remove_left(&lists)? {
        gone.push(format!("chain {} and its sets", lists.chain));
    }
    Ok(gone)
}
