//! `/etc/sipban.conf`: INI text to a typed [`Config`], all errors at once.
//!
//! Every key is declared here, in one line of the part that it belongs to; `settings` says how to read such a line.
//! `value` says what a value may be, `checks` what is wrong only together with others.
//!
//! INVARIANT: no error and no warning quotes a secret.

mod checks;
mod error;
mod given;
mod ini;
mod keys;
mod settings;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use log::LevelFilter;

pub use error::{ConfigError, ConfigErrors, Warning};
pub use keys::{KEYS, Key};
pub use value::SET_TIMEOUT_MAX;

use crate::file;
use crate::model::country::Country;
use crate::model::target::{ChainName, Target};
use given::Given;
use settings::{Part, settings};
use value::*;

settings! {
    /// The whole configuration, every key with its default filled in.
    pub struct Config [ami: Ami, control: Control, lengths: Lengths, firewall: FirewallConfig, limits: Limits, hook: HookConfig, metrics: MetricsConfig, fleet: Fleet, geo: GeoConfig, feeds: BTreeMap<String, FeedConfig>, crowdsec: CrowdsecConfig] {
        white_list: PathBuf = "iptables.white_list", "/etc/sipban.wl", path, "file of what is never blocked";
        dump: PathBuf = "iptables.dump", "/etc/sipban.dump", path, "file of flush, save and restore", or("ipset.dump");
        journal: PathBuf = "state.file", "/var/lib/sipban/bans", path, "the journal of blocks", restart;
        on_stop: OnStop = "state.on_stop", "clear", one_of(ON_STOP), "what becomes of our rules on a clean stop";
        log_target: LogTarget = "log.target", "file", one_of(LOG_TARGETS), "where the log goes", restart;
        log_file: PathBuf = "log.file", "/var/log/sipban.log", path, "the log";
        log_level: LevelFilter = "log.level", "info", one_of(LOG_LEVELS), "what is logged";
    }
}

settings! {
    /// `[ami]`: where and as whom to log in.
    pub struct Ami {
        host: String = "ami.host", "127.0.0.1", host, "host name or address of Asterisk", restart;
        port: u16 = "ami.port", "5038", port, "TCP port of the manager interface", restart;
        /// Must be given, but for what needs no Asterisk.
        user: String = "ami.user", "", credential, "user, a section of manager.conf with read = security", restart;
        /// Must be given, but for what needs no Asterisk.
        pass: Secret = "ami.pass", "", secret, "secret of that user", restart, secret;
        ping: u64 = "ami.ping", "60", period, "seconds between Pings, and the time an answer may take", restart;
    }
}

settings! {
    /// `[control]`: the console.
    pub struct Control {
        address: IpAddr = "control.address", "127.0.0.1", address, "address to listen on", restart;
        port: u16 = "control.port", "4451", port, "TCP port", restart;
        /// Root always is one of them.
        users: Vec<String> = "control.users", "root", names, "local users whose loopback connections are accepted";
        password: Option<Secret> = "control.password", "", password, "asked of all that is not loopback", secret;
    }
}

settings! {
    /// `[timer]`: how long a block lasts.
    #[derive(Copy)]
    pub struct Lengths {
        ban: u64 = "timer.ban", "86400", seconds, "seconds the first block lasts", or("ipset.timeout");
        /// 0: as any other.
        home: u64 = "timer.home", "600", seconds_or_none, "seconds it lasts where accounts live";
        /// 0: as the first.
        growth: u64 = "timer.growth", "4", number(0..=1000), "how many times longer each further block lasts";
        longest: u64 = "timer.longest", "2592000", seconds, "seconds the longest block lasts";
    }
}

settings! {
    /// `[shield]`: what strangers may send.
    #[derive(Copy)]
    pub struct ShieldConfig {
        mode: ShieldMode = "shield.mode", "off", one_of(SHIELD_MODES), "whether strangers lose what is over shield.shed";
        shed: u32 = "shield.shed", "60", number(10..=10_000), "packets in 10 s that a stranger may send";
        /// 0: never.
        patience: u64 = "shield.patience", "60", seconds_or_none, "seconds of losing packets that block a stranger";
        scanners: bool = "shield.scanners", "off", one_of(SWITCH), "whether what well-known scanners send is shed";
    }
}

