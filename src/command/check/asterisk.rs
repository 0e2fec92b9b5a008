//! What Asterisk's own configuration files say, as far as they can be read.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::file;

/// Files that are looked at.
const FILES: [&str; 5] = ["manager.conf", "http.conf", "rtp.conf", "pjsip.conf", "sip.conf"];

/// At most this deep may one file include another.
const DEEPEST: usize = 8;

/// At most this many settings are kept of one file and all that it includes.
const MOST: usize = 100_000;

/// The settings of the files that are there.
#[derive(Debug, Default)]
pub(super) struct Settings {
    folder: PathBuf,
    files: HashMap<&'static str, Vec<Setting>>,
}

/// A line `key = value` in a section.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    section: String,
    key: String,
    value: String,
}

impl Settings {
    /// Reads what can be read in this folder.
    pub(super) fn read(folder: &Path) -> Settings {
        let mut settings = Settings { folder: folder.to_owned(), files: HashMap::new() };
        for name in FILES {
            let mut found = Vec::new();
            if read(&folder.join(name), folder, 0, &mut "".to_owned(), &mut found).is_some() {
                settings.files.insert(name, found);
            }
        }
        settings
    }

    /// Where a file is, or would be.
    pub(super) fn path(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }

    /// Where a user of the manager interface belongs: FreePBX and Issabel write manager.conf themselves, and leave the file
    /// that it includes to the administrator.
    pub(super) fn path_for_users(&self) -> String {
        const CUSTOM: &str = "manager_custom.conf";
        self.path(if self.folder.join(CUSTOM).exists() { CUSTOM } else { "manager.conf" })
    }

    /// Whether the file could be read.
    pub(super) fn has(&self, file: &str) -> bool {
        self.files.contains_key(file)
    }

    /// Whether a file has lines in this section.
    pub(super) fn has_section(&self, file: &str, section: &str) -> bool {
        self.all(file).any(|setting| setting.section.eq_ignore_ascii_case(section))
    }

    /// The value of a key, the last one where it is there twice.
    pub(super) fn get(&self, file: &str, section: &str, key: &str) -> Option<&str> {
        let is_it = |setting: &&Setting| setting.section.eq_ignore_ascii_case(section);
        self.values(file, key, is_it).last()
    }

    /// All values of a key in any section.
    pub(super) fn anywhere(&self, file: &str, key: &str) -> impl Iterator<Item = &str> {
        self.values(file, key, |_| true)
    }

    /// Whether Asterisk takes the value of a key for a yes.
    pub(super) fn is_on(&self, file: &str, section: &str, key: &str) -> bool {
        let yes = ["yes", "true", "y", "t", "1", "on"];
        self.get(file, section, key).is_some_and(|value| yes.iter().any(|yes| value.eq_ignore_ascii_case(yes)))
    }

    /// Whether Asterisk takes the value of a key for a no.
    pub(super) fn is_off(&self, file: &str, section: &str, key: &str) -> bool {
        let no = ["no", "false", "n", "f", "0", "off"];
        self.get(file, section, key).is_some_and(|value| no.iter().any(|no| value.eq_ignore_ascii_case(no)))
    }

    fn values<'s>(
        &'s self,
        file: &str,
        key: &str,
        filter: impl Fn(&&Setting) -> bool,
    ) -> impl Iterator<Item = &'s str> {
        self.all(file)
            .filter(move |setting| setting.key.eq_ignore_ascii_case(key))
            .filter(filter)
            .map(|setting| &*setting.value)
    }

    fn all(&self, file: &str) -> impl Iterator<Item = &Setting> {
        self.files.get(file).into_iter().flatten()
    }
}

/// Reads a file and those it includes; `None` if it cannot be read.
fn read(path: &Path, folder: &Path, depth: usize, section: &mut String, found: &mut Vec<Setting>) -> Option<()> {
    let bytes = file::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let mut in_comment = false;
    for line in text.lines() {
        let line = uncommented(line, &mut in_comment);
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            *section = name.to_owned();
        } else if let Some(name) = line.strip_prefix("#include").or_else(|| line.strip_prefix("#tryinclude")) {
            let name = name.trim().trim_matches(['"', '<', '>']);
            if depth < DEEPEST {
                // What cannot be included was not there for Asterisk either.
                let _ = read(&folder.join(name), folder, depth + 1, section, found);
            }
        } else if let Some((key, value)) = line.split_once('=') {
            if found.len() < MOST {
                let value = value.strip_prefix('>').unwrap_or(value);
                let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
                found.push(Setting { section: section.clone(), key, value });
            }
        }
    }
    Some(())
}

/// A line without `; comment`, and without what stands between `;--` and `--;`. A `\;` is none of these.
fn uncommented(line: &str, in_comment: &mut bool) -> String {
    let mut kept = String::new();
    let mut rest = line;
    loop {
        if *in_comment {
            let Some((_, after)) = rest.split_once("--;") else { return kept };
            *in_comment = false;
            rest = after;
        }
        let Some((before, after)) = rest.split_once(';') else { return kept + rest };
        if let Some(before) = before.strip_suffix('\\') {
            kept = kept + before + ";";
            rest = after;
        } else if after.starts_with("--") && !after.starts_with("---") {
            kept += before;
            *in_comment = true;
            rest = &after[2..];
        } else {
            return kept + before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn settings(files: &[(&str, &str)]) -> Settings {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Settings::read(folder.path())
    }

    #[test]
    fn sections_keys_and_comments_are_read_as_asterisk_does() {
        let text = "; a comment\n[general]\nenabled = yes ; really\nport=>5038\nbindaddr = 127.0.0.1\n\
                    ;-- of several\nwebenabled = yes\nlines --; webenabled = no\n;--- a line\n[Sipban](template)\nsecret = a\\;b\nread = call\nread=security\n";
        let settings = settings(&[("manager.conf", text)]);
        assert!(settings.is_on("manager.conf", "general", "Enabled"));
        assert_eq!(settings.get("manager.conf", "general", "port"), Some("5038"));
        assert!(settings.is_off("manager.conf", "general", "webenabled"));
        assert_eq!(settings.get("manager.conf", "sipban", "secret"), Some("a;b"));
        assert_eq!(settings.get("manager.conf", "sipban", "read"), Some("security"));
        assert!(settings.has_section("manager.conf", "sipban") && !settings.has_section("manager.conf", "other"));
        assert!(!settings.has("sip.conf"));
    }

    #[test]
    fn included_files_belong_to_the_section_that_includes_them() {
        let settings = settings(&[
            ("sip.conf", "[general]\n#include sip_general.conf\n#include \"missing.conf\"\nport=5060\n"),
            ("sip_general.conf", "alwaysauthreject = no\n#include sip.conf\n"),
        ]);
        assert!(settings.is_off("sip.conf", "general", "alwaysauthreject"));
        assert_eq!(settings.get("sip.conf", "general", "port"), Some("5060"));
    }
}
