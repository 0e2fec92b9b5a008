//! A machine to guard, in a namespace of a test's own, and the book its owner would keep.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::thread;

use ipnet::IpNet;
use sipban::config::{Backend, FirewallConfig, ScopeConfig, ShieldConfig, ShieldMode};
use sipban::firewall::{Applied, Change, Error, Firewall, Refused, Traffic, choice};
use sipban::model::block::Block;
use sipban::model::block::Reason;
use sipban::model::book::Book;
use sipban::model::clock::UnixTime;
use sipban::model::target::Target;

use crate::netns::{Netns, Variant, call, nft};

pub const NOW: UnixTime = UnixTime(1_000);
pub const V4: &str = "iptables";
pub const V6: &str = "ip6tables";

pub const JUMPS: [&str; 2] =
    ["-p udp -m udp --dport 5060:5061 -j sipban-udp", "-p tcp -m tcp --dport 5060:5061 -j sipban-udp"];

/// A machine to guard: a namespace, one kind of iptables, one backend.
pub struct Bed<'a> {
    pub folder: &'a Path,
    pub config: FirewallConfig,
    pub book: Book,
    pub variant: Variant,
}

/// The backends, each with the kinds of iptables that it is tried with.
const BACKENDS: [(Backend, &[Variant]); 3] = [
    (Backend::Iptables, &[Variant::Nft, Variant::Legacy]),
    (Backend::Ipset, &[Variant::Nft, Variant::Legacy]),
    // It uses none.
    (Backend::Nft, &[Variant::Nft]),
];

/// Runs a test with all backends, each in a fresh namespace.
pub fn each(test: impl Fn(Bed) + Sync) {
    each_of(&BACKENDS.map(|(backend, _)| backend), test);
}

/// Runs a test with the backends that keep a chain of iptables.
pub fn each_chain(test: impl Fn(Bed) + Sync) {
    each_of(&[Backend::Iptables, Backend::Ipset], test);
}

/// Runs a test with one backend.
pub fn each_with(backend: Backend, test: impl Fn(Bed) + Sync) {
    each_of(&[backend], test);
}

/// Runs a test on a machine that has a cable to the outside, from where it sends with any of these addresses.
pub fn each_joined(backends: &[Backend], ours: &[IpAddr], theirs: &[IpAddr], test: impl Fn(Bed, &Netns) + Sync) {
    for (backend, variant) in combinations(backends) {
        let (Some(netns), Some(folder)) = (Netns::new(), variant.folder()) else { continue };
        let Some(outside) = netns.joined(ours, theirs) else { continue };
        netns.enter(|| test(Bed::new(backend, variant, folder.path()), &outside));
    }
}

/// Runs a test with these backends, each in a fresh namespace.
pub fn each_of(backends: &[Backend], test: impl Fn(Bed) + Sync) {
    for (backend, variant) in combinations(backends) {
        let (Some(netns), Some(folder)) = (Netns::new(), variant.folder()) else { continue };
        netns.enter(|| test(Bed::new(backend, variant, folder.path())));
    }
}

fn combinations(backends: &[Backend]) -> impl Iterator<Item = (Backend, Variant)> {
    let chosen = BACKENDS.iter().filter(|(backend, _)| backends.contains(backend));
    chosen.flat_map(|(backend, variants)| variants.iter().map(|variant| (*backend, *variant)))
}

