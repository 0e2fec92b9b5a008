//! What a file gives, each value with its line, and what was found wrong with it so far.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::ini::{self, Item, Value};
use super::keys::{self, Key, Section, is_name};
use super::{ConfigError, ConfigErrors};

/// The sections and values of a file, and what was found wrong so far.
pub(super) struct Given<'a> {
    file: &'a Path,
    keys: &'a [Key],
    sections: BTreeSet<Section>,
    /// By `section.key`, spelt as in the table of keys; lines are counted from 1.
    pub(super) values: BTreeMap<String, (usize, Value)>,
    pub(super) errors: Vec<ConfigError>,
}

impl<'a> Given<'a> {
    /// Reads a text that may have these keys; `file` is only named in errors.
    pub(super) fn read(text: &str, file: &'a Path, keys: &'a [Key]) -> Given<'a> {
        let (sections, values) = (BTreeSet::new(), BTreeMap::new());
        let mut given = Given { file, keys, sections, values, errors: Vec::new() };
        let mut place = Place::Start;
        for (line, item) in ini::items(text) {
            match item {
                Err(what) => given.fail(Some(line), None, what.to_owned()),
                Ok(Item::Section(name)) => place = given.enter(line, &name),
                Ok(Item::Pair(key, value)) => given.take(line, &place, &key, value),
            }
        }
        given
    }

    /// The value of a key in the section of that name, or its default.
    pub(super) fn get<T: PartialEq>(
        &mut self,
        key: Key,
        section_name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let value = self.find(&key.in_section(section_name), key.secret, &read);
        let other = key.other.and_then(|other| self.find(other, key.secret, &read).map(|value| (other, value)));
        let value = match (value, other) {
            (Some(value), Some((name, other))) if value != other => {
                self.wrong(name, format!("differs from {}, which sets the same thing; remove one", key.name));
                Some(value)
            }
            (value, other) => value.or(other.map(|(_, value)| value)),
        };
        // INVARIANT: every default is one that its reader takes. An empty file asks for all, and a test reads one.
        value.unwrap_or_else(|| read(key.default).expect("the defaults of the configuration are valid"))
    }

    /// The value of a key, if it is given and valid.
    pub(super) fn find<T>(
        &mut self,
        name: &str,
        is_secret: bool,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (_, value) = self.values.get(name)?;
        let read = if is_secret && value.doubtful {
            Err("where it ends is in doubt: put it in double quotes, and a comment on a line of its own".to_owned())
        } else {
            read(&value.text)
        };
        read.map_err(|what| self.wrong(name, what)).ok()
    }

    /// Whether the file has this key.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The line of a key, if it is given.
    pub(super) fn line(&self, name: &str) -> Option<usize> {
        self.values.get(name).map(|(line, _)| *line)
    }

    /// The file, as it is named in errors.
    pub(super) fn file(&self) -> &Path {
        self.file
    }

    /// Whether the file has this section, be it empty.
    pub(super) fn has_section(&self, kind: &str) -> bool {
        self.sections.iter().any(|section| section.kind == kind)
    }

    /// The names of the sections of a kind, such as `feed NAME`.
    pub(super) fn names(&self, kind: &str) -> Vec<String> {
        self.sections.iter().filter(|section| section.kind == kind).map(|section| section.name.clone()).collect()
    }

    /// Whether something is wrong with this key.
    pub(super) fn is_wrong(&self, name: &str) -> bool {
        self.errors.iter().any(|error| error.key.as_deref() == Some(name))
    }

    /// Notes what is wrong with a key, in its line if it has one.
    pub(super) fn wrong(&mut self, name: &str, what: String) {
        let line = self.values.get(name).map(|(line, _)| *line);
        self.fail(line, Some(name.to_owned()), what);
    }

    /// The configuration, or all that is wrong, in the order of the lines.
    pub(super) fn finish<T>(mut self, config: T) -> Result<T, ConfigErrors> {
        if self.errors.is_empty() {
            return Ok(config);
        }
        self.errors.sort_by_key(|error| error.line.unwrap_or(usize::MAX));
        Err(ConfigErrors(self.errors))
    }

    fn enter(&mut self, line: usize, name: &str) -> Place {
        if let Some(section) = Section::find(self.keys, name) {
            self.sections.insert(section.clone());
            return Place::In(section);
        }
        let shown = is_name(name).then(|| format!("[{name}]"));
        self.fail(Some(line), shown, format!("unknown section; {}", keys::instead_of_section(self.keys, name)));
        Place::Unknown
    }

    fn take(&mut self, line: usize, place: &Place, name: &str, value: Value) {
        let section = match place {
            Place::In(section) => section,
            Place::Start => return self.fail(Some(line), None, "a key before the first [section]".to_owned()),
            Place::Unknown => return,
        };
        let Some(key) = section.key(self.keys, name) else {
            let shown = is_name(name).then(|| format!("{}.{name}", section.title()));
            let what = format!("unknown key; {}", keys::instead_of_key(self.keys, section.kind, name));
            return self.fail(Some(line), shown, what);
        };
        let name = key.in_section(&section.name);
        if let Some((first, _)) = self.values.get(&name) {
            let what = format!("given twice, first in line {first}");
            return self.fail(Some(line), Some(name), what);
        }
        self.values.insert(name, (line, value));
    }

    fn fail(&mut self, line: Option<usize>, key: Option<String>, what: String) {
        self.errors.push(ConfigError { file: self.file.to_owned(), line, key, what });
    }
}

/// Where in the file a key stands.
enum Place {
    /// Before the first section.
    Start,
    /// In a section that there is.
    In(Section),
    /// In a section that there is not; its keys are passed over, one error is enough.
    Unknown,
}
