//! How a part of the configuration is declared: a struct, and a line for each of its keys.

use std::collections::BTreeMap;

use super::given::Given;
use super::keys::Key;

/// A part of the configuration, made by [`settings!`].
pub(super) trait Part: Sized {
    /// Its keys, in the order of their lines, each followed by its other name.
    fn keys() -> Vec<Key>;

    /// Reads its values. `name` is that of the section, where sections have names: `office` in `[feed office]`.
    fn read(given: &mut Given<'_>, name: &str) -> Self;

    /// Takes back what differs from `old` and needs a restart, and adds the names of those keys to `changed`.
    fn keep(&mut self, old: &Self, name: &str, changed: &mut Vec<String>);
}

/// Declares a part of the configuration. All there is to say of a key stands in one line:
/// ```text
/// field: type = "section.key", "default", reader of the value, "meaning", flags;
/// ```
/// The default is what would be written in the file. Readers are the functions of [`value`](super::value). Flags are
/// the functions of [`Key`] that return one: `restart`, `secret`, `or("section.key")`. A part that consists of others
/// names them in brackets: `pub struct Config [ami: Ami] { ... }`.
///
/// A section that may be there several times, each with a name of its own, is a part whose keys are `feed NAME.key`.
/// The part around it has it as `[feeds: BTreeMap<String, Feed>]`.
///
/// `Given`, `Key` and [`Part`] must be in scope.
macro_rules! settings {
    (
        $(#[$doc:meta])*
        pub struct $Part:ident $([$($inner:ident: $Inner:ty),+])? {
            $(
                $(#[$note:meta])*
                $field:ident: $Type:ty = $key:literal, $default:literal, $read:expr, $meaning:literal
                    $(, $flag:ident $(($with:literal))?)*;
            )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $Part {
            $($(
                #[doc = concat!("A part of its own: ", stringify!($Inner), ".")]
                pub $inner: $Inner,
            )+)?
            $(
                #[doc = concat!("`", $key, "`: ", $meaning, ".")]
                $(#[$note])*
                pub $field: $Type,
            )*
        }

        impl Part for $Part {
            fn keys() -> Vec<Key> {
                let mut keys = Vec::new();
                $($(keys.extend(<$Inner as Part>::keys());)+)?
                $(keys.extend(settings!(@key $key, $default $(, $flag $(($with))?)*).names());)*
                keys
            }

            fn read(given: &mut Given<'_>, name: &str) -> $Part {
                $Part {
                    $($($inner: Part::read(given, name),)+)?
                    $($field: given.get(settings!(@key $key, $default $(, $flag $(($with))?)*), name, $read),)*
                }
            }

            fn keep(&mut self, old: &$Part, name: &str, changed: &mut Vec<String>) {
                $($(Part::keep(&mut self.$inner, &old.$inner, name, changed);)+)?
                $(
                    let key = settings!(@key $key, $default $(, $flag $(($with))?)*);
                    if key.restart && self.$field != old.$field {
                        changed.push(key.in_section(name));
                        self.$field = Clone::clone(&old.$field);
                    }
                )*
            }
        }
    };

    (@key $key:literal, $default:literal $(, $flag:ident $(($with:literal))?)*) => {
        Key::new($key, $default)$(.$flag($($with)?))*
    };
}
pub(super) use settings;

/// Sections with names of their own, by their names.
impl<P: Part + Clone> Part for BTreeMap<String, P> {
    fn keys() -> Vec<Key> {
        P::keys()
    }

    fn read(given: &mut Given<'_>, _: &str) -> BTreeMap<String, P> {
        let names = P::keys().first().map_or(Vec::new(), |key| given.names(key.section()));
        names.into_iter().map(|name| (name.clone(), P::read(given, &name))).collect()
    }

    fn keep(&mut self, old: &Self, _: &str, changed: &mut Vec<String>) {
        for (name, part) in &mut *self {
            if let Some(old) = old.get(name) {
                part.keep(old, name, changed);
            }
        }
        // Where nothing of a section can change without a restart, it can neither come nor go.
        let keys = P::keys();
        if let Some(key) = keys.first().filter(|_| keys.iter().all(|key| key.restart)) {
            let names =
                self.keys().chain(old.keys()).filter(|name| self.contains_key(*name) != old.contains_key(*name));
            changed.extend(names.map(|name| format!("[{}]", key.section_of(name))));
            self.clone_from(old);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::value;
    use super::*;
    use std::path::Path;

    settings! {
        /// A section that may be there many times.
        pub struct Feed {
            file: std::path::PathBuf = "feed NAME.file", "/feed", value::path, "the list", restart;
            hours: u64 = "feed NAME.hours", "24", value::period, "hours between two looks";
        }
    }

    settings! {
        /// What has such sections.
        pub struct Feeds [feeds: BTreeMap<String, Feed>] {
            port: u16 = "web.port", "80", value::port, "the port";
        }
    }

    fn read(text: &str) -> (Feeds, String) {
        let keys = Feeds::keys();
        let mut given = Given::read(text, Path::new("f"), &keys);
        let feeds = Feeds::read(&mut given, "");
        let errors = given.errors.iter().map(|error| format!("{error}\n"));
        (feeds, errors.collect())
    }

    #[test]
    fn sections_with_names_are_read_by_their_names() {
        let (read, errors) =
            read("[feed office]\nhours = 1\n[Feed  voipbl]\nfile = /a\n[web]\nport = 81\n[feed office]\nfile = /b\n");
        assert_eq!(errors, "");
        let feed = |file: &str, hours| Feed { file: file.into(), hours };
        let feeds = [("office", feed("/b", 1)), ("voipbl", feed("/a", 24))];
        assert_eq!(read, Feeds { feeds: feeds.map(|(name, feed)| (name.to_owned(), feed)).into(), port: 81 });
    }

    #[test]
    fn an_error_in_a_section_with_a_name_says_which() {
        let (_, errors) = read("[feed office]\nhours = x\nhours = 2\n[feed voipbl]\nhors = 1\n[feed]\n[feed a b]\n");
        assert_eq!(
            errors,
            "f:3: feed office.hours: given twice, first in line 2\n\
             f:5: feed voipbl.hors: unknown key; did you mean feed NAME.hours?\n\
             f:6: [feed]: unknown section; did you mean [feed NAME]?\n\
             f:7: unknown section; did you mean [feed NAME]?\n\
             f:2: feed office.hours: expected a number from 1 to 86400, found \"x\"\n"
        );
    }

    #[test]
    fn what_needs_a_restart_in_a_section_with_a_name_is_kept_until_then() {
        let (old, _) = read("[feed office]\nfile = /a\nhours = 1\n");
        let (mut new, _) = read("[feed office]\nfile = /b\nhours = 2\n[feed voipbl]\n");
        let mut changed = Vec::new();
        new.keep(&old, "", &mut changed);
        assert_eq!(changed, ["feed office.file"]);
        assert_eq!(new.feeds["office"], Feed { file: "/a".into(), hours: 2 });
        assert!(new.feeds.contains_key("voipbl"));
    }
}
