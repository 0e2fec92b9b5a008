//! The keys of the configuration file, and what to say to a name that is none of them.

use std::sync::LazyLock;

use super::settings::Part;
use super::{Config, checks};

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// `section.key`. The section `feed NAME` stands for `[feed office]` and every other name.
    pub name: &'static str,
    /// What holds when the key is absent, as it would be written in the file; empty for the keys that have none.
    pub default: &'static str,
    /// Another key that sets the same thing.
    pub other: Option<&'static str>,
    /// Whether a change holds from the next restart on only, and not from the next reload.
    pub restart: bool,
    /// Whether its value is never shown, and no comment may stand behind it unless it is in quotes.
    pub secret: bool,
}

/// All keys there are. The defaults of the program are these.
pub static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let mut keys = Config::keys();
    keys.push(checks::RULE6);
    keys
});

impl Key {
    pub(super) const fn new(name: &'static str, default: &'static str) -> Key {
        Key { name, default, other: None, restart: false, secret: false }
    }

    pub(super) const fn or(self, other: &'static str) -> Key {
        Key { other: Some(other), ..self }
    }

    pub(super) const fn restart(self) -> Key {
        Key { restart: true, ..self }
    }

    pub(super) const fn secret(self) -> Key {
        Key { secret: true, ..self }
    }

    /// The section, without brackets.
    pub fn section(&self) -> &'static str {
        self.split().0
    }

    /// The name within the section.
    pub fn key(&self) -> &'static str {
        self.split().1
    }

    /// The key under each of its names.
    pub(super) fn names(self) -> impl Iterator<Item = Key> {
        [Some(self.name), self.other].into_iter().flatten().map(move |name| Key { name, other: None, ..self })
    }

    /// `section.key` in a section of that name, where sections have names.
    pub(super) fn in_section(&self, name: &str) -> String {
        self.name.replacen(ANY_NAME, name, 1)
    }

    /// The title of its section of that name.
    pub(super) fn section_of(&self, name: &str) -> String {
        self.section().replacen(ANY_NAME, name, 1)
    }

    fn split(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').unwrap_or_default()
    }
}

/// What stands for the name of a section, where sections have names.
const ANY_NAME: &str = "NAME";

/// A section of the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Section {
    /// As it is in the table: `feed NAME`.
    pub(super) kind: &'static str,
    /// Its own name: `office`, empty where sections have none.
    pub(super) name: String,
}

impl Section {
    /// The section that `[written]` names, whatever its case.
    pub(super) fn find(keys: &[Key], written: &str) -> Option<Section> {
        let (first, name) = written.split_once(char::is_whitespace).unwrap_or((written, ""));
        let name = name.trim_start();
        let is_it = |kind: &&str| match kind.split_once(' ') {
            Some((kind, _)) => kind.eq_ignore_ascii_case(first) && is_name(name),
            None => kind.eq_ignore_ascii_case(written),
        };
        let kind = keys.iter().map(Key::section).find(is_it)?;
        Some(Section { kind, name: name.to_owned() })
    }

    /// As it is in the file, but for its case: `feed office`.
    pub(super) fn title(&self) -> String {
        self.kind.replacen(ANY_NAME, &self.name, 1)
    }

    /// The key of that name in it, whatever its case.
    pub(super) fn key(&self, keys: &[Key], written: &str) -> Option<Key> {
        keys.iter().find(|key| key.section() == self.kind && key.key().eq_ignore_ascii_case(written)).copied()
    }
}

/// What can be the name of a section or a key. Nothing else is shown: in a garbled line it may be the secret.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Advice on a section that does not exist.
pub(super) fn instead_of_section(keys: &[Key], name: &str) -> String {
    match nearest(keys.iter().map(|key| (likeness(name, key.section()), key))) {
        Some(key) => format!("did you mean [{}]?", key.section()),
        None => {
            let mut sections: Vec<&str> = Vec::new();
            for section in keys.iter().map(Key::section) {
                if !sections.contains(&section) {
                    sections.push(section);
                }
            }
            format!("there are [{}]", sections.join("], ["))
        }
    }
}

/// Advice on a key that does not exist in a section that does: the nearest key there or, if much nearer, elsewhere.
pub(super) fn instead_of_key(keys: &[Key], section: &str, name: &str) -> String {
    let elsewhere = |key: &Key| if key.section() == section { 0.0 } else { 0.15 };
    match nearest(keys.iter().map(|key| (likeness(name, key.key()) - elsewhere(key), key))) {
        Some(key) => format!("did you mean {}?", key.name),
        None => {
            let keys: Vec<&str> = keys.iter().filter(|key| key.section() == section).map(Key::key).collect();
            format!("[{section}] has {}", keys.join(", "))
        }
    }
}

/// From 0 to 1; favours a common beginning, as in `password` for `pass`.
fn likeness(written: &str, known: &str) -> f64 {
    strsim::jaro_winkler(&written.to_ascii_lowercase(), &known.to_ascii_lowercase())
}

fn nearest<'a>(scored: impl Iterator<Item = (f64, &'a Key)>) -> Option<&'a Key> {
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
            assert_eq!(
                instead_of_key(&KEYS, section, written),
                format!("did you mean {meant}?"),
                "{section}.{written}"
            );
        }
    }

    #[test]
    fn a_name_like_no_other_is_answered_with_what_there_is() {
        assert_eq!(instead_of_key(&KEYS, "flood", "zzz"), "[flood] has count, interval");
        assert!(instead_of_section(&KEYS, "zzz").starts_with("there are [ami], [control], "));
        assert_eq!(instead_of_section(&KEYS, "iptable"), "did you mean [iptables]?");
    }

    #[test]
    fn no_key_is_there_twice() {
        for (n, key) in KEYS.iter().enumerate() {
            assert!(KEYS[..n].iter().all(|other| other.name != key.name), "{}", key.name);
        }
    }
}