settings! {
    /// `[iptables]`, `[ipset]`, `[nft]` and `[shield]`: how to block.
    pub struct FirewallConfig [shield: ShieldConfig] {
        /// `None`: looked up in the usual ones.
        iptables_path: Option<PathBuf> = "iptables.path", "", folder, "folder of iptables and ip6tables", restart;
        chain: ChainName = "iptables.chain", "sipban-udp", chain, "name of the chain of the blocks", restart;
        target: Target = "iptables.rule", "DROP", rule, "what becomes of a packet from a blocked address";
        scope: ScopeConfig = "iptables.scope", "auto", scope, "which traffic is led through the chain";
        interface: Option<String> = "iptables.interface", "any", interface, "restrict to packets that come in here";
        /// A section `[ipset]` chooses the set, a section `[nft]` the table.
        backend: Backend = "iptables.backend", "iptables", one_of(BACKENDS), "how addresses are blocked", restart;
        verify: u64 = "iptables.verify", "10", period, "seconds between checks that our rules are in force";
        /// As `iptables_path` if it is not given. `None`: looked up in the usual ones.
        ipset_path: Option<PathBuf> = "ipset.path", "", folder, "folder of ipset", restart;
        /// The IPv6 set has a `6` behind. At most 30 characters.
        set_name: String = "ipset.set_name", "sipban", set_name, "name of the IPv4 set", restart;
        /// It grows by itself.
        maxelem: u32 = "ipset.maxelem", "262144", number(1..=u32::MAX.into()), "entries it has room for first", restart;
        scanners_file: PathBuf = "shield.scanners_file", "/etc/sipban.scanners", path, "file of what scanners call themselves";
        nft_table: String = "nft.table", "sipban", table, "name of the table", restart;
    }
}

settings! {
    /// `[limits]` and `[flood]`: how much is too much. A limit of 0 is switched off.
    pub struct Limits {
        unknown_account: u32 = "limits.unknown_account", "1", limit, "requests for unknown accounts that block";
        wrong_password: u32 = "limits.wrong_password", "3", limit, "wrong passwords that block";
        acl: u32 = "limits.acl", "1", limit, "refusals by an access list of Asterisk that block";
        ami: u32 = "limits.ami", "1", limit, "failures at the manager interface that block";
        window: u64 = "limits.window", "600", seconds, "seconds within which failures count together";
        day_guesses: u32 = "limits.day_guesses", "6", limit, "guesses in a day that block where nobody lives";
        pressure: u32 = "limits.pressure", "5", limit, "addresses failing for an account above which the next is blocked";
        neighbours: u32 = "limits.neighbours", "5", limit, "addresses of a /24 or /48 failing, above which the next is";
        home_time: u64 = "limits.home_time", "2592000", seconds_or_none, "seconds an account lives where it logged in",
            or("limits.trust_time");
        hammer: u32 = "limits.hammer", "30", limit, "failures of one account in a minute above which anybody is blocked";
        home_guesses: u32 = "limits.home_guesses", "20", limit, "guesses for one account that block where others live",
            or("limits.trusted");
        strange: u32 = "limits.strange", "8", limit, "accounts failing where only others live, above which it is blocked";
        home_challenges: u32 = "limits.home_challenges", "3", limit, "unanswered challenges for each account living there";
        weather: u32 = "limits.weather", "3", limit, "addresses refused at once for the PBX to be at fault";
        weather_share: u32 = "limits.weather_share", "20", number(1..=100), "percent of those heard that they must be";
        weather_time: u64 = "limits.weather_time", "3600", seconds_or_none, "seconds in a day it spares anybody";
        /// Empty: from anywhere.
        countries: Vec<Country> = "limits.countries", "", countries, "where strangers with patience come from";
        /// In bytes.
        memory: usize = "limits.memory", "32", mebibytes, "MiB for all that is remembered";
        ipv6_prefix: u8 = "limits.ipv6_prefix", "64", number(32..=128), "bits that IPv6 addresses of one source share";
        flood_count: u32 = "flood.count", "5", limit, "unanswered challenges above which an address is blocked";
        flood_interval: u64 = "flood.interval", "10", period, "seconds within which they count together";
    }
}