impl Bed<'_> {
    fn new(backend: Backend, variant: Variant, folder: &Path) -> Bed<'_> {
        let config = FirewallConfig {
            iptables_path: Some(folder.to_owned()),
            ipset_path: Some(folder.to_owned()),
            chain: "sipban-udp".parse().unwrap(),
            target: Target::Drop,
            scope: ScopeConfig::Auto,
            interface: None,
            backend,
            verify: 10,
            set_name: "sipban".to_owned(),
            maxelem: 262_144,
            nft_table: "sipban".to_owned(),
            scanners_file: folder.join("scanners"),
            shield: ShieldConfig { mode: ShieldMode::Off, shed: 60, patience: 60, scanners: false },
        };
        Bed { folder, config, book: Book::default(), variant }
    }

    /// The same machine, with an empty book.
    pub fn anew(&self) -> Bed<'_> {
        Bed { folder: self.folder, config: self.config.clone(), book: Book::default(), variant: self.variant }
    }

    pub fn firewall(&self) -> Box<dyn Firewall> {
        made(&self.config, sip_ports()).unwrap()
    }

    /// Applies a change and keeps the book as the owner does.
    pub fn apply(&mut self, firewall: &mut Box<dyn Firewall>, add: &[IpNet], remove: &[IpNet]) -> Vec<Refused> {
        self.apply_until(NOW + 600, firewall, add, remove)
    }

    pub fn apply_until(
        &mut self,
        end: UnixTime,
        firewall: &mut Box<dyn Firewall>,
        add: &[IpNet],
        remove: &[IpNet],
    ) -> Vec<Refused> {
        self.change_until(end, firewall, add, remove).refused
    }

    /// The same, with all that is told of it.
    pub fn change(&mut self, firewall: &mut Box<dyn Firewall>, add: &[IpNet], remove: &[IpNet]) -> Applied {
        self.change_until(NOW + 600, firewall, add, remove)
    }

    fn change_until(
        &mut self,
        end: UnixTime,
        firewall: &mut Box<dyn Firewall>,
        add: &[IpNet],
        remove: &[IpNet],
    ) -> Applied {
        let change = Change { add: add.iter().map(|net| (*net, end)).collect(), remove: remove.to_vec() };
        let applied = firewall.apply(&self.book, &change, NOW);
        let taken = |net: &&IpNet| !applied.refused.iter().any(|refused| refused.net == **net);
        for net in remove.iter().filter(taken) {
            self.book.remove(net);
        }
        for net in add.iter().filter(taken) {
            self.enter_in_book_until(end, *net);
        }
        applied
    }

    pub fn enter_in_book(&mut self, net: IpNet) {
        self.enter_in_book_until(NOW + 600, net);
    }

    pub fn enter_in_book_until(&mut self, end: UnixTime, net: IpNet) {
        self.book.insert(net, Block::new(NOW, end, Reason::Manual));
    }

    pub fn tool(&self, name: &str, args: &str) -> String {
        let args: Vec<&str> = args.split(' ').collect();
        let wait: &[&str] = if name.contains('-') { &[] } else { &["-w"] };
        call(self.folder.join(name), &[wait, &args].concat()).unwrap()
    }

    /// The chain as `iptables -S` shows it, without its first line.
    pub fn chain(&self, tool: &str) -> Vec<String> {
        let text = self.tool(tool, "-S sipban-udp");
        text.lines().skip(1).map(|line| line.trim_start_matches("-A sipban-udp ").to_owned()).collect()
    }

    pub fn input(&self, tool: &str) -> Vec<String> {
        let text = self.tool(tool, "-S INPUT");
        text.lines().skip(1).map(|line| line.trim_start_matches("-A INPUT ").to_owned()).collect()
    }

    /// All rules, without comments and counters.
    pub fn all(&self, tool: &str) -> Vec<String> {
        let text = self.tool(&format!("{tool}-save"), "-t filter");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split(" [").next().unwrap().to_owned()).collect()
    }

    /// The names of all sets.
    pub fn sets(&self) -> Vec<String> {
        let mut sets: Vec<String> = self.ipset("list -n").lines().map(str::to_owned).collect();
        sets.sort();
        sets
    }

    pub fn ipset(&self, args: &str) -> String {
        call("ipset", &args.split(' ').collect::<Vec<_>>()).unwrap()
    }

    /// Destroys all sets, which no rule looks up any more. nf_tables lets go of a set a moment after the rule has gone.
    pub fn destroy_sets(&self) {
        while call("ipset", &["destroy"]).is_err() {
            thread::yield_now();
        }
    }

    /// The entries of a set with their remaining seconds, sorted.
    pub fn entries(&self, set: &str) -> Vec<(IpNet, u64)> {
        let text = self.ipset(&format!("save {set}"));
        let entry = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let net = words[2].parse().ok().or_else(|| words[2].parse::<IpAddr>().ok().map(IpNet::from));
            (net.unwrap(), words.get(4).map_or(0, |seconds| seconds.parse().unwrap()))
        };
        let mut entries: Vec<_> = text.lines().filter(|line| line.starts_with("add ")).map(entry).collect();
        entries.sort();
        entries
    }

    /// Runs nft; what it prints.
    pub fn nft(&self, args: &str) -> String {
        call(nft().unwrap_or_else(|| "nft".into()), &args.split(' ').collect::<Vec<_>>()).unwrap()
    }

    /// The elements of a set of the table, as blocks.
    pub fn elements(&self, set: &str) -> Vec<IpNet> {
        let text = self.nft(&format!("list set inet sipban {set}"));
        let list = text.split("elements = {").nth(1).and_then(|list| list.split('}').next()).unwrap_or_default();
        let first = list.split(',').filter_map(|element| element.split_whitespace().next());
        let net = |text: &str| {
            let bits = if set.ends_with("b6") { "/64" } else { "" };
            let net = format!("{text}{bits}").parse().ok();
            net.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).unwrap()
        };
        first.map(net).collect()
    }

    /// Whether blocks are rejected and not dropped.
    pub fn rejects(&self, tool: &str) -> bool {
        match self.config.backend {
            Backend::Nft => {
                let family = if tool == V4 { "ip saddr" } else { "ip6 saddr" };
                let rules = self.nft("list chain inet sipban blocks");
                let ours: Vec<&str> = rules.lines().filter(|rule| rule.contains(family)).collect();
                !ours.is_empty() && ours.iter().all(|rule| rule.contains(" reject with "))
            }
            _ => self.chain(tool)[0].contains("-j REJECT"),
        }
    }

    /// That traffic is led to the blocks, once.
    #[track_caller]
    pub fn assert_led(&self) {
        if self.config.backend == Backend::Nft {
            let chain = self.nft("list chain inet sipban prerouting");
            assert_eq!(chain.matches("meta l4proto . th dport @ports jump blocks").count(), 1, "{chain}");
        } else {
            assert_eq!(
                (self.input(V4), self.input(V6)),
                (JUMPS.map(str::to_owned).into(), JUMPS.map(str::to_owned).into())
            );
        }
    }

    /// That exactly these are blocked. A network within another one needs no element of its own.
    #[track_caller]
    pub fn assert_blocked(&self, nets: &[IpNet]) {
        let is_within = |net: &IpNet| {
            let is_range = |net: &IpNet| ![32, 64, 128].contains(&net.prefix_len());
            let around = |wide: &IpNet| is_range(wide) && wide != net && wide.contains(net);
            self.config.backend == Backend::Nft && is_range(net) && nets.iter().any(around)
        };
        let mut expected: Vec<IpNet> = nets.iter().filter(|net| !is_within(net)).copied().collect();
        expected.sort();
        assert_eq!(self.blocked(), expected);
    }

    /// Removes all rules of everybody, as `nft flush ruleset` does.
    pub fn flush_all(&self) {
        if self.config.backend == Backend::Nft {
            self.nft("flush ruleset");
            return;
        }
        for tool in [V4, V6] {
            self.tool(tool, "-F");
            self.tool(tool, "-X");
        }
        self.destroy_sets();
    }

    /// What there is of any backend, in words.
    pub fn traces(&self) -> Vec<String> {
        let chains = [V4, V6].map(|tool| self.all(tool)).concat().into_iter();
        let tables = self.nft("list tables");
        let tables = tables.lines().filter(|table| *table == "table inet sipban").map(str::to_owned);
        chains.filter(|line| line.contains("sipban")).chain(self.sets()).chain(tables).collect()
    }

    /// What the kernel blocks, sorted.
    pub fn blocked(&self) -> Vec<IpNet> {
        let mut blocked: Vec<IpNet> = match self.config.backend {
            Backend::Ipset => {
                for (tool, set) in [(V4, "sipban"), (V6, "sipban6")] {
                    let rules = self.chain(tool).into_iter().filter(|rule| rule != "-j sipban-udp-shield");
                    let expected = [&format!("-m set --match-set {set} src -j DROP"), "-j RETURN"];
                    assert_eq!(rules.collect::<Vec<_>>(), expected);
                }
                ["sipban", "sipban6"].iter().flat_map(|set| self.entries(set)).map(|(net, _)| net).collect()
            }
            Backend::Nft => ["b4", "b6", "a6", "n4", "n6"].iter().flat_map(|set| self.elements(set)).collect(),
            Backend::Iptables | Backend::Auto => {
                let rules = [V4, V6].map(|tool| self.chain(tool)).concat();
                rules.iter().filter_map(|rule| rule.strip_prefix("-s ")?.split(' ').next()?.parse().ok()).collect()
            }
        };
        blocked.sort();
        blocked
    }

    #[track_caller]
    pub fn assert_verified(&self, firewall: &mut Box<dyn Firewall>) {
        let verified = firewall.verify(&self.book, NOW);
        assert!(verified.is_sound(), "{verified:?}");
    }

    /// What verify finds missing and mends, nothing else being wrong.
    #[track_caller]
    pub fn repaired(&self, firewall: &mut Box<dyn Firewall>) -> String {
        let verified = firewall.verify(&self.book, NOW);
        assert!(verified.failed.is_empty() && verified.lost.is_empty(), "{verified:?}");
        verified.mended.join(", ")
    }
}

pub fn made(config: &FirewallConfig, traffic: Traffic) -> Result<Box<dyn Firewall>, Error> {
    choice::make(config, traffic)
}

pub fn sip_ports() -> Traffic {
    Traffic::Ports { udp: vec![(5060, 5061)], tcp: vec![(5060, 5061)] }
}

pub fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub fn nets(count: u32) -> Vec<IpNet> {
    (0..count).map(|n| IpNet::from(IpAddr::from((0x0a00_0000 + n).to_be_bytes()))).collect()
}

pub fn found(firewall: &mut Box<dyn Firewall>) -> Vec<IpNet> {
    let mut found: Vec<IpNet> = firewall.set_up(NOW).unwrap().into_iter().map(|entry| entry.net).collect();
    found.sort();
    found
}

/// Sends a datagram from an address of the outside.
pub fn send(outside: &Netns, from: IpAddr, to: SocketAddr) {
    outside.enter(|| UdpSocket::bind((from, 0)).unwrap().send_to(b"OPTIONS", to).unwrap());
}
