//! The limit: the packet filter's own program, started cold, and nothing else.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::Failed;
use crate::lab::{Backend, Lab};

/// Makes an empty chain or set of its own, which traffic to SIP passes through.
pub fn set_up(lab: &Lab, backend: Backend) -> Result<(), Failed> {
    let lead = "-A INPUT -p udp --dport 5060";
    let rules = match backend {
        Backend::Nft => {
            let set = "set bare { type ipv4_addr; flags timeout; counter; }";
            let chain = "chain c { type filter hook prerouting priority -310; udp dport 5060 ip saddr @bare drop; }";
            return lab.run("nft", &["-f", "-"], &format!("table inet bare {{\n{set}\n{chain}\n}}\n")).map(drop);
        }
        Backend::ChainNft | Backend::ChainLegacy => format!("*filter\n:bare - [0:0]\n{lead} -j bare\nCOMMIT\n"),
        Backend::Ipset => {
            lab.run("ipset", &["create", "bare", "hash:net", "timeout", "86400", "maxelem", "2097152"], "")?;
            format!("*filter\n{lead} -m set --match-set bare src -j DROP\nCOMMIT\n")
        }
    };
    lab.run("iptables-restore", &["--noflush", "-w"], &rules).map(drop)
}

/// Blocks all of these with one program; how long that took.
pub fn block(lab: &Lab, backend: Backend, attackers: impl Iterator<Item = Ipv4Addr>) -> Result<Duration, Failed> {
    let mut text = attackers.fold(String::new(), |mut text, attacker| {
        // Writing to a String does not fail.
        let _ = match backend {
            Backend::ChainNft | Backend::ChainLegacy => writeln!(text, "-A bare -s {attacker} -j DROP"),
            Backend::Ipset => writeln!(text, "add bare {attacker} timeout 86400"),
            Backend::Nft => write!(text, "{attacker} timeout 86400s, "),
        };
        text
    });
    if backend == Backend::Nft {
        text = format!("add element inet bare bare {{ {text} }}\n");
    }
    restore(lab, backend, &text)
}

/// Frees everybody with one program; how long that took.
pub fn free_all(lab: &Lab, backend: Backend) -> Result<Duration, Failed> {
    let lines = match backend {
        Backend::ChainNft | Backend::ChainLegacy => "-F bare\n",
        Backend::Ipset => "flush bare\n",
        Backend::Nft => "flush set inet bare bare\n",
    };
    restore(lab, backend, lines)
}

/// Lists everything with one program; how long that took.
pub fn list(lab: &Lab, backend: Backend) -> Result<Duration, Failed> {
    let began = Instant::now();
    match backend {
        Backend::ChainNft | Backend::ChainLegacy => lab.run("iptables-save", &["-t", "filter"], "")?,
        Backend::Ipset => lab.run("ipset", &["save"], "")?,
        Backend::Nft => lab.run("nft", &["list", "ruleset"], "")?,
    };
    Ok(began.elapsed())
}

fn restore(lab: &Lab, backend: Backend, lines: &str) -> Result<Duration, Failed> {
    let (program, args, text): (_, &[&str], _) = match backend {
        Backend::ChainNft | Backend::ChainLegacy => {
            ("iptables-restore", &["--noflush", "-w"], format!("*filter\n{lines}COMMIT\n"))
        }
        Backend::Ipset => ("ipset", &["restore", "-exist"], lines.to_owned()),
        Backend::Nft => ("nft", &["-f", "-"], lines.to_owned()),
    };
    let began = Instant::now();
    lab.run(program, args, &text)?;
    Ok(began.elapsed())
}