settings! {
    /// `[hook]`: a program that is run when something happened.
    pub struct HookConfig {
        /// `None`: there is no hook.
        program: Option<PathBuf> = "hook.program", "", whole_path, "path of the program", restart;
        every: u64 = "hook.every", "60", period, "seconds from one run to the next, at least", restart;
    }
}

settings! {
    /// `[metrics]`: numbers for Prometheus.
    pub struct MetricsConfig {
        address: IpAddr = "metrics.address", "127.0.0.1", loopback, "address to listen on, one of loopback", restart;
        /// 0: there is no endpoint.
        port: u16 = "metrics.port", "0", port_or_none, "TCP port", restart;
        /// `None`: there is no file.
        file: Option<PathBuf> = "metrics.file", "", whole_path, "file of the textfile collector", restart;
    }
}

settings! {
    /// `[fleet]`: other PBXs. Without a `url` there are none.
    pub struct Fleet {
        url: Option<ServerUrl> = "fleet.url", "", server_url, "the Redis or Valkey server that they share", restart;
        name: String = "fleet.name", "", member_name, "this PBX, as its user at the server", restart;
        group: String = "fleet.group", "main", member_name, "those who share their blocks", restart;
        /// Empty: as `name`.
        user: String = "fleet.user", "", credential, "user to log in as", restart;
        password: Option<Secret> = "fleet.password", "", password, "password of that user", restart, secret;
        /// `None`: the authorities that the machine trusts.
        ca: Option<PathBuf> = "fleet.ca", "", folder, "file of the authority of the server's certificate", restart;
        certificate: Option<PathBuf> = "fleet.certificate", "", folder, "file of the certificate to show", restart;
        key: Option<PathBuf> = "fleet.key", "", folder, "file of the key of that certificate", restart;
        votes: u32 = "fleet.votes", "1", number(1..=100), "how many members must block an address until we do";
    }
}

settings! {
    /// `[feed NAME]`: a list of others, of addresses and networks to block.
    pub struct FeedConfig {
        /// Must be given, but for APIBAN.
        url: Option<FeedUrl> = "feed NAME.url", "", feed_url, "where it is: https://, http://, or the path of a file", restart;
        format: FeedFormat = "feed NAME.format", "auto", one_of(FEED_FORMATS), "how it is written", restart;
        key: Option<Secret> = "feed NAME.key", "", password, "key of APIBAN", restart, secret;
        every: u64 = "feed NAME.every", "14400", period, "seconds between two looks", restart;
        change: u64 = "feed NAME.change", "50", number(1..=100), "percent of it that may change at once", restart;
        keep: u64 = "feed NAME.keep", "172800", seconds, "seconds of silence that end its entries", restart;
        /// `None`: the authorities that the machine trusts.
        ca: Option<PathBuf> = "feed NAME.ca", "", whole_path, "file of the authority of the server's certificate", restart;
    }
}

settings! {
    /// `[crowdsec]`: a local API of CrowdSec.
    pub struct CrowdsecConfig {
        url: Option<FeedUrl> = "crowdsec.url", "http://127.0.0.1:8080/", feed_url, "where it is", restart;
        /// `None`: its decisions are not asked for.
        key: Option<Secret> = "crowdsec.key", "", password, "key of a bouncer, whose decisions are a list", restart, secret;
        machine: String = "crowdsec.machine", "", credential, "name of a machine, which reports blocks", restart;
        /// `None`: nothing is reported.
        password: Option<Secret> = "crowdsec.password", "", password, "its password", restart, secret;
        every: u64 = "crowdsec.every", "10", period, "seconds between two looks at the decisions", restart;
        /// `None`: the authorities that the machine trusts.
        ca: Option<PathBuf> = "crowdsec.ca", "", whole_path, "file of the authority of the server's certificate", restart;
    }
}

