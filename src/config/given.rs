//! What a file gives, each value with its line, and what was found wrong with it so far.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::ini::{self, Item, Value};
use super::keys::{self, Key};
use super::{Backend, Config, ConfigError, ConfigErrors, ScopeConfig, value};

/// Section and key, as in [`KEYS`](super::KEYS).
pub(super) type Name = (&'static str, &'static str);

/// What the file gives, and what was found wrong so far.
pub(super) struct Given<'a> {
    file: &'a Path,
    sections: BTreeSet<&'static str>,
    pub(super) values: BTreeMap<Name, (usize, Value)>,
    pub(super) errors: Vec<ConfigError>,
}

impl<'a> Given<'a> {
    pub(super) fn read(text: &str, file: &'a Path) -> Given<'a> {
        let mut given = Given { file, sections: BTreeSet::new(), values: BTreeMap::new(), errors: Vec::new() };
        let mut place = Place::Start;
        for (line, item) in ini::items(text) {
            match item {
                Err(what) => given.fail(Some(line), None, what.to_owned()),
                Ok(Item::Section(name)) => place = given.enter(line, &name),
                Ok(Item::Pair(key, value)) => given.take(line, place, &key, value),
            }
        }
        given
    }

    /// The value of a key, or its default.
    pub(super) fn get<T>(
        &mut self,
        section: &'static str,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        self.find((section, key), &read).unwrap_or_else(|| default((section, key), &read))
    }

    /// The value of a key, if it is given and valid.
    pub(super) fn find<T>(&mut self, name: Name, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let (_, value) = self.values.get(&name)?;
        read(&value.text).map_err(|what| self.wrong(name, what)).ok()
    }

    /// The same for a secret, which a mistaken comment must not cut.
    pub(super) fn secret<T>(&mut self, name: Name, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let (_, value) = self.values.get(&name)?;
        if value.doubtful {
            let what = "where it ends is in doubt: put it in double quotes, and a comment on a line of its own";
            self.wrong(name, what.to_owned());
            return None;
        }
        self.find(name, read)
    }

    /// The value of a key that has no default. What stands in for a missing one is never seen.
    pub(super) fn required(&mut self, name: Name, value: Option<String>) -> String {
        if !self.values.contains_key(&name) {
            self.wrong(name, "must be given, as in Asterisk's manager.conf".to_owned());
        }
        value.unwrap_or_default()
    }

    /// One setting with two names: both may be given if they agree.
    pub(super) fn either<T: PartialEq>(
        &mut self,
        one: Name,
        other: Name,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let (first, second) = (self.find(one, &read), self.find(other, &read));
        if first.is_some() && second.is_some() && first != second {
            self.wrong(other, format!("differs from {}, which sets the same thing; remove one", dotted(one)));
        }
        first.or(second).unwrap_or_else(|| default(one, &read))
    }

    /// `[ipset]` alone, even without a key, chooses the set.
    pub(super) fn backend(&mut self) -> Backend {
        let chosen = self.find(("iptables", "backend"), value::one_of(value::BACKENDS));
        chosen.unwrap_or(if self.sections.contains("ipset") { Backend::Ipset } else { Backend::Iptables })
    }

    /// What is wrong only together.
    pub(super) fn cross_check(&mut self, config: &Config) {
        let (control, firewall) = (&config.control, &config.firewall);
        if firewall.backend == Backend::Ipset && config.ban > value::SET_TIMEOUT_MAX {
            let name = [("ipset", "timeout"), ("timer", "ban")].into_iter().find(|name| self.values.contains_key(name));
            let what = format!("the kernel keeps an entry of a set for at most {} seconds", value::SET_TIMEOUT_MAX);
            self.wrong(name.unwrap_or(("timer", "ban")), what);
        }
        if !control.address.is_loopback() && control.password.is_none() {
            let what = format!("{} is not a loopback address: set control.password too", control.address);
            self.wrong(("control", "address"), what);
        }
        let rule6 = self.find(("iptables", "rule6"), value::rule6);
        if rule6.is_some_and(|rule6| rule6[0] != firewall.rule[0]) {
            let what = format!("is not {}, as iptables.rule says for both families; remove it", firewall.rule[0]);
            self.wrong(("iptables", "rule6"), what);
        }
        if let (Some(_), ScopeConfig::Match(words)) = (&firewall.interface, &firewall.scope) {
            if words.iter().any(|word| word.starts_with("-i") || word.starts_with("--in-i")) {
                self.wrong(("iptables", "scope"), "names an interface, and so does iptables.interface".to_owned());
            }
        }
        let files = [
            (("iptables", "white_list"), &config.white_list),
            (("iptables", "dump"), &config.dump),
            (("state", "file"), &config.journal),
            (("log", "file"), &config.log_file),
        ];
        for (n, (name, path)) in files.iter().enumerate() {
            if let Some((other, _)) = files[..n].iter().find(|(_, other)| other == path) {
                self.wrong(*name, format!("is the same file as {}", dotted(*other)));
            }
        }
    }

    /// The configuration, or all that is wrong, in the order of the lines.
    pub(super) fn finish(mut self, config: Config) -> Result<Config, ConfigErrors> {
        if self.errors.is_empty() {
            return Ok(config);
        }
        self.errors.sort_by_key(|error| error.line.unwrap_or(usize::MAX));
        Err(ConfigErrors(self.errors))
    }

    fn enter(&mut self, line: usize, name: &str) -> Place {
        if let Some(section) = keys::section(name) {
            self.sections.insert(section);
            return Place::In(section);
        }
        let shown = is_name(name).then(|| format!("[{name}]"));
        self.fail(Some(line), shown, format!("unknown section; {}", keys::instead_of_section(name)));
        Place::Unknown
    }

    fn take(&mut self, line: usize, place: Place, name: &str, value: Value) {
        let section = match place {
            Place::In(section) => section,
            Place::Start => return self.fail(Some(line), None, "a key before the first [section]".to_owned()),
            Place::Unknown => return,
        };
        let Some(key) = Key::find(section, name) else {
            let shown = is_name(name).then(|| format!("{section}.{name}"));
            return self.fail(Some(line), shown, format!("unknown key; {}", keys::instead_of_key(section, name)));
        };
        if let Some((first, _)) = self.values.get(&(key.section, key.key)) {
            let what = format!("given twice, first in line {first}");
            return self.fail(Some(line), Some(key.name()), what);
        }
        self.values.insert((key.section, key.key), (line, value));
    }

    fn wrong(&mut self, name: Name, what: String) {
        let line = self.values.get(&name).map(|(line, _)| *line);
        self.fail(line, Some(dotted(name)), what);
    }

    fn fail(&mut self, line: Option<usize>, key: Option<String>, what: String) {
        self.errors.push(ConfigError { file: self.file.to_owned(), line, key, what });
    }
}

/// Where in the file a key stands.
#[derive(Clone, Copy)]
enum Place {
    /// Before the first section.
    Start,
    /// In a section that there is.
    In(&'static str),
    /// In a section that there is not; its keys are passed over, one error is enough.
    Unknown,
}

fn default<T>((section, key): Name, read: impl Fn(&str) -> Result<T, String>) -> T {
    let default = Key::find(section, key).map(|key| read(key.default));
    // INVARIANT: every key asked for is in KEYS, with a default that its reader takes. A file of user and secret
    // alone asks for all of them, and a test reads one.
    default.and_then(Result::ok).expect("the defaults of the configuration are valid")
}

fn dotted((section, key): Name) -> String {
    format!("{section}.{key}")
}

/// What can be the name of a section or a key. Nothing else is shown: in a garbled line it may be the secret.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
