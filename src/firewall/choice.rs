//! Which backend blocks: the one place that chooses and makes it.

use std::fmt;
use std::path::Path;

use super::family::Family;
use super::filter::{self, Rehearsal, may_list};
use super::ipset::Ipset;
use super::iptables::Iptables;
use super::nft::{self, Nft};
use super::run::Program;
use super::succession::Succession;
use super::{Error, Firewall, Traffic};
use crate::config::{Backend, FirewallConfig};

/// A backend, and why it was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// How addresses are blocked; never [`Backend::Auto`].
    pub backend: Backend,
    /// What of the machine speaks for it; `None` if the configuration names it.
    pub why: Option<String>,
}

/// Another firewall on this machine, which changes rules that are not its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// The firewall module of FreePBX. It empties all chains of `filter` whenever INPUT holds a rule before its own that
    /// it does not know.
    FreePbx,
    /// The firewall of Issabel, which empties all chains of `filter` when it is applied.
    Issabel,
    /// firewalld on nftables, which replaces its own tables.
    Firewalld,
}

impl Neighbour {
    /// All of those that are found here.
    pub fn find(config: &FirewallConfig) -> Vec<Neighbour> {
        let there = |paths: &[&str]| paths.iter().any(|path| Path::new(path).exists());
        let freepbx = there(&["/var/www/html/admin/modules/firewall/module.xml", "/etc/freepbx.conf"]);
        let issabel = there(&["/etc/issabel.conf", "/usr/share/issabel/privileged/fwconfig"]);
        [
            (Neighbour::FreePbx, freepbx || input_leads_to("fpbxfirewall", config)),
            (Neighbour::Issabel, issabel),
            (Neighbour::Firewalld, nft::table_exists("firewalld")),
        ]
        .into_iter()
        .filter_map(|(neighbour, there)| there.then_some(neighbour))
        .collect()
    }
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Neighbour::FreePbx => "FreePBX's firewall",
            Neighbour::Issabel => "Issabel's firewall",
            Neighbour::Firewalld => "firewalld",
        })
    }
}

/// Whether iptables shows that INPUT leads to this chain.
fn input_leads_to(chain: &str, config: &FirewallConfig) -> bool {
    let Ok(save) = Program::find("iptables-save", config.iptables_path.as_deref()) else { return false };
    if !may_list(config, Family::V4) {
        return false;
    }
    let jump = format!("-j {chain}");
    save.run(&["-t", "filter"], "")
        .is_ok_and(|output| output.stdout.lines().any(|line| line.starts_with("-A INPUT ") && line.ends_with(&jump)))
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
    let usable = Program::find("nft", config.iptables_path.as_deref()).is_ok() && nft::is_there();
    match (&iptables, neighbours.first()) {
        (Err(_), _) => suits(Backend::Nft, "iptables is not installed".to_owned()),
        (Ok(_), Some(neighbour)) if usable => suits(Backend::Nft, format!("{neighbour} is here")),
        (Ok(_), Some(neighbour)) => {
            suits(Backend::Iptables, format!("{neighbour} is here, but nftables is not installed"))
        }
        (Ok(_), None) => suits(Backend::Iptables, "no other firewall is in the way".to_owned()),
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