impl CrowdsecConfig {
    /// Whether there is anything to ask or to tell.
    pub fn is_there(&self) -> bool {
        self.key.is_some() || self.password.is_some()
    }
}

impl FirewallConfig {
    /// The same for the blocks of other PBXs: chain, set and table of names of their own, without a shield.
    pub fn of_the_fleet(&self) -> FirewallConfig {
        const END: &str = "-fleet";
        FirewallConfig {
            chain: self.chain.with(END),
            set_name: format!("{}{END}", self.set_name),
            nft_table: format!("{}{END}", self.nft_table),
            shield: ShieldConfig { mode: ShieldMode::Off, ..self.shield },
            ..self.clone()
        }
    }

    /// The same for the lists of others: chain, sets and table of names of their own.
    pub fn of_lists(&self) -> FirewallConfig {
        const END: &str = "-lists";
        FirewallConfig {
            chain: self.chain.with(END),
            nft_table: format!("{}{END}", self.nft_table),
            shield: ShieldConfig { mode: ShieldMode::Off, ..self.shield },
            ..self.clone()
        }
    }
}

settings! {
    /// `[geo]`: files of MaxMind's format that say where addresses are.
    #[derive(Default)]
    pub struct GeoConfig {
        /// `None`: it is not known.
        country: Option<PathBuf> = "geo.country", "", whole_path, "file of the countries of addresses";
        /// `None`: it is not known.
        network: Option<PathBuf> = "geo.network", "", whole_path, "file of the operators of their networks";
    }
}

/// A text that is never shown, not even when debugging.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Where a Redis or Valkey server is: `redis://HOST[:PORT][/DATABASE]`, or `rediss://` for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    /// Whether to speak TLS.
    pub tls: bool,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Number of the database.
    pub database: u8,
}

/// Where a list is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedUrl {
    /// At a server, `https://` or `http://`.
    Web(String),
    /// On this machine.
    File(PathBuf),
}

impl fmt::Display for FeedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FeedUrl::Web(url) => f.write_str(url),
            FeedUrl::File(path) => path.display().fmt(f),
        }
    }
}

/// `feed NAME.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedFormat {
    /// Told by the list itself.
    Auto,
    /// An address or network a line.
    Text,
    /// A JSON object a line, and one with the number of the others, as Spamhaus DROP.
    Spamhaus,
    /// Batches, resumed by an ID, as APIBAN.
    Apiban,
}

/// `iptables.scope`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeConfig {
    /// UDP and TCP 5060-5061 and every local port an attack was seen on.
    Auto,
    /// All traffic.
    All,
    /// A match in iptables' words, split into arguments.
    Match(Vec<String>),
}

/// `iptables.backend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// One rule an address.
    Iptables,
    /// One rule, a kernel set with timeouts.
    Ipset,
    /// A table of our own, before connections are tracked.
    Nft,
    /// Whichever of these suits the machine.
    Auto,
}

impl fmt::Display for Backend {
    /// As the file names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(BACKENDS.iter().find(|(_, backend)| backend == self).map_or("", |(name, _)| name))
    }
}

/// `shield.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShieldMode {
    /// There is none.
    Off,
    /// What strangers send is counted, and what would be dropped is told.
    Count,
    /// It is dropped.
    On,
}

/// `log.target`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// To `log.file`.
    File,
    /// To the journal of systemd.
    Journal,
}

/// `state.on_stop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    /// Remove our rules.
    Clear,
    /// Leave them in force.
    Keep,
}

impl Limits {
    /// How many failures of one account must be held to see whether they are too many.
    pub fn most_per_account(&self) -> usize {
        let counts = [self.hammer, self.home_guesses, self.day_guesses, self.unknown_account, self.wrong_password];
        counts.into_iter().chain([self.acl, self.ami]).max().unwrap_or_default() as usize + 1
    }
}

