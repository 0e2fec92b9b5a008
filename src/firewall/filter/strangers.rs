//! PURE: the shield in the words of `iptables-restore`. All of it is in chains of its own, which are there only while it
//! is.
//!
//! The kernel keeps a bucket for each stranger (`hashlimit`), which holds `shield.shed` packets and is filled again within
//! [`PERIOD`] seconds; a packet that finds it empty is shed. Where a table of buckets is full, the kernel drops the packet
//! of a stranger who has none. So while it only counts, the shield measures no more packets than fill three quarters of a
//! table before the first bucket in it has ended.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::words;
use crate::config::{ShieldConfig, ShieldMode};
use crate::firewall::body::Origin;
use crate::firewall::family::Family;
use crate::firewall::scope::SIP;
use crate::firewall::shield::scanners::Scanner;
use crate::firewall::shield::{Excess, MOST_LISTED, PACKET_BYTES, PERIOD};
use crate::model::target::ChainName;

/// Seconds after which a stranger who sends nothing is counted no longer. His bucket is full again by then.
const FORGOTTEN: u64 = PERIOD + 1;

/// At most 65,536 strangers of each address family are counted at once, those of UDP in two tables and those of TCP in one.
/// A full table takes 8 MB of the kernel's memory. It is full while more than 5,000 new strangers come in a second.
const STRANGERS: u32 = 65_536;

/// At most this many strangers in a table share a place in it on average, through which the kernel searches.
const TOGETHER: u32 = 4;

/// At most this many packets of all strangers are measured in a second while the shield only counts, and twice as many
/// at once.
const MEASURED: u32 = 2_000;

/// At most this many packets of each scanner are told in a second while the shield only counts, and twice as many at once.
const TOLD: u32 = 5;

/// At most this many lost packets of one stranger are counted at a time. Before Linux 4.10, or with iptables before 1.6.1,
/// the second.
pub(super) const COUNTED: [u32; 2] = [86_000, 10_000];

/// The names of the chains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// It tells who is a stranger.
    pub shield: String,
    /// It measures each stranger.
    measure: String,
    /// For what is too much.
    shed: String,
}

/// The rules of each chain of the shield, without the `-A CHAIN`.
pub(super) type Rules = BTreeMap<String, Vec<String>>;

/// The shield of one address family.
#[derive(Clone, Debug)]
pub(super) struct Strangers {
    family: Family,
    names: Names,
    config: ShieldConfig,
    /// Whether all traffic is led through our chain, and not that to SIP ports only.
    all_traffic: bool,
    /// Who is no stranger.
    pub admitted: Vec<Origin>,
    /// Whose requests are shed at once.
    pub scanners: Vec<Scanner>,
    /// One of [`COUNTED`].
    pub counted: u32,
}

impl Names {
    pub(super) fn of(chain: &ChainName) -> Names {
        let name = |end: &str| chain.with(end).to_string();
        Names { shield: name("-shield"), measure: name("-measure"), shed: name("-shed") }
    }

    /// As a rule leads to the first of them from where it stands.
    pub(super) fn all(&self) -> [&str; 3] {
        [&self.shield, &self.measure, &self.shed]
    }
}

/// The name of the kernel's table of those who lose packets, as `/proc/net/ipt_hashlimit` has it.
pub(super) fn losers(excess: Excess) -> &'static str {
    match excess {
        Excess::Datagrams => "sipban-udp",
        Excess::Connections => "sipban-tcp",
    }
}

impl Strangers {
    pub(super) fn new(
        family: Family,
        chain: &ChainName,
        config: ShieldConfig,
        all_traffic: bool,
        admitted: Vec<Origin>,
    ) -> Strangers {
        let (names, scanners) = (Names::of(chain), Vec::new());
        Strangers { family, names, config, all_traffic, admitted, scanners, counted: COUNTED[0] }
    }

    /// All chains, made or replaced.
    pub(super) fn text(&self) -> String {
        self.written(&self.rules())
    }

    /// The chain that tells who is a stranger, replaced.
    pub(super) fn text_of_admitted(&self) -> String {
        let mut rules = self.rules();
        rules.retain(|chain, _| *chain == self.names.shield);
        self.written(&rules)
    }

    fn written(&self, rules: &Rules) -> String {
        let mut text: String = rules.keys().map(|chain| format!(":{chain} - [0:0]\n")).collect();
        for (chain, rules) in rules {
            for rule in rules {
                let _ = writeln!(text, "-A {chain} {rule}");
            }
        }
        text
    }

    /// Whether each chain that is there has as many rules as it was given.
    pub(super) fn is_whole(&self, listed: &Rules) -> bool {
        let lengths = |rules: &Rules| rules.values().map(Vec::len).collect::<Vec<_>>();
        lengths(listed) == lengths(&self.rules())
    }

