//! Every key of the configuration file, in the order of the sample.

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Section, without brackets.
    pub section: &'static str,
    /// Name within the section.
    pub key: &'static str,
    /// What holds when the key is absent, as it would be written in the file; empty for the keys that have none.
    pub default: &'static str,
    /// What it sets, in a line.
    pub meaning: &'static str,
}

/// All keys there are. The defaults of the program are these.
pub const KEYS: &[Key] = &[
    key("ami", "host", "127.0.0.1", "host name or address of Asterisk"),
    key("ami", "port", "5038", "TCP port of Asterisk's manager interface"),
    key("ami", "user", "", "user, a section of manager.conf with read = security; must be given"),
    key("ami", "pass", "", "secret of that user; must be given"),
    key("ami", "ping", "60", "seconds between Pings; no answer within the same time is a dead connection"),
    key("control", "address", "127.0.0.1", "address the console listens on"),
    key("control", "port", "4451", "TCP port of the console"),
    key("control", "users", "root", "local users whose loopback connections are accepted, separated by commas"),
    key("control", "password", "", "asked of connections that are not loopback; none: loopback only"),
    key("timer", "ban", "86400", "seconds a block lasts"),
    key("iptables", "path", "", "folder of iptables and ip6tables; empty: the usual ones"),
    key("iptables", "chain", "sipban-udp", "name of the chain of the blocks"),
    key("iptables", "rule", "DROP", "what becomes of a packet: DROP, or REJECT [--reject-with TYPE]"),
    key("iptables", "rule6", "DROP", "taken from older files: must name the same target as rule, which IPv6 follows"),
    key("iptables", "scope", "auto", "traffic led through the chain: auto, a match of iptables, or empty for all"),
    key("iptables", "interface", "any", "restrict to packets that come in here"),
    key("iptables", "backend", "iptables", "iptables: a rule an address; ipset: a kernel set, chosen by [ipset]"),
    key("iptables", "white_list", "/etc/sipban.wl", "file of what is never blocked"),
    key("iptables", "dump", "/etc/sipban.dump", "file of the commands flush, save and restore"),
    key("iptables", "verify", "10", "seconds between checks that the rules are in force"),
    key("ipset", "path", "", "folder of ipset; empty: as iptables.path"),
    key("ipset", "set_name", "sipban", "name of the set; the one for IPv6 has a 6 behind"),
    key("ipset", "maxelem", "262144", "blocks a set has room for at first; it grows by itself"),
    key("ipset", "timeout", "86400", "the same as timer.ban"),
    key("ipset", "dump", "/etc/sipban.dump", "the same as iptables.dump"),
    key("limits", "unknown_account", "1", "requests for accounts that do not exist"),
    key("limits", "wrong_password", "3", "wrong passwords"),
    key("limits", "acl", "1", "refusals by an access list of Asterisk"),
    key("limits", "ami", "1", "failures at the manager interface"),
    key("limits", "window", "600", "seconds within which evidence counts together"),
    key("limits", "trusted", "20", "replaces the limits above for an address that is trusted"),
    key("limits", "trust_time", "86400", "seconds an address is trusted after a login with a password"),
    key("limits", "ipv6_prefix", "64", "IPv6 addresses that share so many bits count as one"),
    key("flood", "count", "5", "challenges left unanswered, above which an address is blocked"),
    key("flood", "interval", "10", "seconds within which they count together"),
    key("state", "file", "/var/lib/sipban/bans", "the journal of blocks"),
    key("state", "on_stop", "clear", "on a clean stop, clear our rules or keep them in force"),
    key("log", "file", "/var/log/sipban.log", "the log"),
    key("log", "level", "info", "error, warn, info, debug or trace"),
];

impl Key {
    /// The key of that name, whatever its case.
    pub fn find(section: &str, key: &str) -> Option<&'static Key> {
        KEYS.iter().find(|known| known.section.eq_ignore_ascii_case(section) && known.key.eq_ignore_ascii_case(key))
    }

    /// `section.key`
    pub fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }
}

/// The section of that name as it is written in [`KEYS`], whatever its case.
pub(super) fn section(name: &str) -> Option<&'static str> {
    KEYS.iter().map(|key| key.section).find(|known| known.eq_ignore_ascii_case(name))
}

/// Advice on a section that does not exist.
pub(super) fn instead_of_section(name: &str) -> String {
    match nearest(KEYS.iter().map(|key| (likeness(name, key.section), key))) {
        Some(key) => format!("did you mean [{}]?", key.section),
        None => {
            let mut sections: Vec<String> = KEYS.iter().map(|key| format!("[{}]", key.section)).collect();
            sections.dedup();
            format!("there are {}", sections.join(", "))
        }
    }
}

/// Advice on a key that does not exist in a section that does: the nearest key there or, if much nearer, elsewhere.
pub(super) fn instead_of_key(section: &str, name: &str) -> String {
    let elsewhere = |key: &Key| if key.section == section { 0.0 } else { 0.15 };
    match nearest(KEYS.iter().map(|key| (likeness(name, key.key) - elsewhere(key), key))) {
        Some(key) => format!("did you mean {}?", key.name()),
        None => {
            let keys: Vec<&str> = KEYS.iter().filter(|key| key.section == section).map(|key| key.key).collect();
            format!("[{section}] has {}", keys.join(", "))
        }
    }
}

const fn key(section: &'static str, key: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key { section, key, default, meaning }
}

/// From 0 to 1; favours a common beginning, as in `password` for `pass`.
fn likeness(written: &str, known: &str) -> f64 {
    strsim::jaro_winkler(&written.to_ascii_lowercase(), known)
}

fn nearest(scored: impl Iterator<Item = (f64, &'static Key)>) -> Option<&'static Key> {
    const ALIKE: f64 = 0.8;
    scored.filter(|(score, _)| *score >= ALIKE).max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_led_to_the_key_that_was_meant() {
        for (section, written, meant) in [
            ("ami", "prot", "ami.port"),
            ("ami", "password", "ami.pass"),
            ("ami", "username", "ami.user"),
            ("timer", "bantime", "timer.ban"),
            ("iptables", "whitelist", "iptables.white_list"),
            ("iptables", "set_name", "ipset.set_name"),
            ("iptables", "timeout", "ipset.timeout"),
            ("limits", "wrong_pasword", "limits.wrong_password"),
            ("flood", "intervall", "flood.interval"),
            ("control", "adress", "control.address"),
        ] {
            assert_eq!(instead_of_key(section, written), format!("did you mean {meant}?"), "{section}.{written}");
        }
    }

    #[test]
    fn a_name_like_no_other_is_answered_with_what_there_is() {
        assert_eq!(instead_of_key("flood", "zzz"), "[flood] has count, interval");
        assert!(instead_of_section("zzz").starts_with("there are [ami], [control], "));
        assert_eq!(instead_of_section("iptable"), "did you mean [iptables]?");
    }

    #[test]
    fn no_key_is_there_twice() {
        for (n, key) in KEYS.iter().enumerate() {
            assert!(KEYS[..n].iter().all(|other| other.name() != key.name()), "{}", key.name());
        }
    }
}
