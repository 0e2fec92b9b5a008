//! What is wrong only together, or only in a file that is to guard a PBX.

use super::given::Given;
use super::keys::Key;
use super::{Config, FeedFormat, FeedUrl, ScopeConfig, Warning, value};
use crate::model::member::ADMIN;
use crate::model::target::Target;

/// Taken from older files. It must name the same target as `iptables.rule`, which IPv6 follows.
pub(super) const RULE6: Key = Key::new("iptables.rule6", "DROP");

/// Notes what contradicts itself, and what is missing.
pub(super) fn check(config: &Config, given: &mut Given<'_>) {
    login(config, given);
    console(config, given);
    rules(config, given);
    files(config, given);
    fleet(config, given);
    countries(config, given);
    feeds(config, given);
    crowdsec(config, given);
}

/// Keys of older files, each with the one that has taken its place.
const REPLACED: [(&str, &str); 2] =
    [("limits.trust_time", "limits.home_time"), ("limits.trusted", "limits.home_guesses")];

/// Warns of keys that others have taken the place of.
pub(super) fn replaced(given: &Given<'_>) -> Vec<Warning> {
    let old = REPLACED.into_iter().filter_map(|(old, new)| Some((given.line(old)?, old, new)));
    old.map(|(line, old, new)| Warning::Replaced { file: given.file().to_owned(), line, old, new }).collect()
}

fn login(config: &Config, given: &mut Given<'_>) {
    for (name, value) in [("ami.user", &config.ami.user), ("ami.pass", &config.ami.pass.0)] {
        if value.is_empty() && !given.is_wrong(name) {
            let missing =
                if given.has(name) { "must not be empty" } else { "must be given, as in Asterisk's manager.conf" };
            given.wrong(name, missing.to_owned());
        }
    }
}

fn console(config: &Config, given: &mut Given<'_>) {
    let control = &config.control;
    if !control.address.is_loopback() && control.password.is_none() {
        let what = format!("{} is not a loopback address: set control.password too", control.address);
        given.wrong("control.address", what);
    }
}

fn rules(config: &Config, given: &mut Given<'_>) {
    let firewall = &config.firewall;
    let drops = firewall.target == Target::Drop;
    if given.find(RULE6.name, false, value::rule6_drops).is_some_and(|rule6| rule6 != drops) {
        let rule = if drops { "DROP" } else { "REJECT" };
        let what = format!("is not {rule}, as iptables.rule says for both families; remove it");
        given.wrong(RULE6.name, what);
    }
    if let (Some(_), ScopeConfig::Match(words)) = (&firewall.interface, &firewall.scope) {
        if words.iter().any(|word| word.starts_with("-i") || word.starts_with("--in-i")) {
            given.wrong("iptables.scope", "names an interface, and so does iptables.interface".to_owned());
        }
    }
}

fn fleet(config: &Config, given: &mut Given<'_>) {
    let fleet = &config.fleet;
    let Some(url) = &fleet.url else { return };
    if fleet.name.is_empty() && !given.is_wrong("fleet.name") {
        given.wrong("fleet.name", "must be given: what the other members call this PBX".to_owned());
    }
    if fleet.name == ADMIN {
        given.wrong("fleet.name", format!("{ADMIN} is the administrator of the fleet and no PBX"));
    }
    if fleet.group.is_empty() {
        given.wrong("fleet.group", "must not be empty".to_owned());
    }
    for (name, one, other) in
        [("fleet.certificate", &fleet.certificate, &fleet.key), ("fleet.key", &fleet.key, &fleet.certificate)]
    {
        if one.is_some() && other.is_none() {
            given.wrong(name, "needs both fleet.certificate and fleet.key".to_owned());
        }
    }
    for (name, file) in [("fleet.ca", &fleet.ca), ("fleet.certificate", &fleet.certificate)] {
        if file.is_some() && !url.tls {
            given.wrong(name, "is of use only with rediss:// in fleet.url".to_owned());
        }
    }
}

/// Without the file every stranger would have the patience that is meant for some.
fn countries(config: &Config, given: &mut Given<'_>) {
    if !config.limits.countries.is_empty() && config.geo.country.is_none() {
        given.wrong("limits.countries", "needs geo.country, the file that says where addresses are".to_owned());
    }
}

/// At most 12 letters has the name of a feed: it is part of the name of a kernel set, which has 31.
const LONGEST_FEED: usize = 12;

fn feeds(config: &Config, given: &mut Given<'_>) {
    for (name, feed) in &config.feeds {
        let mut wrong = |key: &str, what: &str| {
            let key = format!("feed {name}.{key}");
            if !given.is_wrong(&key) {
                given.wrong(&key, what.to_owned());
            }
        };
        if name.len() > LONGEST_FEED {
            wrong("url", &format!("the name of the feed is longer than {LONGEST_FEED} letters"));
        }
        if name == "crowdsec" {
            wrong("url", "the decisions of CrowdSec are called so; give the feed another name");
        }
        if feed.url.is_none() && feed.format != FeedFormat::Apiban {
            wrong("url", "must be given");
        }
        match (&feed.url, feed.format, &feed.key) {
            (_, FeedFormat::Apiban, None) => wrong("key", "must be given for APIBAN"),
            (Some(FeedUrl::File(_)), FeedFormat::Apiban, _) => wrong("url", "is a file, and APIBAN is none"),
            (_, format, Some(_)) if format != FeedFormat::Apiban => wrong("key", "is for format = apiban alone"),
            _ => {}
        }
    }
}

fn crowdsec(config: &Config, given: &mut Given<'_>) {
    let crowdsec = &config.crowdsec;
    if !matches!(crowdsec.url, Some(FeedUrl::Web(_))) && !given.is_wrong("crowdsec.url") {
        given.wrong("crowdsec.url", "expected that of a server, such as http://127.0.0.1:8080/".to_owned());
    }
    match (crowdsec.machine.is_empty(), crowdsec.password.is_some()) {
        (true, true) => given.wrong("crowdsec.machine", "must be given with crowdsec.password".to_owned()),
        (false, false) => given.wrong("crowdsec.password", "must be given with crowdsec.machine".to_owned()),
        _ => {}
    }
}

/// Two files under one name would overwrite each other.
fn files(config: &Config, given: &mut Given<'_>) {
    let files = [
        ("iptables.white_list", &config.white_list),
        ("iptables.dump", &config.dump),
        ("state.file", &config.journal),
        ("log.file", &config.log_file),
    ];
    for (n, (name, path)) in files.iter().enumerate() {
        if let Some((other, _)) = files[..n].iter().find(|(_, other)| other == path) {
            given.wrong(name, format!("is the same file as {other}"));
        }
    }
}