    fn rules(&self) -> Rules {
        let Names { shield, measure, shed } = &self.names;
        // A full table drops packets of those it does not hold, so where nothing is to be dropped none may become full.
        let at_most = |count: u32| format!("-m limit --limit {count}/sec --limit-burst {} ", 2 * count);
        let (gate, told) = match self.config.mode {
            ShieldMode::Count => (at_most(MEASURED), at_most(TOLD)),
            _ => (String::new(), String::new()),
        };
        let ports = match self.all_traffic {
            true => format!("--dport {}:{} ", SIP.start(), SIP.end()),
            false => String::new(),
        };
        let admitted = self.admitted.iter().map(words::admission);
        // The length of the headers of IP and UDP, and of what an Ethernet carries: there is the head of a request.
        let from = if self.family == Family::V6 { 48 } else { 28 };
        let scanners = self.scanners.iter().map(|scanner| {
            let hex: String = scanner.pattern().iter().map(|byte| format!("{byte:02x}")).collect();
            let search = format!("--algo bm --icase --from {from} --to 1500 --hex-string \"|{hex}|\"");
            format!("-p udp {ports}-m string {search} {told}-g {shed}")
        });
        // Of TCP only the first packet of a connection counts.
        let measured = [format!("-p udp {ports}"), format!("-p tcp {ports}--tcp-flags SYN,ACK SYN ")];
        let measured = measured.map(|packets| format!("{packets}{gate}-j {measure}"));

        let most = u64::from(self.config.shed);
        let packets = format!("--hashlimit-above {}/min --hashlimit-burst {most}", most * 60 / PERIOD);
        let bytes = most * PACKET_BYTES;
        let bytes = format!("--hashlimit-above {}b/s --hashlimit-burst {bytes}b", bytes / PERIOD);
        // The kernel finds a table by its name and leaves it as it was made, so other limits are another table.
        let over = |protocol: &str, limit: &str, kind: char| {
            let table = self.table(&format!("sipban-{kind}{most}"), STRANGERS, FORGOTTEN);
            format!("-p {protocol} -m hashlimit {limit} {table} -g {shed}")
        };
        let over = [over("udp", &packets, 'p'), over("udp", &bytes, 'b'), over("tcp", &packets, 's')];

        let lost = |protocol: &str, excess| {
            let counted = format!("--hashlimit-upto 1/sec --hashlimit-burst {}", self.counted);
            format!("-p {protocol} -m hashlimit {counted} {}", self.table(losers(excess), MOST_LISTED, PERIOD))
        };
        let mut lost = vec![lost("udp", Excess::Datagrams), lost("tcp", Excess::Connections)];
        if self.config.mode == ShieldMode::On {
            lost.push("-j DROP".to_owned());
        }
        [(shield, admitted.chain(scanners).chain(measured).collect()), (measure, over.into()), (shed, lost)]
            .into_iter()
            .map(|(chain, rules)| (chain.clone(), rules))
            .collect()
    }

    /// The words for a table that the kernel keeps for the sources of packets.
    fn table(&self, name: &str, most: u32, seconds: u64) -> String {
        let mask = if self.family == Family::V6 { " --hashlimit-srcmask 64" } else { "" };
        let (places, expire) = (most / TOGETHER, seconds * 1_000);
        // The kernel takes no less than one for each place, and left to itself it makes 8,192 places.
        let bounds = format!("--hashlimit-htable-size {places} --hashlimit-htable-max {most}");
        format!("--hashlimit-mode srcip{mask} --hashlimit-name {name} {bounds} --hashlimit-htable-expire {expire}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::firewall::shield::scanners;
    use std::collections::BTreeSet;

    fn strangers(mode: ShieldMode) -> Strangers {
        let config = ShieldConfig { mode, shed: 60, patience: 60, scanners: false };
        let admitted = vec![Origin::Net("192.0.2.7/32".parse().unwrap())];
        Strangers::new(Family::V4, &"sipban-udp".parse().unwrap(), config, false, admitted)
    }

    #[test]
    fn counting_drops_nothing_and_cannot_fill_a_table() {
        assert!(strangers(ShieldMode::On).text().contains("-A sipban-udp-shed -j DROP\n"));
        let text = strangers(ShieldMode::Count).text();
        assert!(!text.contains("DROP"), "{text}");
        assert_eq!(text.matches("-m limit").count(), 2, "{text}");
        let scanners = scanners::parse("friendly-scanner # its documentation").unwrap();
        let known = Strangers { scanners, ..strangers(ShieldMode::Count) }.text();
        assert_eq!(known.matches("-m limit").count(), 3, "{known}");
        const {
            assert!(
                (TOLD as u64 * (PERIOD + 1) + 2 * TOLD as u64) * scanners::MOST as u64 <= MOST_LISTED as u64 / 4 * 3
            )
        };
        // The kernel looks for what has ended once a second. UDP and TCP have tables of their own.
        const { assert!((MEASURED as u64 * (FORGOTTEN + 1) + 2 * MEASURED as u64) * 4 <= STRANGERS as u64 * 3) };
    }

    #[test]
    fn the_longest_name_of_a_chain_leaves_room_for_the_others_and_all_differ() {
        let text = format!("[ami]\nuser = u\npass = p\n[iptables]\nchain = {}\n", "x".repeat(20));
        let own = Config::parse(&text, "/test.conf".as_ref()).unwrap().firewall;
        let others = [own.of_the_fleet().chain, own.of_lists().chain];
        let mut ours = Names::of(&own.chain).all().map(str::to_owned).to_vec();
        ours.extend(others.iter().chain([&own.chain]).map(ChainName::to_string));
        assert!(ours.iter().all(|name| name.len() <= 28), "{ours:?}");
        assert_eq!(ours.iter().collect::<BTreeSet<_>>().len(), 6, "{ours:?}");
        // Those who have no shield remove chains of these names.
        for other in others {
            assert!(Names::of(&other).all().iter().all(|name| !ours.iter().any(|own| own == name)), "{other}");
        }
    }

    #[test]
    fn with_all_traffic_only_that_to_sip_ports_is_measured() {
        let all = Strangers { all_traffic: true, ..strangers(ShieldMode::On) }.text();
        assert_eq!(all.matches("--dport 5060:5061").count(), 2, "{all}");
    }

    #[test]
    fn the_names_of_all_tables_fit_into_old_kernels() {
        let mut strangers = strangers(ShieldMode::Count);
        strangers.config.shed = 10_000;
        let text = strangers.text();
        let names = text.split("--hashlimit-name ").skip(1).map(|rest| rest.split(' ').next().unwrap());
        assert!(names.clone().count() == 5 && names.clone().all(|name| name.len() < 16), "{text}");
    }
}
