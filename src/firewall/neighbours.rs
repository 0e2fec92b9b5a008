//! Other firewalls on this machine that change rules which are not their own.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use super::family::Family;
use super::filter::{Place, may_list};
use super::nft;
use super::run::Program;
use crate::config::FirewallConfig;

/// The chain of FreePBX's firewall, which INPUT leads to.
pub(super) const FREEPBX_CHAIN: &str = "fpbxfirewall";

/// FreePBX's firewall module, as it is installed.
const FREEPBX_MODULE: &str = "/var/www/html/admin/modules/firewall/module.xml";

/// Another firewall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// The firewall module of FreePBX. It empties all chains of `filter` whenever INPUT holds a rule before its own that
    /// it does not know, and at each start, even when it is switched off.
    FreePbx,
    /// The firewall of Issabel, which empties all chains of `filter` when it is applied.
    Issabel,
    /// firewalld, which has tables of its own in nftables, or with its old backend flushes all chains of iptables.
    Firewalld,
    /// ufw, which keeps chains of its own and leaves others alone but for its reset.
    Ufw,
    /// fail2ban, which puts its jumps at the head of INPUT.
    Fail2ban,
    /// Docker. What it publishes of a container does not pass INPUT.
    Docker,
}

impl Neighbour {
    /// All of those that are found here.
    pub fn find(config: &FirewallConfig) -> Vec<Neighbour> {
        let is_file = |paths: &[&str]| paths.iter().any(|path| Path::new(path).exists());
        let chains = chains(config);
        let has_chain = |start: &str| chains.iter().any(|chain| chain.starts_with(start));
        [
            (Neighbour::FreePbx, is_file(&[FREEPBX_MODULE]) || has_chain(FREEPBX_CHAIN)),
            (Neighbour::Issabel, is_file(&["/etc/issabel.conf"])),
            (Neighbour::Firewalld, nft::table_exists("firewalld") || has_chain("IN_public")),
            (Neighbour::Ufw, has_chain("ufw-")),
            (Neighbour::Fail2ban, nft::table_exists("f2b-table") || has_chain("f2b-")),
            (Neighbour::Docker, has_chain("DOCKER")),
        ]
        .into_iter()
        .filter_map(|(neighbour, there)| there.then_some(neighbour))
        .collect()
    }

    /// Whether it takes rules of others out of INPUT.
    pub fn flushes_input(self) -> bool {
        matches!(self, Neighbour::FreePbx | Neighbour::Issabel | Neighbour::Firewalld)
    }
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Neighbour::FreePbx => "FreePBX's firewall",
            Neighbour::Issabel => "Issabel's firewall",
            Neighbour::Firewalld => "firewalld",
            Neighbour::Ufw => "ufw",
            Neighbour::Fail2ban => "fail2ban",
            Neighbour::Docker => "Docker",
        })
    }
}

/// A chain that INPUT leads to before it leads to ours, and in which packets are accepted; not only those of loopback.
pub fn chain_that_accepts_first(config: &FirewallConfig) -> Option<String> {
    accepting_chain(&listed(config), config.chain.as_str())
}

/// The same, of what `iptables-save -t filter` prints. PURE.
fn accepting_chain(listed: &str, ours: &str) -> Option<String> {
    let rules = |chain: &str| {
        let start = format!("-A {chain} ");
        listed.lines().filter_map(move |line| line.strip_prefix(&start)).map(str::trim_end).collect::<Vec<_>>()
    };
    let target = |rule: &str| rule.rsplit_once("-j ").and_then(|(_, to)| Some(to.split(' ').next()?.to_owned()));
    let input = rules("INPUT");
    let before = input.iter().position(|rule| target(rule).is_some_and(|to| to == ours))?;
    let mut waiting: Vec<String> = input[..before].iter().filter_map(|rule| target(rule)).collect();
    let mut seen = HashSet::new();
    while let Some(chain) = waiting.pop() {
        if !seen.insert(chain.clone()) {
            continue;
        }
        for rule in rules(&chain) {
            match target(rule) {
                Some(to) if to == "ACCEPT" && !rule.contains("-i lo ") => return Some(chain),
                to => waiting.extend(to),
            }
        }
    }
    None
}

/// Whether FreePBX's firewall may be started at any time.
pub(super) fn freepbx_is_installed() -> bool {
    Path::new(FREEPBX_MODULE).exists()
}

/// The names of all chains of the table `filter` for IPv4.
fn chains(config: &FirewallConfig) -> Vec<String> {
    let listed = listed(config);
    let names = listed.lines().filter_map(|line| line.strip_prefix(':')?.split(' ').next());
    names.map(str::to_owned).collect()
}

/// The table `filter` for IPv4, as `iptables-save` prints it; nothing if there is none.
fn listed(config: &FirewallConfig) -> String {
    match Program::find("iptables-save", config.iptables_path.as_deref()) {
        Ok(save) if may_list(config, Family::V4, Place::Input) => {
            save.run(&["-t", "filter"], "").map(|output| output.stdout).unwrap_or_default()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_that_accepts_before_ours_is_found_however_deep() {
        let first = |rules: &str| accepting_chain(rules, "sipban-udp");
        let deep = "-A INPUT -j one\n-A INPUT -j sipban-udp\n-A one -j two\n-A two -p udp -j ACCEPT\n-A two -j one\n";
        assert_eq!(first(deep).as_deref(), Some("two"));
        for rules in [
            "-A INPUT -j sipban-udp\n-A INPUT -j one\n-A one -j ACCEPT\n",
            "-A INPUT -j f2b\n-A INPUT -j sipban-udp\n-A f2b -s 192.0.2.1/32 -j REJECT\n-A f2b -j RETURN\n",
            "-A INPUT -j one\n-A INPUT -j sipban-udp\n-A one -i lo -j ACCEPT\n",
            "-A INPUT -j one\n-A one -j ACCEPT\n",
        ] {
            assert_eq!(first(rules), None, "{rules}");
        }
    }
}
