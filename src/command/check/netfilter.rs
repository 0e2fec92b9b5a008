//! Rights, iptables of both address families and both kinds, ipset, nft.

use std::fs;

use super::{Finding, Machine};
use crate::config::{Backend, FirewallConfig, ShieldMode};
use crate::firewall::Traffic;
use crate::firewall::choice::{self, Choice};
use crate::firewall::run::Program;
use crate::firewall::scope::Scope;
use crate::firewall::shield::NO_SEARCH;

/// Numbers of capabilities, from capabilities(7).
const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;

const IPTABLES: &str = "iptables";
const IP6TABLES: &str = "ip6tables";
const IPSET: &str = "ipset";
const NFT: &str = "nft";
const SCANNERS: &str = "scanners";

/// Whether we may make rules.
pub(super) fn rights(_: &Machine) -> Vec<Finding> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    let has = |capability: u32| effective.is_some_and(|effective| effective >> capability & 1 == 1);
    let missing: Vec<&str> = [(CAP_NET_ADMIN, "CAP_NET_ADMIN"), (CAP_NET_RAW, "CAP_NET_RAW")]
        .iter()
        .filter(|(number, _)| !has(*number))
        .map(|(_, name)| *name)
        .collect();
    vec![match missing[..] {
        [] => Finding::ok("rights", "CAP_NET_ADMIN and CAP_NET_RAW"),
        _ => Finding::fail("rights", format!("no {}", missing.join(" and no ")), "run this as root"),
    }]
}

/// Whether the rules can be made that the configuration asks for.
pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    let config = &machine.config.firewall;
    let traffic = Scope::new(config.scope.clone(), []).traffic();
    let Choice { backend, why } = choice::choose(config);
    let chosen = why.map(|why| Finding::ok("backend", format!("auto chooses {backend}: {why}")));
    let findings = match backend {
        Backend::Nft => vec![table(config, &traffic)],
        _ => chain(machine, backend, traffic),
    };
    chosen.into_iter().chain(findings).chain(scanners(config, backend)).collect()
}

fn table(config: &FirewallConfig, traffic: &Traffic) -> Finding {
    match choice::rehearse_table(config, traffic) {
        Ok(tool) => Finding::ok(NFT, format!("{tool} takes the table inet {}", config.nft_table)),
        Err(error) => Finding::fail(NFT, error.to_string(), "install nftables and mend what it complains of"),
    }
}

/// Whether scanners are told from others, if they are to be.
fn scanners(config: &FirewallConfig, backend: Backend) -> Option<Finding> {
    if !config.shield.scanners || config.shield.mode == ShieldMode::Off {
        return None;
    }
    if backend == Backend::Nft {
        let advice = "set iptables.backend = ipset, or shield.scanners = off";
        return Some(Finding::warn(SCANNERS, format!("are not told from others: {NO_SEARCH}"), advice));
    }
    Some(match choice::count_scanners(config) {
        Ok(count) => Finding::ok(SCANNERS, format!("{count} in {}", config.scanners_file.display())),
        Err(error) => Finding::fail(SCANNERS, error.to_string(), "mend the file"),
    })
}

fn chain(machine: &Machine, backend: Backend, traffic: Traffic) -> Vec<Finding> {
    let config = &machine.config.firewall;
    // Bad scanners have a line of their own.
    let mut without = config.clone();
    without.shield.scanners = false;
    let rehearsal = match choice::rehearse_chain(&without, traffic) {
        Ok(rehearsal) => rehearsal,
        Err(error) => {
            let advice = "install iptables or set iptables.path, or set iptables.backend = nft";
            return vec![Finding::fail(IPTABLES, error.to_string(), advice)];
        }
    };
    let tool = &rehearsal.tool;
    let mut findings = vec![match rehearsal.v4 {
        Ok(()) => Finding::ok(IPTABLES, format!("{tool} takes the rules")),
        Err(error) => Finding::fail(IPTABLES, format!("{tool}: {error}"), "mend what it complains of"),
    }];
    findings.push(match rehearsal.v6 {
        Ok(()) => Finding::ok(IP6TABLES, "takes the rules"),
        Err(error) if machine.protection.knows_own_ipv6() => {
            let text = format!("attackers on IPv6 cannot be blocked: {error}");
            Finding::fail(IP6TABLES, text, "install ip6tables and mend what it complains of, or switch IPv6 off")
        }
        Err(error) => Finding::ok(IP6TABLES, format!("not needed, as this machine has no IPv6 address ({error})")),
    });
    findings.extend(other_kind(config, tool));
    if backend == Backend::Ipset {
        findings.push(ipset(config));
    }
    findings
}

/// Rules that stand in tables of the other kind of iptables: both are in force, and each shows its own only.
fn other_kind(config: &FirewallConfig, tool: &str) -> Vec<Finding> {
    let (kind, is_nft) = if tool.contains("nf_tables") { ("legacy", true) } else { ("nft", false) };
    let find = |version: &str| {
        let program = format!("{version}tables-{kind}-save");
        // To ask the old kind for a table that is not there would make it.
        if is_nft && !has_legacy_filter(version) {
            return None;
        }
        let output = Program::find(&program, config.iptables_path.as_deref()).ok()?.run(&["-t", "filter"], "").ok()?;
        let rules = output.stdout.lines().filter(|line| line.starts_with("-A ")).count();
        let ours = output.stdout.lines().any(|line| line.starts_with(&format!(":{} ", config.chain)));
        let both = format!("{program} shows {rules} rules in tables that {version}tables does not show");
        let advice = format!(
            "use one kind: choose it by update-alternatives or iptables.path, and empty the other's tables ({version}tables-{kind} -F)"
        );
        match (ours, rules) {
            (true, _) => {
                Some(Finding::fail("both kinds", format!("{both}, with another chain {}", config.chain), advice))
            }
            (false, 0) => None,
            (false, _) => Some(Finding::warn("both kinds", both, advice)),
        }
    };
    ["ip", "ip6"].into_iter().filter_map(find).collect()
}

fn has_legacy_filter(version: &str) -> bool {
    let tables = fs::read_to_string(format!("/proc/self/net/{version}_tables_names")).unwrap_or_default();
    tables.lines().any(|table| table == "filter")
}

fn ipset(config: &FirewallConfig) -> Finding {
    let program = match Program::find("ipset", config.ipset_path.as_deref()) {
        Ok(program) => program,
        Err(error) => return Finding::fail(IPSET, error.to_string(), "install ipset, or set ipset.path"),
    };
    let listed = program.run(&["list", "-n"], "").and_then(|_| program.run(&["-v"], ""));
    let version = match &listed {
        Ok(output) => output.stdout.lines().next().unwrap_or_default(),
        Err(error) => return Finding::fail(IPSET, error.to_string(), "see that the kernel has the module ip_set"),
    };
    let matches = Program::find("iptables", config.iptables_path.as_deref())
        .map_err(|error| error.to_string())
        .and_then(|iptables| iptables.run(&["-m", "set", "--help"], "").map_err(|error| error.to_string()));
    match matches {
        Ok(_) => Finding::ok(IPSET, version),
        Err(error) => Finding::fail(
            IPSET,
            format!("iptables has no match `set`: {error}"),
            "install iptables' extension libxt_set",
        ),
    }
}