impl Default for Config {
    /// Every default; user and secret are empty.
    fn default() -> Config {
        Config::from_given(&mut Given::read("", Path::new(""), &[]))
    }
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// If it cannot be read, is not UTF-8, or does not [parse](Config::parse).
    pub fn load(path: &Path) -> Result<(Config, Vec<Warning>), ConfigErrors> {
        let fail = |line, what| ConfigErrors(vec![ConfigError { file: path.to_owned(), line, key: None, what }]);
        let (bytes, mode) = read(path).map_err(|error| fail(None, format!("cannot be read: {error}")))?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&b| b == b'\n').count();
            fail(Some(line), "is not UTF-8; save the file in that encoding".to_owned())
        })?;
        let (config, mut warnings) = Config::parse_warned(text, path)?;
        if mode & 0o004 != 0 {
            warnings.push(Warning::WorldReadable { file: path.to_owned(), mode: mode & 0o7777 });
        }
        Ok((config, warnings))
    }

    /// Reads the file if there is one; without it, the defaults hold: logs and recordings need no Asterisk.
    ///
    /// # Errors
    /// As [`load`](Config::load).
    pub fn load_if_there(path: &Path) -> Result<Config, ConfigErrors> {
        match Config::load(path) {
            Err(_) if !path.exists() => Ok(Config::default()),
            loaded => loaded.map(|(config, _)| config),
        }
    }

    /// Reads the text of a file; `file` is only named in errors.
    ///
    /// # Errors
    /// All that is wrong, at once.
    pub fn parse(text: &str, file: &Path) -> Result<Config, ConfigErrors> {
        Config::parse_warned(text, file).map(|(config, _)| config)
    }

    fn parse_warned(text: &str, file: &Path) -> Result<(Config, Vec<Warning>), ConfigErrors> {
        let mut given = Given::read(text, file, &KEYS);
        let config = Config::from_given(&mut given);
        checks::check(&config, &mut given);
        let warnings = checks::replaced(&given);
        given.finish((config, warnings))
    }

    /// Hosts that this machine cannot do without, each after what it is called.
    pub fn needed_hosts(&self) -> Vec<(&'static str, String)> {
        let fleet = self.fleet.url.iter().map(|url| ("server of the fleet", url.host.clone()));
        [("AMI host", self.ami.host.clone())].into_iter().chain(fleet).collect()
    }

    /// The keys that differ in `new` and that only a restart can apply; the others hold from the reload on.
    pub fn changes_needing_restart(&self, new: &Config) -> Vec<String> {
        self.reload(new.clone()).1
    }

    /// What holds after a reload of `new`: all of it but the keys that only a restart can apply. What is in force
    /// goes by their old values until then.
    pub fn reloaded(&self, new: Config) -> Config {
        self.reload(new).0
    }

    fn reload(&self, mut new: Config) -> (Config, Vec<String>) {
        let mut waiting = Vec::new();
        new.keep(self, "", &mut waiting);
        (new, waiting)
    }

    /// The values, and the defaults that depend on others.
    fn from_given(given: &mut Given<'_>) -> Config {
        let mut config = Config::read(given, "");
        let firewall = &mut config.firewall;
        if !given.has("iptables.backend") {
            let chosen = [("nft", Backend::Nft), ("ipset", Backend::Ipset)];
            let chosen = chosen.into_iter().find(|(section, _)| given.has_section(section));
            firewall.backend = chosen.map_or(firewall.backend, |(_, backend)| backend);
        }
        if config.fleet.user.is_empty() {
            config.fleet.user.clone_from(&config.fleet.name);
        }
        firewall.ipset_path = firewall.ipset_path.take().or_else(|| firewall.iptables_path.clone());
        config
    }
}

fn read(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let mut file = file::open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok((bytes, file.metadata()?.mode()))
}

#[cfg(test)]
mod tests;
